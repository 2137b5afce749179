package feed

import (
	"errors"
	"math"
	"time"

	"lapid/engine"
	"lapid/transport/wire"
)

// Question is what a reader asks for, from wherever on.
type Question struct {
	// Raw is the query string as it came: readers that send the same bytes ask the
	// same. It is not kept.
	Raw []byte
	// Query is what Raw means, by wire.ParseStreamQuery, with the moment of asking
	// in Now, from which durations are reckoned, and with what the reader may see in the
	// view.
	Query *engine.Query
}

// Poll is a bouncer that asks a question once.
type Poll struct {
	Question
	Row   *engine.BouncerRow // its cursor says from where on
	View  *engine.View       // the state that it is told, taken before the cursor is looked at
	From  Place              // where the bouncer says that it is
	Asker Asker
	// Woken: the poll was put off before, and acknowledged what it knows when it came.
	Woken bool
	// MayWait: the caller is a goroutine that may wait and compute for a while. If
	// not, what would need that is ErrWouldWait.
	MayWait bool
}

// Place is where a bouncer says that it is in the history. What it is told then comes
// behind that, whatever the cursor of its row is, and moves no cursor. The zero Place
// says nothing.
type Place struct {
	Given bool
	Known bool            // false: it is no place of this history and question, and everything is told
	Ahead bool            // not Known, but of this history and question, and behind the view
	After engine.Revision // everything up to there is known
}

// Answer is what a poll is told, and what that does to the bouncer's cursor.
type Answer struct {
	Whole []byte        // all of it; never changed. nil:
	Body  *StreamedBody // it is long; to be sent and closed by the caller
	Moves CursorMove    // moves when it leaves; Row is nil when nothing does
	Full  bool          // it is everything, and not what has changed
	Same  bool          // it says that nothing has changed
}

// EmptyAnswer tells a bouncer that nothing has changed. It is never written to.
var EmptyAnswer = []byte(wire.StreamOpen + wire.StreamBetween + wire.StreamClose)

// ErrWouldWait is for a Poll without MayWait that takes more. Nothing was done.
var ErrWouldWait = errors.New("the answer takes time")

// second is the one in which durations are reckoned.
func (p *Poll) second() int64 { return p.Query.Now / int64(time.Second) }

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

// from is behind which revision the answer begins, or that it is everything.
func (p *Poll) from() (after engine.Revision, all bool) {
	if p.From.Given && !p.Query.Startup {
		return p.From.After, !p.From.Known || p.View.Stalled(p.Query.Sight, p.Query.Now)
	}
	after, pulled := p.Row.Cursor()
	return after, !pulled || p.Query.Startup || p.View.Stalled(p.Query.Sight, p.Query.Now) || p.View.Uncertain(p.Row, after, p.Query)
}

// look is what the bouncer may see, and could see where the answer begins.
type look struct {
	sight, before uint64          // fingerprints
	moved         bool            // they differ
	was           *engine.Sight   // if so
	known         bool            // … and what it was is known
	earlier       []*engine.Sight // … which it could see since
	onTop         bool            // everything is told, but the bouncer does not let go of what it holds
}

// unknownSight is the fingerprint of one that is forgotten.
const unknownSight = ^uint64(0)

// look finds what the bouncer could see at a revision. One that names its place says itself
// that it saw the same: that is in the place.
func (p *Poll) look(after engine.Revision, all bool) (l look) {
	l.sight = p.Query.Sight.Fingerprint()
	l.before = l.sight
	if all || p.named() {
		return l
	}
	if l.was, l.known = p.View.SightAt(p.Row, after); !l.known {
		l.was, l.before, l.moved = nil, unknownSight, true
	} else if l.before = l.was.Fingerprint(); l.before != l.sight {
		l.moved = true
	}
	return l
}

// lookOnTop is look for a full state. Who asked by the row's cursor for what has changed does
// not know that it is told everything, and goes on from what it holds.
func (p *Poll) lookOnTop(after engine.Revision) look {
	if p.Query.Startup || p.From.Given {
		return p.look(0, true)
	}
	l, was := p.look(0, true), p.View.SightsSince(p.Row, after)
	l.onTop = len(was) > 0 || p.Query.Sight != nil && p.Query.Sight.MaxEntries > 0
	l.earlier = was
	for _, sight := range was {
		l.before = l.before*31 + sight.Fingerprint() + 1
	}
	return l
}

// edition is that of the answer which begins after a revision.
func (p *Poll) edition(after engine.Revision, l look) edition {
	return edition{string(p.Raw), l.sight, l.before, after, l.onTop, p.View.Revision(), p.second()}
}

// most is how many decisions a delta has at most for a bouncer that holds so many alone, and
// held so many; 0: there is no bound.
func (p *Poll) most(l look) int {
	now, was := p.Query.Sight, p.Query.Sight
	if l.moved {
		was = l.was
	}
	if now == nil || was == nil || now.MaxEntries == 0 || was.MaxEntries == 0 || l.moved && !l.known {
		return 0
	}
	return min(now.MaxEntries, math.MaxInt32) + min(was.MaxEntries, math.MaxInt32)
}

// walks reports whether the answer takes a look at everything there is.
func (p *Poll) walks(after engine.Revision, l look) bool {
	return l.moved || p.View.WalksAll(after, p.Query)
}

// named reports whether the bouncer's own place counts, and not its row's cursor.
func (p *Poll) named() bool { return p.From.Given && !p.Query.Startup }

// acknowledge notes what the bouncer shows to have by asking from there.
func (p *Poll) acknowledge(after engine.Revision) {
	switch {
	case p.Woken:
	case p.Query.Startup:
		p.Row.AcknowledgeAnew()
	case p.From.Given && !p.From.Known:
		p.Row.AcknowledgeNothing()
	case p.From.Given:
		p.Row.AcknowledgePlace(after)
	default:
		p.Row.AcknowledgeTold()
	}
}

// move is what an answer does to the bouncer's cursor that begins after a revision
// and tells everything up to the view's.
func (p *Poll) move(after engine.Revision) CursorMove {
	m := CursorMove{engine.Delivery{Row: p.Row, After: after, To: p.View.Revision()}, p.Query.Now}
	if p.named() {
		p.Row.Visit(p.Query.Now)
		m.Row = nil
	}
	return m
}

// nothing answers that nothing has changed, and passes the cursor on.
func (p *Poll) nothing(after engine.Revision) Answer {
	if p.named() {
		p.Row.AcknowledgeSame(after, p.View.Revision())
		p.Row.Visit(p.Query.Now)
	} else {
		p.Row.Pass(after, p.View.Revision(), p.Query.Now) // there is nothing to miss
	}
	return Answer{Whole: EmptyAnswer, Same: true}
}
