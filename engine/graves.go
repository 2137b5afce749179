package engine

import (
	"runtime"
	"slices"
	"sync/atomic"
)

// graves keeps ended decisions from being forgotten too early. A tombstone
// waits until the history no longer names it (a bouncer could still have to
// hear of its end) and every view in which it runs is gone (a view never
// changes); then it is taken out of the indexes, and its memory waits until
// every view that could lead a reader to it is gone. The collector tells of
// views: one that is no longer held is collected, and its cleanup notes that it has
// gone. So a reader pays nothing at all.
//
// The queues need no bound of their own: they name records that are in memory
// anyway.
type graves struct {
	// Owned by the committer.
	waiting []grave      // tombstones in order of their purge, until they are not needed
	buried  []grave      // out of the indexes, until the readers have gone
	alerts  []alertGrave // deleted, until the readers have gone
	issued  uint64       // number of the newest view
	left    int          // places in front of waiting and buried that are empty and still take memory
	low     uint64       // views with smaller numbers have all gone
	gone    map[uint64]struct{}

	returned atomic.Pointer[returnedView] // pushed by cleanups, taken by the committer
}

type grave struct {
	slot slot
	view uint64 // newest view that may lead to it; while it waits: that may show it running
}

type alertGrave struct {
	id   uint64
	view uint64
}

type returnedView struct {
	number uint64
	next   *returnedView
}

// dig puts a tombstone into the queue. Its decided end has passed.
func (g *graves) dig(n slot) { g.waiting = append(g.waiting, grave{n, g.issued}) }

// watch arranges to be told when v is held no longer.
func (g *graves) watch(v *View) {
	g.issued++
	v.number = g.issued
	runtime.AddCleanup(v, g.noteGone, g.issued)
}

// noteGone runs on the collector's goroutine.
func (g *graves) noteGone(number uint64) {
	r := &returnedView{number: number}
	for {
		r.next = g.returned.Load()
		if g.returned.CompareAndSwap(r.next, r) {
			return
		}
	}
}

// settle moves the low watermark over the views that have gone.
func (g *graves) settle() {
	if g.gone == nil {
		g.gone, g.low = map[uint64]struct{}{}, 1
	}
	for r := g.returned.Swap(nil); r != nil; r = r.next {
		g.gone[r.number] = struct{}{}
	}
	for len(g.gone) > 0 {
		if _, ok := g.gone[g.low]; !ok {
			return
		}
		delete(g.gone, g.low)
		g.low++
	}
}

// sweep buries tombstones the history has forgotten, and gives back those no
// view leads to. It does a bounded amount of work a call.
func (s *state) sweep() {
	const most = 10_000
	floor := s.history.Floor()
	g := &s.graves
	if len(g.waiting) == 0 && len(g.buried) == 0 && len(g.alerts) == 0 {
		return
	}
	g.settle()
	n := 0
	for n < len(g.waiting) && n < most && g.waiting[n].view < g.low && s.records.At(g.waiting[n].slot).endedRev.Load() <= floor {
		s.pace.step(n)
		s.bury(g.waiting[n].slot)
		g.buried = append(g.buried, grave{g.waiting[n].slot, g.issued})
		n++
	}
	g.waiting = dropFront(g.waiting, n)
	g.left += n
	s.sweepAlerts(most)
	n = 0
	for n < len(g.buried) && n < most && g.buried[n].view < g.low {
		s.pace.step(n)
		s.release(g.buried[n].slot)
		n++
	}
	g.buried = dropFront(g.buried, n)
	g.left += n
}

// waitForView reports whether the newest view is all that something is waiting for: on
// a server without writes another one has to take its place.
func (g *graves) waitForView() bool {
	b, a := g.buried, g.alerts
	return len(b) > 0 && b[len(b)-1].view == g.issued || len(a) > 0 && a[len(a)-1].view == g.issued
}

// shed gives the empty memory in front of the queues back once it is most of theirs.
func (g *graves) shed() {
	if g.left > len(g.waiting)+len(g.buried) {
		g.waiting, g.buried, g.left = slices.Clone(g.waiting), slices.Clone(g.buried), 0
	}
}

// sweepAlerts gives the memory of deleted alerts back.
func (s *state) sweepAlerts(most int) {
	g := &s.graves
	n := 0
	for n < len(g.alerts) && n < most && g.alerts[n].view < g.low {
		s.pace.step(n)
		h := s.alerts.At(g.alerts[n].id)
		s.strings.Release(h.scenario)
		if h.listed {
			s.lists.Delete(g.alerts[n].id)
		}
		s.dropBatch(g.alerts[n].id, h)
		s.dropSource(h)
		s.alerts.Delete(g.alerts[n].id)
		n++
	}
	g.alerts = dropFront(g.alerts, n)
}

// dropFront forgets the first n elements and, now and then, their memory.
func dropFront[T any](s []T, n int) []T {
	if n == len(s) {
		return nil
	}
	if n > cap(s)/2 {
		return append([]T(nil), s[n:]...)
	}
	return s[n:]
}
