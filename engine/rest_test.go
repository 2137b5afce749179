package engine_test

import (
	"context"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// A server at rest adds nothing to its history: what is over ends by one commit at its
// time, looks at the clock make none, nor do snapshots, starts and readers.
func TestRestAddsNothing(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.SnapshotEvery = 10 * time.Second })
	a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now())}
	for _, length := range []string{"75s", "1h", "30h"} {
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: "192.0.2.1", Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: length})
	}
	_, err := r.AddAlerts(context.Background(), "", []*engine.Alert{a}, r.Now().UnixNano())
	wants(t, err, nil)
	pass := func(many int, step time.Duration) {
		for range many {
			r.Step(step)
			for range 2 { // the first may have been under way
				before := r.Rounds()
				r.Wake()
				until(func() bool { return r.Rounds() > before })
			}
		}
	}
	at := r.View().Revision()
	pass(74, time.Second)
	if rev := r.View().Revision(); rev != at {
		t.Errorf("revision %d became %d before anything was over", at, rev)
	}
	pass(10, time.Second)
	if rev := r.View().Revision(); rev != at+1 {
		t.Errorf("revision %d became %d when one decision was over", at, rev)
	}
	for range 3 {
		pass(3, 9*time.Minute)
		r.Restart()
		pass(1, time.Second)
	}
	if rev := r.View().Revision(); rev != at+2 {
		t.Errorf("revision %d became %d when two decisions were over, in 80 minutes and three starts", at, rev)
	}
}
