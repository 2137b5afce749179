package engine_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestYieldIsOfOneEngine: each engine calls its own, and only where one request
// brings much.
func TestYieldIsOfOneEngine(t *testing.T) {
	t.Parallel()
	var calls [2]atomic.Int64
	var rigs [2]*enginetest.Rig
	for i := range rigs {
		rigs[i] = enginetest.NewRig(t, func(o *engine.Options) { o.Yield = func() { calls[i].Add(1) } })
	}
	report := func(r *enginetest.Rig, decisions int) {
		t.Helper()
		at := engine.StampOf(r.Now())
		a := &engine.Alert{Scenario: "s", Source: engine.Source{Scope: engine.ScopeIP, Value: "192.0.2.1"}, StartAt: at, StopAt: at}
		for i := range decisions {
			a.Decisions = append(a.Decisions, engine.NewDecision{Duration: "4h", Origin: engine.OriginManual, Scenario: "s",
				Scope: engine.ScopeIP, Type: "ban", Value: fmt.Sprintf("10.0.%d.%d", i>>8&255, i&255)})
		}
		if _, err := r.AddAlerts(t.Context(), "", []*engine.Alert{a}, r.Engine.Now()); err != nil {
			t.Fatal(err)
		}
	}
	report(rigs[0], 1000)
	report(rigs[1], 10)
	// Three loops: it is read, written down and applied.
	if few := calls[0].Load(); few < 9 {
		t.Errorf("a thousand decisions: stepped back %d times, want 3 for each of three loops", few)
	}
	if n := calls[1].Load(); n != 0 {
		t.Errorf("ten decisions, beside another engine at work: stepped back %d times", n)
	}
}
