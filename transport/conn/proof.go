package conn

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// proof follows what becomes of answers that move cursors: moved when they leave, and
// settled when it shows whether they were heard. Its fields are the serving goroutine's,
// which others may look at while the server stops.
type proof struct {
	timed
	over func() error // cuts the connection

	moves   atomic.Pointer[delivery] // moved by what is written from now on: the end of the answer
	owed    atomic.Pointer[delivery] // has left, and nothing shows yet that it was heard
	reads   atomic.Bool              // the serving goroutine waits in Read while something is owed
	ended   atomic.Bool              // the other side is, in good order as far as is known, while something is owed
	closing atomic.Bool              // somebody waits for the other's end
}

// moveWithEnd has the cursor moved by what is written from now on: the end of
// the answer.
func (c *proof) moveWithEnd(d *delivery) { c.moves.Store(d) }

func (c *proof) write(b []byte) (n int, err error) {
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

// learn draws the conclusions of a read about what is owed.
func (c *proof) learn(n int, err error) {
	d := c.owed.Load()
	switch {
	case d == nil, n == 0 && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)):
		return
	case n > 0:
		if !d.came(n) || c.secure {
			return
		}
		d.heard()
	case errors.Is(err, io.EOF) && c.tcp() && !c.parted.Load() && !c.core.stopping.Load():
		c.ended.Store(true)
		return // it may still show that it has not read everything, see watch
	case errors.Is(err, io.EOF):
		c.settle(d)
	default:
		d.lost()
	}
	c.owed.Store(nil)
}

// settle draws the conclusions of an end.
func (c *proof) settle(d *delivery) {
	s := c.look()
	s.Ended = true
	// Under TLS our last record may have met a socket that was closed in good
	// order; then it alone is not acknowledged.
	s.Broken = s.Broken && !(c.secure && c.parted.Load())
	d.close(s, int(c.later.Load()))
}

// Missed implements engine.Witness.
func (c *proof) Missed(late bool) bool {
	s := c.look()
	return s.Broken || late && s.Unacked > int(c.later.Load())
}

// lose gives up what is owed.
func (c *proof) lose() { c.owed.Swap(nil).lost() }

// watch looks a while after the other end has ended whether it was reset meanwhile,
// settles what is owed, and cuts. It does not wait.
func (c *proof) watch() {
	if c.closing.Swap(true) {
		return // somebody is at it
	}
	time.AfterFunc(c.core.Patience.Doubt, func() {
		if d := c.owed.Swap(nil); d != nil {
			c.settle(d)
		}
		_ = c.over()
	})
}

// part ends our side and waits for the other's end, to find out what became of
// what is owed.
func (c *proof) part() {
	patience := parting
	if c.core.stopping.Load() {
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
func (c *proof) awaitEnd(patience time.Duration) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience)) // it is closed: Read says so
	buf, err := make([]byte, 512), error(nil)
	for n, sum := 0, 0; err == nil && sum < partingBytes && c.owed.Load() != nil; sum += n {
		n, err = c.Conn.Read(buf)
		c.learn(n, err)
	}
}

// farewell ends our side, so that the other ends too, which the serving goroutine
// is told by Read.
func (c *proof) farewell() error {
	c.endOurs()
	return c.Conn.SetReadDeadline(time.Now().Add(lastParting))
}

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
