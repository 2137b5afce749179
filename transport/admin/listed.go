package admin

import (
	"context"
	"errors"
	"fmt"

	"lapid/engine"
)

// Listed is what a list has of decisions or alerts, by its filter and as of a revision: what an operator was shown is
// what he has ended or deleted, and nothing that came since.
type Listed struct {
	Filter engine.Filter
	AsOf   engine.AsOf // zero: as it is now
	Words  string      // the filter as it was written, for the log
}

// Listing is what is said of Listed beside what was done.
type Listing struct {
	AsOf     engine.AsOf     // of the list, to be confirmed
	Newer    int             // that match now and came since: they are as they were
	Revision engine.Revision // that has what was done; of a dry run, the newest
}

// at is the list's moment.
func (l *Listed) at(view *engine.View, now int64) engine.AsOf {
	if l.AsOf == (engine.AsOf{}) {
		return engine.AsOf{Revision: view.Revision(), At: now}
	}
	return l.AsOf
}

func (l *Listed) asked() string {
	if l.Words == "" {
		return "all"
	}
	return fmt.Sprintf("%.200s", l.Words)
}

// endListed ends what a list has and still runs. What of it is told is what ran a moment before.
func (h *Handler) endListed(ctx context.Context, view *engine.View, q *DecisionFilter, now int64) (*Ended, error) {
	if q.Listed.Filter.Standing != engine.Running {
		return nil, invalid("only decisions that run can be ended: leave state away")
	}
	l, f := &Listing{AsOf: q.Listed.at(view, now)}, &q.Listed.Filter
	out := &Ended{Listing: l}
	err := view.SiftDecisions(ctx, f, l.AsOf, func(d engine.Decision) bool {
		if d.Running(now) {
			if out.N++; len(out.First) < ShownEnded {
				out.First = append(out.First, decisionOf(d, now))
			}
		}
		return true
	})
	if err == nil && l.AsOf.Revision != view.Revision() {
		err = view.SiftDecisions(ctx, f, engine.AsOf{Revision: view.Revision(), At: now}, func(d engine.Decision) bool {
			if d.Began() > l.AsOf.Revision {
				l.Newer++
			}
			return true
		})
	}
	if err == nil && !q.Dry && out.N > 0 {
		out.N, out.At, err = h.engine.EndSifted(ctx, f, l.AsOf)
	}
	if err != nil {
		return nil, err
	}
	if l.Revision = h.engine.View().Revision(); !q.Dry && out.N > 0 {
		h.logChange(ctx, "deleted decisions", "decisions", out.N, "asked", q.asked(), "first", firstOf(out))
	}
	return out, nil
}

// deleteListed is the same for alerts.
func (h *Handler) deleteListed(ctx context.Context, view *engine.View, q *AlertDeletion, now int64) (*DeletedAlerts, error) {
	l, f := &Listing{AsOf: q.Listed.at(view, now)}, &q.Listed.Filter
	out := &DeletedAlerts{Listing: l}
	var broken error
	err := h.engine.SiftAlerts(ctx, view, f, l.AsOf, func(row engine.AlertRow, _ engine.Revision) bool {
		if out.N++; len(out.First) == ShownEnded {
			return true
		}
		a, err := h.engine.AlertAlone(view, row.ID)
		if err == nil {
			out.First = append(out.First, DeletedAlert{uint64(a.ID), a.Source.Scope, a.Source.Value, a.Scenario, row.Decisions})
		} else if !errors.Is(err, engine.ErrNotFound) { // else it was deleted a moment ago
			broken = err
		}
		return broken == nil
	})
	if err == nil && l.AsOf.Revision != view.Revision() {
		err = h.engine.SiftAlerts(ctx, view, f, engine.AsOf{Revision: view.Revision(), At: now}, func(_ engine.AlertRow, began engine.Revision) bool {
			if began > l.AsOf.Revision {
				l.Newer++
			}
			return true
		})
	}
	if err == nil {
		err = broken
	}
	if err == nil && !q.Dry && out.N > 0 {
		out.N, err = h.engine.DeleteSifted(ctx, f, l.AsOf)
	}
	if err != nil {
		return nil, err
	}
	if l.Revision = h.engine.View().Revision(); !q.Dry && out.N > 0 {
		h.logChange(ctx, "deleted alerts", "alerts", out.N, "asked", q.asked())
	}
	return out, nil
}
