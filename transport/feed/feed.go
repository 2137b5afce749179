package feed

import (
	"hash/maphash"
	"math"
	"sync"
	"unsafe"

	"lapid/engine"
	"lapid/transport/budget"
	"lapid/transport/wire"
)

// Feed answers polls, and keeps what their answers share. Make it with New, call
// Sweep every second and Close at the end. Its methods may be called from any
// goroutine.
type Feed struct {
	Memory             // what long answers take until their readers have taken them
	deltas  deltaCache // short, whole
	answers answers    // long, being sent
	held    held       // polls that wait for news
	scratch sync.Pool  // *scratch
}

// New makes a Feed. It starts nothing.
func New(o Options) *Feed {
	f := &Feed{
		Memory:  Memory{options: o, purse: budget.NewPurse(o.AnswerMemory, nil)},
		deltas:  deltaCache{seed: maphash.MakeSeed()},
		answers: answers{room: budget.NewPurse(o.SharedMemory, nil)},
	}
	f.held.start()
	f.scratch.New = func() any { return new(scratch) }
	return f
}

const (
	// longDelta is from how many decisions on a delta is shared in pieces instead
	// of in one; below, what is remembered of it takes 64 KiB at most or so.
	longDelta = 300
	// nearby is how many changes may have to be looked at for a poll that may not
	// wait.
	nearby = 2 * longDelta
	// sizeOfDecision is what one takes in a delta, in bytes.
	sizeOfDecision = int64(unsafe.Sizeof(engine.Decision{}))
)

// Poll answers a poll (http-api.md section 13): what changed since the bouncer's
// cursor or the place that it names, or everything when it asks for that, never pulled, or is further behind
// than the history reaches. Nothing moves but a cursor past changes of which the
// question admits none; the rest is the caller's, with Answer.Moves.
//
// A poll at the newest revision takes no lock and allocates nothing. One that is
// answered by other errors than ErrWouldWait has not found memory: an *engine.Error
// of ErrBusy, or a *TooLong.
func (f *Feed) Poll(p *Poll) (Answer, error) {
	after, all := p.from()
	p.acknowledge(after)
	l := p.look(after, all)
	if !p.MayWait && (all || p.View.Distance(after) > nearby || p.walks(after, l)) {
		return Answer{}, ErrWouldWait
	}
	if !all && after == p.View.Revision() {
		return p.nothing(after), nil
	}
	if !all {
		if known := f.known(p, after, l); known != nil {
			return f.whole(p, known, p.move(after))
		}
	}
	s := f.scratch.Get().(*scratch)
	defer f.putAway(s)
	p.Query.Quick = !p.MayWait
	if all {
		return f.fullState(p, s, after)
	}
	return f.changes(p, s, after, l)
}

// known gives the answer to the same poll by another bouncer; nil: there is none.
func (f *Feed) known(p *Poll, after engine.Revision, l look) []byte {
	return f.deltas.get(p, after, l, func(earlier engine.Revision) bool {
		return p.unchanged(p.View, earlier)
	})
}

// scratch is what one poll takes while it is answered.
type scratch struct {
	delta engine.Delta
	out   []byte
	held  budget.Hold // reserved for the answer, until that takes it over
}

// keepAtMost is how much of each part of it is used again, in bytes; larger parts
// are left to the collector.
const keepAtMost = 64 << 10

// putAway ends the use of scratch. Decisions are cleared, for they keep the memory
// of their view alive.
func (f *Feed) putAway(s *scratch) {
	s.held.Release()
	s.delta.Reset()
	if int64(cap(s.delta.New))*sizeOfDecision > keepAtMost {
		s.delta.New = nil
	}
	if int64(cap(s.delta.Deleted))*sizeOfDecision > keepAtMost {
		s.delta.Deleted = nil
	}
	if cap(s.out) > keepAtMost {
		s.out = nil
	}
	f.scratch.Put(s)
}

// changes answers with a delta. Bouncers that come from the same revision with
// the same filters share it.
func (f *Feed) changes(p *Poll, s *scratch, after engine.Revision, l look) (Answer, error) {
	now, n := p.Query.Now, p.View.Distance(after)
	if n < math.MaxInt && p.walks(after, l) {
		n = max(n, p.View.Records())
	}
	if most := p.most(l); n < math.MaxInt && most > 0 {
		n = min(n, most+engine.MostPassing) // so that it is never told everything on top of what it holds
	}
	if n > nearby && n < math.MaxInt { // how many of them the question admits is not known yet
		need := int64(n)*sizeOfDecision + soloPiece
		if need > f.purse.Most()/2 {
			return f.fullState(p, s, after) // which is collected nowhere
		}
		if err := f.Reserve(&s.held, p.Asker, need); err != nil {
			return Answer{}, err
		}
	}
	if !p.changes(&s.delta, after, l) {
		if !p.MayWait {
			return Answer{}, ErrWouldWait
		}
		return f.fullState(p, s, after)
	}
	switch n := len(s.delta.New) + len(s.delta.Deleted); {
	case n > longDelta && !p.MayWait:
		return Answer{}, ErrWouldWait
	case n == 0:
		return p.nothing(after), nil
	case n <= longDelta:
		s.out = wire.AppendDelta(s.out[:0], &s.delta, now, p.Query.Sight)
		all := append([]byte(nil), s.out...)
		f.deltas.put(p, after, l, all)
		return f.whole(p, all, p.move(after))
	}
	delta := s.delta
	s.delta = engine.Delta{} // now the answer's
	return f.share(p, s, &answerSource{view: p.View, now: now, delta: &delta}, p.move(after), l)
}

// changes fills a delta.
func (p *Poll) changes(d *engine.Delta, after engine.Revision, l look) bool {
	if l.moved {
		return p.View.ChangesFrom(d, after, p.Query, l.was, l.known)
	}
	return p.View.Changes(d, after, p.Query)
}

// fullState answers with everything who came from a revision.
func (f *Feed) fullState(p *Poll, s *scratch, after engine.Revision) (Answer, error) {
	m := p.move(0)
	m.All = true
	l := p.lookOnTop(after)
	return f.share(p, s, &answerSource{view: p.View, now: p.Query.Now, onTop: l.onTop, was: l.earlier}, m, l)
}

// whole answers with bytes that are there already.
func (f *Feed) whole(p *Poll, all []byte, m CursorMove) (Answer, error) {
	if !p.MayWait || len(all) <= Brief {
		return Answer{Whole: all, Moves: m, Full: m.All}, nil
	}
	var held budget.Hold
	if err := f.Reserve(&held, p.Asker, int64(len(all))); err != nil {
		return Answer{}, err
	}
	return Answer{Body: f.body(&held, p.Asker, StreamedBody{whole: all, size: len(all)}), Moves: m, Full: m.All}, nil
}

// share answers with one of the shared answers, or with one of its own when there
// are too many of those.
func (f *Feed) share(p *Poll, s *scratch, src *answerSource, m CursorMove, l look) (Answer, error) {
	src.raw, src.sight = append([]byte(nil), p.Raw...), p.Query.Sight
	e := p.edition(m.After, l)
	b := f.answers.join(e, src, func(other *answerSource, at engine.Revision) bool { return p.sameAs(src, other, at) })
	if b == nil {
		if s.held.Taken() == 0 {
			if err := f.Reserve(&s.held, p.Asker, soloPiece); err != nil {
				return Answer{}, err
			}
		}
		own := StreamedBody{run: func(w *Writer) error { return src.write(w, place{}) }, size: src.size()}
		return Answer{Body: f.body(&s.held, p.Asker, own), Moves: m, Full: m.All}, nil
	}
	if all, ok := b.whole(); ok {
		b.leave()
		s.held.Release()
		return f.whole(p, all, m)
	}
	if b.source != src {
		s.held.Release() // the delta of another poll is told
	} else {
		b.listed, s.held = s.held, budget.Hold{}
	}
	most := deltaPieces
	if m.All {
		most = statePieces
	}
	return Answer{Body: f.body(&s.held, p.Asker, StreamedBody{shared: b, size: b.size(most)}), Moves: m, Full: m.All}, nil
}

// Sweep closes what belongs to a second that is over, and drops what has no reader of
// it. It is to be called every second, with the clock's time in Unix nanoseconds.
func (f *Feed) Sweep(now int64) { f.answers.sweep(now) }

// Close takes all shared answers from their readers, who go on alone as far as they
// still may.
func (f *Feed) Close() { f.answers.close() }

// Usage is what a Feed has at the moment.
type Usage struct {
	AnswerBytes int64  // of Options.AnswerMemory
	SharedBytes int64  // of Options.SharedMemory
	Shared      int    // how many answers may have several readers
	Encoded     uint64 // how many such answers there have been
	Held        int    // polls that wait for news
}

// Usage takes a lock for each of its parts.
func (f *Feed) Usage() Usage {
	u := Usage{AnswerBytes: f.purse.InUse(), SharedBytes: f.answers.room.InUse()}
	f.held.mu.Lock()
	u.Held = f.held.polls
	f.held.mu.Unlock()
	f.answers.mu.Lock()
	defer f.answers.mu.Unlock()
	u.Shared, u.Encoded = len(f.answers.live), f.answers.born
	return u
}
