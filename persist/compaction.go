package persist

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Pause after a failed compaction: Pebble would try again at once, for as long as
// the table is unreadable. It doubles with each failure in a row.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// compactions decides when Pebble may merge tables: one merge at a time, none
// once the disk has failed, and not at once after one that failed. Unlike Pebble's
// own scheduler it has no goroutine that wakes up ten times a second.
//
// Pebble calls in with its mutex held, so mu is never held while calling Pebble.
type compactions struct {
	fence *fence
	db    pebble.DBForCompaction // set once, before any other call

	failed atomic.Bool // the merge that is running reported an error

	mu       sync.Mutex
	idle     sync.Cond // granting fell to 0
	running  bool      // the slot is taken, by a merge or by the pause after one
	granting int       // calls into db that are under way
	closed   bool
	pause    time.Duration
	timer    *time.Timer // ends the pause
}

func newCompactions(f *fence) *compactions {
	c := &compactions{fence: f}
	c.idle.L = &c.mu
	return c
}

// Register is called by Pebble when it opens.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) { c.db = db }

// Unregister is called by Pebble when it closes; afterwards db is left alone.
func (c *compactions) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	for c.granting > 0 {
		c.idle.Wait()
	}
}

// TrySchedule is called by Pebble for leave to merge. After a refusal Done calls Pebble,
// when the slot is free again.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if !c.take() {
		return false, nil
	}
	return true, c
}

// take takes the slot if it is free.
func (c *compactions) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running || c.closed || c.fence.failure.Load() != nil {
		return false
	}
	c.running = true
	return true
}

// Done is called at the end of a merge, on its own goroutine and without a lock.
// After a failure the slot stays taken for the pause; Done itself must not wait,
// Pebble may be waiting for it to open.
func (c *compactions) Done() {
	c.mu.Lock()
	if c.failed.Swap(false) && !c.closed {
		c.pause = min(max(2*c.pause, firstPause), lastPause)
		c.timer = time.AfterFunc(c.pause, c.grant)
		c.mu.Unlock()
		return
	}
	c.pause = 0
	c.mu.Unlock()
	c.grant()
}

// grant gives the slot back, or on to a merge that waits for it.
func (c *compactions) grant() {
	for {
		c.mu.Lock()
		c.running = false
		if c.closed || c.fence.failure.Load() != nil {
			c.mu.Unlock()
			return
		}
		c.granting++
		c.mu.Unlock()

		waiting, _ := c.db.GetWaitingCompaction()
		waiting = waiting && c.take()
		settled := !waiting || c.db.Schedule(c)

		c.mu.Lock()
		c.granting--
		if c.granting == 0 {
			c.idle.Broadcast()
		}
		c.mu.Unlock()
		if settled {
			return
		}
		// Pebble had no use for it after all: give the slot back and look again.
	}
}

// What a scheduler with a budget of processors would use.

func (c *compactions) UpdateGetAllowedWithoutPermission()                {}
func (c *compactions) Started()                                          {}
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind)         {}
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}
