package engine

import (
	"sync/atomic"
	"time"
)

// clockFloor protects decisions from a clock that jumps. Time is taken from
// the wall clock once and then advanced by the monotonic clock, which no
// operator and no time server can step. When wall and monotonic time disagree
// by more than slack, the wall is not believed at once: only a disagreement
// that has lasted for patience is a correction, and is followed. So an hour's
// step that is taken back lifts no ban, and a clock that was wrong at the
// start is not wrong for ever.
//
// A clock without a monotonic reading (tests that set the time by hand) is
// taken at its word.
type clockFloor struct {
	base      atomic.Pointer[clockBase]
	doubtFrom atomic.Int64 // monotonic nanoseconds since base when the disagreement began; 0: none
}

type clockBase struct {
	reading time.Time // holds the monotonic reading
	wall    int64     // what reading was taken for, Unix nanoseconds
}

const (
	clockSlack    = 2 * time.Second
	clockPatience = 10 * time.Minute
)

func (c *clockFloor) read(now func() time.Time) int64 {
	t := now()
	wall := t.UnixNano()
	b := c.base.Load()
	if b == nil {
		c.base.CompareAndSwap(nil, &clockBase{t, wall})
		return wall
	}
	if t == t.Round(0) { // no monotonic reading
		return wall
	}
	passed := int64(t.Sub(b.reading))
	steady := b.wall + passed
	if off := wall - steady; off <= int64(clockSlack) && off >= -int64(clockSlack) {
		if c.doubtFrom.Load() != 0 {
			c.doubtFrom.Store(0)
		}
		return steady
	}
	from := c.doubtFrom.Load()
	if from == 0 {
		c.doubtFrom.CompareAndSwap(0, max(passed, 1))
		return steady
	}
	if passed-from < int64(clockPatience) {
		return steady
	}
	if c.base.CompareAndSwap(b, &clockBase{t, wall}) {
		c.doubtFrom.Store(0)
	}
	return wall
}
