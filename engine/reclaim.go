package engine

import (
	"runtime"
	"runtime/debug"
	"unsafe"
)

// Memory of decisions that no reader can see any more comes back in three steps, and
// each waits for a collection: the views in which they ran must have gone, then
// those that could still lead a reader to them, then the chunks of records in which
// none is left (index.Slab) are garbage like any other. On a server that allocates
// nothing the collector runs every two minutes, and then keeps what it found for the
// program. So after much has ended it is asked to run, and at last to give the
// machine its pages back: beside readers and commits, and never more often than
// releaseEvery.
const (
	hurryFrom   = 1 << 16 // tombstones that wait for nothing but a collection
	returnsFrom = 8 << 20 // bytes of chunks that came free
	restFrom    = 2 << 20 // of those that are left when nothing waits any more
)

// giveBack frees chunks of records in which none is in use, but for some that the
// next decisions will want: one for eight in use. And it has readers look for ranges in
// one place again.
func (e *Engine) giveBack() {
	s := e.state
	s.ranges.Settle(s.pace.rest)
	s.records.Release(s.records.Len()/8, func(first, last slot) {
		s.deadlines.Release(first, last)
		e.unreturned += int(last-first+1) * int(unsafe.Sizeof(record{}))
	})
	s.places.Release(s.places.Len()/8, func(first, last slot) {
		e.unreturned += int(last-first+1) * int(unsafe.Sizeof(place{}))
	})
	s.wordings.rows.Release(s.wordings.rows.Len()/8, func(_, _ slot) {})
	s.graves.shed()
	switch {
	case s.awaitCollection() >= hurryFrom:
		e.publish(s.next.revision) // without writes, the newest view would never be gone
		e.collect(runtime.GC)
	case e.worthReturning() && e.collect(debug.FreeOSMemory):
		e.unreturned = 0
	}
}

// worthReturning reports whether enough memory came free for a collection: more waits
// for more, as long as there may be some.
func (e *Engine) worthReturning() bool {
	g := &e.state.graves
	return e.unreturned >= returnsFrom || e.unreturned >= restFrom && len(g.waiting)+len(g.buried) == 0
}

// awaitCollection is how many tombstones wait for views to be collected, and for
// nothing else.
func (s *state) awaitCollection() int {
	g := &s.graves
	n := len(g.buried)
	if w := g.waiting; len(w) > 0 && s.records.At(w[0].slot).endedRev.Load() <= s.history.Floor() {
		n += len(w)
	}
	return n
}

// collect runs the collector in one way or the other, beside everything else, and
// reports false while the last run goes on.
func (e *Engine) collect(how func()) bool {
	if !e.collecting.CompareAndSwap(false, true) {
		return false
	}
	go func() {
		defer e.collecting.Store(false)
		how()
	}()
	return true
}
