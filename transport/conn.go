package transport

import (
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
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

	server *Server

	// Owned by the goroutine that serves the connection.
	readWanted, readSet time.Time
	writeSet            time.Time

	// The cursor that the last bytes of the answer move. Owned by the serving
	// goroutine.
	moves *move
}

// move is a cursor on its way. It goes forward with the write that hands the
// end of the answer over, before the bytes leave: a client that has read them
// may poll again, on another connection, at once. If that write fails, or a
// later one of the same answer does, it goes back, and the next poll is told
// the same again.
type move struct {
	row  *engine.BouncerRow
	to   engine.Revision
	at   int64
	from engine.Revision // where it was; valid when gone
	had  bool            // it was anywhere
	gone bool
}

func (m *move) forward() {
	if !m.gone {
		m.from, m.had = m.row.Cursor()
		m.gone = true
		m.row.Advance(m.to, m.at)
	}
}

func (m *move) back() {
	if m.gone {
		m.row.Retreat(m.from, m.to, m.had)
	}
}

func newConn(c net.Conn, s *Server) *conn {
	_, socket := c.LocalAddr().(*net.UnixAddr)
	return &conn{Conn: c, server: s, peer: peerOf(c.RemoteAddr()), socket: socket}
}

// moveWithEnd has the cursor moved by what is written from now on: the end of
// the answer.
func (c *conn) moveWithEnd(m *move) { c.moves = m }

// Read is only called when every answer before has been written: the server
// flushes before it waits for the next request.
func (c *conn) Read(b []byte) (int, error) {
	c.moves = nil // that answer has left
	for {
		n, err := c.Conn.Read(b)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !c.readWanted.After(c.readSet) {
			return n, err
		}
		c.readSet = c.readWanted
		if err := c.Conn.SetReadDeadline(c.readSet); err != nil {
			return 0, err
		}
	}
}

// SetReadDeadline takes effect lazily, see conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.readWanted = t
	if t.IsZero() || c.readSet.IsZero() || t.Before(c.readSet) {
		c.readSet = t
		return c.Conn.SetReadDeadline(t)
	}
	return nil
}

func (c *conn) Write(b []byte) (int, error) {
	stall := c.server.options.WriteStall
	if now := c.server.clock.Load(); now != nil && c.writeSet.Sub(*now) < stall/2 {
		c.writeSet = now.Add(stall)
		if err := c.Conn.SetWriteDeadline(c.writeSet); err != nil {
			return 0, err
		}
	}
	if c.moves != nil {
		c.moves.forward()
	}
	n, err := c.Conn.Write(b)
	if err != nil && c.moves != nil {
		c.moves.back()
	}
	return n, err
}

// Close forgets the connection.
func (c *conn) Close() error {
	c.server.open.remove(c)
	return c.Conn.Close()
}

// secureConn is a TLS connection that remembers the certificate it was opened
// with.
type secureConn struct {
	*tls.Conn
	under *conn
	asked bool
	peer  *auth.Peer // valid when asked
}

// certificate gives the client's certificate, nil when it showed none. Only
// the goroutine that serves the connection calls it, after the handshake.
func (c *secureConn) certificate() *auth.Peer {
	if !c.asked {
		state := c.ConnectionState()
		c.peer, c.asked = auth.NewPeer(&state), true
	}
	return c.peer
}

// doorway accepts connections and dresses them.
type doorway struct {
	net.Listener
	tls    *tls.Config // nil: plain
	server *Server
}

func (d *doorway) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	nc := newConn(c, d.server)
	d.server.open.add(nc)
	if d.tls == nil {
		return nc, nil
	}
	return &secureConn{Conn: tls.Server(nc, d.tls), under: nc}, nil
}

// openConns are all connections, so that they can be cut at the end.
type openConns struct {
	mu  sync.Mutex
	all map[*conn]struct{}
}

func (o *openConns) add(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = make(map[*conn]struct{})
	}
	o.all[c] = struct{}{}
}

func (o *openConns) remove(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, c)
}

// count is how many there are.
func (o *openConns) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all)
}

// cut closes every connection; what was being written is lost.
func (o *openConns) cut() {
	o.mu.Lock()
	all := slices.Collect(maps.Keys(o.all))
	o.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// underneath finds the conn of a request; nil when there is none, as in tests
// without a network.
func underneath(c net.Conn) (*conn, *secureConn) {
	switch c := c.(type) {
	case *conn:
		return c, nil
	case *secureConn:
		return c.under, c
	}
	return nil, nil
}
