package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Await asks whether bouncers have a revision, or a decision: that it began.
type Await struct {
	Revision Revision   // counts without Decision
	Decision DecisionID // 0: Revision counts
	// Names are of the bouncers; rows that their keys made from new addresses are asked
	// too. Empty: all that have ever asked for decisions.
	Names []string
}

// HoldState is what a row says to an Await.
type HoldState string

// States of rows. The first three are waited for no longer; Never is where the row was
// not named.
const (
	HoldHas     HoldState = "has"     // it has acknowledged it
	HoldNothing HoldState = "nothing" // nothing in it concerns the bouncer, or its view hides it
	HoldLive    HoldState = "live"    // it asks for each address, and is told what is so at that moment
	HoldNever   HoldState = "never"   // it has never asked for decisions
	HoldWaits   HoldState = "waits"   // it has not acknowledged it yet
)

// AwaitedRow is one row's state.
type AwaitedRow struct {
	Name         string
	State        HoldState
	Acknowledged Revision // counts only with Has
	Has          bool
}

// Awaited is how far an Await is.
type Awaited struct {
	Done     bool
	Revision Revision // that is waited for
	// Over: the decision has ended, and nobody need have it.
	Over bool
	Rows []AwaitedRow // in order of creation
}

// awaitPause is how long it is waited after a look, at least, before the next: bouncers that
// acknowledge one after the other are looked at together. A look that takes long is
// followed by a pause awaitShare times as long.
const (
	awaitPause = 10 * time.Millisecond
	awaitShare = 4
)

// Await waits until every bouncer has what is asked for, until patience is over, or ctx ends,
// and says how it stands then. It looks when a bouncer has acknowledged something or a
// commit was made, and not otherwise. Errors: ErrNotFound for a bouncer or a decision that
// does not exist, ErrInvalid for a revision that is not there yet.
func (e *Engine) Await(ctx context.Context, a *Await, patience time.Duration) (*Awaited, error) {
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		acknowledged, changed := e.Acknowledging(), e.Changed()
		began := time.Now()
		got, err := e.lookAwaited(a)
		if err != nil || got.Done {
			return got, err
		}
		select {
		case <-acknowledged:
		case <-changed:
		case <-over.C:
			return got, nil
		case <-ctx.Done():
			return got, nil
		}
		pause := time.NewTimer(max(awaitPause, awaitShare*time.Since(began).Round(time.Millisecond)))
		select {
		case <-pause.C:
		case <-over.C:
			pause.Stop()
			return e.lookAwaited(a)
		case <-ctx.Done():
			pause.Stop()
			return got, nil
		}
	}
}

// lookAwaited looks once.
func (e *Engine) lookAwaited(a *Await) (*Awaited, error) {
	h := e.Holdings(e.Now())
	out := &Awaited{Revision: a.Revision}
	rows, err := h.view.awaitedRows(a.Names)
	if err != nil {
		return nil, err
	}
	var decision Decision
	var about *inquiry
	if a.Decision != 0 {
		d, ok := h.view.Decision(a.Decision)
		if !ok {
			return nil, notFound(NounDecision, strconv.FormatUint(uint64(a.Decision), 10))
		}
		if decision, out.Revision = d, Revision(d.rec.begun); !d.Running(h.now) {
			out.Done, out.Over = true, true
			return out, nil
		}
		about = &inquiry{engine: e, view: h.view, now: h.now, at: h.now, prefix: decision.Target()}
	} else if a.Revision > h.view.revision {
		return nil, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("there is no revision %d yet: the newest is %d", a.Revision, h.view.revision)}
	}
	out.Done = true
	asked := map[string]bool{} // names of which some row has
	for _, r := range rows {
		row := h.awaited(r, out.Revision, decision, about)
		asked[BaseName(row.Name)] = asked[BaseName(row.Name)] || row.State != HoldNever
		out.Done = out.Done && row.State != HoldWaits
		out.Rows = append(out.Rows, row)
	}
	for _, name := range a.Names { // who is named is waited for until it comes
		out.Done = out.Done && asked[BaseName(name)]
	}
	return out, nil
}

// awaitedRows are the rows of those names, or all, in order of creation.
func (v *View) awaitedRows(names []string) ([]*BouncerRow, error) {
	if len(names) == 0 {
		return v.Bouncers(), nil
	}
	var rows []*BouncerRow
	for _, name := range names {
		r := v.Bouncer(name)
		if r == nil {
			return nil, notFound(NounBouncer, name)
		}
		rows = append(rows, r)
		for _, child := range v.bouncers.children(r.Load()) {
			if c := v.Bouncer(child); c != nil && child != name {
				rows = append(rows, c)
			}
		}
	}
	slices.SortFunc(rows, func(a, b *BouncerRow) int { return cmp.Compare(a.place, b.place) })
	return slices.Compact(rows), nil
}

// awaited is how one row stands to a revision, and to a decision that began with it, of
// which about knows what hides it.
func (h *Holdings) awaited(r *BouncerRow, rev Revision, d Decision, about *inquiry) AwaitedRow {
	out := AwaitedRow{Name: r.Load().Name, State: HoldWaits}
	out.Acknowledged, out.Has = r.Acknowledged()
	asked, polled := h.engine.polls.asks(r)
	_, pulled := r.Cursor()
	switch {
	case !polled && !pulled && !out.Has && r.LastPull() == 0:
		out.State = HoldNever
	case !polled && !pulled && !out.Has:
		out.State = HoldLive
	case d.rec != nil && (!h.admits(asked, r, d) || about.hides(r.Load().Sight, d.rec) != ""):
		out.State = HoldNothing
	case d.rec != nil && out.Has && !about.acknowledged(r, d.rec, out.Acknowledged):
		// Then its view hid it, and does not any more: it is told with its next poll.
	case out.Has && out.Acknowledged >= rev:
		out.State = HoldHas
	case out.Has && h.passes(asked, r, out.Acknowledged, rev):
		out.State = HoldNothing
	}
	return out
}

// admits reports whether the decision is told to who asks that.
func (h *Holdings) admits(a *Asked, r *BouncerRow, d Decision) bool {
	q := a.asking(r.Load().Sight)
	q.resolve(h.view.state)
	return q.admits(h.view.state, d.rec) && q.relatesStream(h.view, d.rec)
}

// acknowledged reports whether a bouncer that has acknowledged a revision was told of a
// decision by then. Where what came first in its view then is not known, it counts as told.
func (w *inquiry) acknowledged(r *BouncerRow, of *record, at Revision) bool {
	unranked := w.unranked
	return w.toldAt(r, of, uint64(at)+1) || uint64(at) >= of.begun && w.unranked > unranked
}

// passes reports whether nothing up to a revision, behind the one acknowledged, concerns
// the bouncer.
func (h *Holdings) passes(a *Asked, r *BouncerRow, at, rev Revision) bool {
	f := h.first(a, standpoint{counted{a.text, r.Load().Sight}, at})
	return f.rev == 0 || f.rev > rev
}
