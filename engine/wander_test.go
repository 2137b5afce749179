package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// nodes are three engines on one history, driven by one goroutine.
type nodes struct {
	t      *testing.T
	chance *rand.Rand
	ends   [3]*enginetest.AgreedNode
	rigs   [3]*enginetest.Rig
	writer int
	bans   int

	wanderers []*wanderer
	deltas    int // answers at another node than the one before that told only what has changed
}

// wanderer is a bouncer that asks now this node, now that.
type wanderer struct {
	enginetest.Client
	name  string
	holds bool            // it has heard everything once
	heard engine.Revision // what it knows
	shown engine.Revision // of that, what it has come back with; 0: nothing, or another node may still tell that it has nothing
	at    int             // the node that it asked last
	began [3]bool         // at which nodes it asked for everything, which the others are to be told
}

func newNodes(t *testing.T, seed uint64) *nodes {
	agreed := enginetest.NewAgreed(seed)
	w := &nodes{t: t, chance: rand.New(rand.NewPCG(seed, 2))}
	for i := range w.rigs {
		w.ends[i] = agreed.Node()
		w.rigs[i] = enginetest.NewRig(t, func(o *engine.Options) { o.FS, o.Journal = persist.NewCrashFS(), w.ends[i] })
	}
	w.lead(0)
	for i := range 4 {
		one := &wanderer{name: fmt.Sprintf("fw-%d", i)}
		one.Query = w.rigs[0].Ask()
		w.wanderers = append(w.wanderers, one)
		w.write(func(e *engine.Engine) error {
			_, err := e.AddBouncer(context.Background(), &engine.Bouncer{Name: one.name, AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{byte(i + 1)}, CreatedAt: int64(i)})
			if errors.Is(err, engine.ErrExists) {
				return nil // an answer was lost
			}
			return err
		})
	}
	return w
}

// lead makes an engine the writer, whatever the log does to its first commit.
func (w *nodes) lead(i int) {
	w.t.Helper()
	for w.ends[i].Claim(); ; {
		err := w.rigs[i].Lead(context.Background())
		if err == nil {
			break
		}
		if !errors.Is(err, engine.ErrUnsure) {
			w.t.Fatalf("leading: %v", err)
		}
	}
	w.writer = i
}

// write does it, as often as it takes.
func (w *nodes) write(do func(*engine.Engine) error) {
	w.t.Helper()
	for {
		err := do(w.rigs[w.writer].Engine)
		if err == nil {
			return
		}
		if !errors.Is(err, engine.ErrUnsure) && !errors.Is(err, engine.ErrNotWriter) {
			w.t.Fatal(err)
		}
		w.lead(w.writer)
	}
}

// change bans somebody, or ends a ban.
func (w *nodes) change() {
	now := enginetest.Epoch.UnixNano()
	running, _ := enginetest.FullState(w.rigs[w.writer].View(), w.rigs[w.writer].Ask())
	if len(running) > 0 && w.chance.IntN(3) == 0 {
		id := running[w.chance.IntN(len(running))].ID()
		w.write(func(e *engine.Engine) error {
			err := e.EndDecision(context.Background(), id, now)
			if errors.Is(err, engine.ErrNotFound) {
				return nil
			}
			return err
		})
		return
	}
	w.bans++
	a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(enginetest.Epoch), Decisions: []engine.NewDecision{
		{Scope: "Ip", Value: fmt.Sprintf("10.0.0.%d", w.bans%64), Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: "4h"}}}
	w.write(func(e *engine.Engine) error {
		_, err := e.AddAlerts(context.Background(), "", []*engine.Alert{a}, now)
		return err
	})
}

// newest waits until a node has all there is, as a poll does.
func (w *nodes) newest(i int) *engine.Engine {
	w.t.Helper()
	rev, err := w.ends[i].Newest(context.Background())
	if err == nil {
		err = w.rigs[i].Reach(context.Background(), rev)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return w.rigs[i].Engine
}

// poll has a bouncer ask a node, which it may not hear, or after a restart that took what it held.
func (w *nodes) poll(one *wanderer, i int, restarted, lost bool) {
	w.t.Helper()
	e, now := w.newest(i), enginetest.Epoch.UnixNano()
	row := e.View().Bouncer(one.name)
	cursor, pulled := row.Cursor()
	if one.holds = one.holds && !restarted; one.holds && pulled && cursor > one.heard {
		w.t.Fatalf("node %d says that %s knows revision %d, and it knows %d", i, one.name, cursor, one.heard)
	}
	before := one.Client
	before.Holds = maps.Clone(one.Holds)
	var d *engine.Delivery
	var err error
	if one.holds {
		row.AcknowledgeTold()
		one.shown = cursor
		if d, err = one.PollAs(e, row, now); i != one.at && !d.All {
			w.deltas++
		}
	} else {
		one.began[i] = true
		d, err = one.StartAs(e, row, now)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if one.at = i; lost {
		d.Lost()
		one.Client = before
		return
	}
	d.Heard()
	if d.All {
		one.shown = 0
	}
	one.holds, one.heard = true, d.To
	want := map[enginetest.Target]bool{}
	running, _ := enginetest.FullState(e.View(), one.Query)
	for _, r := range running {
		want[enginetest.TargetOf(r)] = true
	}
	if !maps.Equal(one.Holds, want) {
		w.t.Fatalf("%s holds %d decisions at node %d, after %d; there are %d", one.name, len(one.Holds), i, d.After, len(want))
	}
}

// note has a node tell of its visitors. What is sent may be lost, or come twice.
func (w *nodes) note(i int, all bool) (more bool) {
	w.t.Helper()
	ctx := context.Background()
	n, err := w.rigs[i].VisitNote(ctx, fmt.Sprint(i), all)
	if err != nil {
		w.t.Fatal(err)
	}
	if n == nil {
		for _, one := range w.wanderers {
			if one.began[i] && one.at != i {
				one.shown = 0
			}
			one.began[i] = false
		}
		return false
	}
	for range w.chance.IntN(3) {
		w.write(func(e *engine.Engine) error { return e.NoteVisits(engine.ForRequest(ctx, n.ID), n.Body) })
	}
	w.newest(i)
	return true
}

// leave ends a node in an orderly way. Who was there goes on elsewhere from what it has shown.
func (w *nodes) leave(i int) {
	w.t.Helper()
	for w.note(i, true) {
	}
	if w.writer == i {
		if err := w.rigs[i].Yield(context.Background()); err != nil {
			w.t.Fatal(err)
		}
		w.lead((i + 1) % len(w.rigs))
	}
	other := (i + 1 + w.chance.IntN(2)) % len(w.rigs)
	for _, one := range w.wanderers {
		if !one.holds || one.at != i || one.shown == 0 || one.began != [3]bool{} {
			continue
		}
		if at, pulled := w.newest(other).View().Bouncer(one.name).Cursor(); !pulled || at < one.shown {
			w.t.Fatalf("%s has shown %d at node %d, which left in good order, and node %d has it at %d, %v", one.name, one.shown, i, other, at, pulled)
		}
	}
	w.rigs[i].Restart()
}

// Bouncers wander between nodes that come and go, and each holds, after whatever it was told wherever, what a
// fresh one would be told. No node has a place of a bouncer that it has not heard of.
func TestBouncersWander(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) { // 0 is without accidents
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newNodes(t, seed)
			for range max(sized(400), 200) {
				i := w.chance.IntN(len(w.rigs))
				switch n := w.chance.IntN(100); {
				case n < 30:
					w.change()
				case n < 70:
					w.poll(w.wanderers[w.chance.IntN(len(w.wanderers))], i, w.chance.IntN(15) == 0, w.chance.IntN(8) == 0)
				case n < 93:
					w.note(i, w.chance.IntN(2) == 0)
				case n < 95:
					if i != w.writer {
						if err := w.rigs[w.writer].Yield(context.Background()); err != nil {
							t.Fatal(err)
						}
						w.lead(i)
					}
				case n < 97:
					w.rigs[i].Crash()
					for _, one := range w.wanderers {
						if one.at == i {
							one.shown = 0 // the node has forgotten
						}
					}
					if i == w.writer {
						w.lead((i + 1) % len(w.rigs))
					}
				default:
					w.leave(i)
				}
			}
			digest := w.newest(0).Digest()
			for i := range w.rigs {
				if w.newest(i).Digest() != digest {
					t.Errorf("node %d has another digest", i)
				}
			}
			if w.deltas == 0 {
				t.Error("nobody was told only what has changed at another node")
			}
		})
	}
}
