package engine

import "sync/atomic"

// BouncerRow is a bouncer's place in memory: its current value, and what every
// visit changes. A row stays the same as long as the bouncer exists, so a
// caller may keep it until it is Gone. All methods are safe from any goroutine and
// allocate nothing.
//
// A million rows must fit: with its value and its places in the indexes a row takes
// 340 to 410 bytes (TestBouncerRowBytes).
type BouncerRow struct {
	value  atomic.Pointer[Bouncer]
	place  uint64         // in the order of creation; set once
	ledger *bouncerLedger // nil: a guest, of which nothing is written down
	after  *BouncerRow    // in the ledger

	// Noted in memory by visitors, written down in bulk by the committer. A
	// crash may forget the last seconds: then a bouncer hears again what it
	// heard already, which is harmless.
	cursor   atomic.Uint64 // 1 + revision; 0: never pulled. Answers that are not heard yet count, see Delivery
	acked    atomic.Uint64 // likewise: what it has shown to have; see acknowledge.go
	shared   atomic.Uint64 // what the history has of that where nodes share one, and flags; see visits_of.go
	lastPull atomic.Int64
	noted    atomic.Bool // changed since it was written down; it is in the ledger
	gone     atomic.Bool // dropped; for callers that keep the row, apply does not look at it
	own      atomic.Bool // of this engine alone, not of the history (own_rows.go)

	unheard atomic.Pointer[unheard] // nil: there never was any

	said      atomic.Pointer[saying] // nil: as its value has it. In memory alone
	described atomic.Int64           // when DueToDescribe last said yes; 0: never
}

// saying is what a bouncer says it is.
type saying struct{ kind, version string }

func (r *BouncerRow) marked() *atomic.Bool { return &r.noted }
func (r *BouncerRow) next() **BouncerRow   { return &r.after }

type bouncerLedger = ledger[BouncerRow, *BouncerRow]

// NewGuest returns a row for a bouncer that cannot be stored now, for one
// request. It knows of no earlier one: a stream begins anew. b is the row's.
func NewGuest(b *Bouncer) *BouncerRow {
	if b.Software == nil {
		b.Software = &Software{}
	}
	r := &BouncerRow{}
	r.value.Store(b)
	return r
}

// Load returns the bouncer as it is now.
func (r *BouncerRow) Load() *Bouncer { return r.value.Load() }

// Gone reports whether the bouncer was dropped. Until then, and as long as its value says
// so, the row is the right one for its key or certificate and address: a later row never
// takes its place.
func (r *BouncerRow) Gone() bool { return r.gone.Load() }

// Cursor is the revision up to which the bouncer knows everything; false when
// it never pulled a stream.
func (r *BouncerRow) Cursor() (Revision, bool) {
	c := r.cursor.Load()
	if c == 0 {
		return 0, false
	}
	return Revision(c - 1), true
}

// LastPull is the time of the last visit, Unix nanoseconds; 0: never.
func (r *BouncerRow) LastPull() int64 { return r.lastPull.Load() }

// Visit notes a live query at now.
func (r *BouncerRow) Visit(now int64) {
	if advanceTime(&r.lastPull, now) {
		r.note()
	}
}

// Advance moves the cursor to rev, never back, for a bouncer that certainly knows
// everything up to there, and notes the pull.
func (r *BouncerRow) Advance(rev Revision, now int64) {
	forward(&r.cursor, uint64(rev)+1)
	r.Visit(now)
	r.note()
}

// Pass notes a pull and moves the cursor from one revision to another, when nothing in
// between concerns the bouncer. The cursor stays if it is elsewhere by now. It takes no
// lock.
func (r *BouncerRow) Pass(from, to Revision, now int64) {
	r.cursor.CompareAndSwap(uint64(from)+1, uint64(to)+1)
	r.AcknowledgeSame(from, to)
	r.Visit(now)
	r.note()
}

// Says is the type and version that the bouncer told last, whether they are written
// down yet or not.
func (r *BouncerRow) Says() (kind, version string) {
	if s := r.said.Load(); s != nil {
		return s.kind, s.version
	}
	b := r.Load()
	return b.Type, b.Version
}

// Say notes in memory what the bouncer says it is: Says tells it at once. Nothing is
// written down by this.
func (r *BouncerRow) Say(kind, version string) { r.said.Store(&saying{kind, version}) }

// SayAsWritten notes that the bouncer says what its value holds.
func (r *BouncerRow) SayAsWritten() {
	if r.said.Load() != nil {
		r.said.Store(nil)
	}
}

// MayDescribe reports whether DueToDescribe would say yes; it changes nothing.
func (r *BouncerRow) MayDescribe(now, every int64) bool {
	last := r.described.Load()
	return last == 0 || now-last >= every
}

// DueToDescribe says yes to one caller, and then no for so many nanoseconds to every
// caller: what a bouncer says of itself is written down that often at most.
func (r *BouncerRow) DueToDescribe(now, every int64) bool {
	last := r.described.Load()
	return (last == 0 || now-last >= every) && r.described.CompareAndSwap(last, now)
}

// Forget has the bouncer begin anew.
func (r *BouncerRow) Forget() {
	r.putCursor(0)
	r.AcknowledgeNothing()
	r.beginAnew()
	r.note()
}

func forward(a *atomic.Uint64, to uint64) {
	for {
		at := a.Load()
		if at >= to || a.CompareAndSwap(at, to) {
			return
		}
	}
}

// putCursor puts the cursor where the history says it is.
func (r *BouncerRow) putCursor(cursor uint64) { r.cursor.Store(cursor) }

// kept is the cursor as it is written down: before every answer that is not heard yet.
func (r *BouncerRow) kept() uint64 {
	at := r.cursor.Load() // first: what moves it is listed before
	u := r.unheard.Load()
	if u == nil {
		return at
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	at = r.cursor.Load()
	for _, d := range u.list {
		at = min(at, d.from)
	}
	return at
}

func (r *BouncerRow) note() {
	if r.ledger != nil {
		r.ledger.note(r)
	}
}
