package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestRestoreDecisions: what an operator has ended runs again until it would have ended, once, as its machine's; what is
// allowlisted, over, of a list or decided anew stays ended, and so does what others have ended.
func TestRestoreDecisions(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	now := func() int64 { return r.Now().UnixNano() }
	operator := engine.As(t.Context(), engine.Actor{Kind: engine.ActorNamedOperator, Name: "alice"})
	machine := engine.As(t.Context(), engine.Actor{Kind: engine.ActorMachine, Name: "edge-1"})
	wants(t, r.AddMachine(t.Context(), &engine.Machine{ID: "edge-1", Validated: true}, false), nil)
	own := subscribed("drop", "198.51.100.2")
	own.Own = true
	replace(t, r, own)
	ban := func(value, lasts string) {
		t.Helper()
		a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now()), Decisions: []engine.NewDecision{{Duration: lasts, Origin: "crowdsec", Scenario: "s", Scope: engine.ScopeIP, Type: "ban", Value: value}}}
		_, err := r.AddAlerts(t.Context(), "edge-1", []*engine.Alert{a}, now())
		wants(t, err, nil)
	}
	end := func(ctx context.Context) engine.Revision {
		t.Helper()
		n, at, err := r.EndDecisionsAt(ctx, &engine.Query{Now: now(), Simulated: true, Limit: -1})
		if err != nil || n == 0 || at != r.View().Revision() {
			t.Fatalf("%d ended at %d of %d: %v", n, at, r.View().Revision(), err)
		}
		return at
	}
	running := func() string {
		found, _ := r.View().Select(&engine.Query{Now: now(), Simulated: true, Limit: -1}, func(int64) bool { return true })
		var list []string
		for i := range found.Len() {
			d := found.At(i)
			list = append(list, fmt.Sprintf("%s %s %s %s|", d.Value(), d.Machine(), d.Origin().S, time.Duration(d.Until()-now()).Round(time.Minute)))
		}
		slices.Sort(list) // an index yields them in no order
		return strings.Join(list, "")
	}
	restores := func(when string, at engine.Revision, want engine.Restored) {
		t.Helper()
		for _, dry := range []bool{true, false} {
			if got, err := r.RestoreDecisions(operator, at, dry); err != nil || got != want {
				t.Errorf("%s, dry %v: %+v, %v", when, dry, got, err)
			}
		}
		wants(t, r.Check(), nil)
	}
	for _, value := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		ban(value, "4h")
	}
	ban("192.0.2.4", "1h")
	at := end(operator)
	ban("192.0.2.3", "8h")
	_, _, err := r.AddToAllowlist(t.Context(), "none", nil, now())
	if err == nil {
		t.Fatal("a list that there is not")
	}
	wants(t, r.CreateAllowlist(t.Context(), "office", "", now()), nil)
	p := engine.AllowlistItem{Value: "192.0.2.2"}
	p.Prefix, err = engine.ParseTarget(p.Value)
	wants(t, err, nil)
	_, _, err = r.AddToAllowlist(t.Context(), "office", []engine.AllowlistItem{p}, now())
	wants(t, err, nil)
	r.Advance(2 * time.Hour)
	before := r.View().Revision()
	restores("some", at, engine.Restored{N: 1, Running: 1, Allowlisted: 1, Over: 1, Lists: 1})
	if begun, ended := learns(t, r, before); len(begun) != 1 || len(ended) != 0 {
		t.Errorf("a bouncer is told of %v and the end of %v", begun, ended)
	}
	if got, want := running(), "192.0.2.1 edge-1 crowdsec 2h0m0s|192.0.2.3 edge-1 crowdsec 6h0m0s|"; got != want {
		t.Errorf("%q runs, want %q", got, want)
	}
	if got, err := r.RestoreDecisions(operator, at, false); err != nil || got.N != 0 || got.Running != 2 {
		t.Errorf("again: %+v, %v", got, err)
	}
	_, as, err := r.EndSifted(operator, &engine.Filter{Standing: engine.Running}, engine.AsOf{Revision: r.View().Revision(), At: now()})
	wants(t, err, nil)
	restores("all", as, engine.Restored{N: 2})
	at = end(machine)
	for when, rev := range map[string]engine.Revision{"a machine's": at, "nothing": 1, "zero": 0, "not yet": at + 1000} {
		if _, err := r.RestoreDecisions(operator, rev, false); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%s: %v", when, err)
		}
	}
	held := running()
	r.Restart()
	if now := running(); now != held {
		t.Errorf("%q after a restart, before %q", now, held)
	}
}
