package program

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// TestGarbagePercent: a store that the collector need not look into takes little garbage
// on top of it, a heap full of pointers is not collected all the time.
func TestGarbagePercent(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		what          string
		live, scanned uint64
		least, most   uint64 // garbage
	}{
		{"nothing known", 0, 0, 0, 0},
		{"small", 4 * mb, 2 * mb, 16 * mb, 16 * mb},
		{"a million decisions", 100 * mb, 6 * mb, 32 * mb, 32 * mb},
		{"ten million", 1000 * mb, 30 * mb, 200 * mb, 200 * mb},
		{"pointers alone", 1000 * mb, 1000 * mb, 1000 * mb, 1000 * mb},
	} {
		percent := garbagePercent(c.live, c.scanned)
		if garbage := c.live * uint64(percent) / 100; percent < 1 || garbage < c.least || garbage > c.most {
			t.Errorf("%s: %d %%, %d MB of garbage; wanted %d to %d MB", c.what, percent, garbage/mb, c.least/mb, c.most/mb)
		}
	}
}

// TestSpareIsSeen: garbage that no collection has found yet, and memory that one has
// freed, are what is worth giving back; when it was given back there is little.
func TestSpareIsSeen(t *testing.T) {
	if os.Getenv("GOGC") == "off" {
		t.Log("nothing is collected")
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	debug.FreeOSMemory()
	look := newHeapLook()
	look.read()
	before, allocated := look.spare(), look.allocated()
	garbage := make([]byte, 64<<20)
	look.read()
	if spare := look.spare(); spare < before+worthBytes || look.allocated()-allocated <= restfulBytes {
		t.Errorf("%d bytes are spare after 64 MB more, and %d before", spare, before)
	}
	runtime.KeepAlive(garbage)
	debug.FreeOSMemory()
	look.read()
	if spare := look.spare(); spare >= worthBytes {
		t.Errorf("%d bytes are spare after all was given back", spare)
	}
}
