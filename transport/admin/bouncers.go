package admin

import (
	"context"
	"strings"
	"time"

	"lapid/engine"
)

// listBouncers yields all rows out of one view.
func (h *Handler) listBouncers(context.Context, *struct{}) *listing[Bouncer] {
	return h.bouncers(func(*engine.BouncerRow) bool { return true })
}

// bouncers is the rows of one view that are wanted. The view is held until the last
// one is written.
func (h *Handler) bouncers(want func(*engine.BouncerRow) bool) *listing[Bouncer] {
	view, holdings := h.engine.View(), h.engine.Holdings(h.engine.Now())
	return &listing[Bouncer]{&Bouncers{Now: h.engine.Now(), Revision: view.Revision()}, func(yield func(*Bouncer) bool) {
		view.EachBouncer(func(r *engine.BouncerRow) bool {
			if !want(r) {
				return true
			}
			b, o := bouncerOf(r, view), holdings.Of(r)
			b.holding(&o)
			b.Period = periodOf(h.engine.Polls(r))
			return yield(&b)
		})
	}}
}

// bouncerOf is a row at the moment of asking: cursor and last pull move beside the
// view. Texts are shortened, for old stores hold long ones (shown.go).
func bouncerOf(r *engine.BouncerRow, view *engine.View) Bouncer {
	b, pulled := r.Load(), r.LastPull()
	kind, version := r.Says()
	out := Bouncer{
		Name: b.Name, AuthType: string(b.AuthType), IP: b.IP, Type: shown(kind), Version: shown(version), OS: shownOS(b.OS),
		FeatureFlags: shownFlags(b.FeatureFlags), AutoCreated: b.AutoCreated, Shared: b.Shared, CreatedAt: b.CreatedAt,
		UpdatedAt: max(b.UpdatedAt, pulled), LastPull: pulled,
	}
	out.Sight, out.Hold = b.Sight, b.Hold
	if at, ok := r.Cursor(); ok {
		out.Pulled, out.Cursor = true, at
		if newest := view.Revision(); newest > at { // the cursor may be newer than this view
			out.Behind = uint64(newest - at)
		}
	}
	return out
}

// getBouncer gives one row; engine.ErrNotFound when there is none.
func (h *Handler) getBouncer(_ context.Context, q *Name) (*Bouncer, error) {
	view := h.engine.View()
	r := view.Bouncer(q.Name)
	if r == nil {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounBouncer, Name: q.Name}
	}
	out, o := bouncerOf(r, view), h.engine.Holdings(h.engine.Now()).Of(r)
	out.holding(&o)
	out.Period = periodOf(h.engine.Polls(r))
	if told, since, ok := h.engine.Reported(r); ok {
		out.Usage = &BouncerUsage{Since: since, At: told.At, Figures: told.Figures, Holds: told.Holds}
	}
	out.Polls, out.Keys = h.pollsOf(r), view.KeysOf(r.Load().KeyHash, h.engine.Now())
	out.Asks = shown(strings.TrimSuffix(h.engine.Asks(r), "&"))
	return &out, nil
}

// addBouncer stores the hash of a key; the key itself never comes here.
func (h *Handler) addBouncer(ctx context.Context, q *NewBouncer) (*Edited, error) {
	if err := NewName("the bouncer's name", q.Name); err != nil {
		return nil, err
	}
	now := h.engine.Now()
	b := &engine.Bouncer{
		Name: q.Name, AuthType: engine.AuthAPIKey, Shared: q.Shared, CreatedAt: now, UpdatedAt: now,
	}
	if copy(b.KeyHash[:], q.KeyHash) != len(b.KeyHash) || len(q.KeyHash) != len(b.KeyHash) {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: "a key hash has 64 bytes"}
	}
	warnings, err := h.checkEdit(&q.Edit)
	if err != nil {
		return nil, err
	}
	q.Edit.apply(b)
	if _, err := h.engine.AddBouncer(ctx, b); err != nil {
		return nil, err
	}
	h.logChange(ctx, "added a bouncer", "bouncer", q.Name)
	return &Edited{Warnings: append(warnings, contradictions(b.Sight)...)}, nil
}

// rotateBouncer gives a bouncer another key, whose hash alone comes here.
func (h *Handler) rotateBouncer(ctx context.Context, q *KeyRotation) (*Done, error) {
	var key engine.KeyHash
	if copy(key[:], q.KeyHash) != len(key) || len(q.KeyHash) != len(key) {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: "a key hash has 64 bytes"}
	}
	if err := h.engine.RotateBouncer(ctx, q.Name, key, time.Duration(q.Grace)); err != nil {
		return nil, err
	}
	h.logChange(ctx, "rotated the key of a bouncer", "bouncer", q.Name, "grace", time.Duration(q.Grace))
	return &Done{1}, nil
}

// RotateBouncer gives a bouncer another key; engine.ErrNotFound, engine.ErrRefused, engine.ErrExists,
// engine.ErrInvalid.
func (c *Client) RotateBouncer(ctx context.Context, q *KeyRotation) error {
	_, err := ask[Done](ctx, c, "/bouncers/rotate", q)
	return err
}

// deleteBouncer names the rows that went, by comparing the views before and after it:
// one that came by meanwhile may be missing from the list, never from the deletion.
func (h *Handler) deleteBouncer(ctx context.Context, q *Name) (*Removed, error) {
	before := h.engine.View()
	if err := h.engine.DeleteBouncer(ctx, q.Name); err != nil {
		return nil, err
	}
	out, after := &Removed{Names: []string{q.Name}}, h.engine.View()
	before.EachBouncer(func(r *engine.BouncerRow) bool {
		b := r.Load()
		if b.AutoCreated && b.Name != q.Name && engine.BaseName(b.Name) == q.Name && after.Bouncer(b.Name) == nil {
			out.Names = append(out.Names, b.Name)
		}
		return true
	})
	h.logChange(ctx, "deleted a bouncer", "bouncer", q.Name, "rows", len(out.Names))
	return out, nil
}

// bouncer reports whether a row is stale: silent for too long, where one that never
// pulled counts from its creation.
func (q *Prune) bouncer(r *engine.BouncerRow, now int64) bool {
	last := r.LastPull()
	if last == 0 {
		last = r.Load().CreatedAt
	}
	return last < now-q.Silence
}

// staleBouncers lists what a prune would take now.
func (h *Handler) staleBouncers(_ context.Context, q *Prune) *listing[Bouncer] {
	now := h.engine.Now()
	return h.bouncers(func(r *engine.BouncerRow) bool { return q.bouncer(r, now) })
}

// pruneBouncers looks once more at each of the names, for the list is older: the operator
// was asked in between. All that are left go in one commit.
func (h *Handler) pruneBouncers(ctx context.Context, q *PruneNamed) (*Done, error) {
	var names []string
	view, now := h.engine.View(), h.engine.Now()
	for _, name := range q.Names {
		if r := view.Bouncer(name); r != nil && q.bouncer(r, now) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return &Done{}, nil
	}
	if err := h.engine.PruneBouncers(ctx, names); err != nil {
		return nil, err
	}
	h.logChange(ctx, "pruned bouncers", "bouncers", len(names), "names", some(names))
	return &Done{N: len(names)}, nil
}
