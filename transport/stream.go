package transport

import (
	"math"
	"time"
	"unsafe"

	"lapid/engine"
	"lapid/transport/budget"
	"lapid/transport/wire"
)

// nothing is the answer to a bouncer that knows everything.
var nothing = []byte(wire.StreamOpen + wire.StreamBetween + wire.StreamClose)

// longDelta is from how many decisions on a delta is shared in pieces instead
// of in one; below, what is remembered of it takes 64 KiB at most or so.
const longDelta = 300

// sizeOfDecision is what one takes in a delta, in bytes.
const sizeOfDecision = int64(unsafe.Sizeof(engine.Decision{}))

// stream answers a poll (http-api.md section 13): what changed since the
// bouncer's cursor, or everything when it asks for that, never pulled, or is
// further behind than the history reaches. The cursor moves when the answer
// leaves, and goes back unless it is shown to have arrived (delivery.go).
func (s *Server) stream(x *exchange) error {
	q := &x.query
	q.Now = x.now
	if err := wire.ParseStreamQuery(q, x.rawQuery()); err != nil {
		x.failure = err.Error()
		x.shared(streamType, nothing) // quirkBadStreamFilter
		return nil
	}
	view := s.engine.View()
	x.review()
	after, pulled := x.bouncer.Cursor()
	if x.asked != nil && (!pulled || q.Startup || view.Distance(after) > nearby) {
		return errLater
	}
	if !pulled || q.Startup {
		return s.fullState(x, view)
	}
	if after == view.Revision() {
		x.bouncer.Pass(after, after, x.now)
		x.shared(streamType, nothing)
		return nil
	}
	return s.changes(x, view, after)
}

// headStream says whether the key is good, nothing else.
func (s *Server) headStream(x *exchange) error {
	x.head()
	return nil
}

// changes answers with a delta. Bouncers that come from the same revision with
// the same filters share it.
func (s *Server) changes(x *exchange, view *engine.View, after engine.Revision) error {
	to, second := view.Revision(), x.now/int64(time.Second)
	same := func(earlier engine.Revision) bool { return x.unchanged(view, earlier) }
	if known := s.deltas.get(x.rawQuery(), after, to, second, same); known != nil {
		return s.whole(x, streamType, known, x.delivery(after, to))
	}
	if n := view.Distance(after); n > nearby && n < math.MaxInt { // how many of them the question admits is not known yet
		need := int64(n)*sizeOfDecision + ownPiece
		if need > s.answers.Most()/2 {
			return s.fullState(x, view) // which is collected nowhere
		}
		if err := s.reserve(x, need); err != nil {
			return err
		}
	}
	if !view.Changes(&x.delta, after, &x.query) {
		if x.asked != nil {
			return errLater
		}
		return s.fullState(x, view)
	}
	switch n := len(x.delta.New) + len(x.delta.Deleted); {
	case n > longDelta && x.asked != nil:
		return errLater
	case n == 0:
		x.bouncer.Pass(after, to, x.now) // there is nothing to miss
		x.shared(streamType, nothing)
	case n <= longDelta:
		x.out = wire.AppendDelta(x.out[:0], &x.delta, x.now)
		whole := append([]byte(nil), x.out...)
		s.deltas.put(x.rawQuery(), after, to, second, whole)
		return s.whole(x, streamType, whole, x.delivery(after, to))
	default:
		delta := x.delta
		x.delta = engine.Delta{} // now the answer's
		return s.sharedAnswer(x, after, &source{view: view, now: x.now, delta: &delta})
	}
	return nil
}

// fullState answers with everything.
func (s *Server) fullState(x *exchange, view *engine.View) error {
	return s.sharedAnswer(x, 0, &source{view: view, now: x.now})
}

// sharedAnswer answers with one of the shared bodies, or with a body of its own
// when there are too many of those.
func (s *Server) sharedAnswer(x *exchange, after engine.Revision, src *source) error {
	src.raw = append([]byte(nil), x.rawQuery()...)
	to := src.view.Revision()
	same := func(other *source, at engine.Revision) bool {
		newer, older := src.view, at
		if at > to { // who came first is not always first here
			newer, older = other.view, to
		}
		// A full state lists what was over when it came, which is no change and in no
		// delta; but it came with an alert. Bodies are locked: nothing here may wait.
		return x.unchanged(newer, older) && (src.delta != nil || src.view.NewestAlert() == other.view.NewestAlert())
	}
	d := x.delivery(after, to)
	d.All = src.delta == nil
	b := s.bodies.join(question{string(src.raw), after, to, x.now / int64(time.Second)}, src, same)
	if b == nil {
		if x.held.Taken() == 0 {
			if err := s.reserve(x, ownPiece); err != nil {
				return err
			}
		}
		s.answerInPieces(x, streamType, &pieces{
			run:   func(w *pieceWriter) error { return src.write(w, position{}) },
			moves: d,
			size:  src.size(),
		})
		return nil
	}
	if all, ok := b.whole(); ok {
		s.bodies.leave(b)
		x.held.Release()
		return s.whole(x, streamType, all, d)
	}
	if b.source != src {
		x.held.Release() // somebody else's delta is told
	} else {
		b.listed, x.held = x.held, budget.Hold{}
	}
	most := deltaPieces
	if d.All {
		most = statePieces
	}
	s.answerInPieces(x, streamType, &pieces{body: b, moves: d, size: b.size(most)})
	return nil
}

// unchanged reports whether nothing that the question admits began or ended
// since an earlier revision. Many commits change no decision. What would not be
// told, because another decision on the target hides it, is a change all the
// same.
func (x *exchange) unchanged(view *engine.View, earlier engine.Revision) bool {
	return earlier < view.Revision() && view.Unchanged(earlier, &x.query)
}

// review takes back what the caller was told on other connections and has missed;
// but one who is gone already says nothing about those.
func (x *exchange) review() {
	if x.conn == nil || !x.bouncer.Waiting() {
		return
	}
	var own way = x.conn
	if x.conn.loop != nil {
		own = onLoop{x.conn.loop}
	}
	if s := own.look(); !s.Ended && !s.Broken {
		x.bouncer.Review(own, x.now)
	}
}

// delivery is an answer to the caller that begins after one revision and tells
// everything up to another.
func (x *exchange) delivery(after, to engine.Revision) *delivery {
	return &delivery{Delivery: engine.Delivery{Row: x.bouncer, After: after, To: to}, at: x.now}
}

// deliver has the caller's cursor moved when the answer leaves.
func (x *exchange) deliver(d *delivery) {
	if x.conn == nil {
		d.arrive()
		return
	}
	x.conn.moveWithEnd(d)
}
