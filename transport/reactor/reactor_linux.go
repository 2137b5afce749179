package reactor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// The system calls of every request are raw ones: the usual kind tells the
// scheduler that it may block, which takes about as long as looking an address
// up, and these sockets do not block.

// Reactor holds connections and has workers answer them. Its methods are safe
// for concurrent use.
type Reactor struct {
	options Options
	began   time.Time
	loops   []*loop
	next    atomic.Uint32 // whose turn it is to get a connection
	count   atomic.Int64
	running sync.WaitGroup
}

// New starts the loops.
func New(o *Options) (*Reactor, error) {
	r := &Reactor{options: *o, began: time.Now()}
	for range o.Loops {
		l, err := newLoop(r)
		if err != nil {
			r.Close()
			return nil, err
		}
		r.loops = append(r.loops, l)
		r.running.Go(l.run)
	}
	return r, nil
}

// Take takes a new connection, as it was accepted; the caller must not use it
// any more, whatever the outcome.
func (r *Reactor) Take(c net.Conn) error {
	return r.take(c, PeerOf(c.RemoteAddr()), nil, r.options.First)
}

// Adopt takes a connection back that was handed over, together with what was
// read from it and not answered yet, which it borrows only during the call. The
// caller must not use the connection any more, whatever the outcome.
func (r *Reactor) Adopt(c net.Conn, peer netip.Addr, unread []byte) error {
	return r.take(c, peer, append([]byte(nil), unread...), r.options.Idle)
}

// take moves the socket out of the runtime's poller, which would otherwise be
// woken by everything that comes.
func (r *Reactor) take(c net.Conn, peer netip.Addr, unread []byte, patience time.Duration) error {
	fd, err := detach(c)
	if err != nil {
		return err
	}
	n := newcomer{&Conn{Peer: peer, fd: fd, deadline: time.Since(r.began) + patience}, unread}
	r.count.Add(1)
	if !r.loops[r.next.Add(1)%uint32(len(r.loops))].invite(n) {
		r.count.Add(-1)
		_ = syscall.Close(fd)
		return net.ErrClosed
	}
	return nil
}

// detach gives the socket of a connection under a number of its own, and closes
// the connection.
func detach(c net.Conn) (fd int, err error) {
	defer c.Close()
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("a %T has no socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno syscall.Errno
	if err := raw.Control(func(n uintptr) {
		var got uintptr
		got, _, errno = syscall.Syscall(syscall.SYS_FCNTL, n, syscall.F_DUPFD_CLOEXEC, 0)
		fd = int(got)
	}); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, os.NewSyscallError("fcntl", errno)
	}
	return fd, nil
}

// Count is how many connections the loops hold.
func (r *Reactor) Count() int { return int(r.count.Load()) }

// Close ends the loops after the requests they are at, and closes what they
// hold.
func (r *Reactor) Close() {
	for _, l := range r.loops {
		l.stop()
	}
	r.running.Wait()
}

// loop is one goroutine and its connections.
type loop struct {
	reactor *Reactor
	worker  Worker
	poll    *os.File        // the epoll instance; the runtime's poller watches it
	ready   syscall.RawConn // of poll
	bell    int             // an eventfd that wakes the loop for its inbox
	events  []syscall.EpollEvent
	buf     []byte
	conns   map[int32]*Conn
	swept   time.Time

	mu      sync.Mutex
	inbox   []newcomer // bounded by how many connections there may be
	stopped bool
}

// newcomer is a connection on its way in.
type newcomer struct {
	conn   *Conn
	unread []byte
}

// atOnce is how many connections a loop looks at before it steps back.
const atOnce = 64

func newLoop(r *Reactor) (*loop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // or the runtime would not watch it
		return nil, errors.Join(os.NewSyscallError("fcntl", err), syscall.Close(fd))
	}
	l := &loop{
		reactor: r, worker: r.options.NewWorker(), poll: os.NewFile(uintptr(fd), "epoll"),
		events: make([]syscall.EpollEvent, atOnce), buf: make([]byte, r.options.Buffer),
		conns: map[int32]*Conn{}, swept: time.Now(),
	}
	if l.ready, err = l.poll.SyscallConn(); err != nil {
		return nil, errors.Join(err, l.poll.Close())
	}
	bell, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return nil, errors.Join(os.NewSyscallError("eventfd2", errno), l.poll.Close())
	}
	l.bell = int(bell)
	if err := l.watch(l.bell); err != nil {
		return nil, errors.Join(err, syscall.Close(l.bell), l.poll.Close())
	}
	return l, nil
}

// watch has the kernel say when a file has something to read.
func (l *loop) watch(fd int) (err error) {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(fd)}
	if e := l.ready.Control(func(poll uintptr) {
		err = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(int(poll), syscall.EPOLL_CTL_ADD, fd, &event))
	}); e != nil {
		return e
	}
	return err
}

// run is the loop.
func (l *loop) run() {
	defer l.end()
	l.sweep(time.Now())
	for {
		n, now := l.wait()
		for i := range l.events[:n] {
			if fd := l.events[i].Fd; int(fd) == l.bell {
				l.silence()
			} else if c := l.conns[fd]; c != nil {
				l.serve(c, now)
			}
		}
		if l.welcome(now) {
			return
		}
		if now.Sub(l.swept) >= l.sweepEvery() {
			l.sweep(now)
		}
		runtime.Gosched()
	}
}

// wait parks until something has happened, or it is time to sweep.
func (l *loop) wait() (n int, now time.Time) {
	look := func(poll uintptr) bool {
		got, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, poll, uintptr(unsafe.Pointer(unsafe.SliceData(l.events))), uintptr(len(l.events)), 0, 0, 0)
		if n = int(got); errno != 0 {
			n = 0 // interrupted; looked at again at the next occasion
		}
		return n > 0
	}
	if err := l.ready.Read(look); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		n = 0
	}
	return n, time.Now()
}

// serve reads once and has the worker answer.
func (l *loop) serve(c *Conn, now time.Time) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(l.buf))), uintptr(len(l.buf)))
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
	case errno != 0 || n == 0:
		l.drop(c)
	default:
		l.answer(c, l.buf[:n], now)
	}
}

func (l *loop) answer(c *Conn, in []byte, now time.Time) {
	switch next, rest := l.worker.Serve(c, in); next {
	case Keep:
		c.deadline = now.Sub(l.reactor.began) + l.reactor.options.Idle
	case Close:
		l.drop(c)
	case Hand:
		l.hand(c, rest)
	}
}

// drop closes a connection; the kernel forgets to watch it by that.
func (l *loop) drop(c *Conn) {
	delete(l.conns, int32(c.fd))
	_ = syscall.Close(c.fd)
	l.reactor.count.Add(-1)
	l.reactor.options.Closed()
}

// hand lets a connection go.
func (l *loop) hand(c *Conn, rest Rest) {
	delete(l.conns, int32(c.fd))
	_ = l.ready.Control(func(poll uintptr) {
		_ = syscall.EpollCtl(int(poll), syscall.EPOLL_CTL_DEL, c.fd, nil)
	})
	l.reactor.count.Add(-1)
	rest.Unread = append([]byte(nil), rest.Unread...)
	l.reactor.options.Hand(&Handed{Peer: c.Peer, Rest: rest, fd: c.fd})
}

// invite puts a connection into the loop's inbox; false when the loop has
// ended.
func (l *loop) invite(n newcomer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	if l.inbox = append(l.inbox, n); len(l.inbox) == 1 {
		l.ring()
	}
	return true
}

// ring wakes the loop.
func (l *loop) ring() { _, _ = syscall.Write(l.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// silence makes the next ring heard.
func (l *loop) silence() {
	var count [8]byte
	_, _ = syscall.Read(l.bell, count[:])
}

// welcome takes in who is in the inbox. It reports whether it is time to end.
func (l *loop) welcome(now time.Time) (ends bool) {
	l.mu.Lock()
	all := l.inbox
	l.inbox = nil
	ends = l.stopped
	l.mu.Unlock()
	for _, n := range all {
		l.conns[int32(n.conn.fd)] = n.conn
		if err := l.watch(n.conn.fd); err != nil {
			l.drop(n.conn)
			continue
		}
		if len(n.unread) > 0 && !ends {
			l.answer(n.conn, n.unread, now)
		}
	}
	return ends
}

// sweepEvery is how often silent connections are looked for.
func (l *loop) sweepEvery() time.Duration {
	o := &l.reactor.options
	return min(max(min(o.First, o.Idle)/4, 10*time.Millisecond), 10*time.Second)
}

// sweep closes who has been silent for too long, and sees to it that the loop
// wakes for the next time.
func (l *loop) sweep(now time.Time) {
	l.swept = now
	for _, c := range l.conns {
		if now.Sub(l.reactor.began) > c.deadline {
			l.drop(c)
		}
	}
	_ = l.poll.SetReadDeadline(now.Add(l.sweepEvery()))
}

// stop has the loop end soon.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		l.stopped = true
		l.ring()
	}
}

// end closes what the loop held.
func (l *loop) end() {
	for _, c := range l.conns {
		l.drop(c)
	}
	_ = l.poll.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = syscall.Close(l.bell)
}

// Write sends as much as the kernel takes at once. The error is
// syscall.EAGAIN when it took nothing; less than everything is no error.
func (c *Conn) Write(p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// Conn makes the connection one that goroutines wait for. It is to be called
// once.
func (h *Handed) Conn() (net.Conn, error) {
	file := os.NewFile(uintptr(h.fd), "")
	defer file.Close() // a net.Conn has a number of its own
	return net.FileConn(file)
}

// Drop closes the connection instead.
func (h *Handed) Drop() { _ = syscall.Close(h.fd) }
