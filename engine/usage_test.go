package engine_test

import (
	"context"
	"slices"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := enginetest.Epoch.UnixNano()
	read := func(t *testing.T, r *enginetest.Rig, kind engine.UsageKind, name string) (texts []string) {
		for u, err := range r.Usage(ctx, kind, name) {
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, u.Name+" "+string(u.Payload))
		}
		return texts
	}
	everyOtherRestart(t,
		func(t *testing.T, r *enginetest.Rig) {
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1"}, false), nil)
			_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw", Software: &engine.Software{Type: "firewall"}})
			wants(t, err, nil)
			report := func(kind engine.UsageKind, name string, at int64, text string) error {
				return r.AddUsage(ctx, &engine.Usage{Kind: kind, Name: name, ReceivedAt: at, Version: "v" + text, HasOS: true, OS: engine.OS{Name: "debian"}, Payload: []byte(text)})
			}
			wants(t, report(engine.UsageMachine, "nobody", now, "x"), engine.ErrNotFound)
			wants(t, report(engine.UsageBouncer, "nobody", now, "x"), engine.ErrNotFound)
			wants(t, report(engine.UsageMachine, "edge-1", now, "1"), nil)
			wants(t, report(engine.UsageMachine, "edge-1", now+1, "2"), nil)
			wants(t, report(engine.UsageBouncer, "fw", now, "3"), nil)
		},
		func(t *testing.T, r *enginetest.Rig) {
			if got := read(t, r, engine.UsageMachine, ""); !slices.Equal(got, []string{"edge-1 1", "edge-1 2"}) {
				t.Errorf("machines reported %v", got)
			}
			if got := read(t, r, engine.UsageBouncer, "fw"); !slices.Equal(got, []string{"fw 3"}) {
				t.Errorf("fw reported %v", got)
			}
			if got := read(t, r, engine.UsageBouncer, "edge-1"); got != nil {
				t.Errorf("edge-1 as a bouncer reported %v", got)
			}
			b, m := r.View().Bouncer("fw").Load(), r.View().Machine("edge-1")
			if b.Type != "firewall" || b.Version != "v3" || b.OS.Name != "debian" || m.Version != "v2" {
				t.Errorf("senders are %+v and %+v", b, m)
			}
		},
	)
}
