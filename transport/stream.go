package transport

import (
	"errors"

	"lapid/transport/feed"
	"lapid/transport/wire"
)

// stream answers a poll (http-api.md section 13). What it is told is the feed's
// affair; the cursor moves when the answer leaves, and goes back unless it is shown
// to have arrived (delivery.go).
func (s *Server) stream(x *exchange) error {
	x.query.Now = x.now
	if err := wire.ParseStreamQuery(&x.query, x.rawQuery()); err != nil {
		x.failure = err.Error()
		x.shared(streamType, feed.EmptyAnswer) // quirkBadStreamFilter
		return nil
	}
	view := s.engine.View()
	x.review()
	a, err := s.feed.Poll(&feed.Poll{
		Question: feed.Question{Raw: x.rawQuery(), Query: &x.query},
		Row:      x.bouncer, View: view, Asker: x, MayWait: x.asked == nil,
	})
	if err != nil {
		if errors.Is(err, feed.ErrWouldWait) {
			return errLater
		}
		return err
	}
	if a.Body != nil {
		s.send(x, streamType, &longAnswer{StreamedBody: a.Body, moves: x.delivery(&a)})
		return nil
	}
	x.shared(streamType, a.Whole)
	if d := x.delivery(&a); d != nil {
		x.deliver(d)
	}
	return nil
}

// headStream says whether the key is good, nothing else.
func (s *Server) headStream(x *exchange) error {
	x.head()
	return nil
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

// delivery is an answer to the caller that moves its cursor; nil when it does not.
func (x *exchange) delivery(a *feed.Answer) *delivery {
	if a.Moves.Row == nil {
		return nil
	}
	return &delivery{CursorMove: a.Moves}
}

// deliver has the caller's cursor moved when the answer leaves.
func (x *exchange) deliver(d *delivery) {
	if x.conn == nil {
		d.arrive()
		return
	}
	x.conn.moveWithEnd(d)
}
