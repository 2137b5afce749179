package index

import (
	"fmt"
	"sync/atomic"
)

// Event says that a record began or ended: slot<<1 | ended.
type Event uint32

// Slot returns the record the event is about.
func (e Event) Slot() Slot { return Slot(e >> 1) }

// Ended says whether the record ended; otherwise it began.
func (e Event) Ended() bool { return e&1 != 0 }

// Revisions keeps what began and ended, in order, for readers with a bookmark:
//
//	events   5+ 6+ │ 5- │ 7+ 8+ 9+ │ 6-          four bytes each
//	marks    rev 3 │ 4  │ rev 9    │ rev 12      where each revision begins
//	         ▲                             ▲
//	         floor: what is before is gone published: what is after is not ready
//
// A reader asks for the events after its bookmark up to its view, and gets a
// Window that stays as it is while the writer goes on. One writer, many
// readers; the zero Revisions begins after revision 0.
type Revisions struct {
	shown atomic.Pointer[history]

	// The writer's own.
	events run[Event]
	marks  run[mark]
	floor  uint64
	upto   uint64
}

// mark says where the events of a revision begin.
type mark struct{ rev, start uint64 }

// history is what readers see: complete revisions only. It never changes.
type history struct {
	events run[Event]
	marks  run[mark]
	floor  uint64 // revisions up to here are gone
	upto   uint64 // revisions after this are not complete
}

// Window is a stretch of history. It may be kept; its events stay what they
// are, whatever the writer does, but their slots are the caller's to guard.
type Window struct{ events run[Event] }

// Len returns how many events the window has.
func (w Window) Len() int { return w.events.len() }

// At returns event i of the window, from 0, the oldest first.
func (w Window) At(i int) Event {
	if uint(i) >= uint(w.events.len()) {
		panic(fmt.Sprintf("BUG: event %d of a window of %d", i, w.events.len()))
	}
	return *w.events.at(w.events.from + uint64(i))
}

// Window returns the events with after < rev <= upto; revisions that are not
// complete are left out. False means that history does not reach back to after
// any more: the reader has to start over. Any goroutine.
func (r *Revisions) Window(after, upto uint64) (Window, bool) {
	h := r.history()
	if after < h.floor {
		return Window{}, false
	}
	upto = min(upto, h.upto)
	if after >= upto {
		return Window{}, true
	}
	events := h.events
	events.from, events.to = h.begin(after), h.begin(upto)
	return Window{events}, true
}

// Floor returns the revision up to which events are gone. Any goroutine.
func (r *Revisions) Floor() uint64 { return r.history().floor }

// Len returns how many events of complete revisions are kept. Any goroutine.
func (r *Revisions) Len() int { return r.history().events.len() }

// Append adds an event of a revision that is not complete yet; it may be the
// same as before, or a later one. The writer's alone.
func (r *Revisions) Append(rev uint64, n Slot, ended bool) {
	last := r.upto
	if r.marks.len() > 0 {
		last = max(last, r.marks.at(r.marks.to-1).rev)
	}
	if rev <= r.upto || rev < last {
		panic(fmt.Sprintf("BUG: an event of revision %d after revision %d", rev, last))
	}
	if rev > last {
		r.marks.append(mark{rev, r.events.to})
	}
	event := Event(n) << 1
	if ended {
		event |= 1
	}
	r.events.append(event)
}

// Publish shows readers everything up to a revision, which is complete now. The
// writer's alone.
func (r *Revisions) Publish(rev uint64) {
	if rev < r.upto {
		panic(fmt.Sprintf("BUG: revision %d published after %d", rev, r.upto))
	}
	r.upto = rev
	r.show()
}

// Trim drops the oldest revisions, whole ones, until at most keep events
// remain; Windows taken before still have what is gone. Between commits only. The
// writer's alone.
func (r *Revisions) Trim(keep int) {
	from := r.events.from
	for r.events.len() > max(keep, 0) {
		r.floor = r.marks.at(r.marks.from).rev
		r.marks.from++
		r.events.from = r.events.to
		if r.marks.len() > 0 {
			r.events.from = r.marks.at(r.marks.from).start
		}
	}
	if r.events.from == from {
		return
	}
	if r.floor > r.upto {
		panic(fmt.Sprintf("BUG: history cut at %d, inside a commit after %d", r.floor, r.upto))
	}
	r.events.shed()
	r.marks.shed()
	r.show()
}

// Reset forgets everything and lets history begin after a revision. At
// start-up, before Append; the writer's alone.
func (r *Revisions) Reset(floor uint64) {
	r.events, r.marks = run[Event]{}, run[mark]{}
	r.floor, r.upto = floor, floor
	r.show()
}

func (r *Revisions) show() {
	r.shown.Store(&history{r.events, r.marks, r.floor, r.upto})
}

func (r *Revisions) history() *history {
	if h := r.shown.Load(); h != nil {
		return h
	}
	return &nothing
}

var nothing history

// begin returns where the events after a revision begin.
func (h *history) begin(after uint64) uint64 {
	low, high := h.marks.from, h.marks.to
	for low < high {
		middle := low + (high-low)/2
		if h.marks.at(middle).rev > after {
			high = middle
		} else {
			low = middle + 1
		}
	}
	if low == h.marks.to {
		return h.events.to
	}
	return h.marks.at(low).start
}
