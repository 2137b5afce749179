package engine

import (
	"runtime"
	"sync/atomic"
	"time"
)

// PollsKept is of how many rows the last polls are remembered: those that polled last.
// Metrics tell of the same rows one by one.
const PollsKept = pollSets * pollSet

const (
	pollSets = 125
	pollSet  = 16 // rows of a set; a newcomer takes the place of the one of its set that polled longest ago
	// pollsEach is how many polls of a row are remembered.
	pollsEach = 10
)

// PollKind is what a poll was answered with.
type PollKind uint8

// Kinds of answers. They are not stored.
const (
	PollFull      PollKind = iota + 1 // everything
	PollDelta                         // what had changed
	PollNothing                       // that nothing has changed, in words
	PollUnchanged                     // the same, with a status alone: 304
)

// PollFate is what became of an answer.
type PollFate uint8

// Fates. They are not stored.
const (
	PollSent   PollFate = iota // it has left; whether it arrived is not known, or not yet
	PollHeard                  // it has arrived
	PollMissed                 // it has not: the client had gone
)

// PollNote is one poll of a bouncer. From counts only with Placed: else the bouncer was at
// no place, or at none of this history.
type PollNote struct {
	At       int64 // when it came, Unix nanoseconds
	Took     time.Duration
	From, To Revision
	Bytes    int64 // of the body; -1: it was sent while it was made
	Placed   bool
	Kind     PollKind // 0: there was no answer, for the client left while it was put off
	Fate     PollFate
	PutOff   bool // until something changed,
	TimeUp   bool // or its time was up
}

// Asked is a question of the stream, kept for as long as it is the last of some row. It is
// never changed.
type Asked struct {
	text  string
	query Query
}

// LongestAsked is how long a question is at most that is remembered, in bytes.
const LongestAsked = 4 << 10

// anyBody is what a bouncer asks that says nothing.
var anyBody = &Asked{query: Query{Scopes: Words{Given: true, List: []string{ScopeIP, ScopeRange}}, Dedup: true, Limit: -1}}

func newAsked(text []byte, q *Query) *Asked {
	a := &Asked{text: string(text), query: *q}
	a.query.match = matcher{}
	a.query.Now, a.query.Startup = 0, false
	for _, w := range []*Words{&a.query.Scopes, &a.query.Scope, &a.query.Origins, &a.query.Containing, &a.query.NotContaining, &a.query.UUIDs} {
		list := make([]string, len(w.List))
		for i, text := range w.List {
			list[i] = string(append([]byte(nil), text...))
		}
		w.List = list
	}
	for _, w := range []*Word{&a.query.Value, &a.query.Type, &a.query.Origin, &a.query.Scenario} {
		w.Text = string(append([]byte(nil), w.Text...))
	}
	return a
}

// polls are the last polls of the rows that polled last. A poll is noted without waiting and
// without memory: who finds another at the same row leaves it out.
type polls struct {
	sets [pollSets]atomic.Pointer[[pollSet]pollSlot]
}

type pollSlot struct {
	taken atomic.Bool // by one who writes or reads
	row   atomic.Pointer[BouncerRow]
	last  atomic.Int64 // when it polled last
	asked *Asked
	n     uint64 // polls so far
	notes [pollsEach]PollNote
}

// PollRef is one poll that was noted; the zero one none.
type PollRef struct {
	slot *pollSlot
	row  *BouncerRow
	n    uint64
}

// NotePoll remembers a poll, with the text of its question and what that means, which are
// borrowed; nil: what the row asked last. It takes no lock, and allocates where a row asks another question than before.
func (e *Engine) NotePoll(r *BouncerRow, note *PollNote, text []byte, q *Query) PollRef {
	if r.ledger == nil || len(text) > LongestAsked {
		return PollRef{}
	}
	s := e.polls.slot(r)
	if s == nil || !s.taken.CompareAndSwap(false, true) {
		return PollRef{}
	}
	defer s.taken.Store(false)
	if s.row.Load() != r {
		s.row.Store(r)
		s.n, s.asked = 0, nil
	}
	if text != nil && (s.asked == nil || s.asked.text != string(text)) {
		s.asked = newAsked(text, q)
	}
	s.notes[s.n%pollsEach] = *note
	s.n++
	s.last.Store(note.At)
	return PollRef{s, r, s.n}
}

// slot is the row's place, or that of the row of its set that polled longest ago.
func (p *polls) slot(r *BouncerRow) *pollSlot {
	at := &p.sets[r.place%pollSets]
	set := at.Load()
	if set == nil {
		at.CompareAndSwap(nil, new([pollSet]pollSlot))
		set = at.Load()
	}
	var oldest *pollSlot
	for i := range set {
		s := &set[i]
		switch has := s.row.Load(); {
		case has == r:
			return s
		case has == nil || has.Gone():
			if oldest == nil || oldest.row.Load() != nil {
				oldest = s
			}
		case oldest == nil || oldest.row.Load() != nil && s.last.Load() < oldest.last.Load():
			oldest = s
		}
	}
	return oldest
}

// find is the row's slot, taken; nil: it is not among them.
func (p *polls) find(r *BouncerRow) *pollSlot {
	set := p.sets[r.place%pollSets].Load()
	if set == nil {
		return nil
	}
	for i := range set {
		if s := &set[i]; s.row.Load() == r {
			if s.take(); s.row.Load() == r {
				return s
			}
			s.taken.Store(false)
		}
	}
	return nil
}

// take waits: for readers, and for what is only looked at once.
func (s *pollSlot) take() {
	for !s.taken.CompareAndSwap(false, true) {
		runtime.Gosched()
	}
}

// Settle says what became of the answer. It may be called once more.
func (p PollRef) Settle(fate PollFate) {
	if p.slot == nil {
		return
	}
	p.slot.take()
	defer p.slot.taken.Store(false)
	if p.slot.row.Load() == p.row && p.slot.n-p.n < pollsEach {
		p.slot.notes[(p.n-1)%pollsEach].Fate = fate
	}
}

// Polls returns the last polls of a row, the newest first; nil when it is not among those
// that polled last. They are kept in memory alone.
func (e *Engine) Polls(r *BouncerRow) []PollNote {
	s := e.polls.find(r)
	if s == nil {
		return nil
	}
	defer s.taken.Store(false)
	n := min(s.n, pollsEach)
	list := make([]PollNote, n)
	for i := range list {
		list[i] = s.notes[(s.n-1-uint64(i))%pollsEach]
	}
	return list
}

// asks is what a row asked last, as far as that is remembered, and whether it is.
func (p *polls) asks(r *BouncerRow) (a *Asked, polled bool) {
	if r.ledger == nil {
		return anyBody, false
	}
	s := p.find(r)
	if s == nil {
		return anyBody, false
	}
	defer s.taken.Store(false)
	if s.asked == nil {
		return anyBody, true
	}
	return s.asked, true
}

// Asks is the text of what a row asked last, as NotePoll was given it; "" where that is not remembered, or was nothing.
func (e *Engine) Asks(r *BouncerRow) string {
	a, _ := e.polls.asks(r)
	return a.text
}

// EachPoller yields the rows whose polls are remembered, those that polled last, in no order.
func (e *Engine) EachPoller(yield func(*BouncerRow) bool) {
	for i := range e.polls.sets {
		set := e.polls.sets[i].Load()
		if set == nil {
			continue
		}
		for j := range set {
			if r := set[j].row.Load(); r != nil && !r.Gone() && !yield(r) {
				return
			}
		}
	}
}
