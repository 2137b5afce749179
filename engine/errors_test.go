package engine_test

import (
	"context"
	"errors"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestErrorsNameTheThing holds that what is missing, or there already, is told by kind,
// noun and name, and that no sentence comes with it.
func TestErrorsNameTheThing(t *testing.T) {
	t.Parallel()
	r, ctx := enginetest.NewRig(t, nil), context.Background()
	now := r.Now().UnixNano()
	machine, bouncer := &engine.Machine{ID: "m"}, &engine.Bouncer{Name: "b", AuthType: engine.AuthAPIKey}
	wants(t, r.AddMachine(ctx, machine, false), nil)
	_, err := r.AddBouncer(ctx, bouncer)
	wants(t, err, nil)
	wants(t, r.CreateAllowlist(ctx, "l", "", now), nil)
	second := func(_ any, err error) error { return err }
	_, _, alert := r.Alert(r.View(), 7)
	_, _, add := r.AddToAllowlist(ctx, "no", nil, now)
	for what, c := range map[string]struct {
		err  error
		want engine.Error
	}{
		"AddMachine":    {r.AddMachine(ctx, machine, false), engine.Error{Kind: engine.ErrExists, Noun: engine.NounMachine, Name: "m"}},
		"ChangeMachine": {r.ChangeMachine(ctx, "no", func(*engine.Machine) {}), engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounMachine, Name: "no"}},
		"DeleteMachine": {r.DeleteMachine(ctx, "no"), engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounMachine, Name: "no"}},
		"AddUsage of a machine": {r.AddUsage(ctx, &engine.Usage{Kind: engine.UsageMachine, Name: "no", ReceivedAt: now}),
			engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounMachine, Name: "no"}},
		"AddBouncer":    {second(r.AddBouncer(ctx, bouncer)), engine.Error{Kind: engine.ErrExists, Noun: engine.NounBouncer, Name: "b"}},
		"ChangeBouncer": {r.ChangeBouncer(ctx, "no", func(*engine.Bouncer) {}), engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounBouncer, Name: "no"}},
		"DeleteBouncer": {r.DeleteBouncer(ctx, "no"), engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounBouncer, Name: "no"}},
		"AddUsage of a bouncer": {r.AddUsage(ctx, &engine.Usage{Kind: engine.UsageBouncer, Name: "no", ReceivedAt: now}),
			engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounBouncer, Name: "no"}},
		"CreateAllowlist":     {r.CreateAllowlist(ctx, "l", "", now), engine.Error{Kind: engine.ErrExists, Noun: engine.NounAllowlist, Name: "l"}},
		"DeleteAllowlist":     {r.DeleteAllowlist(ctx, "no", false), engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounAllowlist, Name: "no"}},
		"AddToAllowlist":      {add, engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounAllowlist, Name: "no"}},
		"RemoveFromAllowlist": {second(r.RemoveFromAllowlist(ctx, "no", nil, now)), engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounAllowlist, Name: "no"}},
		"Alert":               {alert, engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounAlert, Name: "7"}},
		"DeleteAlert":         {r.DeleteAlert(ctx, 7, now), engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounAlert, Name: "7"}},
		"EndDecision":         {r.EndDecision(ctx, 7, now), engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounDecision, Name: "7"}},
	} {
		var e *engine.Error
		if !errors.As(c.err, &e) || *e != c.want || !errors.Is(c.err, c.want.Kind) {
			t.Errorf("%s: %#v, want %#v", what, c.err, c.want)
		}
	}
	if got := (&engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounAlert, Name: "7"}).Error(); got != "alert 7: not found" {
		t.Errorf("a log would say %q", got)
	}
}
