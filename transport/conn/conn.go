package conn

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"lapid/transport/reactor"
)

// conn is one connection as the server sees it: who is at the other end, how
// long to wait for it, and which cursor its last answer moves.
type conn struct {
	proof
	peer   netip.Addr // invalid on the Unix socket
	socket bool
	since  time.Time     // when it got a goroutine
	came   *atomic.Int64 // how many there are of where it came in; nil in tests

	proven atomic.Bool // somebody has shown who he is
	atDesk atomic.Bool // a password is being checked, or waits for that

	in      intake // the serving goroutine's
	ending  ending
	endless bool                    // only our end says where the answer ends
	loop    *reactor.Conn           // where it is, for a request on a loop
	ongoing atomic.Pointer[Ongoing] // is under way, and to be gone on with; nil: none
	going   atomic.Bool             // an answer without an end has a goroutine here
	lingers atomic.Bool             // it ends with an answer while the client may be sending, see linger

	again   atomic.Bool // closing it has it served anew, after a long head
	resting atomic.Bool // it is, and has said nothing since

	// Of a connection that a reactor handed over; owned by the serving
	// goroutine.
	door     home     // where it goes back to; nil: nowhere
	session  *session // over TLS; nil: plain
	fresh    bool     // it comes from no loop, and nothing was asked
	unsent   []byte   // the rest of an answer
	unread   []byte   // what came and is not answered
	answered bool     // the last request has been, and nothing of it is left to read
	waits    int      // deadlines that were set since

	parting atomic.Bool // closing it, whoever does, gives it back; set behind unread
}

// home is the loops that a connection came from.
type home interface {
	// forLoop reports whether what came on an idle connection is for a loop, as far
	// as one can see.
	forLoop(in []byte) bool
	// takeBack gives a connection back to the loops.
	takeBack(c *conn) error
}

func newConn(c net.Conn, core *core, peer netip.Addr, socket bool) *conn {
	nc := &conn{peer: peer, socket: socket, since: time.Now()}
	nc.Conn, nc.core, nc.over = c, core, nc.cut
	nc.in.conn, nc.in.from = nc, nc
	return nc
}

// Read gives the HTTP library what is next of a request (intake.go), and TLS what
// came.
func (c *conn) Read(b []byte) (int, error) {
	if c.secure {
		return c.receive(b)
	}
	return c.in.Read(b)
}

// receive is only called when every answer before has been written: the server
// flushes before it waits for the next request.
func (c *conn) receive(b []byte) (int, error) {
	if !c.secure && len(c.unsent)+len(c.unread) > 0 {
		return c.resume(b)
	}
	c.moves.Store(nil) // that answer has left
	if c.owed.Load() != nil {
		c.reads.Store(true)
		defer c.reads.Store(false)
	}
	idle := c.idle() && !c.secure // over TLS others know what came
	for {
		n, err := c.Conn.Read(b)
		c.learn(n, err)
		switch {
		case n > 0 && idle && c.door.forLoop(b[:n]):
			return c.goHome(b[:n])
		case n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		}
		early, failed := false, error(nil)
		if !c.parted.Load() && !c.roused() {
			early, failed = c.early()
		}
		switch {
		case failed != nil:
			return 0, failed
		case !early && idle && !c.parted.Load():
			return c.goHome(nil)
		case !early:
			return n, err
		}
	}
}

// resume writes what a loop could not, and tells the HTTP library what came. It
// is what the connection reads first.
func (c *conn) resume(b []byte) (n int, err error) {
	if len(c.unsent) > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.core.WriteStall)); err != nil {
			return 0, err
		}
		c.writeSet = time.Time{}
		if _, err := c.Conn.Write(c.unsent); err != nil {
			c.lose()
			c.lost(err)
			return 0, err
		}
		c.unsent = nil
		if len(c.unread) == 0 && c.ongoing.Load() != nil {
			return 0, io.EOF // it was the end
		} else if len(c.unread) == 0 && (!c.secure || c.session.Held() == 0) {
			return c.goHome(nil)
		}
	}
	n = copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// goHome ends the connection's stay with the HTTP library: it sees an end, and
// closing gives the connection back to the reactor, with what was read.
func (c *conn) goHome(unread []byte) (int, error) {
	c.unread = slices.Clone(unread)
	c.parting.Store(true)
	return 0, io.EOF
}

// done is called when a request has been answered and read to its end.
func (c *conn) done() { c.answered, c.waits = true, 0 }

// idle reports whether a connection that came from a reactor is between two
// requests with nothing left to read: the HTTP library sets one deadline when
// it waits for a request and another when its first byte is there.
func (c *conn) idle() bool { return c.door != nil && c.answered && c.waits == 1 }

// begun is called when something of a request has come.
func (c *conn) begun() {
	if c.resting.Load() { // the library thinks that this was a new connection
		c.resting.Store(false)
		_ = c.SetReadDeadline(time.Now().Add(c.core.ReadTimeout)) // refused: the connection is over
	}
}

// roused reports whether nobody is to wait for a connection that is served anew.
func (c *conn) roused() bool { return c.resting.Load() && c.core.stopping.Load() }

// serveAgain has the HTTP library begin anew with a connection that it has left.
func (c *conn) serveAgain() error {
	go func() { _ = c.core.library(0).ServeConn(c.in.from) }() // what it says is in the log
	return nil
}

// SetReadDeadline takes effect lazily, see conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.resting.Load() {
		t = time.Now().Add(c.core.IdleTimeout)
	}
	if c.waits++; c.idle() {
		stay := linger
		if c.core.open.count() > c.core.MaxServed/2 {
			stay = 0 // others need its goroutine
		}
		if now := c.core.clock.Load(); now != nil && now.Add(stay).Before(t) {
			t = now.Add(stay)
		}
	}
	err := c.wantRead(t)
	if c.roused() { // perhaps just before that
		err = c.Conn.SetReadDeadline(past)
	}
	return err
}

// Write sends everything, but for the end of an answer in chunks, which it keeps
// until it is whole. The deadline is for every stretch of it.
func (c *conn) Write(b []byte) (n int, err error) { return c.ending.write(b, c.write) }

// Close ends the connection, or gives it back to the reactor. The goroutine that
// serves it calls it; and the HTTP library when it stops, while that one waits for
// the next request.
func (c *conn) Close() error {
	if !c.core.stopping.Load() && c.again.Swap(false) { // from then on others may close it, too
		return c.serveAgain()
	}
	if !c.secure && c.parting.Load() && c.core.open.remove(c) {
		return c.door.takeBack(c)
	}
	if c.owed.Load() != nil {
		if c.reads.Load() {
			return c.farewell()
		}
		if c.ended.Load() {
			c.watch()
			return nil
		}
		if c.closing.Swap(true) {
			return nil // somebody is at it
		}
		c.part()
	}
	if c.lingers.Swap(false) && !c.core.stopping.Load() {
		c.linger(drainAtMost)
	}
	return c.cut()
}

// cut ends the connection. Anybody may call it, more than once.
func (c *conn) cut() error {
	if !c.core.open.remove(c) {
		return net.ErrClosed
	}
	if c.came != nil {
		c.came.Add(-1)
	}
	c.lost(nil)
	c.stopGoing()
	return c.Conn.Close()
}

// hasten has the rest of a request come in that time.
func (c *conn) hasten(patience time.Duration) {
	if t := time.Now().Add(patience); c.readWanted.IsZero() || t.Before(c.readWanted) {
		_ = c.SetReadDeadline(t) // refused: the connection is over
	}
}

// linger is how long a connection may be idle before it goes back to the
// reactor: about as long as one that is busy with requests that are not for a
// loop ever is.
const linger = 2 * time.Second

// await gives the next bytes of a body the time that its sender may say nothing.
// What counts is that it goes on, not how fast: a log processor behind a thin line
// would send again, and more, what was refused for its slowness.
func (c *conn) await(until time.Time) {
	t := time.Now().Add(c.core.ReadStall)
	if until.Before(t) {
		t = until
	}
	_ = c.SetReadDeadline(t) // refused: the connection is over, which Read says
}

// rouse implements openConn.
func (c *conn) rouse() {
	if c.resting.Load() {
		_ = c.Conn.SetReadDeadline(past) // refused: it is over
	}
}

// past is a deadline that strikes at once.
var past = time.Unix(1, 0)
