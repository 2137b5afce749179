package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Delivery is an answer that tells a bouncer something, from the moment its last
// bytes leave until it is known whether they were heard. Meanwhile the
// bouncer's cursor is behind the answer, so that a bouncer that asks again at once is
// not told twice, but what is written down is before it. What was not heard is told
// again, together with everything that was told since: told twice is harmless,
// told never is not.
//
// Row, After, All, To and Note are set by the maker and never changed. A Delivery is
// offered once, watched and settled by one goroutine at a time.
type Delivery struct {
	Row   *BouncerRow
	After Revision // the answer tells what came after this revision,
	All   bool     // or everything;
	To    Revision // a bouncer that has heard it knows this one
	Note  PollRef  // where it is noted what becomes of it

	// On the lock of the row's deliveries.
	from    uint64 // where the cursor was, as in BouncerRow
	at      int64  // when it was offered
	witness Witness
}

// Witness sees what becomes of an answer.
type Witness interface {
	// Missed reports whether the answer has not arrived, as far as can be seen now;
	// late says that it should have. It must neither wait nor call a method of a row
	// or a Delivery.
	Missed(late bool) bool
}

// lateAfter is for how long an answer may be on its way before a missing
// acknowledgement counts: one that left a moment ago is still to come.
const lateAfter = int64(time.Second)

// unheardAtMost is how many answers to one bouncer may be under way. Further
// ones move no cursor, and are told again.
const unheardAtMost = 64

// unheard are the deliveries to one bouncer that are offered and not settled.
type unheard struct {
	mu   sync.Mutex
	list []*Delivery
	many atomic.Int32 // len(list)

	anew atomic.Bool   // it asked for everything, and has not heard it yet
	put  atomic.Uint64 // the last revision at which a node told that it began anew (visits_of.go)

	listening map[uint64]int // how many open streams of events have acknowledged so much
	streams   atomic.Int32   // how many there are
}

// Offer moves the cursor behind the answer, just before its last bytes are
// written, and notes the pull. False, and nothing moves, when another request's
// answer was lost since this one was made, for then the cursor is before it; or
// when too many are under way. After true, Heard or Lost must follow.
func (d *Delivery) Offer(w Witness, now int64) bool {
	r := d.Row
	u := r.unsettled()
	u.mu.Lock()
	defer u.mu.Unlock()
	at := r.cursor.Load()
	if len(u.list) >= unheardAtMost || !d.All && at <= uint64(d.After) {
		return false
	}
	d.from, d.witness, d.at = uint64(d.After)+1, w, now
	if d.All {
		d.from = at
	}
	u.list = append(u.list, d)
	u.many.Store(int32(len(u.list)))
	r.isHere()
	if d.All { // a bouncer that asked for everything knows nothing else
		r.cursor.Store(uint64(d.To) + 1)
	} else {
		forward(&r.cursor, uint64(d.To)+1)
	}
	r.Visit(now)
	return true
}

// unsettled is what is known of answers under way, made when it is missing.
func (r *BouncerRow) unsettled() *unheard {
	if u := r.unheard.Load(); u != nil {
		return u
	}
	r.unheard.CompareAndSwap(nil, &unheard{})
	return r.unheard.Load()
}

// Watch changes the witness; nil: there is none. The one before is not asked any
// more once Watch has returned.
func (d *Delivery) Watch(w Witness) {
	u := d.Row.unheard.Load()
	u.mu.Lock()
	d.witness = w
	u.mu.Unlock()
}

// Heard keeps the cursor's place for good, unless the answer was given up
// already. A bouncer that has heard everything need not hear what was told before:
// earlier answers are settled too. The witness is not asked any more once it has
// returned.
func (d *Delivery) Heard() {
	u := d.Row.unheard.Load()
	u.mu.Lock()
	defer u.mu.Unlock()
	if d.All {
		for i := slices.Index(u.list, d); i > 0; i-- {
			u.settle(u.list[0])
		}
	}
	if u.settle(d) {
		if d.All {
			u.anew.Store(false)
		}
		d.Note.Settle(PollHeard)
		d.Row.note()
	}
}

// Lost takes the cursor back to before the answer. The witness is not asked any
// more once it has returned.
func (d *Delivery) Lost() {
	u := d.Row.unheard.Load()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lose(d)
}

// Waiting reports whether any answer is under way.
func (r *BouncerRow) Waiting() bool {
	u := r.unheard.Load()
	return u != nil && u.many.Load() > 0
}

// Review takes back every answer under way that was missed, as far as its witness can
// see, except those whose witness is the caller. Call it before Cursor. Without answers
// under way it costs nothing; otherwise it takes a lock and asks the witnesses.
func (r *BouncerRow) Review(own Witness, now int64) {
	if !r.Waiting() {
		return
	}
	u := r.unheard.Load()
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := len(u.list) - 1; i >= 0; i-- {
		d := u.list[i]
		if d.witness != nil && d.witness != own && d.witness.Missed(now-d.at > lateAfter) {
			u.lose(d)
		}
	}
}

// settle ends a delivery; false if it was ended before. Called with the lock.
func (u *unheard) settle(d *Delivery) bool {
	i := slices.Index(u.list, d)
	if i < 0 {
		return false
	}
	d.witness = nil
	u.list = slices.Delete(u.list, i, i+1)
	u.many.Store(int32(len(u.list)))
	return true
}

// lose ends a delivery that was not heard and takes the cursor back to before it. If a
// later answer that told everything is still under way, the cursor stays, and only the
// loss of that answer takes it back so far: a bouncer that heard everything and is then
// treated as one that knows nothing would keep what ended meanwhile. Called with the lock.
func (u *unheard) lose(d *Delivery) {
	i := slices.Index(u.list, d)
	if i < 0 {
		return
	}
	later := u.list[i+1:]
	if j := slices.IndexFunc(later, func(o *Delivery) bool { return o.All }); j >= 0 {
		later[j].from = min(later[j].from, d.from)
		d.Note.Settle(PollMissed)
		u.settle(d)
		return
	}
	if r := d.Row; r.cursor.Load() > d.from {
		r.cursor.Store(d.from)
		r.note()
	}
	d.Note.Settle(PollMissed)
	u.settle(d) // last: who finds nothing under way finds the cursor where it is
}
