package engine_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// gate is a disk whose journal can be made to wait: a slow disk, as slow as a
// test wants it.
type gate struct {
	disk persist.FS
	mu   sync.Mutex // held while closed
}

func (g *gate) fs() persist.FS {
	return persist.NewFaultyFS(g.disk, func(op persist.Op) error {
		if op.Kind == persist.OpSync && filepath.Ext(op.Path) == ".log" {
			g.mu.Lock()
			defer g.mu.Unlock()
		}
		return nil
	})
}

// newGate is a rig behind a gate.
func newGate(t *testing.T, change func(*engine.Options)) (*enginetest.Rig, *gate) {
	g := &gate{disk: persist.NewMemFS()}
	return enginetest.NewRig(t, func(o *engine.Options) {
		o.FS = g.fs()
		if change != nil {
			change(o)
		}
	}), g
}

// until waits for a condition that another goroutine brings about.
func until(condition func() bool) {
	for !condition() {
		runtime.Gosched()
	}
}

// one is an alert with one decision.
func one(r *enginetest.Rig, value string) []*engine.Alert {
	return []*engine.Alert{{Scenario: "s", StopAt: engine.StampOf(r.Now()), Decisions: []engine.NewDecision{
		{Scope: "Ip", Value: value, Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: "4h"}}}}
}

// Writers that wait together share one sync.
func TestWritersShareACommit(t *testing.T) {
	t.Parallel()
	const writers = 64
	r, g := newGate(t, nil)
	g.mu.Lock()
	answers := make(chan error, writers+1)
	write := func(i int) {
		_, err := r.AddAlerts(context.Background(), "", one(r, fmt.Sprintf("192.0.2.%d", i)), r.Now().UnixNano())
		answers <- err
	}
	before := r.Metrics()
	go write(0)
	until(func() bool { m := r.Metrics(); return m.Proposals == before.Proposals+1 && m.Queued == 0 }) // it is at the disk
	for i := range writers {
		go write(i + 1)
	}
	until(func() bool { return r.Metrics().Queued == writers })
	if len(answers) != 0 {
		t.Error("answered before the disk had it")
	}
	g.mu.Unlock()
	for range writers + 1 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if n := r.Metrics().Commits - before.Commits; n != 2 {
		t.Errorf("%d commits for one writer and %d that waited together", n, writers)
	}
}

// Many writers at once: every answer is a number of its own, and stored.
func TestEveryWriterIsAnswered(t *testing.T) {
	t.Parallel()
	const writers, writes = 64, 20
	r := enginetest.NewRig(t, nil)
	before := r.Metrics()
	ids := make(chan engine.AlertID, writers*writes)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range writes {
				got, err := r.AddAlerts(context.Background(), "", one(r, fmt.Sprintf("10.%d.%d.1", w, i)), r.Now().UnixNano())
				if err != nil || len(got) != 1 {
					t.Error(got, err)
					return
				}
				if _, decisions, err := r.Alert(r.View(), got[0]); err != nil || len(decisions) != 1 || decisions[0].Value() != fmt.Sprintf("10.%d.%d.1", w, i) {
					t.Errorf("alert %d is not what was stored: %v", got[0], err)
				}
				ids <- got[0]
			}
		})
	}
	all.Wait()
	close(ids)
	seen := map[engine.AlertID]bool{}
	for id := range ids {
		if seen[id] {
			t.Errorf("alert %d was given out twice", id)
		}
		seen[id] = true
	}
	after := r.Metrics()
	if commits := after.Commits - before.Commits; len(seen) != writers*writes || commits > writers*writes {
		t.Errorf("%d answers, %d commits", len(seen), commits)
	}
}

// Beyond its limits the queue refuses, in proposals and in bytes, and what was
// refused is not stored.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*engine.Options){
		"proposals": func(o *engine.Options) { o.MaxQueued = 8 },
		"bytes":     func(o *engine.Options) { o.MaxQueuedBytes = 8 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, g := newGate(t, change)
			before := r.Metrics()
			g.mu.Lock()
			first := make(chan error)
			go func() {
				_, err := r.AddAlerts(context.Background(), "", one(r, "192.0.2.1"), r.Now().UnixNano())
				first <- err
			}()
			until(func() bool { m := r.Metrics(); return m.Proposals == before.Proposals+1 && m.Queued == 0 })
			if err := r.Fill(8, 1<<10); err != nil {
				t.Errorf("within the limit: %v", err)
			}
			ids, err := r.AddAlerts(context.Background(), "", one(r, "192.0.2.2"), r.Now().UnixNano())
			if !errors.Is(err, engine.ErrBusy) || ids != nil || r.Metrics().Refused != before.Refused+1 {
				t.Errorf("beyond the limit: %v, %v", ids, err)
			}
			g.mu.Unlock()
			if err := <-first; err != nil {
				t.Error(err)
			}
		})
	}
}

// A writer that gives up waiting is told so only if nothing is stored.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	r, g := newGate(t, nil)
	before := r.Metrics()
	g.mu.Lock()
	ctx, giveUp := context.WithCancel(context.Background())
	write := func(value string) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := r.AddAlerts(ctx, "", one(r, value), r.Now().UnixNano())
			done <- err
		}()
		return done
	}
	committing := write("192.0.2.1")
	until(func() bool { m := r.Metrics(); return m.Proposals == before.Proposals+1 && m.Queued == 0 })
	waiting := write("192.0.2.2")
	until(func() bool { return r.Metrics().Queued == 1 })
	giveUp()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that waited: %v", err)
	}
	g.mu.Unlock()
	if err := <-committing; err != nil {
		t.Errorf("the one that was being committed: %v", err)
	}
	r.Settle()
	q := r.Ask()
	if found := r.View().Find(nil, q); len(found) != 1 || found[0].Value() != "192.0.2.1" {
		t.Errorf("%d decisions are stored", len(found))
	}
}

// What waits when the engine ends is committed; what comes later is refused.
func TestNothingIsLostAtTheEnd(t *testing.T) {
	t.Parallel()
	r, g := newGate(t, nil)
	g.mu.Lock()
	const writers = 32
	answers := make(chan error, writers)
	before := r.Metrics().Proposals
	for i := range writers {
		go func() {
			_, err := r.AddAlerts(context.Background(), "", one(r, fmt.Sprintf("192.0.2.%d", i)), r.Now().UnixNano())
			answers <- err
		}()
	}
	until(func() bool { return r.Metrics().Proposals == before+writers })
	e := r.Engine
	go g.mu.Unlock()
	r.Stop()
	stored := 0
	for range writers {
		if err := <-answers; err == nil {
			stored++
		} else if !errors.Is(err, engine.ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := e.AddAlerts(context.Background(), "", one(r, "192.0.2.99"), 0); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	r.Start()
	if found := r.View().Find(nil, r.Ask()); len(found) != stored {
		t.Errorf("%d writes were answered, %d are stored", stored, len(found))
	}
}

// An alert that was on its way when its source came on an allowlist is kept out.
func TestNothingSlipsBehindAnAllowlist(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r, g := newGate(t, func(o *engine.Options) { o.Profiles = banAll{} })
	now := r.Now().UnixNano()
	wants(t, r.CreateAllowlist(ctx, "trusted", "", now), nil)
	before := r.Metrics()
	g.mu.Lock()
	done := make(chan error)
	go func() { done <- r.CreateAllowlist(ctx, "another", "", now) }()
	until(func() bool { m := r.Metrics(); return m.Proposals == before.Proposals+1 && m.Queued == 0 })
	go func() {
		p, _ := engine.ParseTarget("192.0.2.1")
		_, _, err := r.AddToAllowlist(ctx, "trusted", []engine.AllowlistItem{{Value: "192.0.2.1", Prefix: p}}, now)
		done <- err
	}()
	until(func() bool { return r.Metrics().Queued == 1 })
	stored := make(chan []engine.AlertID)
	go func() { // judged on a view without the item
		seen := func(value string) *engine.Alert {
			return &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now()), Source: engine.Source{Scope: "Ip", Value: value}}
		}
		ids, err := r.AddAlerts(ctx, "", []*engine.Alert{seen("192.0.2.1"), seen("192.0.2.2")}, now)
		wants(t, err, nil)
		stored <- ids
	}()
	until(func() bool { return r.Metrics().Queued == 2 })
	g.mu.Unlock()
	wants(t, <-done, nil)
	wants(t, <-done, nil)
	if ids := <-stored; len(ids) != 1 {
		t.Errorf("stored alerts %v", ids)
	}
	if found := r.View().Find(nil, r.Ask()); len(found) != 1 || found[0].Value() != "192.0.2.2" {
		t.Errorf("%d decisions run", len(found))
	}
}

// banAll is the simplest set of rules.
type banAll struct{}

func (banAll) Evaluate(a *engine.Alert, _ *engine.View, _ int64) (engine.Verdict, error) {
	return engine.Verdict{Decisions: []engine.NewDecision{{Scope: a.Source.Scope, Value: a.Source.Value, Type: "ban",
		Origin: engine.OriginCrowdsec, Scenario: a.Scenario, Duration: "4h"}}}, nil
}
