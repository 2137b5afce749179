package engine_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// TestLongestStretch: whatever works on many decisions looks after the connections, and no
// stretch between is longer than a few dozen of them. It counts rows and no time.
func TestLongestStretch(t *testing.T) {
	t.Parallel()
	const alerts, each, most = 4, 5000, 64
	var rig *enginetest.Rig
	var at func() int // how far the work is; nil: nobody looks
	var mu sync.Mutex // a snapshot may be written by the engine itself
	watched, longest, last, calls := false, 0, 0, 0
	rig = enginetest.NewRig(t, func(o *engine.Options) {
		o.Yield = func() {
			mu.Lock()
			defer mu.Unlock()
			if watched {
				now := at()
				longest, last = max(longest, now-last, last-now), now
				calls++
			}
		}
	})
	look := func(what string, far func() int, work func()) (called int) {
		t.Helper()
		mu.Lock()
		at, longest, calls, last, watched = far, 0, 0, far(), true
		mu.Unlock()
		work()
		mu.Lock()
		defer mu.Unlock()
		watched = false
		if rest := far() - last; max(longest, rest, -rest) > most {
			t.Errorf("%s: %d decisions in one stretch, want %d at most", what, max(longest, rest, -rest), most)
		}
		return calls
	}
	records := func() int { n, _ := rig.AtWork(); return n }
	waiting := func() int { _, n := rig.AtWork(); return n }

	look("bringing", records, func() {
		for i := range alerts {
			now := engine.StampOf(rig.Now())
			a := &engine.Alert{Scenario: "s", Source: engine.Source{Scope: engine.ScopeIP, Value: "192.0.2.1"}, StartAt: now, StopAt: now}
			for j := range each {
				d := engine.NewDecision{Duration: "4h", Origin: engine.OriginManual, Scenario: "s", Scope: engine.ScopeIP,
					Type: "ban", Value: fmt.Sprintf("10.%d.%d.%d", i, j>>8, j&255)}
				if j%4 == 0 {
					d.Scope, d.Value = engine.ScopeRange, fmt.Sprintf("11.%d.%d.%d/30", i, j>>6, j<<2&255)
				}
				a.Decisions = append(a.Decisions, d)
			}
			if _, err := rig.AddAlerts(t.Context(), "", []*engine.Alert{a}, rig.Engine.Now()); err != nil {
				t.Fatal(err)
			}
		}
	})
	called := look("writing a snapshot", func() int { return 0 }, func() {
		if err := rig.Snapshot(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	if want := alerts * each / most; called < want {
		t.Errorf("a snapshot of %d decisions looks after the connections %d times, want %d", alerts*each, called, want)
	}
	called = look("expiry", waiting, func() { rig.Advance(5 * time.Hour) })
	if want := alerts*each/most + alerts*each/256; called < want {
		t.Errorf("an expiry of %d decisions looks after the connections %d times, want %d", alerts*each, called, want)
	}
	if n := waiting(); n != 0 {
		t.Errorf("%d decisions have not ended", n)
	}
}
