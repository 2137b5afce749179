package engine_test

import (
	"fmt"
	"net/netip"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// A decision is had by a bouncer that was told of it: not by one whose view hides it, by
// whatever, and not by one whose view hid it when it last came.
func TestAwaitKnowsViews(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	now := r.Now().UnixNano()
	wants(t, r.CreateAllowlist(t.Context(), "office", "", now), nil)
	_, _, err := r.AddToAllowlist(t.Context(), "office", []engine.AllowlistItem{{Value: "192.0.2.9", Prefix: netip.MustParsePrefix("192.0.2.9/32")}}, now)
	wants(t, err, nil)
	ban := func(value, origin, duration string) {
		t.Helper()
		a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now()), Decisions: []engine.NewDecision{{
			Scope: "Ip", Value: value, Type: "ban", Origin: origin, Scenario: "s", Duration: duration}}}
		_, err := r.AddAlerts(t.Context(), "", []*engine.Alert{a}, now)
		wants(t, err, nil)
	}
	for name, sight := range map[string]*engine.Sight{
		"all": nil, "one": {MaxEntries: 1, Priority: engine.Longest}, "listed": {Allowlists: []string{"office"}}, "lists": {Origins: []string{"lists"}},
	} {
		_, err := r.AddBouncer(t.Context(), &engine.Bouncer{Name: name, Sight: sight})
		wants(t, err, nil)
	}
	ban("192.0.2.9", "cscli", "1h")
	ban("192.0.2.1", "lists", "8h")
	come := func(name string) {
		row, at := r.View().Bouncer(name), r.View().Revision()
		row.Advance(at, now)
		row.AcknowledgePlace(at)
	}
	states := func(decision engine.DecisionID, want string) {
		t.Helper()
		got, err := r.Await(t.Context(), &engine.Await{Decision: decision, Names: []string{"all", "listed", "lists", "one"}}, 0)
		wants(t, err, nil)
		of := map[string]engine.HoldState{}
		for _, row := range got.Rows {
			of[row.Name] = row.State
		}
		if text := fmt.Sprint(of); text != "map["+want+"]" {
			t.Errorf("decision %d: %s, want %s", decision, text, want)
		}
	}
	for _, name := range []string{"all", "listed", "lists", "one"} {
		come(name)
	}
	states(1, "all:has listed:nothing lists:nothing one:nothing")
	states(2, "all:has listed:has lists:has one:has")
	for _, name := range []string{"listed", "lists", "one"} {
		_, err := r.EditBouncer(t.Context(), name, func(b *engine.Bouncer) error { b.Sight = nil; return nil })
		wants(t, err, nil)
	}
	states(1, "all:has listed:waits lists:waits one:waits")
	for _, name := range []string{"listed", "lists", "one"} {
		come(name)
	}
	states(1, "all:has listed:has lists:has one:has")
	wants(t, r.EndDecision(t.Context(), 1, now), nil)
	_, err = r.Await(t.Context(), &engine.Await{Decision: 1, Names: []string{"nobody"}}, 0)
	wants(t, err, engine.ErrNotFound)
}
