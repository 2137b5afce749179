package conn

import (
	"sync/atomic"

	"lapid/transport/budget"
)

// memory is what large request bodies and long heads are paid out of. Those who have
// not shown who they are have a small part of their own, in two halves: for addresses
// where the store knows nobody and for those where it does, so that the unknown do not
// starve the known.
type memory struct {
	known     *budget.Purse // of machines and bouncers
	strangers [2]*budget.Purse
	wide      [2]slot
}

func newMemory(known, strangers int64, labour func(int)) memory {
	half := func() *budget.Purse { return budget.NewPurse(strangers/2, labour) }
	return memory{budget.NewPurse(known, labour), [2]*budget.Purse{half(), half()}, [2]slot{}}
}

// slot is the place for one wide body of somebody who has not logged in. No login
// is that large, but the contract takes it.
type slot struct{ taken atomic.Bool }

func (s *slot) take() bool { return s.taken.CompareAndSwap(false, true) }

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
