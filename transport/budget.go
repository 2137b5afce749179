package transport

import (
	"net/netip"
	"sync/atomic"

	"lapid/transport/auth"
	"lapid/transport/budget"
)

// purses is the memory for large request bodies. Those who have not shown who they
// are have a small part of their own, in two halves: for addresses where the store
// knows nobody and for those where it does, so that the unknown do not starve the
// known.
type purses struct {
	known     *budget.Purse // of machines and bouncers
	strangers [2]*budget.Purse
	wide      [2]slot
}

func newPurses(known, strangers int64, labour func(int)) purses {
	half := func() *budget.Purse { return budget.NewPurse(strangers/2, labour) }
	return purses{budget.NewPurse(known, labour), [2]*budget.Purse{half(), half()}, [2]slot{}}
}

// inUse is how much is taken of all, in bytes.
func (p *purses) inUse() int64 {
	return p.known.InUse() + p.strangers[0].InUse() + p.strangers[1].InUse()
}

// slot is the place for one wide body of somebody who has not logged in. No login
// is that large, but the contract takes it.
type slot struct{ taken atomic.Bool }

func (s *slot) take() bool { return s.taken.CompareAndSwap(false, true) }

// strangersAt is whose bodies count together before anybody has shown who he is.
func strangersAt(client netip.Addr) budget.Holder { return budget.Holder{Place: auth.PlaceOf(client)} }

// hold is what one body has.
type hold struct {
	budget.Hold
	wide *slot // besides
}

// release gives back everything.
func (h *hold) release() {
	h.Release()
	if h.wide != nil {
		h.wide.taken.Store(false)
		h.wide = nil
	}
}
