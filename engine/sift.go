package engine

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
)

// AsOf is what a list is of: a revision of the history, and the moment by which decisions run, in Unix
// nanoseconds.
type AsOf struct {
	Revision Revision
	At       int64
}

// String is as ParseAsOf reads it.
func (a AsOf) String() string {
	return strconv.FormatUint(uint64(a.Revision), 10) + "." + strconv.FormatInt(a.At, 10)
}

// ParseAsOf is the mirror of String. The error is of kind ErrInvalid.
func ParseAsOf(text string) (AsOf, error) {
	left, right, _ := strings.Cut(text, ".")
	rev, wrong := strconv.ParseUint(left, 10, 64)
	at, err := strconv.ParseInt(right, 10, 64)
	if wrong != nil || err != nil || at < 0 {
		return AsOf{}, invalid("as_of is what a list of matches gave, not %.100q", text)
	}
	return AsOf{Revision(rev), at}, nil
}

// keeps is an error when a list of a revision cannot be told any more, of kind ErrForgotten: from where the
// history begins, what was deleted since is not known.
func (v *View) keeps(rev Revision) error {
	if rev == v.revision {
		return nil
	}
	if rev > v.revision || uint64(rev) < v.state.history.Floor() {
		return &Error{Kind: ErrForgotten, Text: "the list is of revision " + strconv.FormatUint(uint64(rev), 10) +
			", which is not kept any more: begin anew with its first page"}
	}
	return nil
}

// SiftDecisions yields all decisions that f lets through, as of a revision up to the view's, but for those of
// alerts that were deleted since, until yield returns false: the newest first, or in no order where an address,
// an alert or a value tells where to look. It walks memory once and takes none; yield may take its time, during
// which what the view shows is not forgotten, and no writer waits. Any goroutine. Errors are of kind ErrInvalid
// and ErrForgotten, and those of ctx; what was yielded before one is not all.
func (v *View) SiftDecisions(ctx context.Context, f *Filter, as AsOf, yield func(Decision) bool) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := v.keeps(as.Revision); err != nil {
		return err
	}
	p, looked := newSieve(v, f, as.Revision, as.At, nil, false), 0
	p.eachDecision(1, math.MaxUint64-1, true, func(_ slot, r *record) bool {
		looked++
		v.state.pace.glance(looked)
		if looked%lookedAtOnce == 0 && ctx.Err() != nil {
			return false
		}
		miss, ok := p.decision(r)
		return !ok || miss != 0 || yield(Decision{v, r})
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	return v.keeps(as.Revision)
}

// SiftAlerts is SiftDecisions for alerts, without what was deleted since; the newest come first. What memory
// does not have of an alert, such as words of its message, the disk is asked for, whose errors it returns.
func (e *Engine) SiftAlerts(ctx context.Context, v *View, f *Filter, as AsOf, yield func(row AlertRow, began Revision) bool) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := v.keeps(as.Revision); err != nil {
		return err
	}
	w := alertWalk{
		engine: e, sieve: newSieve(v, f, as.Revision, as.At, nil, true), left: math.MaxInt,
		pager: &pager{query: &PageQuery{}, rev: as.Revision, now: as.At, falling: true},
	}
	w.ask()
	looked := 0
	w.each(func(id uint64, h *heldAlert) bool {
		looked++
		v.state.pace.step(looked)
		if looked%lookedAtOnce == 0 && ctx.Err() != nil {
			return false
		}
		miss, ok := w.passes(id, h)
		if w.err != nil {
			return false
		}
		return !ok || miss != 0 || yield(AlertRow{AlertID(id), int(h.count)}, Revision(h.begun.Load()))
	})
	if w.err != nil {
		return w.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return v.keeps(as.Revision)
}

// EndSifted ends what still runs of the decisions that f lets through as of a revision, in one commit, and says how
// many and at which revision (0: none). What came since stays as it is, and is not counted. It takes eight bytes for each. Errors are those of
// SiftDecisions and of writes.
func (e *Engine) EndSifted(ctx context.Context, f *Filter, as AsOf) (n int, at Revision, err error) {
	o := &endDecisions{at: e.Now()}
	err = e.View().SiftDecisions(ctx, f, as, func(d Decision) bool {
		if !d.Ended() {
			o.ids = append(o.ids, uint64(d.ID()))
		}
		return true
	})
	if err != nil || len(o.ids) == 0 {
		return 0, 0, err
	}
	slices.Sort(o.ids)
	if err := e.propose(ctx, &proposal{op: o}); err != nil {
		return 0, 0, err
	}
	return o.ended, o.rev, nil
}

// DeleteSifted is EndSifted for alerts, which it deletes with their decisions.
func (e *Engine) DeleteSifted(ctx context.Context, f *Filter, as AsOf) (int, error) {
	var ids []uint64
	err := e.SiftAlerts(ctx, e.View(), f, as, func(row AlertRow, _ Revision) bool {
		ids = append(ids, uint64(row.ID))
		return true
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return e.dropAlerts(ctx, ids, e.Now())
}
