package engine

// How far a bouncer has come is said with four words, which mean the same everywhere:
//
//	told          where the answers lead that left for it: its cursor (Cursor)
//	heard         an answer has arrived at the other end, as the connection shows
//	              (Delivery.Heard); whether a program has read it is not known
//	acknowledged  the bouncer has shown that it has it: it came back with it (Acknowledged)
//	reported      what it says of itself in its usage metrics (Report)
//
// A bouncer acknowledges by asking. A poll by the row's cursor acknowledges what the row was
// told before and has heard; one that names a place acknowledges that place, wherever it is;
// one that asks for everything says that it has nothing. An answer that says that nothing
// has changed needs no acknowledgement: who has what was before has what is now.
//
// A row is one client. Where several processes share one, what the last of them showed
// counts, so it goes back too; but never more than the least that an open stream of events
// (Listening) has shown: those are known one by one, and processes that poll are not. Who
// wants each of them waited for gives each a key.
//
// It is written down with the cursor, so a crash forgets the last seconds, and never claims
// what was not acknowledged.

// Acknowledged is the revision up to which the bouncer has shown that it has everything that
// concerns it; false: it has shown nothing yet. It takes no lock.
func (r *BouncerRow) Acknowledged() (Revision, bool) {
	at := r.acked.Load()
	if at == 0 {
		return 0, false
	}
	return Revision(at - 1), true
}

// AcknowledgeTold notes that the bouncer asks for what comes behind its cursor: once for a
// poll, when it comes, after Review. What is under way still is not acknowledged by it, and
// nothing is while a bouncer that began anew has not heard everything. It allocates nothing,
// and takes a lock only where something is under way.
func (r *BouncerRow) AcknowledgeTold() {
	at := r.cursor.Load()
	if u := r.unheard.Load(); u != nil && u.anew.Load() {
		r.acknowledge(0)
		return
	}
	if r.Waiting() || r.cursor.Load() != at { // what moved it is on its way, or is lost
		at = r.kept()
	}
	r.acknowledge(at)
}

// AcknowledgePlace notes that the bouncer names a place, up to which it has everything.
func (r *BouncerRow) AcknowledgePlace(at Revision) {
	r.acknowledge(uint64(at) + 1)
}

// AcknowledgeNothing notes that the bouncer has what is not of this history, if anything:
// what it had counts no more.
func (r *BouncerRow) AcknowledgeNothing() { r.acknowledge(0) }

// AcknowledgeAnew notes that the bouncer begins anew. Its cursor shows nothing of what it
// has before an answer with everything was heard.
func (r *BouncerRow) AcknowledgeAnew() {
	r.unsettled().anew.Store(true)
	r.acknowledge(0)
	r.beginAnew()
}

// AcknowledgeSame moves what is acknowledged from one revision to another, when nothing in
// between concerns the bouncer. It stays if it is elsewhere by now.
func (r *BouncerRow) AcknowledgeSame(from, to Revision) {
	if to > from && r.acked.CompareAndSwap(uint64(from)+1, uint64(to)+1) {
		r.acknowledged()
	}
}

func (r *BouncerRow) acknowledge(at uint64) {
	if u := r.unheard.Load(); u != nil && u.streams.Load() > 0 {
		u.mu.Lock()
		defer u.mu.Unlock()
		at = u.least(at)
	}
	r.putAcked(at)
}

// putAcked changes it and tells those who wait for that.
func (r *BouncerRow) putAcked(at uint64) {
	was := r.acked.Load()
	if was == at {
		return
	}
	r.acked.Store(at)
	r.acknowledged()
	switch {
	case at < was:
		r.beginAnew()
	case was == 0 && r.ledger != nil:
		r.ledger.hurry.Store(true)
	}
}

func (r *BouncerRow) acknowledged() {
	r.note()
	if r.ledger != nil {
		r.ledger.acknowledged.give()
	}
}

// behind is the first revision whose changes the bouncer may have to be told, plus one, as
// far as is known: history is kept from there. 0: it starts anew.
func (r *BouncerRow) behind() uint64 {
	kept, acked := r.kept(), r.acked.Load()
	if kept == 0 || acked == 0 {
		return max(kept, acked)
	}
	return min(kept, acked)
}

// Listening is a stream of events to a bouncer, as long as it is open: a process of which
// is known what it has. Its methods may be called from any goroutine.
type Listening struct {
	row         *BouncerRow
	told, acked uint64 // 1 + revision; 0: nothing. On the lock of the row's deliveries
	closed      bool   // likewise
}

// Listen notes that a stream was opened. A client that comes back with the id of an earlier
// event has everything up to there (known); another has nothing.
func (r *BouncerRow) Listen(at Revision, known bool) *Listening {
	l := &Listening{row: r}
	if known {
		l.told, l.acked = uint64(at)+1, uint64(at)+1
	}
	u := r.unsettled()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.listening == nil {
		u.listening = map[uint64]int{}
	}
	u.listening[l.acked]++
	u.streams.Add(1)
	r.putAcked(u.least(l.acked))
	return l
}

// Told notes that events up to a revision were handed to the socket, and the visit.
func (l *Listening) Told(to Revision, now int64) {
	u := l.row.unheard.Load()
	u.mu.Lock()
	l.told = max(l.told, uint64(to)+1)
	u.mu.Unlock()
	l.row.Visit(now)
}

// Acknowledged notes that the other end has taken all events up to a revision: no byte of
// them is left to be acknowledged. What was not told counts no more than what was.
func (l *Listening) Acknowledged(to Revision) {
	u := l.row.unheard.Load()
	u.mu.Lock()
	defer u.mu.Unlock()
	was := l.acked
	if l.acked = max(l.acked, min(uint64(to)+1, l.told)); l.acked != was && !l.closed {
		u.stopListening(was)
		u.listening[l.acked]++
	}
	l.row.putAcked(u.least(l.acked))
}

// Close ends it. What was acknowledged stays, and the stream holds back no others. It may
// be called again.
func (l *Listening) Close() {
	u := l.row.unheard.Load()
	u.mu.Lock()
	defer u.mu.Unlock()
	if !l.closed {
		l.closed = true
		u.stopListening(l.acked)
		u.streams.Add(-1)
	}
}

// stopListening takes a stream out that has acknowledged so much. Called with the lock.
func (u *unheard) stopListening(acked uint64) {
	if u.listening[acked]--; u.listening[acked] == 0 {
		delete(u.listening, acked)
	}
}

// least is at, or less if an open stream has less. Called with the lock.
func (u *unheard) least(at uint64) uint64 {
	for acked := range u.listening { // few, however many streams there are
		at = min(at, acked)
	}
	return at
}

// Acknowledging returns a channel that is closed when any bouncer next acknowledges
// something. Take it before looking. Any goroutine; nothing is kept for who does not come
// back.
func (e *Engine) Acknowledging() <-chan struct{} { return e.state.visited.acknowledged.next() }
