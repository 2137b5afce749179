package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestExtendDecisions: each that matches ends and its like begins with another end, in one commit; bouncers are told of the
// new end and of no deletion; batches and what is simulated stay so; lists and what would be over are left.
func TestExtendDecisions(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	now := func() int64 { return r.Now().UnixNano() }
	for _, id := range []string{"edge-1", "edge-2"} {
		wants(t, r.AddMachine(t.Context(), &engine.Machine{ID: id, Validated: true}, false), nil)
	}
	replace(t, r, community("198.51.100.1"))
	own := subscribed("drop", "198.51.100.2")
	own.Own = true
	replace(t, r, own)
	for i, a := range []*engine.Alert{
		{Scenario: "s", Source: engine.Source{Scope: engine.ScopeIP, Value: "192.0.2.1", Cn: "FR", AsNumber: "64500", AsName: "EXAMPLE"}, Decisions: []engine.NewDecision{{Duration: "4h", Origin: "crowdsec", Scenario: "s", Scope: engine.ScopeIP, Type: "ban", Value: "::ffff:192.0.2.1"}, {Duration: "1h", Origin: "cscli", Scenario: "s", Scope: "Range", Type: "captcha", Value: "192.0.2.80/24"}}},
		{Scenario: "s", Simulated: true, Decisions: []engine.NewDecision{{Duration: "4h", Origin: "crowdsec", Scenario: "s", Scope: engine.ScopeIP, Type: "ban", Value: "192.0.2.3"}}},
		{Scenario: "s", Batch: engine.Batch{Name: "import"}, Decisions: []engine.NewDecision{{Duration: "4h", Origin: "cscli-import", Scenario: "s", Scope: "username", Type: "ban", Value: "bob"}}},
	} {
		a.StopAt = engine.StampOf(r.Now())
		if _, err := r.AddAlerts(t.Context(), []string{"edge-1", "edge-2", ""}[i], []*engine.Alert{a}, now()); err != nil {
			t.Fatal(i, err)
		}
	}
	all := func() *engine.Query { return &engine.Query{Now: now(), Simulated: true, Limit: -1} }
	ends := func() map[string]time.Duration {
		list := map[string]time.Duration{}
		found, _ := r.View().Select(all(), func(int64) bool { return true })
		for i := range found.Len() {
			d := found.At(i)
			list[fmt.Sprintf("%s %s %s %s %s %v %q %s %s", d.Machine(), d.Type().S, d.Scope().S, d.Value(), d.Origin().S, d.Simulated(), d.BatchOf().Name, d.Source().Country, d.Source().AsName)] = time.Duration(d.Until() - now()).Round(time.Hour)
		}
		return list
	}
	before, at := ends(), r.View().Revision()
	would, err := r.WouldExtendDecisions(all(), engine.Extension{By: 2 * time.Hour, FromEnd: true})
	if err != nil || would.N != 4 || would.Lists != 2 || r.View().Revision() != at {
		t.Fatalf("a dry run: %+v, %v, at %d of %d", would, err, r.View().Revision(), at)
	}
	done, err := r.ExtendDecisions(t.Context(), all(), engine.Extension{By: 2 * time.Hour, FromEnd: true})
	if err != nil || done.N != 4 || done.Lists != 2 || len(done.First) != 4 || r.View().Revision() != at+1 {
		t.Fatalf("%+v, %v, at %d of %d", done, err, r.View().Revision(), at)
	}
	after := ends()
	for name, end := range before {
		if longer := after[name] == end+2*time.Hour; longer == (end == 24*time.Hour) {
			t.Errorf("%s ended in %v, and now in %v", name, end, after[name])
		}
	}
	if len(after) != len(before) {
		t.Errorf("%v, before %v", after, before)
	}
	if begun, ended := learns(t, r, at); len(begun) != 2 || len(ended) != 0 { // what is simulated is told to nobody, and users not to this one
		t.Errorf("a bouncer is told of %v and the end of %v", begun, ended)
	}
	at = r.View().Revision()
	if done, err = r.ExtendDecisions(t.Context(), all(), engine.Extension{By: -4 * time.Hour, FromEnd: true}); err != nil || done.N != 3 || done.Over != 1 {
		t.Errorf("shorter: %+v, %v", done, err)
	}
	if begun, ended := learns(t, r, at); len(begun) != 1 || len(ended) != 0 {
		t.Errorf("a bouncer is told of %v and the end of %v", begun, ended)
	}
	_, next := r.View().NextIDs()
	one := next - 1
	if done, err = r.ExtendDecision(t.Context(), one, engine.Extension{By: 30 * time.Hour}, now()); err != nil || done.N != 1 || done.First[0].Until != now()+int64(30*time.Hour) {
		t.Errorf("one: %+v, %v", done, err)
	}
	if done, err = r.ExtendDecision(t.Context(), one, engine.Extension{By: 30 * time.Hour}, now()); err != nil || done.N != 0 {
		t.Errorf("one that is over: %+v, %v", done, err)
	}
	if _, err = r.ExtendDecision(t.Context(), 4711, engine.Extension{By: time.Hour}, now()); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("one that there is not: %v", err)
	}
	if a, _, err := r.Engine.Alert(r.View(), engine.AlertID(6)); err != nil || a.MachineID != "edge-1" && a.MachineID != "edge-2" {
		t.Errorf("an alert of an extension is %q's: %v", a.MachineID, err)
	}
	held := ends()
	r.Restart()
	if now := ends(); fmt.Sprint(now) != fmt.Sprint(held) {
		t.Errorf("after a restart %v, before %v", now, held)
	}
}
