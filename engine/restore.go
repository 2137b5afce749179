package engine

import (
	"context"
	"slices"
)

// Restored says what became of the decisions that were ended at a revision, or would.
type Restored struct {
	N           int // decisions that run again, until they would have ended
	Running     int // left: a decision like them runs on their target, for as long at least
	Allowlisted int // left: an allowlist covers their target by now
	Over        int // left: their time is over
	Lists       int // left: of a list, which sets its own ends
}

// RestoreDecisions takes back that an operator has ended decisions at a revision: of each whose time is not over the like
// begins, in one commit, of an alert that says so and is the machine's whose decision it was. With dry it is only
// said what would be. Errors: ErrNotFound when nothing that is stored was ended by an operator then; ErrInvalid for more
// than MostExtended; those of ctx, and of every write.
func (e *Engine) RestoreDecisions(ctx context.Context, at Revision, dry bool) (Restored, error) {
	v, now := e.View(), e.Now()
	var ended []DecisionID
	err := v.SiftDecisions(ctx, &Filter{}, AsOf{v.Revision(), now}, func(d Decision) bool {
		if by := d.EndedBy().Kind; d.EndedAt() == at && (by == ActorOperator || by == ActorNamedOperator) {
			ended = append(ended, d.ID())
		}
		return len(ended) <= MostExtended
	})
	switch {
	case err != nil:
		return Restored{}, err
	case at == 0 || len(ended) == 0:
		return Restored{}, &Error{Kind: ErrNotFound, Text: "no decision that is stored was ended by an operator at that revision"}
	case len(ended) > MostExtended:
		return Restored{}, invalid("more than %d decisions were ended then, which is what one order may restore", MostExtended)
	}
	slices.Sort(ended)
	var out Restored
	if dry {
		out, _ = v.restorable(ended, at, now)
		return out, nil
	}
	err = e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		var list []Decision
		if out, list = v.restorable(ended, at, now); len(list) == 0 {
			return nil, nil
		}
		w := extending{view: v, now: now, by: Extension{FromEnd: true}, words: "restored by an operator"}
		w.group(list)
		o := w.op(e.pace)
		o.ends.ids = nil
		return o, nil
	}})
	return out, err
}

// EndedAt is the revision at which the decision ended; 0: it has not.
func (d Decision) EndedAt() Revision {
	if !d.Ended() {
		return 0
	}
	return Revision(d.rec.endedRev.Load())
}

// restorable sorts out what may run again of those that were ended at a revision.
func (v *View) restorable(ended []DecisionID, at Revision, now int64) (out Restored, list []Decision) {
	for _, id := range ended {
		d, ok := v.Decision(id)
		switch {
		case !ok || d.rec.until <= now:
			out.Over++
		case v.state.listed(d.rec):
			out.Lists++
		case d.Target().IsValid() && len(v.Allowlisted(nil, d.Target(), now)) > 0:
			out.Allowlisted++
		case v.runsLike(d, at, now):
			out.Running++
		default:
			out.N++
			list = append(list, d)
		}
	}
	return out, list
}

// runsLike reports whether a decision with the same words runs on the same target, for as long at least, or in its place
// since it was ended.
func (v *View) runsLike(d Decision, at Revision, now int64) (found bool) {
	words := v.state.wordsOf(d.rec)
	v.eachOn(&listed{value: d.Value(), target: d.Target()}, func(r *record) {
		found = found || v.state.wordsOf(r) == words && v.running(r, now) && (r.until >= d.rec.until || Revision(r.begun) == at)
	})
	return found
}
