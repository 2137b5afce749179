package transport

import (
	"lapid/engine"
	"lapid/transport/feed"
	"lapid/transport/reactor"
)

// delivery is an answer that moves a bouncer's cursor, from the handler that makes
// it to the proof that it was heard. It belongs to the connection it is sent over
// and changes hands with it.
//
// The cursor moves with the write that hands the end of the answer over, before
// the bytes leave: a client that has read them may poll again, on another
// connection, at once. Nothing that Write says shows that anybody has read them.
// What does, is that more comes on the connection, or that it ends in good order
// with every byte acknowledged; and in both cases that the one who asked was still
// there when the answer left. After everything else the cursor goes back, and the
// next poll is told the same again.
type delivery struct {
	feed.CursorMove

	left   bool      // it has been written, or a part of it, or will not move anything
	ahead  int       // bytes that had come when it left and are not read yet: they show nothing
	fresh  bool      // others have come since, under TLS perhaps no request
	before *delivery // an earlier one of the connection, of which nothing is known either
}

// neverByBytes is for ahead: nothing that comes shows anything.
const neverByBytes = int(^uint(0) >> 1)

// way is a connection as a delivery sees it.
type way interface {
	engine.Witness
	look() reactor.Sight
}

// leave moves the cursor, unless whoever asked is gone already. It is called just
// before the last bytes are written, and gives what the connection has under way
// from then on, of which earlier was there before.
func (d *delivery) leave(w way, earlier *delivery) *delivery {
	d.left = true
	s := w.look()
	if s.Ended || s.Broken || !d.Offer(w) {
		return earlier
	}
	d.ahead, d.before = s.Waiting, earlier
	return d
}

// came is told of every read from the socket, and reports whether that shows
// that the answer was heard.
func (d *delivery) came(bytes int) bool {
	if bytes > d.ahead {
		d.fresh = true
	}
	d.ahead = max(d.ahead-bytes, 0)
	return d.fresh
}

// heard and lost settle it, and the earlier ones with it. Both may be called again,
// to no effect. On nil they do nothing.
func (d *delivery) heard() {
	for ; d != nil; d = d.before {
		d.Heard()
	}
}

func (d *delivery) lost() {
	for ; d != nil; d = d.before {
		d.Lost()
	}
}

// arrive is for tests without a network: nothing can be lost.
func (d *delivery) arrive() {
	if d.Offer(nil) {
		d.Heard()
	}
}

// close settles it at the end of the connection, as far as it is seen; later is
// how many bytes were written behind the answer.
func (d *delivery) close(s reactor.Sight, later int) {
	if s.Ended && !s.Broken && s.Unacked <= later {
		d.heard()
		return
	}
	d.lost()
}

// watch changes who sees what becomes of it; nil: nobody, for the connection is
// about to change hands.
func (d *delivery) watch(w engine.Witness) {
	for ; d != nil; d = d.before {
		d.Watch(w)
	}
}

// Held implements reactor.Mark.
func (d *delivery) Held(c *reactor.Conn) { d.watch(onLoop{c}) }

// Over implements reactor.Mark.
func (d *delivery) Over(c *reactor.Conn, broken bool) {
	s := c.Look()
	if s.Broken = s.Broken || broken; !s.Broken && s.Waiting > d.ahead {
		d.heard() // more came that nobody will answer
		return
	}
	d.close(s, 0)
}

// onLoop is a connection on a loop.
type onLoop struct{ *reactor.Conn }

func (c onLoop) look() reactor.Sight { return c.Look() }

// Missed implements engine.Witness.
func (c onLoop) Missed(late bool) bool {
	s := c.Look()
	return s.Broken || late && s.Unacked > 0
}
