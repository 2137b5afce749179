package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// A view that is held shows the same for ever: what ends, is deleted and is
// forgotten later still runs in it. Its memory is given back once it is let go.
func TestHeldViewNeverChanges(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	p := populated{r, t}
	var ids []engine.AlertID
	for i := range 200 {
		ids = append(ids, p.add(fmt.Sprintf("192.0.2.%d", i%100), "4h"))
	}
	held := r.View()
	ask := r.Ask()
	want := describe(held, ask)
	for i, id := range ids {
		switch i % 3 {
		case 0:
			wants(t, r.DeleteAlert(ctx, id, r.Now().UnixNano()), nil)
		case 1:
			wants(t, r.EndDecision(ctx, engine.DecisionID(id), r.Now().UnixNano()), nil)
		}
	}
	forget(r)
	for range 100 { // others may take the places
		p.add("198.51.100.1", "1h")
	}
	if got := describe(held, ask); got != want {
		t.Errorf("the view changed from\n%s to\n%s", want, got)
	}
	if n := r.Metrics().Graves; n == 0 {
		t.Error("nothing waits for the view")
	}
	runtime.KeepAlive(held) // the last use: from here on it can be collected
	ask.Reset()
	settled(t, r)
	stored := r.Metrics().Stored
	for range 300 {
		p.add("198.51.100.1", "1h")
	}
	if n := r.Metrics().Stored - stored; n != 300 {
		t.Errorf("%d decisions more are stored", n)
	}
	r.Restart() // and Check
}

// describe spells everything a view answers.
func describe(v *engine.View, q *engine.Query) (s string) {
	for _, d := range v.Find(nil, q) {
		s += fmt.Sprintf("#%d of %d %s %s %s %d\n", d.ID(), d.AlertID(), d.Value(), d.Origin().S, d.Scenario().S, d.Until()-q.Now)
	}
	return s
}

// forget lets everything end and the history pass: it is not needed any more.
func forget(r *enginetest.Rig) {
	r.Advance(5 * time.Hour)
	for range 30 {
		r.Advance(time.Minute)
	}
}

// settled waits until all graves are cleared.
func settled(t *testing.T, r *enginetest.Rig) {
	t.Helper()
	for range 1000 {
		if r.Metrics().Graves == 0 {
			return
		}
		runtime.GC()
		r.Settle()
	}
	t.Errorf("%d graves are never cleared", r.Metrics().Graves)
}

// Memory follows what is stored, not what ever was.
func TestPlacesAreUsedAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	big := func() *engine.Alert {
		a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now())}
		for i := range sized(20_000) {
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: fmt.Sprintf("10.0.%d.%d", i>>8, i&255),
				Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: "1h"})
		}
		return a
	}
	var first uint64
	for round := range 8 {
		ids, err := r.AddAlerts(ctx, "", []*engine.Alert{big()}, r.Now().UnixNano())
		wants(t, err, nil)
		wants(t, r.DeleteAlert(ctx, ids[0], r.Now().UnixNano()), nil)
		forget(r)
		settled(t, r)
		if used := r.Slots(); round == 1 {
			first = used
		} else if used > first && round > 1 {
			t.Fatalf("round %d: the slab has %d places, after the first rounds it had %d", round, used, first)
		}
	}
	if n := r.Metrics().Stored; n != 0 {
		t.Errorf("%d decisions are stored", n)
	}
}

// Readers, streams, snapshots and the collector beside writers. Every view is
// whole, whenever it was taken: alerts come and go with both of their decisions.
func TestReadersBesideWriters(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.History = 500; o.SnapshotBytes = 1 << 14 })
	writing, stop := context.WithCancel(ctx)
	var writers, readers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(w), 1))
			var mine []engine.AlertID
			for i := range sized(300) {
				a := one(r, fmt.Sprintf("10.%d.0.%d", w, chance.IntN(20)))[0]
				twin := a.Decisions[0]
				twin.Scope, twin.Value = "Range", "10.0.0.0/8"
				a.Decisions = append(a.Decisions, twin)
				ids, err := r.AddAlerts(ctx, "", []*engine.Alert{a}, r.Now().UnixNano())
				wants(t, err, nil)
				if mine = append(mine, ids...); i%2 == 1 {
					n := chance.IntN(len(mine))
					wants(t, r.DeleteAlert(ctx, mine[n], r.Now().UnixNano()), nil)
					mine = append(mine[:n], mine[n+1:]...)
				}
			}
		})
	}
	for range 3 {
		readers.Go(func() { readWhole(t, r, writing) })
	}
	readers.Go(func() {
		c := &enginetest.Client{Query: r.Ask()}
		for writing.Err() == nil {
			if err := c.Poll(r.Engine, r.Now().UnixNano()); err != nil {
				t.Error(err)
			}
		}
	})
	readers.Go(func() {
		for writing.Err() == nil {
			if err := r.Snapshot(ctx); err != nil {
				t.Error(err)
			}
			runtime.GC()
		}
	})
	writers.Wait()
	stop()
	readers.Wait()
	r.Restart()
}

// readWhole counts the two kinds of decisions, which come and go in pairs.
func readWhole(t *testing.T, r *enginetest.Rig, until context.Context) {
	q := r.Ask()
	for until.Err() == nil {
		v := r.View()
		hosts, ranges := 0, 0
		running, _ := enginetest.FullState(v, &engine.Query{Now: q.Now, Limit: -1})
		for _, d := range running {
			if d.Target().IsSingleIP() {
				hosts++
			} else {
				ranges++
			}
			if d.Value() == "" || d.Origin().S != "crowdsec" {
				t.Errorf("decision %d is torn", d.ID())
			}
		}
		if hosts != ranges {
			t.Errorf("revision %d shows %d hosts and %d ranges", v.Revision(), hosts, ranges)
		}
	}
}

// TestNewestAlertAsksMemoryAlone compares it with what a search finds first, while
// alerts come and go, and asks again when the store is closed: what holds a lock may
// ask it.
func TestNewestAlertAsksMemoryAlone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	var views []*engine.View
	var want []engine.AlertID
	look := func() {
		view, id := r.View(), engine.AlertID(0)
		err := r.Alerts(ctx, view, &engine.AlertQuery{Limit: 1, Now: r.Now().UnixNano()}, func(a *engine.Alert, _ []engine.Decision) bool {
			id = a.ID
			return false
		})
		if err != nil {
			t.Fatal(err)
		}
		views, want = append(views, view), append(want, id)
	}
	look()
	for range 3 {
		now := r.Now()
		if _, err := r.AddAlerts(ctx, "edge-1", []*engine.Alert{{Scenario: "s", StartAt: engine.StampOf(now), StopAt: engine.StampOf(now)}}, now.UnixNano()); err != nil {
			t.Fatal(err)
		}
		look()
	}
	for _, id := range []engine.AlertID{3, 1, 2} {
		if err := r.DeleteAlert(ctx, id, r.Now().UnixNano()); err != nil {
			t.Fatal(err)
		}
		look()
	}
	if !slices.Equal(want, []engine.AlertID{0, 1, 2, 3, 2, 2, 0}) {
		t.Fatalf("a search finds %v first", want)
	}
	r.Stop()
	for i, view := range views {
		if got := view.NewestAlert(); got != want[i] {
			t.Errorf("view %d: the newest alert is %d, want %d", i, got, want[i])
		}
	}
}
