package engine_test

import (
	"context"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// named is an operator's list.
func named(name string, values ...string) *engine.List {
	l := subscribed(name, values...)
	l.Own = true
	return l
}

// A pulled list and one of an operator do not touch one another, and what an operator sets
// is refused where a pulled one of that name runs.
func TestNamedListIsNoPulledOne(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	if c := replace(t, r, named("x", pulled(0, 10)...)); c.Begun != 10 || c.Held {
		t.Fatalf("an operator's: %+v", c)
	}
	if c := replace(t, r, subscribed("x", pulled(5, 15)...)); c.Before != 0 || c.Begun != 10 || c.Ended != 0 {
		t.Errorf("a pulled one of that name: %+v", c)
	}
	if c := replace(t, r, named("x", pulled(0, 10)...)); !c.Held || c.Foreign != 10 {
		t.Errorf("the operator's again: %+v", c)
	}
	if c := replace(t, r, subscribed("x", pulled(5, 12)...)); c.Before != 10 || c.Ended != 3 || c.Begun != 0 {
		t.Errorf("the pulled one again: %+v", c)
	}
}

// What an alert belongs to is kept by a restart and by a snapshot, and forgotten with it.
func TestBatchIsKept(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	add := func(batch, value string) {
		t.Helper()
		now := r.Now().UnixNano()
		a := &engine.Alert{Scenario: "s", StartAt: engine.Stamp{At: now}, StopAt: engine.Stamp{At: now}, Batch: engine.Batch{Name: batch}, Decisions: []engine.NewDecision{
			{Duration: "4h", Origin: engine.OriginImport, Scenario: "s", Scope: engine.ScopeIP, Type: "ban", Value: value}}}
		if _, err := r.AddAlerts(ctx, "", []*engine.Alert{a}, now); err != nil {
			t.Fatal(err)
		}
	}
	add("a", "192.0.2.1")
	add("a", "192.0.2.2")
	add("", "192.0.2.3")
	replace(t, r, named("l", "192.0.2.4"))
	look := func(when string) {
		t.Helper()
		v := r.View()
		for b, want := range map[engine.Batch]int{{Name: "a"}: 2, {Name: "l", List: true}: 1, {Name: "l"}: 0, {Name: "b"}: 0} {
			q := &engine.Query{Now: r.Now().UnixNano(), Batch: b, Limit: -1}
			if got := v.Find(nil, q); len(got) != want || v.HasBatch(b) != (want > 0) {
				t.Errorf("%s: %+v has %d decisions, want %d", when, b, len(got), want)
			}
		}
	}
	look("made")
	r.Restart()
	look("replayed")
	if err := r.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	r.Restart()
	look("read")
	add("b", "192.0.2.9")
	if n, err := r.EndDecisions(ctx, &engine.Query{Now: r.Now().UnixNano(), Batch: engine.Batch{Name: "a"}, Limit: -1}); n != 2 || err != nil {
		t.Errorf("%d have ended, %v", n, err)
	}
	if n, err := r.DeleteAlerts(ctx, &engine.AlertQuery{Now: r.Now().UnixNano(), Batch: engine.Batch{Name: "b"}}); n != 1 || err != nil || r.View().HasBatch(engine.Batch{Name: "b"}) {
		t.Errorf("%d alerts are deleted, %v", n, err)
	}
}
