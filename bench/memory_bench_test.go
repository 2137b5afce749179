package bench

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"lapid/bench/corpus"
	"lapid/engine"
	"lapid/engine/enginetest"
)

// BenchmarkMemory says what a decision of the corpus takes in memory, structure by
// structure, as the collector counts it: go test ./bench -run none
// -bench Memory -benchtime 1x -entries 1000000. The disk is in memory here and is left out.
func BenchmarkMemory(b *testing.B) {
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	before := held()
	r := enginetest.NewRig(b, func(o *engine.Options) { o.NoSync = true })
	b.Cleanup(r.Stop)
	for range b.N {
		set := corpus.New(*entries, 42)
		for first := 0; first < set.Len(); first += 10_000 {
			imported(b, r, set, first, min(first+10_000, set.Len()))
		}
	}
	after := held()
	var names []string
	for name, n := range after {
		if after[name] = n - before[name]; strings.HasPrefix(name, "state") && after[name]*100 > int64(*entries) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int { return int(after[y] - after[x]) })
	total := int64(0)
	for _, name := range names {
		b.Logf("%7.2f B/decision  %s", float64(after[name])/float64(*entries)/float64(b.N), name)
		total += after[name]
	}
	b.ReportMetric(float64(total)/float64(*entries)/float64(b.N), "B/decision")
}

// imported brings a part of the set as one alert.
func imported(b *testing.B, r *enginetest.Rig, set *corpus.Set, first, last int) {
	a := &engine.Alert{Scenario: "import", StopAt: engine.StampOf(r.Now())}
	for e := range set.Part(first, last) {
		a.Decisions = append(a.Decisions, engine.NewDecision{Duration: e.Duration.String(), Scope: e.Scope(), Value: string(e.AppendValue(nil)),
			Type: e.Type, Origin: e.Origin, Scenario: e.Scenario})
	}
	if _, err := r.AddAlerts(context.Background(), "", []*engine.Alert{a}, r.Now().UnixNano()); err != nil {
		b.Fatal(err)
	}
}

// held is what lives in memory, in bytes, by what holds it: for the state, the method of the
// state that wanted it and the index it went to.
func held() map[string]int64 {
	runtime.GC()
	runtime.GC() // the profile is of the collection before the last
	records := make([]runtime.MemProfileRecord, 1<<16)
	n, ok := runtime.MemProfile(records, false)
	if !ok {
		panic(fmt.Sprintf("a profile of %d records", n))
	}
	sums := map[string]int64{}
	for i := range records[:n] {
		sums[holder(records[i].Stack())] += records[i].InUseBytes()
	}
	maps.DeleteFunc(sums, func(_ string, n int64) bool { return n == 0 })
	return sums
}

// holder names who asked for memory.
func holder(stack []uintptr) string {
	frames, in := runtime.CallersFrames(stack), ""
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		switch {
		case strings.HasPrefix(name, "index."):
			in = strings.TrimPrefix(name, "index.")
		case strings.HasPrefix(name, "engine.(*state)."):
			return "state." + strings.TrimPrefix(name, "engine.(*state).") + " " + in
		}
		if !more {
			return "other"
		}
	}
}
