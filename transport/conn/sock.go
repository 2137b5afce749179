package conn

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"lapid/transport/reactor"
)

// sock is a connection as the kernel knows it.
type sock struct {
	net.Conn
	core    *core
	secure  bool         // under TLS
	bounded bool         // it has been told how much it may keep unsent
	parted  atomic.Bool  // our side is ended
	later   atomic.Int64 // how many bytes were written behind an answer that moves a cursor
}

func (c *sock) tcp() bool {
	_, tcp := c.Conn.(*net.TCPConn)
	return tcp
}

// look asks the kernel about the connection.
func (c *sock) look() (s reactor.Sight) {
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

// unsentAtMost is how much of an answer the kernel takes from us before it has
// sent it, in bytes. Without it a reader that takes nothing has four megabytes
// wait for it, and a thousand of them so much that the kernel, short of memory
// for all of TCP, drops what others send: live queries then took a second. What
// is on its way to a fast reader is not counted.
const unsentAtMost = 256 << 10

// boundUnsent is called before the first long answer.
func (c *sock) boundUnsent() {
	if c.bounded {
		return
	}
	c.bounded = true
	c.bound(0)
}

// bound has the kernel bound what it takes, and end a connection whose other end has not
// been heard of for so long while something is on its way; 0: as it does anyway.
func (c *sock) bound(stall time.Duration) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			boundUnsent(raw, stall)
		}
	}
}

// reset has the connection end in a way that nobody takes for the end of an
// answer.
func (c *sock) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // refused: an end in good order of an answer that is cut
	}
}

func (c *sock) endOurs() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && !c.parted.Swap(true) {
		c.later.Add(1)        // an end is counted as a byte
		_ = half.CloseWrite() // it may be over already
	}
}

// linger ends our side and waits a moment for the other's end: a connection that is
// closed while something lies unread is reset, and the client may lose the answer by
// that. So much is read meanwhile.
func (c *sock) linger(most int) {
	c.endOurs()
	_ = c.Conn.SetReadDeadline(time.Now().Add(lingering)) // refused: it is over, which Read says
	scratch, err := make([]byte, drainStep), error(nil)
	for n, sum := 0, 0; err == nil && sum < most; sum += n {
		n, err = c.Conn.Read(scratch)
	}
}

// lingering is what that takes at most.
const lingering = 500 * time.Millisecond
