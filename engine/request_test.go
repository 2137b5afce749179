package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// banOf is an alert that bans a value.
func banOf(value string) []*engine.Alert {
	return []*engine.Alert{{Scenario: "load", StopAt: engine.StampOf(enginetest.Epoch), Decisions: []engine.NewDecision{
		{Scope: "Ip", Value: value, Type: "ban", Origin: "crowdsec", Scenario: "load", Duration: "4h"}}}}
}

// A request that comes twice is done once, and answered alike, also after a restart, from the journal or
// from a snapshot.
func TestRequestsAreDoneOnce(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	now := r.Now().UnixNano()
	machine := &engine.Machine{ID: "m", AuthType: engine.AuthPassword}
	usage := func() *engine.Usage {
		return &engine.Usage{Kind: engine.UsageMachine, Name: "m", ReceivedAt: now, Version: "1", Payload: []byte("{}")}
	}
	steps := []struct {
		name string
		do   func(context.Context) (any, error)
	}{
		{"a machine", func(ctx context.Context) (any, error) {
			return r.HasAdded(ctx, "m") && false, r.AddMachine(ctx, machine, false)
		}},
		{"alerts", func(ctx context.Context) (any, error) {
			return r.AddAlerts(ctx, "m", append(banOf("192.0.2.1"), banOf("192.0.2.2")...), now)
		}},
		{"usage", func(ctx context.Context) (any, error) { return nil, r.AddUsage(ctx, usage()) }},
		{"ends", func(ctx context.Context) (any, error) { return r.EndDecisions(ctx, r.Ask()) }},
		{"an alert less", func(ctx context.Context) (any, error) { return nil, r.DeleteAlert(ctx, 1, now) }},
		{"alerts less", func(ctx context.Context) (any, error) { return r.DeleteAlerts(ctx, &engine.AlertQuery{Now: now}) }},
		{"a bouncer", func(ctx context.Context) (any, error) {
			_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw"})
			return nil, err
		}},
		{"a bouncer less", func(ctx context.Context) (any, error) { return nil, r.DeleteBouncer(ctx, "fw") }},
		{"a machine less", func(ctx context.Context) (any, error) { return nil, r.DeleteMachine(ctx, "m") }},
		{"two writes", func(ctx context.Context) (any, error) {
			if err := r.CreateAllowlist(ctx, "l", "", now); err != nil {
				return nil, err
			}
			return nil, r.AddMachine(ctx, machine, false)
		}},
	}
	ids, answers := make([]engine.RequestID, len(steps)), make([]any, len(steps))
	for i, step := range steps {
		var err error
		if ids[i], err = r.NewRequest(); err != nil {
			t.Fatal(err)
		}
		if answers[i], err = step.do(engine.ForRequest(t.Context(), ids[i])); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		before := r.View().Revision()
		again, err := step.do(engine.ForRequest(t.Context(), ids[i]))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(answers[i]) || r.View().Revision() != before {
			t.Errorf("%s again: %v, %v after %v", step.name, again, err, answers[i])
		}
	}
	for _, how := range []string{"journal", "snapshot"} {
		if how == "snapshot" {
			if err := r.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.Restart()
		before := r.View().Revision()
		for i, step := range steps {
			if again, err := step.do(engine.ForRequest(t.Context(), ids[i])); err != nil || fmt.Sprint(again) != fmt.Sprint(answers[i]) {
				t.Errorf("%s after a restart from the %s: %v, %v", step.name, how, again, err)
			}
		}
		if got := r.View().Revision(); got != before {
			t.Errorf("revision %d became %d", before, got)
		}
	}
	if _, err := r.AddAlerts(t.Context(), "", banOf("192.0.2.1"), now); err != nil {
		t.Errorf("without a request: %v", err)
	}
}

// Whoever asks under one id until he is answered, at whatever engine, while answers are lost and writers
// deposed, has stored one alert.
func TestRequestsAmongWriters(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 3; seed++ {
		p := newPair(t, seed)
		p.lead(0)
		const askers, each = 4, 12
		var wg sync.WaitGroup
		for a := range askers {
			wg.Go(func() {
				for n := range each {
					p.askUntilAnswered(fmt.Sprintf("192.0.2.%d", a*each+n))
				}
			})
		}
		over := make(chan struct{})
		go func() { wg.Wait(); close(over) }()
		for i := 1; p.goesOn(over); i = 1 - i {
			p.lead(i)
			p.must(p.rigs[1-i].Yield(context.Background()))
		}
		for i, r := range p.rigs {
			newest, err := p.nodes[i].Newest(t.Context())
			if err == nil {
				err = r.Reach(t.Context(), newest)
			}
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			if err := r.Alerts(t.Context(), r.View(), &engine.AlertQuery{}, func(*engine.Alert, []engine.Decision) bool { n++; return true }); err != nil || n != askers*each {
				t.Errorf("seed %d: engine %d has %d alerts of %d, %v", seed, i, n, askers*each, err)
			}
		}
	}
}

func (p *pair) askUntilAnswered(value string) {
	id, err := p.engine[0].Load().NewRequest()
	for err == nil {
		e := p.engine[p.writer.Load()].Load()
		_, err := e.AddAlerts(engine.ForRequest(context.Background(), id), "", banOf(value), enginetest.Epoch.UnixNano())
		if err == nil {
			select {
			case p.settled <- struct{}{}:
			default:
			}
			return
		}
		if !errors.Is(err, engine.ErrNotWriter) && !errors.Is(err, engine.ErrUnsure) {
			p.t.Errorf("ban %s: %v", value, err)
			return
		}
		select {
		case <-e.Changed():
		case <-time.After(time.Millisecond):
		}
	}
	p.t.Error(err)
}
