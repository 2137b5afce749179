package transport

import (
	"bytes"
	"errors"
	"net/http"

	"lapid/engine"
	"lapid/transport/conn"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// polls are the lines about the stream.
type polls struct{ *core }

// stream answers a poll (http-api.md section 13). What it is told is the feed's
// affair; the cursor moves when the answer leaves, and goes back unless it is shown
// to have arrived (conn.Cursor).
func (s polls) stream(x *exchange) error {
	if s.wantsEvents(x) {
		return s.eventStream(x)
	}
	x.query.Now = x.now
	if err := wire.ParseStreamQuery(&x.query, x.request.Query); err != nil {
		x.failure = err.Error()
		x.shared(streamType, feed.EmptyAnswer) // quirkBadStreamFilter
		return nil
	}
	var form wire.StreamForm
	form.Read(x.request.Query)
	hold, own, err := s.hold(x, &form)
	if err != nil {
		return err
	}
	if done, err := s.confirm(x, &form); done || err != nil {
		return err
	}
	a, view, err := s.poll(x, &form)
	if err == nil && a.Same && hold > 0 {
		if x.request.MayPark() {
			g := &guest{feed: s.feed, question: form.Question, row: x.bouncer, sight: x.query.Sight, at: view.Revision(), wait: hold, visit: x.visit(),
				gate: s.gate, standing: s.gate.Standing(x.request.Key, x.client)}
			if own {
				g.own = s.core
			}
			x.answer.Park(g)
			x.pending = true
			return nil
		}
		switch {
		case !x.request.MayWait():
		case x.request.Crowded():
			x.answer.Close()
		default:
			a, view, err = s.wait(x, &form, view, hold, own)
		}
	}
	if err != nil {
		return err
	}
	note := s.note(x, &form, &a, view)
	s.tell(x, &a, feed.Tag{History: s.options.History, Revision: view.Revision(), Question: x.question(&form)})
	if a.Same && x.request.Match != nil && !x.query.Startup {
		x.empty(http.StatusNotModified)
		return nil
	}
	if a.Body != nil {
		x.stream(streamType, a.Body, cursorOf(&a, note))
		return nil
	}
	x.shared(streamType, a.Whole)
	if c := cursorOf(&a, note); c != nil {
		x.answer.Move(c)
	}
	return nil
}

// poll asks the feed once, of the newest state, and by what the bouncer may see in it.
func (s polls) poll(x *exchange, form *wire.StreamForm) (feed.Answer, *engine.View, error) {
	view := s.look(x)
	from, err := s.from(x, form, view)
	if err != nil {
		return feed.Answer{}, nil, err
	}
	x.place = from
	a, err := s.pollFrom(x, form, view, from)
	return a, view, err
}

// look takes the newest state, and what the bouncer may see in it.
func (s polls) look(x *exchange) *engine.View {
	view := s.engine.StreamView()
	x.query.Sight, _ = view.SightAt(x.bouncer, view.Revision())
	return view
}

// pollFrom asks the feed what comes behind a place.
func (s polls) pollFrom(x *exchange, form *wire.StreamForm, view *engine.View, from feed.Place) (feed.Answer, error) {
	x.woken = x.woken || x.request.Held
	x.review()
	a, err := s.feed.Poll(&feed.Poll{
		Question: feed.Question{Raw: form.Question, Query: &x.query},
		Row:      x.bouncer, View: view, From: from, Asker: x, MayWait: x.request.MayWait(),
		Woken: x.woken,
	})
	if errors.Is(err, feed.ErrWouldWait) {
		err = errLater
	}
	return a, err
}

var (
	errTwoPlaces = &answer{http.StatusBadRequest, "both If-None-Match and after say where the answer begins: send one of them"}
	errNoPlace   = &answer{http.StatusBadRequest, "after is not an ETag of a stream, without its quotes"}
)

// from is where the bouncer says that it is: the tag of an earlier answer, in a header or
// as a parameter.
func (s polls) from(x *exchange, form *wire.StreamForm, view *engine.View) (p feed.Place, err error) {
	switch match := x.request.Match; {
	case form.HasAfter && match != nil:
		return p, errTwoPlaces
	case form.HasAfter:
		t, ok := feed.ParseTag(form.After)
		if !ok {
			return p, errNoPlace
		}
		return s.place(x, &t, form, view), nil
	case match != nil:
		return s.firstPlace(x, match, form, view), nil
	}
	return p, nil
}

// firstPlace is the first of a list of tags that is one of this history and question. A
// proxy that packs answers puts W/ before them.
func (s polls) firstPlace(x *exchange, list []byte, form *wire.StreamForm, view *engine.View) feed.Place {
	ahead := feed.Place{Given: true}
	for more := true; more; {
		var one []byte
		one, list, more = bytes.Cut(list, []byte{','})
		one = bytes.TrimPrefix(bytes.TrimSpace(one), []byte("W/"))
		if n := len(one); n < 2 || one[0] != '"' || one[n-1] != '"' {
			continue
		} else if t, ok := feed.ParseTag(one[1 : n-1]); ok {
			p := s.place(x, &t, form, view)
			if p.Known {
				return p
			}
			if p.Ahead {
				ahead = p
			}
		}
	}
	return ahead
}

// place is what a tag says. One of the future is of another history: what it told of
// was never here; or, beside other servers, not yet (confirm).
func (s polls) place(x *exchange, t *feed.Tag, form *wire.StreamForm, view *engine.View) feed.Place {
	ours := t.History == s.options.History && t.Question == x.question(form)
	known := ours && t.Revision <= view.Revision()
	return feed.Place{Given: true, Known: known, Ahead: ours && !known, After: t.Revision}
}

// question is the fingerprint of what is asked, and of what the bouncer may see.
func (x *exchange) question(form *wire.StreamForm) uint64 {
	return form.Print ^ x.query.Sight.Fingerprint()
}

var (
	tagLine     = []byte("ETag")
	streamLine  = []byte("Lapid-Stream")
	streamFull  = []byte("full")
	streamDelta = []byte("delta")
)

// tell says in the head where the answer leads to, and whether it is everything.
func (s polls) tell(x *exchange, a *feed.Answer, t feed.Tag) {
	tag := append(x.tag[:0], '"')
	x.answer.Tell(tagLine, append(t.Append(tag), '"'))
	what := streamDelta
	if a.Full {
		what = streamFull
	}
	x.answer.Tell(streamLine, what)
}

// cursorOf is what an answer moves when it leaves; nil: nothing.
func cursorOf(a *feed.Answer, note engine.PollRef) conn.Cursor {
	switch {
	case a.Same:
		return nil
	case a.Moves.Row == nil:
		return &feed.Aside{Note: note}
	}
	moves := a.Moves
	moves.Note = note
	return &moves
}

// head says whether the key is good, nothing else.
func (s polls) head(x *exchange) error {
	x.head()
	return nil
}

// review takes back what the caller was told on other connections and has missed;
// but one who is gone already says nothing about those.
func (x *exchange) review() {
	if !x.bouncer.Waiting() {
		return
	}
	if w, there := x.request.Witness(); there {
		x.bouncer.Review(w, x.now)
	}
}
