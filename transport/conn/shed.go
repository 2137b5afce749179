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
// has most of them, until all addresses have as many; then the oldest. Where there are none
// of these, clients give way whose answers were put off until there is news.

const (
	// shedPart is which part of the limit is closed at a time: looking at all
	// connections for each new one would be dear.
	shedPart = 16
)

// unproven is a connection on which nobody has shown who he is.
type unproven struct {
	peer  netip.Addr
	age   time.Duration
	cut   func() bool // reports whether it was closed
	known bool        // the store knows somebody at the address
	rank  int         // how many of its address are younger
}

// makeServingRoom closes connections with a goroutine that were handed over by
// loops, and reports whether there is room now.
func (f *core) makeServingRoom() bool {
	limit := f.MaxServed
	many := f.open.count() + 1 - limit
	if many > 0 {
		many += limit / shedPart
	}
	if many <= 0 {
		return true // somebody has left
	}
	list := f.unproven(func(c *conn) bool { return c.door != nil && !c.atDesk.Load() })
	return f.shed(list, many, CutServed) > 0
}

// shed closes so many of a list, and says how many it closed.
func (f *core) shed(list []unproven, many int, why Reason) (closed int) {
	slices.SortFunc(list, func(a, b unproven) int { return cmp.Compare(a.age, b.age) })
	ranks := make(map[netip.Prefix]int)
	for i := range list {
		u, place := &list[i], f.owner.PlaceOf(list[i].peer)
		u.rank = ranks[place]
		u.known = !u.peer.IsValid() || f.owner.Knows(u.peer)
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
		if u.age >= f.Patience.ShedAge && u.cut() {
			closed++
			f.owner.Refused(why, u.peer)
		}
	}
	return closed
}

// firstToGo puts those in order who wait: those whose holder has most of them, until all
// have as many, and then who has waited longest.
func firstToGo(list []reactor.Waiting) []reactor.Waiting {
	slices.SortFunc(list, func(a, b reactor.Waiting) int { return b.Since.Compare(a.Since) })
	many, rank := make(map[string]int), make(map[reactor.Guest]int, len(list))
	for i := range list {
		holder := list[i].Guest.(parkedGuest).Holder()
		rank[list[i].Guest] = many[holder]
		many[holder]++
	}
	slices.SortStableFunc(list, func(a, b reactor.Waiting) int {
		return cmp.Or(cmp.Compare(rank[b.Guest], rank[a.Guest]), a.Since.Compare(b.Since))
	})
	return list
}

// unproven lists those on which nobody has shown who he is, of some kind.
func (f *core) unproven(which func(*conn) bool) []unproven {
	var list []unproven
	now := time.Now()
	for _, one := range f.open.list() {
		if c := one.(*conn); !c.proven.Load() && which(c) {
			list = append(list, unproven{peer: c.peer, age: now.Sub(c.since), cut: func() bool { return c.cut() == nil }})
		}
	}
	return list
}
