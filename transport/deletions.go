package transport

import (
	"log/slog"
	"net/netip"
	"sync"

	"lapid/transport/visible"
)

// deletionsAtMost is how many lines about what machines delete by the API there are
// in a second; the others are counted in one line. What they report is told by the
// engine.
const deletionsAtMost = 20

// deletions counts the lines of a second. Any goroutine may use it.
type deletions struct {
	log *slog.Logger

	mu      sync.Mutex
	second  int64
	told    int
	untold  int
	deleted int // by those that are not told
}

// may reports whether one more line may be written.
func (c *deletions) may(second int64, n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over(second) {
		c.second, c.told = second, 0
	}
	if c.told++; c.told <= deletionsAtMost {
		return true
	}
	c.untold++
	c.deleted += n
	return false
}

// over reports whether another second has begun than the one that is counted: not
// by a request of before that, but by a clock that was set back.
func (c *deletions) over(second int64) bool { return second > c.second || second < c.second-60 }

// missed takes what was not told, once the second is over.
func (c *deletions) missed(second int64) (requests, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over(second) {
		return 0, 0
	}
	requests, n = c.untold, c.deleted
	c.untold, c.deleted = 0, 0
	return requests, n
}

// tell says that a machine has deleted so many of something.
func (c *deletions) tell(what, machine string, n int, client netip.Addr, target []byte, now int64) {
	if n == 0 || !c.may(now/1e9, n) {
		return
	}
	c.log.Info("a machine deleted "+what, "machine", machine, "address", client, what, n, "request", visible.Short(string(target)))
}

// tellMissed is called every second.
func (c *deletions) tellMissed(now int64) {
	if requests, n := c.missed(now / 1e9); requests > 0 {
		c.log.Info("machines deleted more than there are lines for in a second", "requests", requests, "deleted", n)
	}
}
