package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"lapid/persist"
)

// Bouncers may have been told of decisions that a store has and a backup of it lacks:
// unless the restored store lists them as over, they hold them until their decided end.
// So a restore over a store takes these decisions along, as ended.
const (
	// carriedAtMost is how many decisions are carried; of those beyond, bouncers hear
	// nothing.
	carriedAtMost = 100_000
	// carriedOfAlert is how many of them are of one alert, and one commit.
	carriedOfAlert = 10_000
)

// Carried is what Carry did.
type Carried struct {
	Decisions int // carried, as ended
	Left      int // for which there was no room
}

// Carry adds to a restored store, as ended, the decisions of another one that are not in
// it and that a bouncer may still hold: those whose decided end has not come, whether they
// run or were ended early. Neither store may be open elsewhere; the other is only read. It
// takes the memory of both. Errors are those of Open; after one the restored store is as
// good as before.
func Carry(ctx context.Context, restored, other *Options) (done Carried, err error) {
	old, err := readOnlyView(ctx, other)
	if err != nil || old == nil {
		return done, err
	}
	e, err := OpenContext(ctx, restored)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	known, now := e.View(), e.Now()
	var plans []plan
	for r := range old.each {
		if d := (Decision{old, r}); r.until <= now || bornOver(r) || known.has(d) {
			continue
		} else if done.Decisions+len(plans) >= carriedAtMost {
			done.Left++
			continue
		} else if plans = append(plans, planOf(d)); len(plans) < carriedOfAlert {
			continue
		}
		if err = e.carry(plans); err != nil {
			return done, err
		}
		done.Decisions += len(plans)
		plans = nil
	}
	if len(plans) > 0 {
		if err = e.carry(plans); err == nil {
			done.Decisions += len(plans)
		}
	}
	return done, err
}

// readOnlyView is the state of a store, read without changing it; nil when it was
// never begun.
func readOnlyView(ctx context.Context, o *Options) (*View, error) {
	options := o.withDefaults()
	store, err := persist.Open(&persist.Options{Dir: options.Dir, FS: options.FS, NoSync: options.NoSync, ReadOnly: true, Logger: options.Logger})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if store.Last() == 0 {
		return nil, nil
	}
	e := &Engine{options: options, log: options.Logger, store: store, remade: map[uint64]bool{}}
	if err := e.recover(ctx); err != nil {
		return nil, fmt.Errorf("reading the store: %w", store.Advise(err))
	}
	return e.View(), nil
}

// has reports whether a decision of another view of the same history is in this one.
func (v *View) has(d Decision) bool {
	own, ok := v.Decision(d.ID())
	return ok && own.Scope().S == d.Scope().S && own.Type().S == d.Type().S && own.Value() == d.Value() && own.rec.until == d.rec.until
}

// planOf is a decision as it would be stored again.
func planOf(d Decision) plan {
	p := makePlan(d.Scope().S, d.Value(), d.Target())
	p.until, p.kind, p.origin, p.scenario = d.rec.until, d.Type().S, d.Origin().S, d.Scenario().S
	return p
}

// carry stores decisions, and ends them in a commit of its own: no bouncer is told of
// what is over when it comes. Run must not be running.
func (e *Engine) carry(plans []plan) error {
	at := Stamp{At: e.state.at}
	a := &Alert{Scenario: "restore", Message: "decisions that are not in the backup, ended", StartAt: at, StopAt: at}
	_, _ = rand.Read(a.UUID[:]) // never fails
	a.UUID[6], a.UUID[8] = a.UUID[6]&0x0f|0x40, a.UUID[8]&0x3f|0x80
	o := &addAlerts{at: e.state.at, alerts: []incoming{{body: a.appendBody(nil), scenario: a.Scenario, startAt: at.At, plans: plans}}}
	end := &endDecisions{at: e.state.at}
	for i := range plans {
		end.ids = append(end.ids, e.state.next.nextDecision+uint64(i))
	}
	if err := e.commitAlone(o); err != nil {
		return err
	}
	return e.commitAlone(end)
}
