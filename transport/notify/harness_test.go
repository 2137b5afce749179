package notify

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// leaping is a clock on which whatever is waited for comes at once; held, what takes longer
// than a second never does.
type leaping struct {
	mu   sync.Mutex
	now  time.Time
	held bool
}

func (c *leaping) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *leaping) After(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tells := make(chan time.Time, 1)
	if !c.held || d <= time.Second {
		c.now = c.now.Add(max(d, 0))
		tells <- c.now
	}
	return tells, func() {}
}

func (c *leaping) Jitter(d time.Duration) time.Duration { return d }

// office is an engine whose rules name notifications, with a Notifier.
type office struct {
	*enginetest.Rig
	t     *testing.T
	clock *leaping
	log   *lines
	rules rules
	stop  func()
}

// rules name the same notifications for every alert, and ban what has no decision.
type rules struct{ verdict engine.Verdict }

func (r *rules) Evaluate(a *engine.Alert, _ *engine.View, _ int64) (engine.Verdict, error) {
	v := r.verdict
	v.Decisions = []engine.NewDecision{{Duration: "4h", Origin: engine.OriginCrowdsec, Scenario: a.Scenario, Scope: a.Source.Scope, Type: "ban", Value: a.Source.Value}}
	return v, nil
}

// lines is a log that is read meanwhile.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newOffice names notifications in its rules; nothing works yet.
func newOffice(t *testing.T, names ...string) *office {
	t.Helper()
	o := &office{t: t, clock: &leaping{now: enginetest.Epoch}, log: &lines{}, rules: rules{engine.Verdict{Notify: names}}}
	o.Rig = enginetest.NewRig(t, func(e *engine.Options) { e.Profiles = &o.rules })
	return o
}

// open has a Notifier work with these configurations until close, or the end of the test.
func (o *office) open(list ...*Configuration) *Notifier {
	o.t.Helper()
	n := New(&Options{Engine: o.Engine, Logger: slog.New(slog.NewTextHandler(o.log, nil)), Clock: o.clock})
	if err := n.Replace(o.t.Context(), list); err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = n.Run(ctx)
	}()
	o.stop = func() {
		cancel()
		<-ended
		o.stop = func() {}
	}
	o.t.Cleanup(func() { o.stop() })
	return n
}

// report stores alerts of one request, with these values.
func (o *office) report(values ...string) {
	o.t.Helper()
	var list []*engine.Alert
	for _, v := range values {
		at := engine.StampOf(o.Now())
		list = append(list, &engine.Alert{Scenario: "ssh-bf", Message: "m", StartAt: at, StopAt: at, EventsCount: 6, Remediation: true,
			Source: engine.Source{Scope: engine.ScopeIP, Value: v, IP: v, Cn: "FR", AsNumber: "64496", AsName: "EXAMPLE"},
			Events: []engine.Event{{Timestamp: at, Meta: []engine.Meta{{Key: "user", Value: "root"}}}, {Timestamp: at}},
			Meta:   []engine.Meta{{Key: "target", Value: "web"}}})
	}
	if _, err := o.AddAlerts(o.t.Context(), "edge-1", list, o.Engine.Now()); err != nil {
		o.t.Fatal(err)
	}
}

// reports stores so many alerts of one request.
func (o *office) reports(many int) {
	var values []string
	for i := range many {
		values = append(values, fmt.Sprintf("192.0.2.%d", i+1))
	}
	o.report(values...)
}

// await looks until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	end := time.After(time.Minute)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("it never happened that %s", what)
		}
	}
}
