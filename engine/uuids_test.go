package engine_test

import (
	"context"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

func TestParseUUID(t *testing.T) {
	t.Parallel()
	const text = "0123abcd-4567-4def-89ab-0123456789ab"
	for in, want := range map[string]string{text: text, "0123ABCD-4567-4DEF-89AB-0123456789AB": text} {
		if u, ok := engine.ParseUUID(in); !ok || u.String() != want {
			t.Errorf("%s: %s, %v", in, u, ok)
		}
	}
	for _, in := range []string{"", text[1:], text + "0", "0123abcd-4567-4def-89ab0-123456789ab", "0123abcg-4567-4def-89ab-0123456789ab", "0123abcd-4567-4def-89ab-0123456789é"} {
		if u, ok := engine.ParseUUID(in); ok {
			t.Errorf("%q is %s", in, u)
		}
	}
}

// Decisions are found and ended by UUIDs that follow from their ids, and by those of their own.
func TestWithUUIDs(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	p := populated{r, t}
	p.add("192.0.2.1", "4h")
	p.add("192.0.2.2", "4h")
	own := engine.UUID{1, 2, 3}
	_, err := r.Bring(ctx, []engine.Brought{{Alert: engine.Alert{Scenario: "s"}, Decisions: []engine.BroughtDecision{
		{UUID: own, Scope: engine.ScopeIP, Value: "192.0.2.3", Type: "ban", Origin: "console", Until: r.Now().Add(time.Hour).UnixNano()}}}})
	wants(t, err, nil)
	first, _ := r.View().Decision(1)
	found := r.View().WithUUIDs([]engine.UUID{own, first.UUID(), {9}})
	if len(found) != 2 || found[own].Value() != "192.0.2.3" || found[first.UUID()].Value() != "192.0.2.1" {
		t.Fatalf("%v", found)
	}
	for _, want := range []int{2, 0} {
		if n, err := r.EndThese(ctx, []engine.DecisionID{found[own].ID(), 1, 1, 999}, r.Now().UnixNano()); n != want || err != nil {
			t.Errorf("%d ended, %v", n, err)
		}
	}
	if running := r.View().Find(nil, r.Ask()); len(running) != 1 || running[0].Value() != "192.0.2.2" {
		t.Errorf("%v run", running)
	}
	if again := r.View().WithUUIDs([]engine.UUID{own}); len(again) != 1 || again[own].Running(r.Now().UnixNano()) {
		t.Error("what is over is not found")
	}
}
