package feed

import (
	"errors"
	"hash/maphash"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"lapid/engine"
	"lapid/transport/budget"
	"lapid/transport/wire"
)

// Feed answers polls, and keeps what their answers share. Make it with New, call
// Sweep every second and Close at the end. Its methods may be called from any
// goroutine.
type Feed struct {
	options Options
	memory  *budget.Purse // for long answers, until their readers have taken them
	deltas  deltaCache    // short, whole
	answers answers       // long, being sent
	scratch sync.Pool     // *scratch
}

// Options say how much a Feed may take, and whom it tells. All are required.
type Options struct {
	AnswerMemory int64 // for answers beyond Brief bytes each, and what is put in order for them
	SharedMemory int64 // for answers that several readers follow, in pieces
	// StreamLimit is how long the sending of one long answer may take, however it goes on.
	StreamLimit time.Duration
	// Patience is how long an answer waits for memory, unless Life ends before.
	Patience time.Duration
	Life     <-chan struct{}
	// Refused is told of every reader for which there was no memory. It must not wait.
	Refused func(client netip.Addr)
	Log     *slog.Logger
}

// New makes a Feed. It starts nothing.
func New(o Options) *Feed {
	f := &Feed{
		options: o,
		memory:  budget.NewPurse(o.AnswerMemory, nil),
		deltas:  deltaCache{seed: maphash.MakeSeed()},
		answers: answers{room: budget.NewPurse(o.SharedMemory, nil)},
	}
	f.scratch.New = func() any { return new(scratch) }
	return f
}

// Question is what a reader asks for, from wherever on.
type Question struct {
	// Raw is the query string as it came: readers that send the same bytes ask the
	// same. It is not kept.
	Raw []byte
	// Query is what Raw means, by wire.ParseStreamQuery, with the moment of asking
	// in Now: durations are reckoned from then.
	Query *engine.Query
}

// Poll is a bouncer that asks a question once.
type Poll struct {
	Question
	Row   *engine.BouncerRow // its cursor says from where on
	View  *engine.View       // the state that it is told, taken before the cursor is looked at
	Asker Asker
	// MayWait: the caller is a goroutine that may wait and compute for a while. If
	// not, what would need that is ErrWouldWait.
	MayWait bool
}

// Answer is what a poll is told, and what that does to the bouncer's cursor.
type Answer struct {
	Whole []byte        // all of it; never changed by anybody. nil:
	Body  *StreamedBody // it is long; to be sent and closed by the caller
	Moves CursorMove    // moves when it leaves; Row is nil when nothing does
}

// EmptyAnswer tells a bouncer that nothing has changed. It is never written to.
var EmptyAnswer = []byte(wire.StreamOpen + wire.StreamBetween + wire.StreamClose)

// ErrWouldWait is for a Poll without MayWait that takes more. Nothing was done.
var ErrWouldWait = errors.New("the answer takes time")

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
// cursor, or everything when it asks for that, never pulled, or is further behind
// than the history reaches. Nothing moves but a cursor past changes of which the
// question admits none; the rest is the caller's, with Answer.Moves.
//
// A poll at the newest revision takes no lock and allocates nothing. One that is
// answered by other errors than ErrWouldWait has not found memory: an *engine.Error
// of ErrBusy, or a *TooLong.
func (f *Feed) Poll(p *Poll) (Answer, error) {
	after, pulled := p.Row.Cursor()
	all := !pulled || p.Query.Startup
	if !p.MayWait && (all || p.View.Distance(after) > nearby) {
		return Answer{}, ErrWouldWait
	}
	if !all && after == p.View.Revision() {
		p.Row.Pass(after, after, p.Query.Now)
		return Answer{Whole: EmptyAnswer}, nil
	}
	s := f.scratch.Get().(*scratch)
	defer f.putAway(s)
	if all {
		return f.fullState(p, s)
	}
	return f.changes(p, s, after)
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
func (f *Feed) changes(p *Poll, s *scratch, after engine.Revision) (Answer, error) {
	to, now := p.View.Revision(), p.Query.Now
	same := func(earlier engine.Revision) bool { return p.unchanged(p.View, earlier) }
	if known := f.deltas.get(p.Raw, after, to, now/int64(time.Second), same); known != nil {
		return f.whole(p, known, p.move(after))
	}
	if n := p.View.Distance(after); n > nearby && n < math.MaxInt { // how many of them the question admits is not known yet
		need := int64(n)*sizeOfDecision + soloPiece
		if need > f.memory.Most()/2 {
			return f.fullState(p, s) // which is collected nowhere
		}
		if err := f.Reserve(&s.held, p.Asker, need); err != nil {
			return Answer{}, err
		}
	}
	if !p.View.Changes(&s.delta, after, p.Query) {
		if !p.MayWait {
			return Answer{}, ErrWouldWait
		}
		return f.fullState(p, s)
	}
	switch n := len(s.delta.New) + len(s.delta.Deleted); {
	case n > longDelta && !p.MayWait:
		return Answer{}, ErrWouldWait
	case n == 0:
		p.Row.Pass(after, to, now) // there is nothing to miss
		return Answer{Whole: EmptyAnswer}, nil
	case n <= longDelta:
		s.out = wire.AppendDelta(s.out[:0], &s.delta, now)
		all := append([]byte(nil), s.out...)
		f.deltas.put(p.Raw, after, to, now/int64(time.Second), all)
		return f.whole(p, all, p.move(after))
	}
	delta := s.delta
	s.delta = engine.Delta{} // now the answer's
	return f.share(p, s, &answerSource{view: p.View, now: now, delta: &delta}, p.move(after))
}

// fullState answers with everything.
func (f *Feed) fullState(p *Poll, s *scratch) (Answer, error) {
	m := p.move(0)
	m.All = true
	return f.share(p, s, &answerSource{view: p.View, now: p.Query.Now}, m)
}

// whole answers with bytes that are there already.
func (f *Feed) whole(p *Poll, all []byte, m CursorMove) (Answer, error) {
	if !p.MayWait || len(all) <= Brief {
		return Answer{Whole: all, Moves: m}, nil
	}
	b := &StreamedBody{whole: all, size: len(all)}
	if err := f.Reserve(&b.held, p.Asker, int64(len(all))); err != nil {
		return Answer{}, err
	}
	return Answer{Body: f.begin(b, p.Asker), Moves: m}, nil
}

// share answers with one of the shared answers, or with one of its own when there
// are too many of those.
func (f *Feed) share(p *Poll, s *scratch, src *answerSource, m CursorMove) (Answer, error) {
	src.raw = append([]byte(nil), p.Raw...)
	e := edition{string(src.raw), m.After, m.To, src.now / int64(time.Second)}
	b := f.answers.join(e, src, func(other *answerSource, at engine.Revision) bool { return p.sameAs(src, other, at) })
	if b == nil {
		if s.held.Taken() == 0 {
			if err := f.Reserve(&s.held, p.Asker, soloPiece); err != nil {
				return Answer{}, err
			}
		}
		own := &StreamedBody{run: func(w *Writer) error { return src.write(w, place{}) }, size: src.size()}
		return Answer{Body: f.take(own, &s.held, p.Asker), Moves: m}, nil
	}
	if all, ok := b.whole(); ok {
		f.answers.leave(b)
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
	return Answer{Body: f.begin(&StreamedBody{shared: b, size: b.size(most)}, p.Asker), Moves: m}, nil
}

// sameAs reports whether an answer of another state is as good as that of src. A full
// state lists what was over when it came, which is no change and in no delta; but it
// came with an alert. Answers are locked meanwhile: nothing here may wait.
func (p *Poll) sameAs(src, other *answerSource, at engine.Revision) bool {
	newer, older := src.view, at
	if at > newer.Revision() { // who came first is not always first here
		newer, older = other.view, src.view.Revision()
	}
	return p.unchanged(newer, older) && (src.delta != nil || src.view.NewestAlert() == other.view.NewestAlert())
}

// unchanged reports whether nothing that the question admits began or ended
// since an earlier revision. Many commits change no decision. What would not be
// told, because another decision on the target hides it, is a change all the
// same.
func (p *Poll) unchanged(view *engine.View, earlier engine.Revision) bool {
	return earlier < view.Revision() && view.Unchanged(earlier, p.Query)
}

// move is what an answer does to the bouncer's cursor that begins after a revision
// and tells everything up to the view's.
func (p *Poll) move(after engine.Revision) CursorMove {
	return CursorMove{engine.Delivery{Row: p.Row, After: after, To: p.View.Revision()}, p.Query.Now}
}

// Sweep closes what belongs to a second that is over, and drops what nobody reads of
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
}

// Usage takes a lock for each of its parts.
func (f *Feed) Usage() Usage {
	u := Usage{AnswerBytes: f.memory.InUse(), SharedBytes: f.answers.room.InUse()}
	f.answers.mu.Lock()
	defer f.answers.mu.Unlock()
	u.Shared, u.Encoded = len(f.answers.live), f.answers.born
	return u
}
