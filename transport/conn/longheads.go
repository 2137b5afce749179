package conn

import (
	"io"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
)

// A head that does not fit into readBuffer grows a buffer of its own while it
// comes, twice as large each time and up to Options.HeaderBytes, and is then
// answered by a library with a buffer that it fits into, within the read of the
// one that has the connection. Both buffers are paid for, out of the purse of the
// known on a connection where somebody has shown who he is, else out of that of
// strangers; who shows it with this request moves the rest of its costs to the
// known. They are given back with the answer. Where there is no room it is 503.

const (
	// headCopies is how often the library copies a head while it answers it: the
	// lines as they came, names and values, and the target once more in parts.
	headCopies = 3
	// longClasses is how many sizes of buffers there are, each twice the one before.
	// The largest fits a head of which every line gets a CR that it came without.
	longClasses = 9
)

// longHead is what a long head takes.
type longHead struct {
	buf  []byte // it was read into; nil once the library has it
	hold budget.Hold
}

// classOf is the library for a head of so many bytes.
func classOf(size int) int { return bits.Len(uint(size-1) / readBuffer) }

// grow makes room behind what is held.
func (in *intake) grow() error {
	var whole []byte
	if in.long != nil {
		whole = in.long.buf
	} else {
		whole = in.room[:]
	}
	if len(in.held) < len(whole) { // there is room before it
		in.held = whole[:copy(whole, in.held)]
		return nil
	}
	size := 2 * len(whole)
	if err := in.claim(int64(size)); err != nil {
		return err
	}
	buf := make([]byte, size)
	in.held = buf[:copy(buf, in.held)]
	in.long.buf = buf
	if in.room != nil {
		rooms.Put(in.room)
		in.room = nil
	}
	return nil
}

// claim has a long head take so much in all.
func (in *intake) claim(size int64) error {
	c := in.conn
	if in.long == nil {
		in.long = &longHead{}
		h := &in.long.hold
		h.Of, h.From = c.core.strangersAt(c.address()), c.core.headPurse(c)
		if !c.proven.Load() {
			c.hasten(c.core.Patience.Stranger)
		}
	}
	h := &in.long.hold
	if size <= h.Taken() || h.Take(stepped(size-h.Taken())) {
		return nil
	}
	why := NoStrangerMemory
	if h.From == c.core.memory.known {
		why = NoBodyMemory
	}
	c.core.owner.Refused(why, c.address())
	return &Refusal{fasthttp.StatusServiceUnavailable, TextNoMemory}
}

// headPurse is out of which purse long heads of a connection are paid.
func (f *core) headPurse(c *conn) *budget.Purse {
	switch {
	case c.proven.Load():
		return f.memory.known
	case c.socket || f.owner.MayForward(c.peer, c.socket) || f.owner.Knows(c.peer):
		return f.memory.strangers[1]
	}
	return f.memory.strangers[0]
}

// serveLong answers the request whose head is ready, and what it says ends the
// stay of the connection with the library that reads: that has an empty line in
// its buffer, and a clock that runs.
func (in *intake) serveLong(b []byte, size int) (int, error) {
	c, class := in.conn, classOf(size)
	taken := int64(readBuffer<<class + headCopies*size)
	if in.long != nil {
		taken += int64(len(in.long.buf))
	}
	if err := in.claim(taken); err != nil {
		return in.cut(b, err)
	}
	in.nested, in.ended = true, false
	v := &nested{Conn: in.from, in: in, left: make(chan struct{})}
	_ = c.core.library(class).ServeConn(v) // it has answered, whatever it says
	<-v.left
	in.nested = false
	rest := slices.Clone(in.held) // no more than more reads at once
	in.held = nil
	in.release()
	switch {
	case !in.ended || in.over != nil || c.core.stopping.Load():
		return 0, io.EOF // the connection ends
	case c.door != nil:
		return c.goHome(rest)
	}
	if len(rest) > 0 {
		in.hold(rest)
	}
	c.again.Store(true)
	c.resting.Store(len(rest) == 0)
	return 0, io.EOF
}

// releaseLong gives back what a long head takes, but while it is answered only
// the buffer that it was read into.
func (in *intake) releaseLong() {
	switch {
	case in.long == nil:
	case in.nested:
		in.long.buf = nil
	default:
		in.long.hold.Release()
		in.long = nil
	}
}

// nested is a connection as a library for long heads sees it, for one request.
type nested struct {
	net.Conn
	in   *intake
	over atomic.Bool
	left chan struct{} // closed when the library has left it
}

func (n *nested) Read(b []byte) (int, error) { return n.in.Read(b) }

// Close ends the request alone.
func (n *nested) Close() error {
	if !n.over.Swap(true) {
		close(n.left)
	}
	return nil
}

// address is who is at the other end, as far as the connection tells.
func (c *conn) address() netip.Addr {
	if c.socket {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return c.peer
}
