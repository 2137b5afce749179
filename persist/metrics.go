package persist

import (
	"math"
	"sync/atomic"
	"time"
)

// Metrics are plain numbers, counted since Open unless said otherwise.
type Metrics struct {
	Appends      uint64    // records written
	AppendBytes  uint64    // their sizes
	AppendErrors uint64    // records refused by the disk
	Sync         Histogram // how long each Append took, most of it the disk's sync

	Rows     uint64 // row changes written
	RowBytes uint64 // with keys and framing

	Snapshots       uint64  // written
	SnapshotErrors  uint64  // not written
	SnapshotSeconds float64 // spent writing them, all together
	SnapshotBytes   uint64  // written, all together
	LastSnapshot    uint64  // revision of the newest, now

	Failed     bool   // the disk refuses writes, now: see Store.Err
	WALBytes   uint64 // of the log files in use, now
	DiskBytes  uint64 // of the whole folder, now
	CacheBytes uint64 // of the block cache, now
	// MemTableBytes is what is held in memory until it is written to tables, now.
	MemTableBytes uint64
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

// counters are written by the committer and the snapshotter and read by anyone.
type counters struct {
	appends, appendBytes, appendErrors atomic.Uint64
	syncs                              [len(syncBounds) + 1]atomic.Uint64
	syncNanos                          atomic.Uint64
	rows, rowBytes                     atomic.Uint64
	snapshots, snapshotErrors          atomic.Uint64
	snapshotNanos, snapshotBytes       atomic.Uint64
}

func (c *counters) appended(bytes int, took time.Duration) {
	c.appends.Add(1)
	c.appendBytes.Add(uint64(bytes))
	c.syncNanos.Add(uint64(took))
	i, seconds := 0, took.Seconds()
	for i < len(syncBounds) && seconds > syncBounds[i] {
		i++
	}
	c.syncs[i].Add(1)
}

func (c *counters) snapshotted(bytes int64, took time.Duration) {
	c.snapshots.Add(1)
	c.snapshotBytes.Add(uint64(bytes))
	c.snapshotNanos.Add(uint64(took))
}

// Metrics returns the numbers as they are now. Those that were counted are not
// taken at one moment.
func (s *Store) Metrics() Metrics {
	c := &s.metrics
	m := Metrics{
		Appends:         c.appends.Load(),
		AppendBytes:     c.appendBytes.Load(),
		AppendErrors:    c.appendErrors.Load(),
		Sync:            c.histogram(),
		Rows:            c.rows.Load(),
		RowBytes:        c.rowBytes.Load(),
		Snapshots:       c.snapshots.Load(),
		SnapshotErrors:  c.snapshotErrors.Load(),
		SnapshotSeconds: time.Duration(c.snapshotNanos.Load()).Seconds(),
		SnapshotBytes:   c.snapshotBytes.Load(),
		LastSnapshot:    s.snapshots.newest(),
	}
	for _, f := range s.snapshots.all() {
		m.DiskBytes += uint64(f.Size)
	}
	in, err := s.use()
	if err != nil {
		return m
	}
	defer in.users.Done()
	p := in.db.Metrics()
	m.Failed = in.fence.err() != nil
	m.WALBytes = p.WAL.PhysicalSize
	m.DiskBytes += p.DiskSpaceUsage()
	m.CacheBytes = uint64(p.BlockCache.Size)
	m.MemTableBytes = p.MemTable.Size
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
