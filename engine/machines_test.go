package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// wants fails unless err is of the kind; nil wants success.
func wants(t *testing.T, err, kind error) {
	t.Helper()
	if (kind == nil && err != nil) || !errors.Is(err, kind) {
		t.Errorf("got %v, want %v", err, kind)
	}
}

// everyOtherRestart runs the steps on a rig that restarts between them, and on
// one that does not, one after the other: steps may share what they remember.
func everyOtherRestart(t *testing.T, steps ...func(t *testing.T, r *enginetest.Rig)) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts=%v", restarts), func(t *testing.T) {
			r := enginetest.NewRig(t, nil)
			for _, step := range steps {
				step(t, r)
				if restarts {
					r.Restart()
				}
			}
		})
	}
}

func TestMachines(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var id engine.AlertID
	owner := func(t *testing.T, r *enginetest.Rig, want string) {
		t.Helper()
		a, _, err := r.Alert(r.View(), id)
		if err != nil || a.MachineID != want {
			t.Errorf("alert %d belongs to %+v, %v; want %q", id, a, err, want)
		}
	}
	everyOtherRestart(t,
		func(t *testing.T, r *enginetest.Rig) {
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1", PasswordHash: []byte("one"), AuthType: engine.AuthPassword}, false), nil)
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-2"}, false), nil)
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1"}, false), engine.ErrExists)
			wants(t, r.DeleteMachine(ctx, "edge-9"), engine.ErrNotFound)
			wants(t, r.ChangeMachine(ctx, "edge-9", func(*engine.Machine) { t.Error("changed nobody") }), engine.ErrNotFound)
			wants(t, r.ChangeMachine(ctx, "edge-1", func(m *engine.Machine) { m.ID, m.Validated = "other", true }), nil)
			r.Heartbeat("edge-9", 1)
			id = populated{r, t}.add("192.0.2.1", "4h")
		},
		func(t *testing.T, r *enginetest.Rig) {
			m := r.View().Machine("edge-1")
			if m == nil || !m.Validated || string(m.PasswordHash) != "one" || r.View().Machine("other") != nil {
				t.Errorf("edge-1 is %+v", m)
			}
			owner(t, r, "edge-1")
			r.Heartbeat("edge-1", 12345)
		},
		func(t *testing.T, r *enginetest.Rig) {
			if m := r.View().Machine("edge-1"); m.LastHeartbeat != 12345 {
				t.Errorf("last heartbeat %d", m.LastHeartbeat)
			}
			// A new machine under the old name does not inherit the alerts.
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1", PasswordHash: []byte("two")}, true), nil)
			owner(t, r, "")
		},
		func(t *testing.T, r *enginetest.Rig) {
			owner(t, r, "")
			id = populated{r, t}.add("192.0.2.2", "4h")
			owner(t, r, "edge-1")
			wants(t, r.DeleteMachine(ctx, "edge-1"), nil)
			owner(t, r, "")
			wants(t, r.AddMachine(ctx, &engine.Machine{ID: "edge-1"}, false), nil)
			owner(t, r, "")
		},
		func(t *testing.T, r *enginetest.Rig) {
			owner(t, r, "")
			wants(t, r.PruneMachines(ctx, []string{"edge-2", "never was"}), nil)
			names := []string{}
			for _, m := range r.View().Machines() {
				names = append(names, m.ID)
			}
			if !slices.Equal(names, []string{"edge-1"}) {
				t.Errorf("machines %v", names)
			}
		},
	)
}

// TestMachineBytes holds what a machine takes in memory: one that has just been
// registered, and one of a fleet that reports the same 300 hub items as all others,
// or but for one.
func TestMachineBytes(t *testing.T) {
	plain := func(i int) *engine.Machine {
		return &engine.Machine{ID: fmt.Sprintf("lp-%08d", i), PasswordHash: bytes.Repeat([]byte("h"), 60), AuthType: engine.AuthPassword,
			Validated: true, IP: fmt.Sprint("10.0.0.", i%250), CreatedAt: 1, UpdatedAt: 2}
	}
	differs := func(i int) *engine.Machine {
		m := fleetMachine(i)
		m.HubItems["collections"][0].Version = fmt.Sprint("0.", i)
		return m
	}
	for _, c := range []struct {
		name    string
		n       int
		machine func(int) *engine.Machine
		most    float64
	}{{"plain", 100_000, plain, 700}, {"fleet", 2000, fleetMachine, 1800}, {"fleet, each with a list of its own", 2000, differs, 5000}} {
		for _, shown := range []int{1, c.n} {
			before := heapInUse()
			kept := engine.BuildMachines(c.n, shown, c.machine)
			each := float64(heapInUse()-before) / float64(c.n)
			runtime.KeepAlive(kept)
			t.Logf("%s, %d in a commit: %.0f bytes a machine", c.name, shown, each)
			if each > c.most {
				t.Errorf("%s: %.0f bytes a machine, promised are %.0f", c.name, each, c.most)
			}
		}
	}
}

// TestMachinesShare: what machines report is kept once, however it changes, and is
// forgotten with the last one that has it. Check compares the counts.
func TestMachinesShare(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	const many = 5
	for i := range many {
		wants(t, r.AddMachine(ctx, fleetMachine(i), false), nil)
	}
	for _, again := range []func(){func() {}, r.Restart, func() { wants(t, r.Snapshot(ctx), nil); r.Restart() }} {
		again()
		first := r.View().Machine("lp-00000000")
		for i := range many {
			m := r.View().Machine(fmt.Sprintf("lp-%08d", i))
			for kind, items := range first.HubItems {
				if &items[0] != &m.HubItems[kind][0] || len(items) != len(m.HubItems[kind]) {
					t.Errorf("%s has %s of its own", m.ID, kind)
				}
			}
		}
	}
	held := r.View().Machine("lp-00000001")
	tainted := slices.Clone(held.HubItems["parsers"])
	tainted[3].Status = "tainted"
	wants(t, r.ChangeMachine(ctx, "lp-00000001", func(m *engine.Machine) {
		m.HubItems, m.FeatureFlags = maps.Clone(m.HubItems), []string{"one", "two"}
		m.HubItems["parsers"] = tainted
		m.HubItems["contexts"] = []engine.HubItem{}
		delete(m.HubItems, "collections")
	}), nil)
	if held.HubItems["parsers"][3].Status == "tainted" {
		t.Error("what was published has changed")
	}
	if m := r.View().Machine("lp-00000001"); m.HubItems["parsers"][3].Status != "tainted" || len(m.HubItems["collections"]) != 0 {
		t.Errorf("%v", m.HubItems)
	}
	wants(t, r.Check(), nil)
	wants(t, r.AddMachine(ctx, fleetMachine(2), true), nil) // anew, in place of itself
	wants(t, r.Check(), nil)
	for i := range many {
		wants(t, r.DeleteMachine(ctx, fmt.Sprintf("lp-%08d", i)), nil)
		wants(t, r.Check(), nil)
	}
	if words, lists := r.SharedByMachines(); words != 0 || lists != 0 {
		t.Errorf("%d texts and %d lists are kept for nobody", words, lists)
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMachineCounts: how many wait for validation is counted, not looked for.
func TestMachineCounts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	counts := func(all, waiting int) {
		t.Helper()
		for range 2 {
			if a, w := r.View().MachineCount(); a != all || w != waiting {
				t.Errorf("%d machines, %d waiting; want %d and %d", a, w, all, waiting)
			}
			r.Restart()
		}
	}
	for _, id := range []string{"a", "b", "c"} {
		wants(t, r.AddMachine(ctx, &engine.Machine{ID: id}, false), nil)
	}
	counts(3, 3)
	wants(t, r.ChangeMachine(ctx, "a", func(m *engine.Machine) { m.Validated = true }), nil)
	counts(3, 2)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "a"}, true), nil)
	counts(3, 3)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "b", Validated: true}, true), nil)
	wants(t, r.Snapshot(ctx), nil)
	counts(3, 2)
	wants(t, r.DeleteMachine(ctx, "c"), nil)
	counts(2, 1)
	var order []string
	r.View().EachMachine(func(m *engine.Machine) bool { order = append(order, m.ID); return true })
	if !slices.Equal(order, []string{"a", "b"}) {
		t.Errorf("order %v", order)
	}
}
