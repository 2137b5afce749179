package transport

import (
	"errors"

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
	x.query.Now = x.now
	if err := wire.ParseStreamQuery(&x.query, x.request.Query); err != nil {
		x.failure = err.Error()
		x.shared(streamType, feed.EmptyAnswer) // quirkBadStreamFilter
		return nil
	}
	view := s.engine.StreamView()
	x.review()
	a, err := s.feed.Poll(&feed.Poll{
		Question: feed.Question{Raw: x.request.Query, Query: &x.query},
		Row:      x.bouncer, View: view, Asker: x, MayWait: x.request.MayWait(),
	})
	if err != nil {
		if errors.Is(err, feed.ErrWouldWait) {
			return errLater
		}
		return err
	}
	if a.Body != nil {
		x.stream(streamType, a.Body, cursorOf(&a))
		return nil
	}
	x.shared(streamType, a.Whole)
	if c := cursorOf(&a); c != nil {
		x.answer.Move(c)
	}
	return nil
}

// cursorOf is what an answer moves when it leaves; nil: nothing.
func cursorOf(a *feed.Answer) conn.Cursor {
	if a.Moves.Row == nil {
		return nil
	}
	moves := a.Moves
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
