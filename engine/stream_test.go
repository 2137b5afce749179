package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// TestFleets has several bouncers follow random histories. Each has a row, and
// so a cursor that is written down now and then. Answers get lost, the server is
// restarted, the power fails: then a bouncer asks again from the cursor that
// survived, and whatever it hears again must do no harm. After every answer it
// holds exactly what runs (invariant 5).
func TestFleets(t *testing.T) {
	settings := map[string]func(*engine.Options){
		"plain":         nil,
		"short history": func(o *engine.Options) { o.History = 30 },
		"snapshots":     func(o *engine.Options) { o.SnapshotBytes = 1 << 10 },
	}
	for name, change := range settings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := *seed
			if s == 0 {
				s = rand.Uint64()
			}
			t.Logf("seed %d", s)
			newFleet(t, s, change).play(*steps)
		})
	}
}

// fleet is one random play.
type fleet struct {
	*history
	names []string
}

func newFleet(t *testing.T, seed uint64, change func(*engine.Options)) *fleet {
	f := &fleet{history: newHistory(t, seed, func(o *engine.Options) {
		o.FS = persist.NewCrashFS()
		if change != nil {
			change(o)
		}
	})}
	for i, c := range f.clients {
		c.Holds = map[enginetest.Target]bool{}
		f.names = append(f.names, fmt.Sprintf("bouncer-%d", i))
		if _, err := f.AddBouncer(f.ctx, &engine.Bouncer{Name: f.names[i]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.CreateAllowlist(f.ctx, "trusted", "", f.now()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fleet) play(steps int) {
	actions := []func(){
		f.add, f.add, f.add, f.addMany, f.end, f.endOne, f.deleteAlert, f.trust, f.pass, f.pass,
		f.poll, f.poll, f.poll, f.poll, f.lose, f.begin, f.snapshot, f.restart, f.crash, runtime.GC,
	}
	for i := range steps {
		actions[f.chance.IntN(len(actions))]()
		if f.t.Failed() {
			f.t.Fatalf("first difference after step %d", i)
		}
	}
	for i := range f.clients {
		f.hear(i)
	}
}

func (f *fleet) row(i int) *engine.BouncerRow { return f.View().Bouncer(f.names[i]) }

func (f *fleet) poll() { f.hear(f.chance.IntN(len(f.clients))) }

// hear has one bouncer ask and get its answer.
func (f *fleet) hear(i int) {
	f.Settle()
	c := f.clients[i]
	d, err := c.PollAs(f.Engine, f.row(i), f.now())
	if err != nil {
		f.t.Fatal(err)
	}
	d.Heard()
	if want := f.model.Targets(f.now(), enginetest.Admits(c.Query)); !maps.Equal(c.Holds, want) {
		f.t.Errorf("%s holds %v, want %v", f.names[i], c.Holds, want)
	}
}

// lose has an answer go astray, and perhaps others be heard before that is
// noticed. The power may fail at any time between.
func (f *fleet) lose() {
	i := f.chance.IntN(len(f.clients))
	c := f.clients[i]
	held := maps.Clone(c.Holds)
	lost, err := c.PollAs(f.Engine, f.row(i), f.now())
	if err != nil {
		f.t.Fatal(err)
	}
	c.Holds = held
	for range f.chance.IntN(3) {
		f.add()
		f.end()
		f.Settle()
		d, err := c.PollAs(f.Engine, f.row(i), f.now())
		if err != nil {
			f.t.Fatal(err)
		}
		d.Heard()
	}
	if f.chance.IntN(2) == 0 {
		f.pass()
	}
	if f.chance.IntN(4) == 0 {
		f.snapshot()
	}
	if f.chance.IntN(8) == 0 {
		f.crash() // before it was noticed
		return
	}
	lost.Lost()
}

// begin has a bouncer start anew.
func (f *fleet) begin() {
	i := f.chance.IntN(len(f.clients))
	f.clients[i].Forget(f.row(i))
}

func (f *fleet) crash() { f.Rig.Crash() }

// trust adds to an allowlist, which ends what it overlaps.
func (f *fleet) trust() {
	_, value := f.value()
	p, err := engine.ParseTarget(value)
	if err != nil {
		return
	}
	if slices.ContainsFunc(f.View().Allowlist("trusted").Items, func(it engine.AllowlistItem) bool { return it.Value == value }) {
		return
	}
	want := f.model.End(f.now(), func(d *enginetest.Held) bool { return enginetest.Inside(d, p) || enginetest.Covers(d, p) })
	_, ended, err := f.AddToAllowlist(f.ctx, "trusted", []engine.AllowlistItem{{Value: value, Prefix: p}}, f.now())
	if err != nil || ended != want {
		f.t.Errorf("trusting %s ended %d, %v; want %d", value, ended, err, want)
	}
}

// A target's end is told once however it came about, and never in the same
// answer as its beginning.
func TestEndsAreToldOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, end := range map[string]func(r *enginetest.Rig, id engine.AlertID) error{
		"expiry": func(r *enginetest.Rig, _ engine.AlertID) error { r.Advance(5 * 3600e9); return nil },
		"deletion": func(r *enginetest.Rig, id engine.AlertID) error {
			return r.EndDecision(ctx, engine.DecisionID(id), r.Now().UnixNano())
		},
		"alert": func(r *enginetest.Rig, id engine.AlertID) error { return r.DeleteAlert(ctx, id, r.Now().UnixNano()) },
		"after expiry": func(r *enginetest.Rig, id engine.AlertID) error {
			r.Advance(5 * 3600e9)
			return r.DeleteAlert(ctx, id, r.Now().UnixNano())
		},
		"retention": func(r *enginetest.Rig, id engine.AlertID) error {
			r.Advance(5 * 3600e9)
			_, err := r.FlushAlerts(ctx, 0, 3600e9, r.Now().UnixNano())
			return err
		},
		"allowlist": func(r *enginetest.Rig, id engine.AlertID) error {
			now := r.Now().UnixNano()
			if err := r.CreateAllowlist(ctx, "trusted", "", now); err != nil {
				return err
			}
			_, _, err := r.AddToAllowlist(ctx, "trusted", []engine.AllowlistItem{{Value: "192.0.2.0/24", Prefix: netip.MustParsePrefix("192.0.2.0/24")}}, now)
			return err
		},
	} {
		for _, crash := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, crash=%v", name, crash), func(t *testing.T) {
				t.Parallel()
				r := enginetest.NewRig(t, func(o *engine.Options) { o.FS = persist.NewCrashFS() })
				row, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw"})
				if err != nil {
					t.Fatal(err)
				}
				id := populated{r, t}.add("192.0.2.1", "4h")
				row.Advance(r.View().Revision(), r.Now().UnixNano())
				cursor := r.View().Revision()
				if err := end(r, id); err != nil {
					t.Fatal(err)
				}
				if crash {
					r.Crash()
				}
				r.Settle()
				var d engine.Delta
				if !r.View().Changes(&d, cursor, r.Ask()) || len(d.New) != 0 || len(d.Deleted) != 1 || d.Deleted[0].Value() != "192.0.2.1" {
					t.Errorf("told %d new, %d deleted", len(d.New), len(d.Deleted))
				}
				if !r.View().Changes(&d, r.View().Revision(), r.Ask()) || len(d.Deleted) != 0 {
					t.Error("told twice")
				}
			})
		}
	}
}

// A full state lists as over what a bouncer may still hold. When an alert is gone,
// that is until the decided end of what it brought, and for as long as the history
// reaches back to where it ended, whatever readers keep it in memory. What was over
// on arrival no bouncer ever held, and what is not listed hides nothing that is.
func TestStartupListsWhatMayBeHeld(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.History = 16 })
	p := populated{r, t}
	over := func() (values []string) {
		_, listed := enginetest.FullState(r.View(), r.Ask())
		for _, d := range listed {
			values = append(values, d.Value())
		}
		return values
	}
	wantOver := func(when string, want ...string) {
		t.Helper()
		if got := over(); !slices.Equal(got, want) {
			t.Errorf("%s: over are %v, want %v", when, got, want)
		}
	}
	gone := []engine.AlertID{p.add("192.0.2.1", "1h"), p.add("192.0.2.2", "48h"), p.add("192.0.2.3", "-1m"), p.add("192.0.2.4", "2h")}
	p.add("192.0.2.4", "1h")
	for range 70 { // a chain that is too long to be walked for each
		p.add("192.0.2.5", "1h")
	}
	p.add("192.0.2.6", "1h")
	gone = append(gone, p.add("192.0.2.5", "2h"))
	held := r.View()
	for _, id := range gone {
		wants(t, r.DeleteAlert(ctx, id, r.Now().UnixNano()), nil)
	}
	wantOver("the alerts are gone", "192.0.2.1", "192.0.2.2")
	r.Advance(3 * 3600e9)
	last := r.View()
	for i := range 40 { // the history forgets
		p.add(fmt.Sprintf("198.51.100.%d", i), "48h")
	}
	wantOver("their time is over", slices.Concat([]string{"192.0.2.2", "192.0.2.4"}, slices.Repeat([]string{"192.0.2.5"}, 70), []string{"192.0.2.6"})...)
	runtime.KeepAlive(held)
	runtime.KeepAlive(last)
}
