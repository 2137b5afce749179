package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// brought is an alert of another server with one ban for each id.
func brought(r *enginetest.Rig, alert engine.AlertID, decisions ...engine.DecisionID) engine.Brought {
	b := engine.Brought{ID: alert, Alert: engine.Alert{Scenario: "there", UUID: engine.UUID{1, byte(alert)}, CreatedAt: enginetest.Epoch.UnixNano(),
		StartAt: engine.StampOf(enginetest.Epoch), StopAt: engine.StampOf(enginetest.Epoch)}}
	for _, id := range decisions {
		b.Decisions = append(b.Decisions, engine.BroughtDecision{ID: id, UUID: engine.UUID{2, byte(id)}, Scope: engine.ScopeIP,
			Value: fmt.Sprintf("198.51.100.%d", id%250), Type: "ban", Origin: "crowdsec", Scenario: "there", Until: r.Now().Add(time.Hour).UnixNano()})
	}
	return b
}

// What is brought keeps its numbers and UUIDs where they are free, beside local alerts, in a
// second run, over snapshots, restarts, a backup, and deletions; what is local goes on.
func TestBring(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.FS = persist.NewCrashFS() })
	ctx := context.Background()
	local := func() engine.AlertID {
		ids, err := r.AddAlerts(ctx, "", one(r, "192.0.2.1"), r.Now().UnixNano())
		wants(t, err, nil)
		return ids[0]
	}
	bring := func(list ...engine.Brought) []engine.BroughtAs {
		as, err := r.Bring(ctx, list)
		wants(t, err, nil)
		return as
	}
	wants(t, r.RaiseIDs(ctx, 100, 500), nil)
	first := bring(brought(r, 7, 30, 10, 20), brought(r, 3, 11))
	if first[0].Alert != 7 || !slices.Equal(first[0].Decisions, []engine.DecisionID{30, 10, 20}) || first[1].Alert != 3 {
		t.Errorf("free numbers are not kept: %v", first)
	}
	if id := local(); id != 100 {
		t.Errorf("the first local alert is %d", id)
	}
	second := bring(brought(r, 100, 500), brought(r, 101, 501), brought(r, 7, 10), brought(r, 4, 12))
	if second[0].Alert != 102 || second[1].Alert != 101 || second[2].Alert != 103 || second[3].Alert != 4 || second[3].Decisions[0] != 12 || second[2].Decisions[0] == 10 {
		t.Errorf("numbers that are taken, or free: %v", second)
	}
	if id := local(); id != 104 {
		t.Errorf("the next local alert is %d", id)
	}
	look := func(when string) {
		t.Helper()
		v := r.View()
		a, decisions, err := r.Alert(v, 7)
		if err != nil || a.UUID != (engine.UUID{1, 7}) || len(decisions) != 3 || decisions[0].ID() != 10 || decisions[2].ID() != 30 || decisions[1].UUID() != (engine.UUID{2, 20}) {
			t.Errorf("%s: alert 7 is %+v with %d decisions, %v", when, a, len(decisions), err)
		}
		if d, ok := v.Decision(500); !ok || d.Value() != "192.0.2.1" || d.UUID() == (engine.UUID{2, 244}) {
			t.Errorf("%s: decision 500 is %v, %v", when, d.Value(), ok)
		}
	}
	look("at once")
	r.Restart()
	look("after a restart")
	wants(t, r.Snapshot(ctx), nil)
	r.Crash()
	look("from a snapshot")
	before := r.View()
	wants(t, r.DeleteAlert(ctx, 7, r.Now().UnixNano()), nil)
	if _, decisions, err := r.Alert(r.View(), 7); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a deleted one: %d decisions, %v", len(decisions), err)
	}
	if running := runs(before); !running[20] || runs(r.View())[20] {
		t.Error("its decisions did not end with it, or in a view of before")
	}
	r.Restart()
	wants(t, r.Snapshot(ctx), nil)
	r.Restart()
	if id := local(); id != 105 {
		t.Errorf("the next local alert is %d", id)
	}
}

// Numbers at random, beside readers that hold views, restarts and crashes: digests say that
// nothing changes by itself, a model what is there.
func TestBringAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(seed, 11))
			r := enginetest.NewRig(t, func(o *engine.Options) { o.FS = persist.NewCrashFS() })
			ctx := context.Background()
			model := map[engine.DecisionID]bool{}
			bouncer := &enginetest.Client{Query: r.Ask()}
			for range 60 {
				switch n := chance.IntN(10); {
				case n < 4:
					var list []engine.Brought
					for range 1 + chance.IntN(5) {
						b := brought(r, engine.AlertID(chance.IntN(300)))
						for range chance.IntN(5) {
							b.Decisions = append(b.Decisions, brought(r, 0, engine.DecisionID(chance.IntN(900))).Decisions...)
						}
						list = append(list, b)
					}
					as, err := r.Bring(ctx, list)
					wants(t, err, nil)
					for _, a := range as {
						for _, id := range a.Decisions {
							if model[id] {
								t.Errorf("decision %d is given twice", id)
							}
							model[id] = true
						}
					}
				case n < 6:
					_, err := r.AddAlerts(ctx, "", one(r, fmt.Sprintf("192.0.2.%d", chance.IntN(200))), r.Now().UnixNano())
					wants(t, err, nil)
				case n < 7:
					wants(t, r.Snapshot(ctx), nil)
				case n < 8:
					wants(t, r.RaiseIDs(ctx, engine.AlertID(chance.IntN(400)), engine.DecisionID(chance.IntN(1000))), nil)
				case n < 9:
					r.Restart()
				default:
					r.Crash()
				}
				wants(t, bouncer.Poll(r.Engine, r.Now().UnixNano()), nil)
			}
			running := runs(r.View())
			for id := range model {
				if !running[id] {
					t.Errorf("decision %d is gone", id)
				}
			}
			fresh := &enginetest.Client{Query: r.Ask()}
			wants(t, fresh.Poll(r.Engine, r.Now().UnixNano()), nil)
			if !maps.Equal(fresh.Holds, bouncer.Holds) {
				t.Errorf("a bouncer holds %d decisions by deltas, %d by a full state", len(bouncer.Holds), len(fresh.Holds))
			}
		})
	}
}

// Readers walk all alerts and decisions while numbers below theirs are given.
func TestBringBesideReaders(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	wants(t, r.RaiseIDs(ctx, 2000, 4000), nil)
	over := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				v := r.View()
				before := len(runs(v))
				err := r.Alerts(ctx, v, &engine.AlertQuery{}, func(a *engine.Alert, list []engine.Decision) bool {
					if len(list) == 0 {
						t.Errorf("alert %d has no decision", a.ID)
					}
					return true
				})
				if after := len(runs(v)); err != nil || after != before {
					t.Errorf("a view showed %d decisions, and then %d; %v", before, after, err)
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for n := range 150 {
		id := uint64(1999 - 13*n)
		_, err := r.Bring(ctx, []engine.Brought{brought(r, engine.AlertID(id), engine.DecisionID(2*id), engine.DecisionID(2*id-7))})
		wants(t, err, nil)
	}
	close(over)
	readers.Wait()
	wants(t, r.Check(), nil)
}

// What no answer can say does not come into a store, by any way.
func TestNoNumbersAreStored(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	b, own := brought(r, 1, 1), one(r, "192.0.2.1")
	b.Alert.Source.Latitude, b.Alert.Source.Longitude = float32(math.Inf(1)), float32(math.NaN())
	own[0].Source.Latitude, own[0].Source.Longitude = float32(math.Inf(-1)), 2.5
	_, err := r.Bring(ctx, []engine.Brought{b})
	wants(t, err, nil)
	ids, err := r.AddAlerts(ctx, "", own, r.Now().UnixNano())
	wants(t, err, nil)
	for id, longitude := range map[engine.AlertID]float32{1: 0, ids[0]: 2.5} {
		if a, _, err := r.Alert(r.View(), id); err != nil || a.Source.Latitude != 0 || a.Source.Longitude != longitude {
			t.Errorf("alert %d: %+v", id, a)
		}
	}
}

// What cannot be is refused, and what is odd is kept as it is.
func TestBringOdd(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	wants(t, r.RaiseIDs(ctx, 1<<60, 1), engine.ErrInvalid)
	_, err := r.Bring(ctx, make([]engine.Brought, 1<<18))
	wants(t, err, engine.ErrInvalid)
	b := brought(r, 1, 1, 2)
	b.Decisions[0].Value, b.Decisions[1].Until = "no address", r.Now().Add(-time.Hour).UnixNano()
	as, err := r.Bring(ctx, []engine.Brought{b, brought(r, 1<<33, 1<<33)})
	wants(t, err, nil)
	if as[1].Alert != 2 || as[1].Decisions[0] != 3 {
		t.Errorf("numbers beyond counting: %v", as[1])
	}
	if d, ok := r.View().Decision(1); !ok || d.Value() != "no address" {
		t.Errorf("a value that is none: %q, %v", d.Value(), ok)
	}
	if d, ok := r.View().Decision(2); !ok || d.Running(r.Now().UnixNano()) {
		t.Error("what is over runs")
	}
	m := &engine.Machine{ID: "m1", AuthType: engine.AuthPassword, PasswordHash: []byte("$2a$10$x"), Validated: true, LastPush: 5, LastHeartbeat: 6}
	wants(t, r.BringMachine(ctx, m), nil)
	wants(t, r.BringMachine(ctx, m), nil)
	if got := r.View().Machine("m1"); got == nil || got.LastPush != 5 || got.LastHeartbeat != 6 {
		t.Errorf("a machine: %+v", got)
	}
	wants(t, r.BringBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}}, 9), nil)
	wants(t, r.BringBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{2}}, 9), nil)
	row := r.View().Bouncer("fw")
	if row == nil || row.LastPull() != 9 || row.Load().KeyHash != (engine.KeyHash{2}) {
		t.Errorf("a bouncer: %+v", row)
	}
	r.Restart()
	if row := r.View().Bouncer("fw"); row == nil || row.LastPull() != 9 {
		t.Error("when it pulled last is not kept")
	}
}

// A bouncer is not brought with a key that another was rotated to, or from; with its own new one it is, and
// then it is its only one.
func TestBringBesideRotatedKeys(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	key := func(name string, n byte) *engine.Bouncer {
		return &engine.Bouncer{Name: name, AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{n}}
	}
	wants(t, r.BringBouncer(ctx, key("fw", 1), 9), nil)
	wants(t, r.RotateBouncer(ctx, "fw", engine.KeyHash{2}, time.Hour), nil)
	wants(t, r.BringBouncer(ctx, key("other", 2), 9), engine.ErrExists)
	wants(t, r.Check(), nil)
	wants(t, r.BringBouncer(ctx, key("shares", 1), 9), nil) // as that of two bouncers may be
	wants(t, r.BringBouncer(ctx, key("fw", 2), 9), engine.ErrExists)
	wants(t, r.DeleteBouncer(ctx, "shares"), nil)
	wants(t, r.BringBouncer(ctx, key("fw", 2), 9), nil)
	for range 2 {
		hash := engine.KeyHash{2}
		if _, ok := r.View().ResolveKey(&hash, r.Now().UnixNano()); !ok || hash != (engine.KeyHash{2}) || r.View().KeysOf(hash, 0) != nil {
			t.Error("the new key leads elsewhere")
		}
		wants(t, r.Check(), nil)
		r.Restart()
	}
}
