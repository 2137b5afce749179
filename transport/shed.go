package transport

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"lapid/transport/auth"
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
func (d *doorway) makeRoom() bool {
	d.shedding.Lock()
	defer d.shedding.Unlock()
	limit := d.limit()
	many := int(d.count.Load()) - limit
	if many <= 0 {
		return true // somebody else has made room
	}
	many += limit / shedPart
	list := d.server.open.unproven(func(c *conn) bool { return c.came == d })
	if loops := d.loops.Load(); loops != nil {
		for _, u := range loops.Unserved() {
			list = append(list, silent(loops, u))
		}
	}
	return d.server.shed(list, many, cutConnection) > 0
}

func silent(loops *reactor.Reactor, u reactor.Unserved) unproven {
	return unproven{peer: u.Peer, age: u.Age, cut: func() bool { return loops.Cut(u) }}
}

// makeServingRoom closes connections with a goroutine that were handed over by
// loops, and reports whether there is room now.
func (s *Server) makeServingRoom() bool {
	limit := s.options.MaxServed
	many := s.open.count() + 1 - limit
	if many > 0 {
		many += limit / shedPart
	}
	if many <= 0 {
		return true // somebody has left
	}
	list := s.open.unproven(func(c *conn) bool { return c.door != nil && !c.atDesk.Load() })
	return s.shed(list, many, cutServed) > 0
}

// shed closes so many of a list, and says how many it closed.
func (s *Server) shed(list []unproven, many int, why reason) (closed int) {
	slices.SortFunc(list, func(a, b unproven) int { return cmp.Compare(a.age, b.age) })
	ranks := make(map[netip.Prefix]int)
	for i := range list {
		u, place := &list[i], auth.PlaceOf(list[i].peer)
		u.rank = ranks[place]
		u.known = !u.peer.IsValid() || s.gate.Knows(u.peer)
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
		if u.age >= s.shedAge && u.cut() {
			closed++
			s.refused(why, u.peer)
		}
	}
	return closed
}

// prove notes that whoever is at the other end has shown who he is.
func (x *exchange) prove() {
	if x.conn != nil && x.asked == nil && !x.conn.proven.Load() {
		x.conn.proven.Store(true)
	}
}
