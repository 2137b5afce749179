package auth

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
)

const (
	// pendingShare is which part of the free places for machines that wait for
	// validation one address may have.
	pendingShare = 16
	// pendingLeast is how many it may have in any case, as long as there are free
	// places.
	pendingLeast = 10
	// censusEvery is how old a count may be where it need not be exact: counting walks
	// over all rows.
	censusEvery = int64(time.Second)
	// homesAtMost is at how many bouncers, and machines, a census looks: the oldest.
	// Later ones are served as unknown addresses are when there is not room for all. A
	// look takes some ten milliseconds then, however many addresses there are.
	homesAtMost = 50_000
)

// census is what is known about addresses from the store: it is there right
// after a start, before the first request.
type census struct {
	last      atomic.Pointer[count]
	counting  sync.Mutex
	admitting sync.Mutex // held while one more machine is added to those that wait
}

// count is one look at all machines and bouncers.
type count struct {
	at      int64
	waiting int                       // machines that no operator has looked at
	by      map[netip.Prefix]int      // the same by address
	home    map[netip.Prefix]struct{} // where machines that are validated, and bouncers, were seen last
}

// Knows reports whether a machine that is validated or a bouncer was seen at an
// address last, as the store remembers it. It says nothing about what is there
// now, and is no proof of anything: it decides which is served first when there is
// not room for all. It may be a second behind.
func (g *Gate) Knows(client netip.Addr) bool {
	_, known := g.census.now(g).home[PlaceOf(client)]
	return known
}

// now is a count that is a second old at most.
func (c *census) now(g *Gate) *count {
	now := g.engine.Now()
	if last := c.last.Load(); last != nil && fresh(last, now) {
		return last
	}
	c.counting.Lock()
	defer c.counting.Unlock()
	if last := c.last.Load(); last != nil && fresh(last, now) {
		return last
	}
	next := takeCensus(g.engine.View())
	next.at = now
	c.last.Store(next)
	return next
}

// fresh also holds off a clock that was set back.
func fresh(c *count, now int64) bool { return now >= c.at && now-c.at < censusEvery }

// takeCensus looks at the machines and bouncers, at homesAtMost of each at most.
func takeCensus(view *engine.View) *count {
	c := takePending(view)
	c.home = map[netip.Prefix]struct{}{}
	n := 0
	view.EachMachine(func(m *engine.Machine) bool {
		if a, err := netip.ParseAddr(m.IP); err == nil && m.Validated {
			c.home[PlaceOf(a.Unmap())] = struct{}{}
		}
		n++
		return n < homesAtMost
	})
	n = 0
	view.EachBouncer(func(row *engine.BouncerRow) bool {
		if a := row.Load().IP; a.IsValid() {
			c.home[PlaceOf(a.Unmap())] = struct{}{}
		}
		n++
		return n < homesAtMost
	})
	return c
}

// takePending looks at the machines that wait, and no longer than until all of
// them were met.
func takePending(view *engine.View) *count {
	c := &count{by: map[netip.Prefix]int{}}
	_, waiting := view.MachineCount()
	view.EachMachine(func(m *engine.Machine) bool {
		if c.waiting == waiting {
			return false
		}
		if !m.Validated {
			a, _ := netip.ParseAddr(m.IP)
			c.by[PlaceOf(a.Unmap())]++
			c.waiting++
		}
		return true
	})
	return c
}

// room reports whether one more machine from a place may wait for validation, of
// most altogether. The more wait the less a place may have, so that it takes a
// thousand addresses to leave nothing for others.
func (c *count) room(place netip.Prefix, most int) bool {
	free := most - c.waiting
	return free > 0 && c.by[place] < max(free/pendingShare, min(pendingLeast, most))
}
