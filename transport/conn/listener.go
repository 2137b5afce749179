package conn

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lapid/transport/reactor"
)

// listener accepts connections and dresses them. It gives them to the
// loops of a reactor, with TLS once their handshake is done, and the HTTP library gets those
// that a loop hands over; without a reactor the HTTP library gets all of them.
type listener struct {
	net.Listener
	tls    *tls.Config // nil: plain
	socket bool
	core   *core
	worker func() reactor.Worker // answers on a loop

	loops atomic.Pointer[reactor.Reactor] // nil: every connection has a goroutine; set before the first Accept
	count atomic.Int64                    // connections that came in and are not closed, wherever they are

	shedding sync.Mutex // held by who makes room

	mu     sync.Mutex
	more   sync.Cond         // on mu: somebody was handed over, or it is over
	handed []*reactor.Handed // no more than there are connections
	closed error             // why nobody will come any more
}

func newListener(b *library, bound net.Listener, config *tls.Config) *listener {
	_, socket := bound.Addr().(*net.UnixAddr)
	l := &listener{Listener: bound, tls: config, socket: socket, core: b.core}
	l.worker = func() reactor.Worker { return newExpress(newRequest(b.core, b.newHandler()), l.socket) }
	l.more.L = &l.mu
	return l
}

// open starts the loops, where there can be any.
func (l *listener) open() error {
	o := l.core
	if o.loops == 0 || l.tls != nil && o.secureAlone {
		return nil
	}
	r, err := reactor.New(&reactor.Options{
		Loops: o.loops, Buffer: min(o.HeaderBytes, readBuffer), First: o.ReadTimeout, Idle: o.IdleTimeout, Doubt: l.core.Patience.Doubt,
		NewWorker: l.worker,
		Hand:      l.hand,
		Closed:    func() { l.count.Add(-1) },
	})
	if errors.Is(err, reactor.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	l.loops.Store(r)
	go l.admit(r)
	return nil
}

// admitAtOnce is how many connections are accepted before what has come on those that are
// there is answered.
const admitAtOnce = 8

// admit accepts connections for the loops until the listener is closed. When thousands come
// at once, as after a restart, each has a request with it, and what the kernel says has come
// is served in the order in which it came: a live query would wait for all that were accepted
// before it. So no more are accepted than are served; the others wait in the kernel.
func (l *listener) admit(loops *reactor.Reactor) {
	var worked time.Duration // for those at once, without the waits for them
	for n := 1; ; n++ {
		if n%admitAtOnce == 0 {
			loops.CatchUp(worked)
			worked = 0
		}
		c, err := l.accept()
		if err != nil {
			l.end(err)
			return
		}
		began := time.Now()
		l.admitOne(loops, c)
		worked += time.Since(began)
	}
}

// admitOne gives a connection to the loops.
func (l *listener) admitOne(loops *reactor.Reactor, c net.Conn) {
	if !l.enter(c) {
		return
	}
	if l.tls != nil {
		l.greet(c)
		return
	}
	if err := loops.Take(c); err != nil {
		l.count.Add(-1)
		l.core.log.Warn("a connection was lost", "error", err)
	}
}

// greet has a goroutine do the handshake of a new connection. It waits until one more
// connection may have a goroutine.
func (l *listener) greet(c net.Conn) {
	l.awaitRoom()
	nc := newConn(c, l.core, reactor.PeerOf(c.RemoteAddr()), l.socket)
	nc.came, nc.door, nc.fresh = &l.count, l, true
	secure := newSecureConn(newSession(l.core, l.tls), nc)
	l.core.open.add(nc)
	go secure.greet()
}

// limit is how many connections there may be. Where each has a goroutine, no more
// than may have one.
func (l *listener) limit() int {
	o := l.core
	if l.loops.Load() == nil {
		return min(o.MaxConnections, o.MaxServed)
	}
	return o.MaxConnections
}

// enter counts a connection. One too many is turned away, unless there is room to
// be made for it.
func (l *listener) enter(c net.Conn) bool {
	if l.count.Add(1) <= int64(l.limit()) || l.makeRoom() {
		return true
	}
	l.count.Add(-1)
	l.core.owner.Refused(NoConnection, reactor.PeerOf(c.RemoteAddr()))
	l.turnAway(c)
	return false
}

// accept waits for the next connection. What one connection suffers from, or
// what passes, such as a lack of file descriptors, is no end of the listener.
func (l *listener) accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		var errno syscall.Errno
		if err == nil || !errors.As(err, &errno) || !errno.Temporary() && errno != syscall.ENOMEM && errno != syscall.ENOBUFS {
			return c, err
		}
		if errno != syscall.ECONNABORTED {
			l.core.log.Warn("no connection can be accepted for now", "error", err)
			select {
			case <-time.After(acceptAgain):
			case <-l.core.life.Done():
			}
		}
	}
}

// acceptAgain is how long to wait for file descriptors or memory.
const acceptAgain = 100 * time.Millisecond

// full is the answer to one connection too many.
var full = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: " + RetryAfter + "\r\nConnection: close\r\n\r\n")

// turnAway answers one connection too many; a new connection takes that much
// without waiting. One that wants TLS would not understand it.
func (l *listener) turnAway(c net.Conn) {
	if l.tls == nil {
		_, _ = c.Write(full)
		l.core.owner.TurnedAway()
	}
	_ = c.Close()
}

// hand takes a connection from a loop, for whoever calls Accept.
func (l *listener) hand(h *reactor.Handed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		l.lose(h)
		return
	}
	l.handed = append(l.handed, h)
	l.more.Signal()
}

// lose closes a connection that nobody will serve.
func (l *listener) lose(h *reactor.Handed) {
	if d, ok := h.Mark.(*delivery); ok {
		d.lost()
	}
	if h.Ongoing != nil {
		h.Ongoing.Over(nil)
	}
	h.Drop()
	l.count.Add(-1)
}

// Accept gives the HTTP library its next connection.
func (l *listener) Accept() (net.Conn, error) {
	if l.loops.Load() == nil {
		return l.acceptAlone()
	}
	for {
		h, err := l.await()
		if err != nil {
			return nil, err
		}
		l.awaitRoom()
		owed, _ := h.Mark.(*delivery)
		owed.watch(nil)
		c, err := h.Conn()
		if err != nil {
			l.lose(h)
			l.core.log.Warn("a connection was lost", "error", err)
			continue
		}
		nc := newConn(c, l.core, h.Peer, l.socket)
		nc.came, nc.door, nc.unread, nc.unsent = &l.count, l, h.Unread, h.Unsent
		nc.proven.Store(h.Served)
		nc.owed.Store(owed)
		if h.Ongoing != nil {
			nc.ongoing.Store(&h.Ongoing)
		}
		owed.watch(&nc.proof)
		var out net.Conn = nc
		if s, ok := h.Cover.(*session); ok {
			out = newSecureConn(s, nc)
		}
		l.core.open.add(nc)
		return out, nil
	}
}

// acceptAlone is Accept where there are no loops.
func (l *listener) acceptAlone() (net.Conn, error) {
	for {
		c, err := l.accept()
		if err != nil {
			return nil, err
		}
		if !l.enter(c) {
			continue
		}
		nc := newConn(c, l.core, reactor.PeerOf(c.RemoteAddr()), l.socket)
		nc.came = &l.count
		var out net.Conn = nc
		if l.tls != nil {
			out = newSecureConn(newSession(l.core, l.tls), nc)
		}
		l.core.open.add(nc)
		return out, nil
	}
}

// awaitRoom waits until one more connection may have a goroutine. Those that wait
// here keep what they sent, and nothing else.
func (l *listener) awaitRoom() {
	for l.core.open.count() >= l.core.MaxServed && !l.core.makeServingRoom() {
		select {
		case <-time.After(servedAgain):
		case <-l.core.life.Done():
			return
		}
	}
}

// servedAgain is how soon to look again.
const servedAgain = 20 * time.Millisecond

func (l *listener) await() (*reactor.Handed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.handed) == 0 && l.closed == nil {
		l.more.Wait()
	}
	if l.closed != nil {
		return nil, l.closed
	}
	h := l.handed[0]
	l.handed[0] = nil
	if l.handed = l.handed[1:]; len(l.handed) == 0 {
		l.handed = nil
	}
	return h, nil
}

// forLoop reports whether what came on an idle connection is for a loop, as far
// as one can see.
func (l *listener) forLoop(in []byte) bool {
	var p plain
	return p.read(in) && p.size <= l.core.HeaderBytes
}

// takeBack gives a connection back to the loops.
func (l *listener) takeBack(c *conn) error {
	var mark reactor.Mark
	owed := c.owed.Swap(nil)
	if owed != nil {
		owed.watch(nil)
		owed.ahead += len(c.unread) // seen already, and to be seen again
		mark = owed
	}
	var under Ongoing
	if o := c.ongoing.Swap(nil); o != nil {
		under = *o
	}
	a := reactor.Arrival{Peer: c.peer, Unread: c.unread, Mark: mark, Ongoing: under, Served: c.proven.Load(), New: c.fresh}
	if s := c.session; s != nil {
		s.toLoop()
		if a.Cover = s; owed != nil && s.Held() > 0 {
			owed.ahead = neverByBytes
		}
	}
	err := l.loops.Load().Adopt(c.Conn, &a)
	if err != nil {
		owed.lost()
		if under != nil {
			under.Over(err)
		}
		l.count.Add(-1)
	}
	return err
}

// end lets nobody in any more.
func (l *listener) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed == nil {
		l.closed = why
	}
	for _, h := range l.handed {
		l.lose(h)
	}
	l.handed = nil
	l.more.Broadcast()
}

// Close lets nobody in any more and ends the loops: a request that one is at is
// answered, and connections without one are closed.
func (l *listener) Close() error {
	err := l.Listener.Close()
	if loops := l.loops.Load(); loops != nil {
		l.end(net.ErrClosed)
		loops.Close()
	}
	return err
}

// makeRoom closes connections at a door to make room for others, and reports
// whether there were any.
func (l *listener) makeRoom() bool {
	l.shedding.Lock()
	defer l.shedding.Unlock()
	limit := l.limit()
	many := int(l.count.Load()) - limit
	if many <= 0 {
		return true // somebody else has made room
	}
	many += limit / shedPart
	list := l.core.unproven(func(c *conn) bool { return c.came == &l.count })
	if loops := l.loops.Load(); loops != nil {
		for _, u := range loops.Unserved() {
			list = append(list, silent(loops, u))
		}
	}
	return l.core.shed(list, many, CutConnection) > 0 || l.dismiss(many)
}

// dismiss ends the waits of so many whose answers were put off, and closes their
// connections, as if their time were up: who would live with an answer in a minute gives way
// to who asks now. It reports whether there were any.
func (l *listener) dismiss(many int) bool {
	loops := l.loops.Load()
	if loops == nil {
		return false
	}
	closed := 0
	for _, w := range firstToGo(loops.Waiting()) {
		if closed == many {
			break
		}
		if loops.Dismiss(w) {
			closed++
			l.core.owner.Refused(CutHeld, w.Peer)
		}
	}
	return closed > 0
}

func silent(loops *reactor.Reactor, u reactor.Unserved) unproven {
	return unproven{peer: u.Peer, age: u.Age, cut: func() bool { return loops.Cut(u) }}
}
