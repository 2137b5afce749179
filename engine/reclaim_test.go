package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// After much has ended and was forgotten the machine has its memory back, though
// there are no writes any more. No other test runs meanwhile: it looks at the whole
// process.
func TestMemoryComesBack(t *testing.T) {
	ctx := context.Background()
	r := enginetest.NewRig(t, func(o *engine.Options) {
		o.Dir, o.FS = t.TempDir(), nil // files of a disk in memory would be counted, with what they may grow by
	})
	const many, each = 200_000, 20_000
	ban := func(first int, length string) engine.AlertID {
		a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now())}
		for i := first; i < first+each; i++ {
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255),
				Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: length})
		}
		ids, err := r.AddAlerts(ctx, "", []*engine.Alert{a}, r.Now().UnixNano())
		wants(t, err, nil)
		return ids[0]
	}
	ban(1<<23, "5000h") // some stay
	before := taken()
	var ids []engine.AlertID
	for first := 0; first < many; first += each {
		ids = append(ids, ban(first, "1h"))
	}
	full, high := taken(), resident()
	if full < before+many*64 {
		t.Fatalf("%d decisions take %d MiB", many, (full-before)>>20)
	}
	r.Advance(2 * time.Hour)
	for _, id := range ids {
		wants(t, r.DeleteAlert(ctx, id, r.Now().UnixNano()), nil)
	}
	forget(r)
	// Nothing is written from here on; only time goes by, and no other test collects.
	round, passed := uint64(0), 0
	pass := func() {
		t.Helper()
		if now := r.Rounds(); now != round { // else the committer has not seen the last step yet
			round = now
			if passed++; passed > 5000 { // a few are enough
				t.Fatalf("%d MiB at first, %d with %d decisions (of %d), and still %d (of %d), %d graves",
					before>>20, full>>20, many, high>>20, taken()>>20, resident()>>20, r.Metrics().Graves)
			}
			r.Step(10 * time.Second)
		}
	}
	until(func() bool { pass(); return r.Metrics().Graves == 0 })
	half := (full - before) / 2
	until(func() bool { pass(); return taken() <= before+half && resident() <= high-half })
	t.Logf("%d MiB at first, %d with %d decisions (of %d), %d in the end (of %d)", before>>20, full>>20, many, high>>20, taken()>>20, resident()>>20)
	if running, _ := enginetest.FullState(r.View(), r.Ask()); len(running) != each {
		t.Errorf("%d run, want %d", len(running), each)
	}
	ban(0, "1h") // in memory that was given back
}

// taken is how much memory is in use, garbage left out.
func taken() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers held
	return memory(func(m *runtime.MemStats) uint64 { return m.HeapInuse })
}

// resident is how much of the machine's memory the heap holds, garbage and all.
func resident() uint64 {
	return memory(func(m *runtime.MemStats) uint64 { return m.HeapSys - m.HeapReleased })
}

func memory(of func(*runtime.MemStats) uint64) uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return of(&m)
}
