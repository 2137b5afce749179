package transport

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"lapid/engine"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// decisions are the lines about decisions, but for polls.
type decisions struct{ *core }

// visitEvery is how often a live query is noted as a visit, in nanoseconds
// (http-api.md section 5).
const visitEvery = int64(time.Minute)

const (
	// fewFound is how many decisions are found and put together at once, also on a
	// loop.
	fewFound = 64
	// longList is from how many decisions on the length of a list is not counted
	// before it leaves.
	longList = 2000
)

var nullAnswer = []byte("null")

// find is the live query (http-api.md section 11).
func (s decisions) find(x *exchange) error {
	found, err := s.search(x)
	if err != nil {
		return err
	}
	if last := x.bouncer.LastPull(); last == 0 || x.now-last >= visitEvery {
		x.bouncer.Visit(x.now)
	}
	switch {
	case found != nil:
		return s.sendList(x, found)
	case len(x.found) == 0:
		x.shared(jsonType, nullAnswer)
	default:
		x.json(http.StatusOK, x.out)
	}
	return nil
}

// search asks the engine what the query string asks for. A short answer is in x.found
// and x.out; a longer one, which is not for a loop, is the selection.
func (s decisions) search(x *exchange) (*engine.Selection, error) {
	x.query.Now = x.now
	if err := wire.ParseQuery(&x.query, x.request.Query); err != nil {
		return nil, err
	}
	view, few := s.engine.View(), false
	x.query.Sight, _ = view.SightAt(x.bouncer, view.Revision())
	if x.query.Address.IsValid() && !x.query.Inside {
		if x.found, few = view.FindFew(x.found[:0], &x.query, fewFound); few {
			x.out = wire.AppendDecisions(x.out[:0], x.found, x.now, x.query.Sight)
			few = len(x.out) <= feed.Brief
		}
	}
	if few {
		s.counting.live(x.bouncer, len(x.found) > 0)
		return nil, nil
	}
	if !x.request.MayWait() {
		return nil, errLater
	}
	var err error
	found, ok := view.Select(&x.query, s.feed.RoomFor(&x.held, x, &err))
	if !ok {
		return nil, err
	}
	s.counting.live(x.bouncer, found.Len() > 0)
	return &found, nil
}

// sendList answers with what was selected.
func (s decisions) sendList(x *exchange, found *engine.Selection) error {
	now, sight, n := x.now, x.query.Sight, found.Len()
	if n == 0 {
		x.shared(jsonType, nullAnswer)
		return nil
	}
	return x.list(n <= longList, func(w *feed.Writer) error { return writeList(w, found, now, sight) })
}

// head answers as GET would, without reading what it would have to
// list: bouncers use it to see whether we are there. It leaves no trace.
func (s decisions) head(x *exchange) error {
	x.query.Now = x.now
	if err := wire.ParseQuery(&x.query, x.request.Query); err != nil {
		return err
	}
	if x.query.Address.IsValid() && !x.query.Inside {
		view := s.engine.View()
		x.query.Sight, _ = view.SightAt(x.bouncer, view.Revision())
		found, few := view.FindFew(x.found[:0], &x.query, fewFound)
		s.counting.live(x.bouncer, !few || len(found) > 0)
		x.found = found
	}
	x.head()
	return nil
}

// writeList writes a long answer piece by piece.
func writeList(w *feed.Writer, found *engine.Selection, now int64, s *engine.Sight) error {
	w.Buf = append(w.Buf, '[')
	for i := range found.Len() {
		if i > 0 {
			w.Buf = append(w.Buf, ',')
		}
		w.Buf = wire.AppendDecision(w.Buf, found.At(i), now, false, s)
		if err := w.MaybeSend(); err != nil {
			return err
		}
	}
	w.Buf = append(w.Buf, ']')
	return nil
}

// endMany ends what the query string describes.
func (s decisions) endMany(x *exchange) error {
	x.query.Now = x.now
	if err := wire.ParseDeletion(&x.query, x.request.Query); err != nil {
		return err
	}
	n, err := s.engine.EndDecisions(x.asMachine(), &x.query)
	if err != nil {
		return err
	}
	x.tellDeletion("decisions", n)
	x.deleted(n)
	return nil
}

// endOne ends one by its id.
func (s decisions) endOne(x *exchange) error {
	text, err := x.param()
	if err != nil {
		return err
	}
	id, ok := parseID(text)
	if !ok {
		return &answer{http.StatusBadRequest, "decision_id must be valid integer"}
	}
	err = s.engine.EndDecision(x.asMachine(), engine.DecisionID(id), x.now)
	if errors.Is(err, engine.ErrNotFound) { // the id as it was asked for, which may be negative
		return &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounDecision, Name: canonicalID(text)}
	}
	if err == nil {
		x.tellDeletion("decisions", 1)
		x.deleted(1)
	}
	return err
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
