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
// that the collector need not look into, so what a collection costs goes by the part
// of the heap that may hold pointers, and the usual rule (as much garbage as there is
// live memory) would only double what a large store takes. So there may be as much
// garbage as there is of that part, and never so little that a heap is collected all
// the time: at ten million decisions an import is collected with a fifth of the heap as
// garbage at a third of the time that a twentieth takes, and at rest nothing of it stays.
const (
	leastGarbage = 32 << 20 // bytes
	leastPercent = 20
	mostPercent  = 400
	tuneEvery    = time.Second
)

// When the program allocates next to nothing any more, after an import say, no
// collection comes for two minutes, and then it keeps the memory it found. So what is
// spare then goes back to the machine at once, if it is worth a collection. A program
// that goes on allocating keeps it: it would want it back. The pages of the program itself go
// with it, for what the work was that has ended.
const (
	restfulBytes = 1 << 20  // allocated between two looks, at most
	worthBytes   = 12 << 20 // garbage, with memory that is free and not given back
)

// tuneCollector keeps the collector's target fitting to the heap, and gives memory
// back at rest, until what it returns is called. An operator's GOGC takes precedence.
// It looks once a second and changes something only when the heap has.
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
	t := time.NewTicker(tuneEvery)
	defer t.Stop()
	percent, look := 0, newHeapLook()
	for before := uint64(0); ; before = look.allocated() {
		look.read()
		if now := garbagePercent(look.live(), look.scanned()); now != percent {
			debug.SetGCPercent(now)
			percent = now
		}
		if look.allocated()-before <= restfulBytes && look.spare() >= worthBytes {
			debug.FreeOSMemory()
			dropOwnPages()
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// garbagePercent is the collector's target for a heap with so many live bytes, of
// which it looks into some. A heap of which nothing is known yet is a small one.
func garbagePercent(live, scanned uint64) int {
	if live == 0 {
		return mostPercent
	}
	return min(max(int(max(leastGarbage, scanned)*100/live), leastPercent), mostPercent)
}

// heapLook is what the runtime tells of the heap, in bytes.
type heapLook []metrics.Sample

func newHeapLook() heapLook {
	return heapLook{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}, {Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
}

func (h heapLook) read()             { metrics.Read(h) }
func (h heapLook) live() uint64      { return h[0].Value.Uint64() } // at the last collection
func (h heapLook) scanned() uint64   { return h[1].Value.Uint64() } // of it, what may hold pointers
func (h heapLook) allocated() uint64 { return h[2].Value.Uint64() } // ever

// spare is what a collection and giving memory back may bring: all that was allocated
// since the last one, which may be garbage, and what is free.
func (h heapLook) spare() uint64 {
	objects, live := h[3].Value.Uint64(), h.live()
	return objects - min(live, objects) + h[4].Value.Uint64()
}
