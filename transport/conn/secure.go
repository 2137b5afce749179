package conn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// secureConn is a connection over TLS while a goroutine has it.
type secureConn struct {
	*session
	under  *conn
	ending ending
	failed bool        // the handshake; nothing that is written arrives
	fate   atomic.Bool // somebody closes it, or has it go home
}

func newSecureConn(s *session, under *conn) *secureConn {
	c := &secureConn{session: s, under: under}
	under.session, under.secure, under.in.from = s, true, c
	s.toGoroutine(under)
	return c
}

// Read is as that of conn.
func (c *secureConn) Read(b []byte) (int, error) { return c.under.in.Read(b) }

// receive is told apart from reading the connection underneath: the client's farewell
// is no request, and what is for a loop shows behind TLS alone.
func (c *secureConn) receive(b []byte) (int, error) {
	u := c.under
	if len(u.unsent)+len(u.unread) > 0 {
		if n, err := u.resume(b); n > 0 || err != nil {
			return n, err
		}
	}
	idle := u.idle()
	n, err := c.Conn.Read(b)
	c.full = n == len(b)
	if d := u.owed.Load(); n > 0 && d != nil && d.fresh {
		d.heard()
		u.owed.Store(nil)
	}
	switch {
	case !idle:
	case n > 0 && err == nil && u.door.forLoop(b[:n]):
		return u.goHome(b[:n])
	case n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && !u.parted.Load():
		return u.goHome(nil)
	}
	return n, err
}

// Write is as that of conn.
func (c *secureConn) Write(b []byte) (int, error) { return c.ending.write(b, c.Conn.Write) }

// Close is as that of conn. What it says first is behind every answer. But it leaves
// a client that knows where the answer ends a moment to end first: one that closes
// while our farewell lies unread for it would send a reset.
func (c *secureConn) Close() error {
	if !c.under.core.stopping.Load() && c.under.again.Swap(false) {
		return c.under.serveAgain()
	}
	u := c.under
	if u.parting.Load() && !c.fate.Swap(true) && u.core.open.remove(u) {
		return u.door.takeBack(u)
	}
	if u.door != nil && u.parting.Load() {
		return net.ErrClosed // it is home
	}
	c.fate.Store(true)
	u.moves.Store(nil)
	if u.owed.Load() != nil && !u.endless && !u.reads.Load() {
		patience := farewellTime
		if u.core.stopping.Load() {
			patience = lastParting
		}
		u.awaitEnd(patience)
	}
	if u.ended.Load() {
		return u.Close() // it would not hear us, and its end could not be told from a reset any more
	}
	return c.Conn.Close()
}

// Handshake is called by the HTTP library, once. Who connects and says nothing, as
// watchers of ports do, is not refused.
func (c *secureConn) Handshake() error {
	if c.under.door != nil && !c.under.fresh {
		return nil // it was before
	}
	err := c.Conn.Handshake()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.under.core.owner.BadHandshake(c.under.peer, err)
	}
	if c.failed = err != nil; c.failed {
		c.explain(err)
	}
	return err
}

// greet does the handshake of a connection that is for the loops, and gives it to them.
// Who has not done it in the time of a head is cut off.
func (c *secureConn) greet() {
	u := c.under
	_ = c.SetDeadline(time.Now().Add(u.core.ReadTimeout)) // refused: it is over, which the handshake says
	if c.Handshake() != nil || u.core.stopping.Load() || !u.core.open.remove(u) {
		_ = c.Conn.Close()
		return
	}
	_ = u.door.takeBack(u) // an error: it is closed
}

// TextSpeaksTLS is for clients that have http:// where it should be https://.
const TextSpeaksTLS = "this port speaks TLS; use https://"

// explain tells a client that speaks plain HTTP where TLS is spoken, which is why the
// handshake failed.
func (c *secureConn) explain(err error) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && LooksLikeHTTP(header.RecordHeader) {
		c.under.sayTLS()
	}
}

// LooksLikeHTTP reports whether what came in place of a record is the beginning of
// a method and a blank, or of a method.
func LooksLikeHTTP(in [5]byte) bool {
	for _, b := range in {
		if b == ' ' {
			return in[0] != ' '
		}
		if b < 'A' || b > 'Z' {
			return false
		}
	}
	return true
}

// sayTLS answers without TLS, and waits a moment for the end of the client, which
// would not see the answer after a reset.
func (c *conn) sayTLS() {
	body, kind := c.core.owner.Message(TextSpeaksTLS)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(lingering)) // refused: it is over, which Write says
	_, err := fmt.Fprintf(c.Conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", kind, len(body), body)
	if err != nil {
		return
	}
	c.linger(partingBytes)
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
