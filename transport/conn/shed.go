package conn

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"lapid/transport/reactor"
)

// When there are as many connections as there may be, one more is not turned away:
// others are closed on which nobody has shown who he is. A client does that with
// its first request, within milliseconds, and is not touched any more; what is left
// are connections of those who say nothing, or nothing good. So they cannot keep
// others out, however many they are, and from the address of others neither.
//
// Those go first at whose address the store knows nobody; then those whose address
// has most of them, until all addresses have as many; then the oldest.

const (
	// shedPart is which part of the limit is closed at a time: looking at all
	// connections for each new one would be dear.
	shedPart = 16
	// shedAge is how old a connection is at least that is closed to make room at the
	// door, and how long a request of a stranger goes on at least when there are as
	// many requests as there may be.
	shedAge = 250 * time.Millisecond
)

// unproven is a connection on which nobody has shown who he is.
type unproven struct {
	peer  netip.Addr
	age   time.Duration
	cut   func() bool // reports whether it was closed
	known bool        // the store knows somebody at the address
	rank  int         // how many of its address are younger
}

// makeRoom closes connections at a door to make room for others, and reports
// whether there were any.
func (l *listener) makeRoom() bool {
	l.shedding.Lock()
	defer l.shedding.Unlock()
	limit := l.limit()
	many := int(l.count.Load()) - limit
	if many <= 0 {
		return true // somebody else has made room
	}
	many += limit / shedPart
	list := l.front.open.unproven(func(c *conn) bool { return c.came == l })
	if loops := l.loops.Load(); loops != nil {
		for _, u := range loops.Unserved() {
			list = append(list, silent(loops, u))
		}
	}
	return l.front.shed(list, many, CutConnection) > 0
}

func silent(loops *reactor.Reactor, u reactor.Unserved) unproven {
	return unproven{peer: u.Peer, age: u.Age, cut: func() bool { return loops.Cut(u) }}
}

// makeServingRoom closes connections with a goroutine that were handed over by
// loops, and reports whether there is room now.
func (f *Front) makeServingRoom() bool {
	limit := f.options.MaxServed
	many := f.open.count() + 1 - limit
	if many > 0 {
		many += limit / shedPart
	}
	if many <= 0 {
		return true // somebody has left
	}
	list := f.open.unproven(func(c *conn) bool { return c.door != nil && !c.atDesk.Load() })
	return f.shed(list, many, CutServed) > 0
}

// shed closes so many of a list, and says how many it closed.
func (f *Front) shed(list []unproven, many int, why Reason) (closed int) {
	slices.SortFunc(list, func(a, b unproven) int { return cmp.Compare(a.age, b.age) })
	ranks := make(map[netip.Prefix]int)
	for i := range list {
		u, place := &list[i], f.options.Owner.PlaceOf(list[i].peer)
		u.rank = ranks[place]
		u.known = !u.peer.IsValid() || f.options.Owner.Knows(u.peer)
		ranks[place]++
	}
	slices.SortStableFunc(list, func(a, b unproven) int {
		if a.known != b.known {
			if b.known {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(b.age, a.age))
	})
	for _, u := range list {
		if closed == many {
			break
		}
		if u.age >= f.options.Patience.ShedAge && u.cut() {
			closed++
			f.options.Owner.Refused(why, u.peer)
		}
	}
	return closed
}
