package conn

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"lapid/transport/reactor"
)

// conn is one connection as the server sees it: who is at the other end, how
// long to wait for it, and which cursor its last answer moves.
//
// Deadlines cost a timer each time they are set, twice per request. So they
// are set lazily: a read deadline only when it comes before the one that is
// set, and when that one strikes too early it is moved and the read goes on; a
// write deadline only when less than half of it is left.
type conn struct {
	net.Conn
	peer   netip.Addr // invalid on the Unix socket
	socket bool

	front *Front
	came  *listener // where it came in, and is counted; nil in tests
	since time.Time // when it got a goroutine

	proven atomic.Bool // somebody has shown who he is
	atDesk atomic.Bool // a password is being checked, or waits for that

	// Owned by the goroutine that serves the connection.
	readWanted, readSet time.Time
	writeSet            time.Time
	in                  intake

	again   atomic.Bool // closing it has it served anew, after a long head
	resting atomic.Bool // it is, and has said nothing since

	bounded bool // it has been told how much it may keep unsent

	// Answers that move cursors. The serving goroutine's, which others may look at
	// while the server stops.
	moves   atomic.Pointer[delivery] // moved by what is written from now on: the end of the answer
	owed    atomic.Pointer[delivery] // has left, and nothing shows yet that it was heard
	later   atomic.Int64             // how many bytes were written behind it
	ending  ending
	secure  bool          // under TLS
	endless bool          // only our end says where the answer ends
	loop    *reactor.Conn // where it is, for a request on a loop
	reads   atomic.Bool   // the serving goroutine waits in Read while something is owed
	parted  atomic.Bool   // our side is ended
	ended   atomic.Bool   // the other's is, in good order as far as is known, while something is owed
	closing atomic.Bool   // somebody waits for the other's
	lingers atomic.Bool   // it ends with an answer while the client may be sending, see linger

	// Of a connection that a reactor handed over; owned by the serving
	// goroutine.
	door     *listener // came, if that has a reactor
	unsent   []byte    // the rest of an answer
	unread   []byte    // what came and is not answered
	answered bool      // the last request has been, and nothing of it is left to read
	waits    int       // deadlines that were set since
	parting  bool      // closing it gives it back
}

func newConn(c net.Conn, f *Front) *conn {
	_, socket := c.LocalAddr().(*net.UnixAddr)
	nc := &conn{Conn: c, front: f, peer: reactor.PeerOf(c.RemoteAddr()), socket: socket, since: time.Now()}
	nc.in.conn, nc.in.from = nc, nc
	return nc
}

// moveWithEnd has the cursor moved by what is written from now on: the end of
// the answer.
func (c *conn) moveWithEnd(d *delivery) { c.moves.Store(d) }

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
	if len(c.unsent)+len(c.unread) > 0 {
		return c.resume(b)
	}
	c.moves.Store(nil) // that answer has left
	if c.owed.Load() != nil {
		c.reads.Store(true)
		defer c.reads.Store(false)
	}
	idle := c.idle()
	for {
		n, err := c.Conn.Read(b)
		c.learn(n, err)
		switch {
		case n > 0 && idle && c.door.forLoop(b[:n]):
			return c.goHome(b[:n])
		case n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case !c.readWanted.After(c.readSet), c.parted.Load(), c.roused():
			if idle && !c.parted.Load() {
				return c.goHome(nil)
			}
			return n, err
		}
		c.readSet = c.readWanted
		if err := c.Conn.SetReadDeadline(c.readSet); err != nil {
			return 0, err
		}
	}
}

// learn draws the conclusions of a read about what is owed.
func (c *conn) learn(n int, err error) {
	d := c.owed.Load()
	switch {
	case d == nil, n == 0 && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)):
		return
	case n > 0:
		if !d.came(n) || c.secure {
			return
		}
		d.heard()
	case errors.Is(err, io.EOF) && c.tcp() && !c.parted.Load() && !c.front.stopping.Load():
		c.ended.Store(true)
		return // it may still show that it has not read everything, see watch
	case errors.Is(err, io.EOF):
		c.settle(d)
	default:
		d.lost()
	}
	c.owed.Store(nil)
}

func (c *conn) tcp() bool {
	_, tcp := c.Conn.(*net.TCPConn)
	return tcp
}

// settle draws the conclusions of an end.
func (c *conn) settle(d *delivery) {
	s := c.look()
	s.Ended = true
	// Under TLS our last record may have met a socket that was closed in good
	// order; then it alone is not acknowledged.
	s.Broken = s.Broken && !(c.secure && c.parted.Load())
	d.close(s, int(c.later.Load()))
}

// look asks the kernel about the connection.
func (c *conn) look() (s reactor.Sight) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return s // as in tests without a network
	}
	raw, err := sc.SyscallConn()
	if err != nil || raw.Control(func(fd uintptr) { s = reactor.Look(int(fd)) }) != nil {
		return reactor.Sight{Broken: true} // somebody closed it
	}
	if c.secure && s.Waiting > 0 {
		s.Waiting = neverByBytes // how much that is of what was asked nobody knows
	}
	return s
}

// Missed implements engine.Witness.
func (c *conn) Missed(late bool) bool {
	s := c.look()
	return s.Broken || late && s.Unacked > int(c.later.Load())
}

// resume writes what a loop could not, and tells the HTTP library what came. It
// is what the connection reads first.
func (c *conn) resume(b []byte) (n int, err error) {
	if len(c.unsent) > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.front.options.WriteStall)); err != nil {
			return 0, err
		}
		c.writeSet = time.Time{}
		if _, err := c.Conn.Write(c.unsent); err != nil {
			c.lose()
			return 0, err
		}
		c.unsent = nil
		if len(c.unread) == 0 {
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
	c.unread, c.parting = slices.Clone(unread), true
	return 0, io.EOF
}

// done is called when a request has been answered and read to its end.
func (c *conn) done() { c.answered, c.waits = true, 0 }

// idle reports whether a connection that came from a reactor is between two
// requests with nothing left to read: the HTTP library sets one deadline when
// it waits for a request and another when its first byte is there.
func (c *conn) idle() bool { return c.door != nil && c.answered && c.waits == 1 }

// linger is how long a connection may be idle before it goes back to the
// reactor: about as long as one that is busy with requests that are not for a
// loop ever is.
const linger = 2 * time.Second

// SetDeadline takes effect at once.
func (c *conn) SetDeadline(t time.Time) error {
	c.readWanted, c.readSet, c.writeSet = t, t, time.Time{}
	return c.Conn.SetDeadline(t)
}

// boundUnsent is called before the first long answer.
func (c *conn) boundUnsent() {
	if c.bounded {
		return
	}
	c.bounded = true
	if sc, ok := c.Conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			boundUnsent(raw)
		}
	}
}

// reset has the connection end in a way that nobody takes for the end of an
// answer.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // refused: an end in good order of an answer that is cut
	}
}

// begun is called when something of a request has come.
func (c *conn) begun() {
	if c.resting.Load() { // the library thinks that this was a new connection
		c.resting.Store(false)
		_ = c.SetReadDeadline(time.Now().Add(c.front.options.ReadTimeout)) // refused: the connection is over
	}
}

// hasten has the rest of a request come in that time.
func (c *conn) hasten(patience time.Duration) {
	if t := time.Now().Add(patience); c.readWanted.IsZero() || t.Before(c.readWanted) {
		_ = c.SetReadDeadline(t) // refused: the connection is over
	}
}

// roused reports whether nobody is to wait for a connection that is served anew.
func (c *conn) roused() bool { return c.resting.Load() && c.front.stopping.Load() }

// serveAgain has the HTTP library begin anew with a connection that it has left.
func (c *conn) serveAgain() error {
	go func() { _ = c.front.http.ServeConn(c.in.from) }() // what it says is in the log
	return nil
}

// SetReadDeadline takes effect lazily, see conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.resting.Load() {
		t = time.Now().Add(c.front.options.IdleTimeout)
	}
	if c.waits++; c.idle() {
		stay := linger
		if c.front.open.count() > c.front.options.MaxServed/2 {
			stay = 0 // others need its goroutine
		}
		if now := c.front.clock.Load(); now != nil && now.Add(stay).Before(t) {
			t = now.Add(stay)
		}
	}
	c.readWanted = t
	var err error
	if t.IsZero() || c.readSet.IsZero() || t.Before(c.readSet) {
		c.readSet = t
		err = c.Conn.SetReadDeadline(t)
	}
	if c.roused() { // perhaps just before that
		err = c.Conn.SetReadDeadline(past)
	}
	return err
}

// Write sends everything, but for the end of an answer in chunks, which it keeps
// until it is whole. The deadline is for every stretch of it.
func (c *conn) Write(b []byte) (n int, err error) { return c.ending.write(b, c.write) }

func (c *conn) write(b []byte) (n int, err error) {
	d := c.moves.Load()
	if d == nil {
		c.later.Add(int64(len(b)))
	} else if !d.left {
		c.owed.Store(d.leave(c, c.owed.Load()))
		c.later.Store(0)
	}
	for first := true; first || len(b) > 0; first = false {
		if err = c.extend(); err != nil {
			break
		}
		part := b[:min(len(b), stretch)]
		b = b[len(part):]
		var m int
		m, err = c.Conn.Write(part)
		if n += m; err != nil {
			break
		}
	}
	if err != nil && d != nil {
		c.lose()
	}
	return n, err
}

// lose gives up what is owed.
func (c *conn) lose() { c.owed.Swap(nil).lost() }

// stretch is how much a peer has to take in half of Options.WriteStall, in
// bytes.
const stretch = 128 << 10

// extend moves the write deadline when less than half of it is left.
func (c *conn) extend() error {
	stall := c.front.options.WriteStall
	now := c.front.clock.Load()
	if now == nil || c.writeSet.Sub(*now) >= stall/2 {
		return nil
	}
	c.writeSet = now.Add(stall)
	return c.Conn.SetWriteDeadline(c.writeSet)
}

// Close ends the connection, or gives it back to the reactor. The goroutine that
// serves it calls it; and the HTTP library when it stops, while that one waits for
// the next request.
func (c *conn) Close() error {
	if !c.front.stopping.Load() && c.again.Swap(false) { // from then on others may close it, too
		return c.serveAgain()
	}
	if c.parting && c.front.open.remove(c) {
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
	if c.lingers.Swap(false) && !c.front.stopping.Load() {
		c.linger(drainAtMost)
	}
	return c.cut()
}

// linger ends our side and waits a moment for the other's end: a connection that is
// closed while something lies unread is reset, and the client may lose the answer by
// that. So much is read meanwhile.
func (c *conn) linger(most int) {
	c.endOurs()
	_ = c.Conn.SetReadDeadline(time.Now().Add(lingering)) // refused: it is over, which Read says
	scratch, err := make([]byte, drainStep), error(nil)
	for n, sum := 0, 0; err == nil && sum < most; sum += n {
		n, err = c.Conn.Read(scratch)
	}
}

// lingering is what that takes at most.
const lingering = 500 * time.Millisecond

const (
	// parting is how long to wait for the other end of a connection that we have
	// ended, when only that shows whether the last answer was heard: enough for any
	// network. While the server stops it is lastParting.
	parting     = 5 * time.Second
	lastParting = time.Second
	// farewellTime is how long the client may take to end a connection over TLS, after
	// its farewell or after an answer with which it ends, before we say ours: between
	// the one and the other a busy machine may have others run. A client that waits for
	// our end instead waits so much longer.
	farewellTime = time.Second
	// partingBytes is how much may come meanwhile.
	partingBytes = 64 << 10
)

// doubt is how long a client that has ended its side may still show that it has not
// heard an answer. One that closes without having read everything sends a reset, but
// one that has said before that it says no more is not told apart from one that has
// closed in good order until it does. A client that waits for our end waits as long.
const doubt = time.Second

// watch looks a while after the other end has ended whether it was reset meanwhile,
// settles what is owed, and cuts. It does not wait.
func (c *conn) watch() {
	if c.closing.Swap(true) {
		return // somebody is at it
	}
	time.AfterFunc(c.front.options.Patience.Doubt, func() {
		if d := c.owed.Swap(nil); d != nil {
			c.settle(d)
		}
		_ = c.cut()
	})
}

// part ends our side and waits for the other's end, to find out what became of
// what is owed.
func (c *conn) part() {
	patience := parting
	if c.front.stopping.Load() {
		patience = lastParting
	}
	if c.parted.Load() {
		patience = 0 // there was time enough
	}
	c.endOurs()
	c.awaitEnd(patience)
	c.lose()
}

// awaitEnd waits for the other's end, and settles what is owed if it comes.
func (c *conn) awaitEnd(patience time.Duration) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience)) // it is closed: Read says so
	buf, err := make([]byte, 512), error(nil)
	for n, sum := 0, 0; err == nil && sum < partingBytes && c.owed.Load() != nil; sum += n {
		n, err = c.Conn.Read(buf)
		c.learn(n, err)
	}
}

// farewell ends our side, so that the other ends too, which the serving goroutine
// is told by Read.
func (c *conn) farewell() error {
	c.endOurs()
	return c.Conn.SetReadDeadline(time.Now().Add(lastParting))
}

func (c *conn) endOurs() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && !c.parted.Swap(true) {
		c.later.Add(1)        // an end is counted as a byte
		_ = half.CloseWrite() // it may be over already
	}
}

// cut ends the connection. Anybody may call it, more than once.
func (c *conn) cut() error {
	if !c.front.open.remove(c) {
		return net.ErrClosed
	}
	if c.came != nil {
		c.came.count.Add(-1)
	}
	return c.Conn.Close()
}

// underneath finds the conn of a request; nil when there is none, as in tests
// without a network.
func underneath(c net.Conn) (*conn, *secureConn) {
	switch c := c.(type) {
	case *conn:
		return c, nil
	case *secureConn:
		return c.under, c
	case *nested:
		return underneath(c.Conn)
	}
	return nil, nil
}
