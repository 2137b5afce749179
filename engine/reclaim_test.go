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
// nobody writes any more. No other test runs meanwhile: it looks at the whole
// process.
func TestMemoryComesBack(t *testing.T) {
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
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
	full := taken()
	if full < before+many*96 {
		t.Fatalf("%d decisions take %d MiB", many, (full-before)>>20)
	}
	r.Advance(2 * time.Hour)
	for _, id := range ids {
		wants(t, r.DeleteAlert(ctx, id, r.Now().UnixNano()), nil)
	}
	forget(r)
	// Nothing is written from here on; only time goes by.
	most := before + (full-before)/2 // the disk is in memory too, and grows
	for n := 0; r.Metrics().Graves > 0 || resident() > most; n++ {
		r.Step(10 * time.Second)
		runtime.Gosched()
		if n == 100_000 {
			t.Fatalf("%d MiB at first, %d with %d decisions, and then never less than %d; %d graves, %d stored",
				before>>20, full>>20, many, resident()>>20, r.Metrics().Graves, r.Metrics().Stored)
		}
	}
	t.Logf("%d MiB at first, %d with %d decisions, %d in the end", before>>20, full>>20, many, resident()>>20)
	q := r.Ask()
	n := 0
	r.View().EachRunning(q, func(engine.Decision) bool { n++; return true })
	if n != each {
		t.Errorf("%d run, want %d", n, each)
	}
	ban(0, "1h") // in memory that was given back
}

// taken is how much memory is in use, garbage left out.
func taken() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers held
	return memory(func(m *runtime.MemStats) uint64 { return m.HeapInuse })
}

// resident is how much of the heap the machine has not got back.
func resident() uint64 {
	return memory(func(m *runtime.MemStats) uint64 { return m.HeapSys - m.HeapReleased })
}

func memory(of func(*runtime.MemStats) uint64) uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return of(&m)
}
