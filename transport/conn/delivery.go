package conn

import "lapid/transport/reactor"

// Cursor is what an answer moves: a reader's place in what there is to be told. It is
// used by one goroutine at a time.
type Cursor interface {
	// Offer moves it, just before the last bytes of the answer are written, as long as
	// w sees what becomes of them; nil: nothing can be lost. False: it does not move,
	// and nothing follows.
	Offer(w Witness) bool
	// Heard or Lost settles it; it stays, or goes back. Both may be called again, to no
	// effect.
	Heard()
	Lost()
	// Watch changes who sees what becomes of it; nil: nobody can, for a while.
	Watch(w Witness)
}

// Witness can say whether what was sent has not arrived; late: what is not
// acknowledged counts as missed by now.
type Witness = interface{ Missed(late bool) bool }

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
	cursor Cursor

	left   bool      // it has been written, or a part of it, or will not move anything
	ahead  int       // bytes that had come when it left and are not read yet: they show nothing
	fresh  bool      // others have come since, under TLS perhaps no request
	before *delivery // an earlier one of the connection, of which nothing is known either
}

// neverByBytes is for ahead: nothing that comes shows anything.
const neverByBytes = int(^uint(0) >> 1)

// sightedWitness is a connection as a delivery sees it.
type sightedWitness interface {
	Witness
	look() reactor.Sight
}

// leave moves the cursor, unless whoever asked is gone already. It is called just
// before the last bytes are written, and gives what the connection has under way
// from then on, of which earlier was there before.
func (d *delivery) leave(w sightedWitness, earlier *delivery) *delivery {
	d.left = true
	s := w.look()
	if s.Ended || s.Broken || !d.cursor.Offer(w) {
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
		d.cursor.Heard()
	}
}

func (d *delivery) lost() {
	for ; d != nil; d = d.before {
		d.cursor.Lost()
	}
}

// arrive is for tests without a network: nothing can be lost.
func (d *delivery) arrive() {
	if d.cursor.Offer(nil) {
		d.cursor.Heard()
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
func (d *delivery) watch(w Witness) {
	for ; d != nil; d = d.before {
		d.cursor.Watch(w)
	}
}

// Held implements reactor.Mark.
func (d *delivery) Held(c *reactor.Conn) { d.watch(onLoop{c}) }

// Over implements reactor.Mark.
func (d *delivery) Over(c *reactor.Conn, broken bool) {
	s := c.Look()
	if s.Broken = s.Broken || broken; !s.Broken && c.Cover == nil && s.Waiting > d.ahead {
		d.heard() // more came that nobody will answer
		return
	}
	d.close(s, 0)
}

// onLoop is a connection on a loop.
type onLoop struct{ *reactor.Conn }

func (c onLoop) look() reactor.Sight {
	s := c.Look()
	if c.Cover != nil && (s.Waiting > 0 || c.Cover.Held() > 0) {
		s.Waiting = neverByBytes // how much that is of what was asked nobody knows
	}
	return s
}

// Missed implements Witness.
func (c onLoop) Missed(late bool) bool {
	s := c.Look()
	return s.Broken || late && s.Unacked > 0
}
