package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/reactor"
)

// doorway accepts connections and dresses them. A plain one gives them to the
// loops of a reactor, and the HTTP library gets those that a loop hands over;
// one with TLS, or on a system without a reactor, gives all of them to the HTTP
// library.
type doorway struct {
	net.Listener
	tls    *tls.Config // nil: plain
	socket bool
	server *Server

	loops atomic.Pointer[reactor.Reactor] // nil: every connection has a goroutine; set before the first Accept
	count atomic.Int64                    // connections that came in and are not closed, wherever they are

	shedding sync.Mutex // held by who makes room

	mu     sync.Mutex
	more   sync.Cond         // on mu: somebody was handed over, or it is over
	handed []*reactor.Handed // no more than there are connections
	closed error             // why nobody will come any more
}

func (s *Server) newDoorway(l net.Listener, config *tls.Config) *doorway {
	_, socket := l.Addr().(*net.UnixAddr)
	d := &doorway{Listener: l, tls: config, socket: socket, server: s}
	d.more.L = &d.mu
	return d
}

// open starts the loops, where there can be any. An access log is written by
// goroutines of requests alone: where it is read slowly, loops must not wait.
func (d *doorway) open() error {
	o := &d.server.options
	if d.tls != nil || !o.looped() {
		return nil
	}
	r, err := reactor.New(&reactor.Options{
		Loops: o.Loops, Buffer: min(o.HeaderBytes, readBuffer), First: o.ReadTimeout, Idle: o.IdleTimeout, Doubt: d.server.doubt,
		NewWorker: func() reactor.Worker { return newExpress(d.server, d.socket) },
		Hand:      d.hand,
		Closed:    func() { d.count.Add(-1) },
	})
	if errors.Is(err, reactor.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	d.loops.Store(r)
	go d.admit(r)
	return nil
}

// admit accepts connections for the loops until the listener is closed.
func (d *doorway) admit(loops *reactor.Reactor) {
	for {
		c, err := d.accept()
		if err != nil {
			d.end(err)
			return
		}
		if !d.enter(c) {
			continue
		}
		if err := loops.Take(c); err != nil {
			d.count.Add(-1)
			d.server.log.Warn("a connection was lost", "error", err)
		}
	}
}

// limit is how many connections there may be. Where each has a goroutine, no more
// than may have one.
func (d *doorway) limit() int {
	o := &d.server.options
	if d.loops.Load() == nil {
		return min(o.MaxConnections, o.MaxServed)
	}
	return o.MaxConnections
}

// enter counts a connection. One too many is turned away, unless there is room to
// be made for it.
func (d *doorway) enter(c net.Conn) bool {
	if d.count.Add(1) <= int64(d.limit()) || d.makeRoom() {
		return true
	}
	d.count.Add(-1)
	d.server.refused(noConnection, reactor.PeerOf(c.RemoteAddr()))
	d.turnAway(c)
	return false
}

// accept waits for the next connection. What one connection suffers from, or
// what passes, such as a lack of file descriptors, is no end of the listener.
func (d *doorway) accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		var errno syscall.Errno
		if err == nil || !errors.As(err, &errno) || !errno.Temporary() && errno != syscall.ENOMEM && errno != syscall.ENOBUFS {
			return c, err
		}
		if errno != syscall.ECONNABORTED {
			d.server.log.Warn("no connection can be accepted for now", "error", err)
			select {
			case <-time.After(acceptAgain):
			case <-d.server.life.Done():
			}
		}
	}
}

// acceptAgain is how long to wait for file descriptors or memory.
const acceptAgain = 100 * time.Millisecond

// full is the answer to one connection too many.
var full = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: " + retryAfter + "\r\nConnection: close\r\n\r\n")

// turnAway answers one connection too many; a new connection takes that much
// without waiting. One that wants TLS would not understand it.
func (d *doorway) turnAway(c net.Conn) {
	if d.tls == nil {
		_, _ = c.Write(full)
		d.server.counting.shares[0].answered(fasthttp.StatusServiceUnavailable)
	}
	_ = c.Close()
}

// hand takes a connection from a loop, for whoever calls Accept.
func (d *doorway) hand(h *reactor.Handed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != nil {
		d.lose(h)
		return
	}
	d.handed = append(d.handed, h)
	d.more.Signal()
}

// lose closes a connection that nobody will serve.
func (d *doorway) lose(h *reactor.Handed) {
	if d, ok := h.Mark.(*delivery); ok {
		d.lost()
	}
	h.Drop()
	d.count.Add(-1)
}

// Accept gives the HTTP library its next connection.
func (d *doorway) Accept() (net.Conn, error) {
	if d.loops.Load() == nil {
		return d.acceptAlone()
	}
	for {
		h, err := d.await()
		if err != nil {
			return nil, err
		}
		d.awaitRoom()
		owed, _ := h.Mark.(*delivery)
		owed.watch(nil)
		c, err := h.Conn()
		if err != nil {
			d.lose(h)
			d.server.log.Warn("a connection was lost", "error", err)
			continue
		}
		nc := &conn{Conn: c, server: d.server, came: d, since: time.Now(), peer: h.Peer, socket: d.socket, door: d, unread: h.Unread, unsent: h.Unsent}
		nc.in.conn, nc.in.from = nc, nc
		nc.proven.Store(h.Served)
		nc.owed.Store(owed)
		owed.watch(nc)
		d.server.open.add(nc)
		return nc, nil
	}
}

// acceptAlone is Accept where there are no loops.
func (d *doorway) acceptAlone() (net.Conn, error) {
	for {
		c, err := d.accept()
		if err != nil {
			return nil, err
		}
		if !d.enter(c) {
			continue
		}
		nc := newConn(c, d.server)
		nc.came, nc.secure = d, d.tls != nil
		d.server.open.add(nc)
		if d.tls == nil {
			return nc, nil
		}
		secure := &secureConn{Conn: tls.Server(nc, d.tls), under: nc}
		nc.in.from = secure
		return secure, nil
	}
}

// awaitRoom waits until one more connection may have a goroutine. Those that wait
// here keep what they sent, and nothing else.
func (d *doorway) awaitRoom() {
	for d.server.open.count() >= d.server.options.MaxServed && !d.server.makeServingRoom() {
		select {
		case <-time.After(servedAgain):
		case <-d.server.life.Done():
			return
		}
	}
}

// servedAgain is how soon to look again.
const servedAgain = 20 * time.Millisecond

func (d *doorway) await() (*reactor.Handed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.handed) == 0 && d.closed == nil {
		d.more.Wait()
	}
	if d.closed != nil {
		return nil, d.closed
	}
	h := d.handed[0]
	d.handed[0] = nil
	if d.handed = d.handed[1:]; len(d.handed) == 0 {
		d.handed = nil
	}
	return h, nil
}

// forLoop reports whether what came on an idle connection is for a loop, as far
// as one can see.
func (d *doorway) forLoop(in []byte) bool {
	var p plain
	return p.read(in) && p.size <= d.server.options.HeaderBytes
}

// takeBack gives a connection back to the loops.
func (d *doorway) takeBack(c *conn) error {
	var mark reactor.Mark
	owed := c.owed.Swap(nil)
	if owed != nil {
		owed.watch(nil)
		owed.ahead += len(c.unread) // seen already, and to be seen again
		mark = owed
	}
	err := d.loops.Load().Adopt(c.Conn, c.peer, c.unread, mark, c.proven.Load())
	if err != nil {
		owed.lost()
		d.count.Add(-1)
	}
	return err
}

// end lets nobody in any more.
func (d *doorway) end(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed == nil {
		d.closed = why
	}
	for _, h := range d.handed {
		d.lose(h)
	}
	d.handed = nil
	d.more.Broadcast()
}

// Close lets nobody in any more and ends the loops: a request that one is at is
// answered, and connections without one are closed.
func (d *doorway) Close() error {
	err := d.Listener.Close()
	if loops := d.loops.Load(); loops != nil {
		d.end(net.ErrClosed)
		loops.Close()
	}
	return err
}
