package engine

import (
	"context"
	"iter"
	"net/netip"
)

// Activity is the history as people read it, the newest first: which alerts came, which decisions began
// and ended, by whom. It is made of what memory has (of decisions Options.History events at most), so neither
// the journal nor the disk is asked, and no writer waits. What operators did otherwise the audit tells
// (Trail.Each).

// HappeningKind says what a Happening is about. It is not stored.
type HappeningKind uint8

// Kinds of happenings.
const (
	AlertRaised HappeningKind = iota + 1
	DecisionsBegan
	DecisionsEnded
)

// Happening is one line of the activity.
type Happening struct {
	Kind     HappeningKind
	Revision Revision
	At       int64 // Unix nanoseconds: when the alert was received, when the decision was over; 0: not known any more
	// By is who raised, decided or ended it. Of what operators have decided it is the kind alone: the audit
	// has their names.
	By       Actor
	Alert    AlertID
	Decision Decision // of decisions: the last one of them
	Count    int      // of an alert's decisions; of those that began for it, or that one actor ended, one behind the other

	// Of an alert.
	Scenario  string
	Scope     string       // of its source
	Source    netip.Prefix // invalid: it is no address
	Simulated bool
}

// ActivityQuery says which happenings are asked for. The zero query is all of them.
type ActivityQuery struct {
	Since, Until int64        // Unix nanoseconds; Until is not in it; 0: open
	About        netip.Prefix // what lies in it, or has it in itself; the zero Prefix: anything
	Kind, Actor  string       // the actor's kind, as AuditActorKind has it, and its name
}

// ActivityPlace is where a reader of the activity stands. It is good over a restart, after which the events of
// one revision may come in another order.
type ActivityPlace struct {
	Revision Revision // events of later ones are behind the reader
	Told     int      // and so many of its own, from the last one on
	Alert    AlertID  // alerts of smaller numbers come next
}

// ActivityAt is the place in front of all that a revision has.
func (v *View) ActivityAt(rev Revision) ActivityPlace {
	return ActivityPlace{Revision: min(rev, v.revision), Alert: AlertID(v.nextAlert)}
}

// HistoryFloor is the revision up to which it is not known any more what began and ended.
func (v *View) HistoryFloor() Revision { return Revision(v.state.history.Floor()) }

// admits tells whether somebody, somewhere, at some time, is asked for.
func (q *ActivityQuery) admits(by Actor, at int64, about netip.Prefix) bool {
	return (q.Since == 0 || at >= q.Since) && (q.Until == 0 || at < q.Until) &&
		(q.Kind == "" || AuditActorKind(by.Kind) == q.Kind) && (q.Actor == "" || by.Name == q.Actor) &&
		(!q.About.IsValid() || about.IsValid() && q.About.Overlaps(about))
}

// EventsBefore yields what began and ended of decisions, from a place backwards, each with the place behind
// it. Those that stand one behind the other in a commit, of one alert or ended by one actor, are one happening. It
// walks memory until yield returns false, ctx ends or the history does, and steps back now and
// then. Any goroutine.
func (v *View) EventsBefore(ctx context.Context, from ActivityPlace, q *ActivityQuery) iter.Seq2[*Happening, ActivityPlace] {
	return func(yield func(*Happening, ActivityPlace) bool) {
		window, ok := v.state.history.Window(uint64(v.HistoryFloor()), uint64(min(from.Revision, v.revision)))
		if !ok {
			return // what there was is being forgotten
		}
		var open *Happening // what the next may belong to
		at, behind := ActivityPlace{}, ActivityPlace{}
		for i := window.Len() - 1; i >= 0; i-- {
			looked := window.Len() - i
			v.state.pace.step(looked)
			if looked%lookedAtOnce == 0 && ctx.Err() != nil {
				return
			}
			event := window.At(i)
			r := v.state.records.At(event.Slot())
			rev := Revision(r.begun)
			if event.Ended() {
				rev = Revision(r.endedRev.Load())
			}
			if at.Told++; rev != at.Revision {
				at = ActivityPlace{Revision: rev, Told: 1, Alert: from.Alert}
			}
			if rev == from.Revision && at.Told <= from.Told {
				continue
			}
			one := v.happened(r, event.Ended(), rev)
			if !q.admits(one.By, one.At, v.state.targetOf(r)) {
				continue
			}
			if open != nil && open.goesOn(&one) {
				open.Count++
				behind = at
				continue
			}
			if open != nil && !yield(open, behind) {
				return
			}
			kept := one // not every one is to be
			open, behind = &kept, at
		}
		if open != nil {
			yield(open, behind)
		}
	}
}

// happened is what an event of a record says.
func (v *View) happened(r *record, ended bool, rev Revision) Happening {
	d := Decision{v, r}
	if ended {
		one := Happening{Kind: DecisionsEnded, Revision: rev, At: r.endedAt, Alert: AlertID(r.alert), Decision: d, Count: 1, By: v.state.actorAt(r.by())}
		if r.by() == 0 && r.endedAt == r.until {
			one.By = Actor{Kind: ActorExpiry}
		}
		return one
	}
	return Happening{Kind: DecisionsBegan, Revision: rev, At: d.CreatedAt(), Alert: AlertID(r.alert), Decision: d, Count: 1, By: v.decider(r)}
}

// goesOn tells whether a happening is told by the one behind which it was met.
func (h *Happening) goesOn(o *Happening) bool {
	return h.Kind == o.Kind && h.Revision == o.Revision && h.By == o.By && (h.Kind == DecisionsEnded || h.Alert == o.Alert)
}

// decider is who decided, as far as it is known by a decision's origin and its machine.
func (v *View) decider(r *record) Actor {
	d := Decision{v, r}
	switch d.Origin().S {
	case OriginManual, OriginImport:
		return Actor{Kind: ActorOperator}
	case OriginCAPI:
		return Actor{Kind: ActorCentralAPI}
	case "console":
		return Actor{Kind: ActorConsole}
	case OriginLists:
		return Actor{} // the Central API's, or an operator's
	}
	if machine := d.Machine(); machine != "" {
		return Actor{ActorMachine, machine}
	}
	return Actor{}
}

// AlertsBefore yields the alerts of smaller numbers than one, the newest first, as EventsBefore yields events. Alerts
// that were deleted are left out.
func (v *View) AlertsBefore(ctx context.Context, before AlertID, q *ActivityQuery) iter.Seq[*Happening] {
	return func(yield func(*Happening) bool) {
		looked := 0
		for id := range v.state.alerts.Descending(1, min(uint64(before), v.nextAlert)) {
			looked++
			v.state.pace.step(looked)
			if looked%lookedAtOnce == 0 && ctx.Err() != nil {
				return
			}
			h := v.alert(id)
			if h == nil {
				continue
			}
			source, by := v.state.sourceAddressOf(h), v.raiser(id, h)
			if !q.admits(by, h.createdAt, source) {
				continue
			}
			words := v.state.sourceWordsOf(h)
			if !yield(&Happening{Kind: AlertRaised, Revision: Revision(h.begun.Load()), At: h.createdAt, By: by, Alert: AlertID(id), Count: int(h.count),
				Scenario: v.state.strings.At(h.scenario), Scope: words.Scope, Source: source, Simulated: h.simulated}) {
				return
			}
		}
	}
}

// raiser is who sent an alert: who has decided what it brought, and else its machine.
func (v *View) raiser(id uint64, h *heldAlert) (by Actor) {
	if machine := v.machineID(h.machine); machine != "" {
		by = Actor{ActorMachine, machine}
	}
	v.eachOf(id, h, func(r *record) bool {
		by = v.decider(r)
		return false
	})
	return by
}
