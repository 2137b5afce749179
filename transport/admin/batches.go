package admin

import (
	"context"
	"fmt"
	"strings"

	"lapid/engine"
)

// Batches are the names of what imports have stored and of the named lists that they have
// set, the newest first, at most shownBatches of both together.
type Batches struct{ Batches, Lists []string }

// shownBatches bounds how many names are told.
const shownBatches = 1000

// listBatches tells the names.
func (h *Handler) listBatches(context.Context, *struct{}) (*Batches, error) {
	out := &Batches{}
	for _, b := range h.engine.View().Batches(shownBatches) {
		if b.List {
			out.Lists = append(out.Lists, b.Name)
		} else {
			out.Batches = append(out.Batches, b.Name)
		}
	}
	return out, nil
}

// Batches lists the names of batches and named lists.
func (c *Client) Batches(ctx context.Context) (*Batches, error) {
	return ask[Batches](ctx, c, "/batches/list", struct{}{})
}

// UsableBatchName is UsableName for a batch or a named list, whose name must be found again.
func UsableBatchName(noun, name string) error {
	if len(name) > engine.LongestName {
		return invalid("%s has %d bytes, and at most %d are taken", noun, len(name), engine.LongestName)
	}
	if strings.TrimSpace(name) != name {
		return invalid("%s %q begins or ends with a blank", noun, name)
	}
	return UsableName(noun, name)
}

// usableBatch is the same for a batch, which may have no name.
func usableBatch(name string) error {
	if name == "" {
		return nil
	}
	return UsableBatchName("the batch's name", name)
}

// batchOf is what a filter asks for; list wins.
func batchOf(batch, list string) engine.Batch {
	if list != "" {
		return engine.Batch{Name: list, List: true}
	}
	return engine.Batch{Name: batch}
}

// batchThere refuses a deletion by a name that there is not: most likely it is a slip, and
// nothing would tell.
func (q *DecisionFilter) batchThere(view *engine.View) error {
	b := batchOf(q.Batch, q.List)
	if b.Name == "" || view.HasBatch(b) {
		return nil
	}
	noun := "batch"
	if b.List {
		noun = "named list"
	}
	var known []string
	for _, other := range view.Batches(shownBatches) {
		if other.List == b.List {
			known = append(known, other.Name)
		}
	}
	text := fmt.Sprintf("there is no %s %q", noun, b.Name)
	if len(known) > 0 {
		text += ": there are " + some(known)
	}
	return &engine.Error{Kind: engine.ErrNotFound, Text: text}
}
