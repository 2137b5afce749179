package engine_test

import (
	"fmt"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestFlow: what came and went is counted by scenario, origin and reason, since the start
// alone, and names beyond the first hundred are one.
func TestFlow(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	p := populated{r, t}
	add := func(scenario, origin, value, duration string) {
		t.Helper()
		stamp := engine.StampOf(r.Now())
		_, err := r.AddAlerts(t.Context(), "", []*engine.Alert{{Scenario: scenario, StartAt: stamp, StopAt: stamp, Decisions: []engine.NewDecision{
			{Scope: "Ip", Value: value, Type: "ban", Origin: origin, Scenario: scenario, Duration: duration}}}}, r.Now().UnixNano())
		wants(t, err, nil)
	}
	add("first", "cscli", "192.0.2.1", "1h")
	add("first", "cscli", "192.0.2.2", "4h")
	add("other", "other", "192.0.2.3", "4h")
	add("first", "cscli", "192.0.2.4", "4h")
	for i := range 150 {
		add(fmt.Sprintf("s%d", i), "crowdsec", fmt.Sprintf("198.51.100.%d", i), "4h")
	}
	add("first", "cscli", "192.0.2.5", "-1s") // over when it comes: it never ran
	r.Advance(time.Hour + time.Second)
	p.Settle()
	now := r.Now().UnixNano()
	wants(t, r.EndDecision(engine.As(t.Context(), engine.Actor{Kind: engine.ActorOperator, Name: "root"}), 2, now), nil)
	allow(t, r.Engine, now, "192.0.2.3")
	_, err := r.DeleteAlerts(engine.As(t.Context(), engine.Actor{Kind: engine.ActorMachine, Name: "m"}), &engine.AlertQuery{Scenario: engine.Word{Given: true, Text: "s1"}, Now: now})
	wants(t, err, nil)

	m := r.Metrics()
	alerts, added, ended := map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	for _, n := range m.AlertsAdded {
		alerts[n.Name] += n.N
	}
	for _, n := range m.DecisionsAdded {
		added[n.Name] += n.N
	}
	for _, n := range m.DecisionsEnded {
		ended[n.Reason.String()] = n.N
	}
	if len(alerts) != 101 || alerts["first"] != 4 || alerts["s98"] != 1 || alerts["other"] != 52 {
		t.Errorf("alerts %v", alerts)
	}
	if added["cscli"] != 3 || added["crowdsec"] != 150 || added["other"] != 1 {
		t.Errorf("added %v", added)
	}
	if len(ended) != 8 || ended["expiry"] != 1 || ended["operator"] != 1 || ended["allowlist"] != 1 || ended["machine"] != 1 || ended["retention"] != 0 {
		t.Errorf("ended %v", ended)
	}
	r.Stop()
	r.Start()
	if m := r.Metrics(); len(m.AlertsAdded) != 0 || len(m.DecisionsAdded) != 0 {
		t.Errorf("the start counts what it reads: %v %v", m.AlertsAdded, m.DecisionsAdded)
	}
}
