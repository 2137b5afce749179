package program

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// How much garbage may gather between two collections. Decisions lie in memory
// that the collector need not look into, so a collection is cheap whatever
// their number, and the usual rule (as much garbage as there is live memory)
// would only double what a large store takes. A small heap may gather more, or
// it would be collected all the time.
const (
	leastGarbage = 32 << 20 // bytes
	leastPercent = 20
	mostPercent  = 400
	tuneEvery    = time.Second
)

// tuneCollector keeps the collector's target fitting to the heap until what
// it returns is called. An operator's GOGC takes precedence. It looks once a
// second and changes something only when the heap has.
func tuneCollector() (end func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tuning sync.WaitGroup
	tuning.Go(func() { tune(ctx) })
	return func() {
		cancel()
		tuning.Wait()
	}
}

// tune runs until ctx ends. The first look is at once.
func tune(ctx context.Context) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	t := time.NewTicker(tuneEvery)
	defer t.Stop()
	for now := 0; ; {
		metrics.Read(sample)
		if percent := garbagePercent(sample[0].Value.Uint64()); percent != now {
			debug.SetGCPercent(percent)
			now = percent
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// garbagePercent is the collector's target for a heap with so many live bytes.
// A heap of which nothing is known yet is a small one.
func garbagePercent(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	return min(max(int(leastGarbage*100/live), leastPercent), mostPercent)
}
