package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// follower holds what a reader of the history knows of decisions.
type follower struct {
	t     *testing.T
	name  string
	holds map[engine.DecisionID]bool
	seen  map[engine.AlertID]bool
}

// catchUp reads what there is and moves the bookmark; a reader that was left behind, or is
// new, begins with what runs.
func (f *follower) catchUp(e *engine.Engine) {
	mark := e.Bookmark(f.name)
	after, stored := mark.At()
	commits, ok := e.Commits(after)
	if !stored || !ok || f.holds == nil {
		v := e.View()
		f.holds, f.seen = runs(v), map[engine.AlertID]bool{}
		after = v.Revision()
	} else {
		for rev, c := range commits {
			if rev != after+1 || c.Revision != rev {
				f.t.Errorf("%s: revision %d follows %d", f.name, rev, after)
			}
			after = rev
			for change := range c.Changes() {
				f.believe(&change)
			}
		}
	}
	if err := mark.Move(context.Background(), after); err != nil {
		f.t.Errorf("%s: moving to %d: %v", f.name, after, err)
	}
}

func (f *follower) believe(c *engine.Change) {
	if c.By.Kind == engine.ActorUnknown {
		f.t.Errorf("%s: nobody caused %s", f.name, c.Kind)
	}
	switch c.Kind {
	case engine.DecisionBegun:
		f.holds[c.Decision.ID()] = true
		if !f.seen[c.Decision.AlertID()] {
			f.t.Errorf("%s: decision %d of alert %d, which was not told", f.name, c.Decision.ID(), c.Decision.AlertID())
		}
	case engine.DecisionEnded:
		delete(f.holds, c.Decision.ID())
	case engine.AlertStored:
		a, err := c.Report()
		if err != nil || a.ID != c.Alert || a.Scenario == "" {
			f.t.Errorf("%s: alert %d: %+v, %v", f.name, c.Alert, a, err)
		}
		f.seen[c.Alert] = true
	}
}

// runs are the decisions of a view that have not ended, whatever the clock says.
func runs(v *engine.View) map[engine.DecisionID]bool {
	all := map[engine.DecisionID]bool{}
	q := &engine.Query{}
	q.Reset()
	q.Simulated, q.Now = true, 0
	running, _ := enginetest.FullState(v, q)
	for _, d := range running {
		all[d.ID()] = true
	}
	return all
}

// What begins and ends by the commits is what runs, for a reader that reads at once and for
// one that reads seldom, over restarts and crashes, beside writers and trims.
func TestCommitsAreTheState(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(seed, 7))
			r := enginetest.NewRig(t, func(o *engine.Options) {
				o.FS, o.History, o.BookmarkBytes = persist.NewCrashFS(), 64<<(4*(seed%2)), -1
			})
			fast, slow := &follower{t: t, name: "fast"}, &follower{t: t, name: "slow"}
			for range 120 {
				disturb(t, r, chance)
				fast.catchUp(r.Engine)
				if chance.IntN(12) == 0 {
					slow.catchUp(r.Engine)
				}
			}
			r.Settle()
			for _, f := range []*follower{fast, slow} {
				f.catchUp(r.Engine)
				if want := runs(r.View()); !maps.Equal(f.holds, want) {
					t.Errorf("%s holds %d decisions, and %d run", f.name, len(f.holds), len(want))
				}
			}
		})
	}
}

// disturb does one thing at random.
func disturb(t *testing.T, r *enginetest.Rig, chance *rand.Rand) {
	t.Helper()
	ctx := context.Background()
	now := r.Now().UnixNano()
	var err error
	switch n := chance.IntN(20); {
	case n < 9:
		a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now())}
		for range 1 + chance.IntN(8) {
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: fmt.Sprintf("192.0.2.%d", chance.IntN(40)), Type: "ban",
				Origin: "crowdsec", Scenario: "s", Duration: []string{"1m", "1h", "-1m"}[chance.IntN(3)]})
		}
		_, err = r.AddAlerts(ctx, "", []*engine.Alert{a}, now)
	case n < 12:
		r.Advance(time.Duration(chance.IntN(90)) * time.Second)
	case n < 14:
		if id := r.View().NewestAlert(); id > 0 {
			err = r.DeleteAlert(ctx, 1+engine.AlertID(chance.Uint64N(uint64(id))), now)
		}
		if errors.Is(err, engine.ErrNotFound) {
			err = nil // it was deleted before
		}
	case n < 16:
		err = r.Snapshot(ctx)
	case n < 18:
		r.Restart()
	default:
		r.Crash()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Readers, writers, snapshots and trims side by side; for the race detector, too.
func TestCommitsBesideWriters(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.History, o.BookmarkBytes = 256, -1 })
	ctx := context.Background()
	var writers, readers sync.WaitGroup
	over := make(chan struct{})
	for w := range 3 {
		writers.Go(func() {
			for n := range 120 {
				a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now()), Decisions: []engine.NewDecision{{Scope: "Ip", Value: fmt.Sprintf("10.%d.0.%d", w, n),
					Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: "1h"}}}
				if _, err := r.AddAlerts(ctx, "", []*engine.Alert{a}, r.Now().UnixNano()); err != nil {
					t.Error(err)
				}
				if n%40 == 39 {
					if err := r.Snapshot(ctx); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range 3 {
		readers.Go(func() {
			f := &follower{t: t, name: fmt.Sprint("reader ", i)}
			for last := false; !last; {
				changed := r.Changed()
				f.catchUp(r.Engine)
				select {
				case <-over:
					last = true
				case <-changed:
				}
			}
			if f.catchUp(r.Engine); !maps.Equal(f.holds, runs(r.View())) {
				t.Errorf("%s holds %d decisions, and %d run", f.name, len(f.holds), len(runs(r.View())))
			}
		})
	}
	writers.Wait()
	close(over)
	readers.Wait()
}
