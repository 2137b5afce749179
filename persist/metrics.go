package persist

import (
	"math"
	"sync/atomic"
	"time"
)

// Metrics are plain numbers, counted since Open unless said otherwise.
type Metrics struct {
	AppendBytes uint64    // sizes of the records written
	Sync        Histogram // how long each Append took, most of it the disk's sync
	Failed      bool      // the disk refuses writes, now: see Store.Err
	DiskBytes   uint64    // of the whole folder, now
}

// Histogram counts durations by upper bound.
type Histogram struct {
	// Bounds are in seconds, ascending. Counts has one more entry, for what was
	// longer than the last bound.
	Bounds []float64
	Counts []uint64
	Sum    float64 // seconds
	Count  uint64
}

// syncBounds are the Histogram's bounds: 16 µs to 4 s, each twice the one before.
var syncBounds = func() (bounds [19]float64) {
	for i := range bounds {
		bounds[i] = 16e-6 * math.Pow(2, float64(i))
	}
	return bounds
}()

// counters are written by the committer and read by any goroutine.
type counters struct {
	appendBytes atomic.Uint64
	syncs       [len(syncBounds) + 1]atomic.Uint64
	syncNanos   atomic.Uint64
}

// appended counts a record that was written.
func (c *counters) appended(bytes int, took time.Duration) {
	c.appendBytes.Add(uint64(bytes))
	c.syncNanos.Add(uint64(took))
	i, seconds := 0, took.Seconds()
	for i < len(syncBounds) && seconds > syncBounds[i] {
		i++
	}
	c.syncs[i].Add(1)
}

// Metrics returns the numbers as they are now. Those that were counted are not
// taken at one moment.
func (s *Store) Metrics() Metrics {
	m := Metrics{AppendBytes: s.metrics.appendBytes.Load(), Sync: s.metrics.histogram()}
	for _, f := range s.snapshots.all() {
		m.DiskBytes += uint64(f.Size)
	}
	in, err := s.use()
	if err != nil {
		return m
	}
	defer in.users.Done()
	m.Failed = in.fence.err() != nil
	m.DiskBytes += in.db.Metrics().DiskSpaceUsage()
	return m
}

func (c *counters) histogram() Histogram {
	h := Histogram{
		Bounds: syncBounds[:],
		Counts: make([]uint64, len(c.syncs)),
		Sum:    time.Duration(c.syncNanos.Load()).Seconds(),
	}
	for i := range c.syncs {
		h.Counts[i] = c.syncs[i].Load()
		h.Count += h.Counts[i]
	}
	return h
}
