package engine

import (
	"sync/atomic"
	"time"
)

// clock protects decisions from a wall clock that jumps. Time is taken from
// the wall clock once and then advanced by the steady clock of the machine,
// which no operator and no time server can step. When the two disagree by more
// than slack, the wall clock is not believed at once: only a disagreement that
// stayed the same for patience is a correction, and is followed. So an hour's
// step that is taken back lifts no ban, and a clock that was wrong at the start
// is not wrong for ever.
//
// A correction may lead back in time. Then the history goes on with earlier
// times, and what was decided meanwhile runs as long as it was meant to.
//
// Any goroutine may read; nothing is allocated while the clocks agree.
type clock struct {
	base  atomic.Pointer[clockBase]
	doubt atomic.Pointer[clockDoubt] // nil: the clocks agree
	leap  atomic.Pointer[clockLeap]  // nil: the start has been proven (leap.go)
}

// clockBase is a moment at which the wall clock was believed.
type clockBase struct{ wall, steady int64 }

// clockDoubt is a disagreement: since when on the steady clock, and by how much
// the wall clock is ahead.
type clockDoubt struct{ since, off int64 }

const (
	clockSlack    = int64(2 * time.Second)
	clockPatience = int64(10 * time.Minute)
)

// read turns one reading of both clocks, in nanoseconds, into the time.
func (c *clock) read(wall, steady int64) int64 {
	b := c.base.Load()
	if b == nil {
		c.base.CompareAndSwap(nil, &clockBase{wall, steady})
		return wall
	}
	held := b.wall + (steady - b.steady)
	off := wall - held
	d := c.doubt.Load()
	switch l := c.leap.Load(); {
	case near(off, 0):
		if d != nil {
			c.doubt.CompareAndSwap(d, nil)
		}
	case l != nil && wall <= l.latest: // it was wrong at the start, and now is not: as if the start were now
		if c.base.CompareAndSwap(b, &clockBase{wall, steady}) {
			c.doubt.Store(nil)
		}
		return wall
	case d == nil || !near(off, d.off):
		c.doubt.CompareAndSwap(d, &clockDoubt{steady, off})
	case steady-d.since >= clockPatience:
		if c.base.CompareAndSwap(b, &clockBase{wall, steady}) {
			c.doubt.Store(nil)
		}
		return wall
	}
	return held
}

// near reports whether two offsets are the same but for the slack. Offsets that
// run over the ends of time are not.
func near(a, b int64) bool {
	d := a - b
	return d >= -clockSlack && d <= clockSlack && (d >= 0) == (a >= b)
}

// clock reads the time, and the steady clock, which is for what must happen
// every so often whatever the time is said to be; both in nanoseconds, the
// latter from an arbitrary moment. With a clock that a test sets by hand the two
// are one.
func (e *Engine) clock() (now, steady int64) {
	t := e.options.Now()
	wall := t.UnixNano()
	if e.options.Steady != nil {
		steady = int64(e.options.Steady())
	} else if t == t.Round(0) { // no monotonic reading
		return wall, wall
	} else {
		steady = int64(t.Sub(e.started))
	}
	return e.wall.read(wall, steady), steady
}
