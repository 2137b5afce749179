package transport

import (
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/engine"
	"lapid/transport/wire"
)

// visitEvery is how often a live query is noted as a visit (http-api.md section
// 5), in nanoseconds.
const visitEvery = int64(time.Minute)

// longList is from how many decisions on an answer is sent in pieces instead of
// being put together first.
const longList = 2000

var null = []byte("null")

// findDecisions is the live query (http-api.md section 11).
func (s *Server) findDecisions(x *exchange) error {
	if err := s.find(x); err != nil {
		return err
	}
	if last := x.bouncer.LastPull(); last == 0 || x.now-last >= visitEvery {
		x.bouncer.Visit(x.now)
	}
	switch n := len(x.found); {
	case n == 0:
		x.shared(jsonType, null)
	case n > longList:
		found, now := x.found, x.now
		x.found = nil // now the answer's
		s.inPieces(x, jsonType, func(w *pieceWriter) error { return writeList(w, found, now) })
	default:
		x.out = wire.AppendDecisions(x.out[:0], x.found, x.now)
		x.json(fasthttp.StatusOK, x.out)
	}
	return nil
}

// find asks the engine what the query string asks for.
func (s *Server) find(x *exchange) error {
	x.query.Now = x.now
	if err := wire.ParseQuery(&x.query, x.rawQuery()); err != nil {
		return err
	}
	if x.asked != nil && (!x.query.Address.IsValid() || x.query.Inside) {
		return errLater
	}
	x.found = s.engine.View().Find(x.found[:0], &x.query)
	if x.asked != nil && len(x.found) > longList {
		return errLater
	}
	s.live(x, len(x.found) > 0)
	return nil
}

// headDecisions answers as GET would, without reading what it would have to
// list: bouncers use it to see whether we are there. It leaves no trace.
func (s *Server) headDecisions(x *exchange) error {
	x.query.Now = x.now
	if err := wire.ParseQuery(&x.query, x.rawQuery()); err != nil {
		return err
	}
	if x.query.Address.IsValid() && !x.query.Inside {
		x.found = s.engine.View().Find(x.found[:0], &x.query)
		s.live(x, len(x.found) > 0)
	}
	x.head()
	return nil
}

// writeList writes a long answer piece by piece.
func writeList(w *pieceWriter, found []engine.Decision, now int64) error {
	w.buf = append(w.buf, '[')
	for i, d := range found {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = wire.AppendDecision(w.buf, d, now, false)
		if err := w.maybeSend(); err != nil {
			return err
		}
	}
	w.buf = append(w.buf, ']')
	return nil
}

// endDecisions ends what the query string describes.
func (s *Server) endDecisions(x *exchange) error {
	x.query.Now = x.now
	if err := wire.ParseDeletion(&x.query, x.rawQuery()); err != nil {
		return err
	}
	n, err := s.engine.EndDecisions(s.life, &x.query)
	if err != nil {
		return err
	}
	s.tellDeletion(x, "decisions", n)
	x.deleted(n)
	return nil
}

// endDecision ends one by its id.
func (s *Server) endDecision(x *exchange) error {
	text, err := x.param()
	if err != nil {
		return err
	}
	id, ok := parseID(text)
	if !ok {
		return &answer{fasthttp.StatusBadRequest, "decision_id must be valid integer"}
	}
	err = s.engine.EndDecision(s.life, engine.DecisionID(id), x.now)
	if errors.Is(err, engine.ErrNotFound) {
		return &answer{fasthttp.StatusInternalServerError, "decision with id '" + canonicalID(text) + "' doesn't exist: unable to delete"} // quirkNotFound
	}
	if err == nil {
		s.tellDeletion(x, "decisions", 1)
		x.deleted(1)
	}
	return err
}

func (x *exchange) deleted(n int) {
	x.out = wire.AppendDeleted(x.out[:0], n)
	x.json(fasthttp.StatusOK, x.out)
}

// parseID reads a decimal integer with an optional sign and leading zeros. A
// negative one is nobody's: 0.
func parseID(text string) (uint64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return uint64(max(n, 0)), err == nil
}

// canonicalID is the integer as the contract repeats it.
func canonicalID(text string) string {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return text
	}
	return strconv.FormatInt(n, 10)
}
