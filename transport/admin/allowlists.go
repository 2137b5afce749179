package admin

import (
	"context"
	"fmt"
	"time"

	"lapid/engine"
)

// Allowlist is one allowlist with the items that have not expired. Times are
// Unix nanoseconds.
type Allowlist struct {
	Name        string
	Description string
	CreatedAt   int64
	UpdatedAt   int64
	Items       []AllowlistItem
	ConsoleID   string // the console's id of it; "": it has none
	FromConsole bool   // the console manages it: changes from here are refused
}

// AllowlistItem is an address or range of an allowlist.
type AllowlistItem struct {
	Value     string
	Comment   string
	CreatedAt int64
	ExpiresAt int64 // 0: never
}

// Allowlists is a list of allowlists in order of creation.
type Allowlists struct{ Allowlists []Allowlist }

// NewAllowlist asks for an allowlist.
type NewAllowlist struct{ Name, Description string }

// AllowlistAddition asks for items in an allowlist.
type AllowlistAddition struct {
	Name  string
	Items []NewAllowlistItem
	Dry   bool // add nothing, only say what would come of it
}

// NewAllowlistItem is one item to add.
type NewAllowlistItem struct {
	Value   string
	Comment string
	Lasts   int64 // nanoseconds from now; 0: for ever
}

// AllowlistAdded says what became of an addition. Each item asked for is in
// one of Added, Present and Bad.
type AllowlistAdded struct {
	Added   int
	Ended   int        // running decisions that ended because the list covers them
	Present []string   // values that the list had already
	Bad     []string   // what was wrong with the others, one sentence each
	First   []Decision // of a dry run: the first that would end, at most ShownEnded
}

// AllowlistRemoval asks to take values out of an allowlist.
type AllowlistRemoval struct {
	Name   string
	Values []string
}

// Check asks whether a value is allowlisted.
type Check struct{ Value string }

// Checked is the answer: why it is, or "".
type Checked struct{ Reason string }

// listAllowlists gives every list with its items in one answer; what the lists may
// hold together is bounded by the engine.
func (h *Handler) listAllowlists(context.Context, *struct{}) (*Allowlists, error) {
	out, now := &Allowlists{}, h.engine.Now()
	for _, l := range h.engine.View().Allowlists() {
		out.Allowlists = append(out.Allowlists, allowlistOf(l, now))
	}
	return out, nil
}

// allowlistOf leaves out what has expired at now: it protects nothing any more.
func allowlistOf(l *engine.Allowlist, now int64) Allowlist {
	out := Allowlist{Name: l.Name, Description: l.Description, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt, ConsoleID: l.ConsoleID, FromConsole: l.FromConsole}
	for i := range l.Items {
		if item := &l.Items[i]; !item.Expired(now) {
			out.Items = append(out.Items, AllowlistItem{item.Value, item.Comment, item.CreatedAt, item.ExpiresAt})
		}
	}
	return out
}

// allowlist finds a list; engine.ErrNotFound when there is none.
func (h *Handler) allowlist(name string) (*engine.Allowlist, error) {
	l := h.engine.View().Allowlist(name)
	if l == nil {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounAllowlist, Name: name}
	}
	return l, nil
}

// getAllowlist is one of them.
func (h *Handler) getAllowlist(_ context.Context, q *Name) (*Allowlist, error) {
	l, err := h.allowlist(q.Name)
	if err != nil {
		return nil, err
	}
	out := allowlistOf(l, h.engine.Now())
	return &out, nil
}

// createAllowlist makes a list; its name becomes a part of URLs.
func (h *Handler) createAllowlist(ctx context.Context, q *NewAllowlist) (*Edited, error) {
	if err := UsableListName(q.Name); err != nil {
		return nil, err
	}
	if err := h.engine.CreateAllowlist(ctx, q.Name, q.Description, h.engine.Now()); err != nil {
		return nil, err
	}
	h.logChange(ctx, "created an allowlist", "allowlist", q.Name)
	done := &Edited{}
	if by := h.engine.View().AllowlistUsers(q.Name); by != "" {
		done.Warnings = []string{fmt.Sprintf("the allowlist '%s' is named by %s, from before it was made: what is added to it is hidden there", q.Name, by)}
	}
	return done, nil
}

// deleteAllowlist removes a list with its items.
func (h *Handler) deleteAllowlist(ctx context.Context, q *AllowlistDeletion) (*Edited, error) {
	by := h.engine.View().AllowlistUsers(q.Name)
	if err := h.engine.DeleteAllowlist(ctx, q.Name, q.Force); err != nil {
		return nil, err
	}
	h.logChange(ctx, "deleted an allowlist", "allowlist", q.Name)
	done := &Edited{}
	if by != "" {
		done.Warnings = []string{fmt.Sprintf("the allowlist '%s' is still named by %s, which tell of what it covered from now on, and would go by a new one of this name", q.Name, by)}
	}
	return done, nil
}

// addToAllowlist adds what can be read and is not there, in one commit, with the ends
// of the decisions that it covers. Values that cannot be read are told and hold
// nothing up. An item that has expired counts as absent: it is replaced.
func (h *Handler) addToAllowlist(ctx context.Context, q *AllowlistAddition) (*AllowlistAdded, error) {
	if _, err := h.allowlist(q.Name); err != nil {
		return nil, err
	}
	now, view := h.engine.Now(), h.engine.View()
	present := map[string]bool{}
	out := &AllowlistAdded{}
	var items []engine.AllowlistItem
	for _, n := range q.Items {
		p, err := engine.ParseTarget(n.Value)
		if err != nil {
			out.Bad = append(out.Bad, err.Error())
			continue
		}
		if old, holds := view.AllowlistHolds(q.Name, n.Value, p); present[n.Value] || holds && !old.Expired(now) {
			out.Present = append(out.Present, n.Value)
			continue
		}
		present[n.Value] = true
		item := engine.AllowlistItem{Value: n.Value, Prefix: p, Comment: n.Comment, CreatedAt: now}
		if n.Lasts != 0 {
			item.ExpiresAt = engine.Later(now, time.Duration(n.Lasts))
		}
		items = append(items, item)
	}
	if q.Dry {
		return h.wouldAllowlist(view, q.Name, items, now, out)
	}
	var err error // a list of the console's is refused even where there is nothing to add
	if out.Added, out.Ended, err = h.engine.AddToAllowlist(ctx, q.Name, items, now); err != nil || len(items) == 0 {
		return out, err
	}
	values := make([]string, len(items))
	for i := range items {
		values[i] = items[i].Value
	}
	h.logChange(ctx, "added to an allowlist", "allowlist", q.Name, "values", out.Added, "first", some(values), "decisions_ended", out.Ended)
	return out, nil
}

// wouldAllowlist says what the addition would do.
func (h *Handler) wouldAllowlist(view *engine.View, name string, items []engine.AllowlistItem, now int64, out *AllowlistAdded) (*AllowlistAdded, error) {
	added, ends, err := view.WouldAllowlist(name, items, now)
	if err != nil {
		return nil, err
	}
	out.Added, out.Ended = added, len(ends)
	for _, d := range ends[:min(len(ends), ShownEnded)] {
		out.First = append(out.First, decisionOf(d, now))
	}
	return out, nil
}

// removeFromAllowlist compares values as they were written.
func (h *Handler) removeFromAllowlist(ctx context.Context, q *AllowlistRemoval) (*Done, error) {
	if _, err := h.allowlist(q.Name); err != nil {
		return nil, err
	}
	n, err := h.engine.RemoveFromAllowlist(ctx, q.Name, q.Values, h.engine.Now())
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "removed from an allowlist", "allowlist", q.Name, "values", n, "asked", some(q.Values))
	return &Done{N: n}, nil
}

// checkAllowlists gives the reasons of all items that cover the value, or lie inside
// it, in the order of the lists.
func (h *Handler) checkAllowlists(_ context.Context, q *Check) (*Checked, error) {
	p, err := engine.ParseTarget(q.Value)
	if err != nil {
		return nil, err
	}
	out := &Checked{}
	for i, m := range h.engine.View().Allowlisted(nil, p, h.engine.Now()) {
		if i > 0 {
			out.Reason += ", "
		}
		out.Reason += m.Reason()
	}
	return out, nil
}
