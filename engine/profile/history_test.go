package profile

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/persist"
)

// past is an engine with a clock of its own.
type past struct {
	*engine.Engine
	t   *testing.T
	now atomic.Int64
}

func openPast(t *testing.T) *past {
	p := &past{t: t}
	p.now.Store(noon)
	e, err := engine.Open(&engine.Options{
		Dir: "store", FS: persist.NewMemFS(),
		Now: func() time.Time { return time.Unix(0, p.now.Load()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Engine = e
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// add stores one alert with one decision.
func (p *past) add(d engine.NewDecision, simulated bool) {
	p.t.Helper()
	now := p.now.Load()
	a := sampleAlert()
	a.StopAt = engine.Stamp{At: now}
	a.Simulated = simulated
	a.Source.Scope, a.Source.Value = d.Scope, d.Value
	d.Scenario = a.Scenario
	a.Decisions = []engine.NewDecision{d}
	if _, err := p.AddAlerts(p.t.Context(), "edge-1", []*engine.Alert{a}, now); err != nil {
		p.t.Fatal(err)
	}
}

// value evaluates one expression about an alert from 192.0.2.7.
func (p *past) value(text string) any {
	p.t.Helper()
	o := (&Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}).withDefaults()
	x, err := newLanguage(&o).compile(text)
	if err != nil {
		p.t.Fatal(err)
	}
	e := newEvaluation(&Set{options: o, needs: x.needs})
	e.begin(sampleAlert(), p.View(), p.now.Load())
	v, err := e.run(x)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func (p *past) want(text string, want any) {
	p.t.Helper()
	if got := p.value(text); got != want {
		p.t.Errorf("%s = %v, want %v", text, got, want)
	}
}

// Every decision that contains the address counts, whatever it is and whether
// or not it is over.
func TestStoredDecisions(t *testing.T) {
	t.Parallel()
	p := openPast(t)
	p.want(`GetDecisionsCount("192.0.2.7")`, 0)
	p.want(`GetActiveDecisionsTimeLeft("192.0.2.7")`, time.Duration(0))

	p.add(engine.NewDecision{Scope: "Ip", Value: "192.0.2.7", Type: "ban", Duration: "1h", Origin: "crowdsec"}, false)
	p.add(engine.NewDecision{Scope: "Range", Value: "192.0.2.0/24", Type: "captcha", Duration: "48h", Origin: "CAPI"}, false)
	p.add(engine.NewDecision{Scope: "Ip", Value: "192.0.2.7", Type: "ban", Duration: "3h", Origin: "crowdsec"}, true)
	p.add(engine.NewDecision{Scope: "Ip", Value: "192.0.2.8", Type: "ban", Duration: "1h", Origin: "crowdsec"}, false)
	p.add(engine.NewDecision{Scope: "session", Value: "192.0.2.7", Type: "ban", Duration: "1h", Origin: "crowdsec"}, false)

	p.want(`GetDecisionsCount("192.0.2.7")`, 3)
	p.want(`GetDecisionsCount(Alert.GetValue())`, 3)
	p.want(`GetDecisionsCount("192.0.2.9")`, 1)
	p.want(`GetDecisionsCount("192.0.2.0/24")`, 1)
	p.want(`GetDecisionsCount("192.0.0.0/16")`, 0)
	p.want(`GetDecisionsCount("2001:db8::1")`, 0)
	p.want(`GetActiveDecisionsCount("192.0.2.7")`, 3)
	p.want(`GetActiveDecisionsTimeLeft("192.0.2.7")`, 48*time.Hour)

	p.now.Add(int64(2 * time.Hour))
	p.want(`GetDecisionsCount("192.0.2.7")`, 3)
	p.want(`GetActiveDecisionsCount("192.0.2.7")`, 2)
	p.want(`GetActiveDecisionsTimeLeft("192.0.2.7") == duration("46h")`, true)
	p.want(`GetDecisionsSinceCount("192.0.2.7", "1h")`, 0)
	p.want(`GetDecisionsSinceCount("192.0.2.7", "1d")`, 3)

	p.add(engine.NewDecision{Scope: "Ip", Value: "192.0.2.7", Type: "ban", Duration: "1h", Origin: "lists"}, false)
	p.want(`GetDecisionsSinceCount("192.0.2.7", "1h")`, 1)
	p.want(`GetDecisionsCount("192.0.2.7")`, 4)
}

// Deleting a decision ends it; it still counts as one there was.
func TestDeletedDecisions(t *testing.T) {
	t.Parallel()
	p := openPast(t)
	p.add(engine.NewDecision{Scope: "Ip", Value: "192.0.2.7", Type: "ban", Duration: "1h", Origin: "crowdsec"}, false)
	q := &engine.Query{Now: p.now.Load()}
	q.Reset()
	q.Now = p.now.Load()
	q.Value = engine.Word{Given: true, Text: "192.0.2.7"}
	if n, err := p.EndDecisions(t.Context(), q); err != nil || n != 1 {
		t.Fatalf("ended %d decisions: %v", n, err)
	}
	p.want(`GetDecisionsCount("192.0.2.7")`, 1)
	p.want(`GetActiveDecisionsCount("192.0.2.7")`, 0)
	p.want(`GetActiveDecisionsTimeLeft("192.0.2.7")`, time.Duration(0))
}

// Bans escalate from offence to offence, through the engine.
func TestEscalation(t *testing.T) {
	t.Parallel()
	p := openPast(t)
	set, _, err := Compile([]Spec{{
		Name:         "escalate",
		Filters:      []string{`Alert.Remediation`},
		Decisions:    []DecisionSpec{{Type: "ban", Duration: "1h"}},
		DurationExpr: `Sprintf('%dh', (GetDecisionsCount(Alert.GetValue()) + 1) * 4)`,
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.SetProfiles(set)
	for _, want := range []time.Duration{4 * time.Hour, 8 * time.Hour, 12 * time.Hour} {
		// Two alerts of one request do not see each other's decisions.
		now := p.now.Load()
		batch := []*engine.Alert{sampleAlert(), sampleAlert()}
		batch[1].Source.Value = "192.0.2.99"
		for _, a := range batch {
			a.StopAt = engine.Stamp{At: now}
		}
		if _, err := p.AddAlerts(t.Context(), "edge-1", batch, now); err != nil {
			t.Fatal(err)
		}
		p.want(`string(GetActiveDecisionsTimeLeft("192.0.2.7"))`, want.String())
		p.want(`string(GetActiveDecisionsTimeLeft("192.0.2.99"))`, want.String())
	}
}
