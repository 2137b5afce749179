package transport

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/valyala/fasthttp"

	"lapid/engine"
	"lapid/transport/budget"
)

// What an answer takes until its reader has taken it.
//
// An answer up to largestAsIs is copied into the response and costs nobody anything
// but that. A longer one is either written while it is made, through a piece of its
// own (pieces.go), or whole already, as deltas are that several get. Both are paid
// for out of one purse, and so is what has to be collected first because it has to
// be put in order: lists of decisions, deltas, large alerts. The purse is shared out
// as that for bodies is: one bouncer or machine may have half of it while there are
// others. Who finds no room waits for some, as long as a body would; then it is 503.

// ownPiece is what an answer takes that is written while it is made.
const ownPiece = ownPieceSize + pieceSlack

var errAnswers = &engine.Error{Kind: engine.ErrBusy, Text: "too many long answers at once"}

// reserve takes so many bytes more for the answer, for which it may wait. They are
// the exchange's until inPieces makes them the answer's.
func (s *Server) reserve(x *exchange, n int64) error {
	h := &x.held
	if h.From == nil {
		h.Of, h.From = budget.Holder{Name: x.shown(s)}, s.answers
	}
	if h.Taken()+n > s.answers.Most() {
		return &answer{fasthttp.StatusInternalServerError, fmt.Sprintf(
			"the answer takes %d bytes of memory, more than there is for answers: ask for less", h.Taken()+n)}
	}
	if !h.Await(n, s.bodyPatience, s.life.Done()) {
		s.refused(noAnswerMemory, x.client)
		return errAnswers
	}
	return nil
}

// roomFor is reserve for who asks for a selection; the error is left in err.
func (s *Server) roomFor(x *exchange, err *error) func(int64) bool {
	return func(n int64) bool {
		*err = s.reserve(x, n+ownPiece)
		return *err == nil
	}
}

// reader is who reads an answer.
type reader struct {
	of     budget.Holder
	client netip.Addr
}

func (x *exchange) reader(s *Server) reader { return reader{budget.Holder{Name: x.shown(s)}, x.client} }

// aside takes memory for a part of an answer that is under way, and waits for it.
func (s *Server) aside(r reader, n int64) (budget.Hold, error) {
	h := budget.Hold{Of: r.of, From: s.answers}
	if !h.Await(min(n, s.answers.Most()), s.bodyPatience, s.life.Done()) {
		s.refused(noAnswerMemory, r.client)
		return budget.Hold{}, errAnswers
	}
	return h, nil
}

// whole answers with bytes that are there already and are never changed any more;
// they are not copied. d may be nil.
func (s *Server) whole(x *exchange, kind, body []byte, d *delivery) error {
	if x.asked != nil || len(body) <= largestAsIs {
		x.shared(kind, body)
		if d != nil {
			x.deliver(d)
		}
		return nil
	}
	if err := s.reserve(x, int64(len(body))); err != nil {
		return err
	}
	s.answerInPieces(x, kind, &pieces{whole: body, moves: d, size: len(body)})
	return nil
}

// lengthOf is how long an answer is that run writes, in bytes: it is written to
// nowhere for that.
func lengthOf(run func(*pieceWriter) error) (n int, err error) {
	w := &pieceWriter{size: ownPieceSize, own: true, send: func(piece []byte) error {
		n += len(piece)
		return nil
	}}
	err = run(w)
	return n + len(w.buf), err
}

// errLong ends the writing of an answer that should go in pieces instead.
var errLong = errors.New("a long answer")

// briefly writes an answer into x.out if it is no longer than largestAsIs; else it
// gives errLong.
func (x *exchange) briefly(run func(*pieceWriter) error) error {
	w := pieceWriter{buf: x.out[:0], size: largestAsIs, send: func([]byte) error { return errLong }}
	err := run(&w)
	if x.out = w.buf; err == nil && len(w.buf) > largestAsIs {
		err = errLong
	}
	return err
}

// list answers with what run writes, at once when that is short, else in pieces, with
// its length before it if it is counted. run may run twice, and again after the
// handler has returned.
func (s *Server) list(x *exchange, counted bool, run func(*pieceWriter) error) error {
	err := x.briefly(run)
	if err == nil {
		x.json(fasthttp.StatusOK, x.out)
		return nil
	}
	if !errors.Is(err, errLong) {
		return err
	}
	size := -1
	if counted {
		if size, err = lengthOf(run); err != nil {
			return err
		}
	}
	if x.held.Taken() == 0 {
		if err = s.reserve(x, ownPiece+largestAsIs); err != nil {
			return err
		}
	}
	s.answerInPieces(x, jsonType, &pieces{run: run, size: size})
	return nil
}
