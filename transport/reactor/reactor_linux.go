package reactor

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// The system calls of every request are raw ones: the usual kind tells the
// scheduler that it may block, which takes about as long as looking an address
// up, and these sockets do not block.

const (
	// perGroup is how many loops share an epoll instance, at most.
	perGroup = 8
	// atOnce is how many connections a loop takes on before it looks again, so
	// that few of them wait when its processor is taken away.
	atOnce = 8
	// ofCrowdAtOnce is how many of the crowd are served before others are: they take longer,
	// and who asks a small question waits for no more than these.
	ofCrowdAtOnce = 4
	// straight is after how many answers without a wait who has waited once leaves the crowd.
	straight = 4
	// helpsAtOnce is how often Help takes so many on: others that come are as urgent as
	// what its caller does.
	helpsAtOnce = 4
	// catchUpAtMost is how often CatchUp does.
	catchUpAtMost = 16
	// Who serves the crowd works for stretch, while somebody else asks, and then rests for twice as
	// long as it worked, where one loop has all, restAtMost at most. Somebody else asks if he was
	// served within asking.
	stretch    = 100 * time.Microsecond
	restAtMost = 2 * time.Millisecond
	asking     = 20 * time.Millisecond
	// turn is how long a loop goes on before it lets other goroutines have the
	// processor, while there is always something to do.
	turn = 200 * time.Microsecond
	// readsAtOnce is how often a loop reads from one connection before it looks
	// at others: one that sends without a pause has its turn like any other.
	readsAtOnce = 4
	// parting is how long a marked connection may stay after its end: time for the
	// peer to notice and to close it, over any network. At the end of everything it
	// is lastParting.
	parting     = 5 * time.Second
	lastParting = time.Second
)

// Reactor holds connections and has workers answer them. Its methods are safe
// for concurrent use.
type Reactor struct {
	options Options
	began   time.Time
	groups  []*group
	spares  sync.Pool     // of *spare, for callers that are no loop
	next    atomic.Uint32 // whose turn it is to get a connection
	count   atomic.Int64
	conns   table
	asked   atomic.Int64 // when a small question came last, since the reactor began, to the millisecond
	rests   sync.Mutex   // held by who rests for small questions

	stopping atomic.Bool
	stop     chan struct{}
	once     sync.Once
	running  sync.WaitGroup
}

// group is a number of connections and the loops that wait for them. What comes is taken by the
// first loop that looks, so that no connection waits for a loop that is kept from running.
//
// The kernel reports in the order in which something came. So connections that have asked
// small questions and were answered have an epoll instance and loops of their own, and the crowds, of
// which thousands may come at once, have others: those who were not answered yet, and those who
// wait for news, so that who is new does not wait for thousands of those who leave. The loops of the crowds
// rest between any two stretches of work while small questions
// come (GiveWay): where processors are few, the kernel keeps a thread that computes at work for
// milliseconds, and a question in the hands of another thread waits as long.
type group struct {
	reactor *Reactor
	polls   [stations]poll
}

// station is where a connection is reported.
type station = int32

const (
	asks     station = iota // was answered, and asks small questions
	fresh                   // was not answered yet
	waiting                 // waits for news, or did a moment ago
	stations                // how many there are
)

// poll is an epoll instance, which the runtime's poller watches. One loop at a time waits in the
// kernel, the others for their turn to do so.
type poll struct {
	file *os.File
	raw  syscall.RawConn
	lead chan struct{} // the loop that has the token waits in the kernel
}

// spare is what a loop, or a goroutine that is none, needs for answering.
type spare struct {
	worker Worker
	buf    []byte // to read into
	open   []byte // for what a Cover reads out of that
}

func (r *Reactor) newSpare() *spare {
	both := make([]byte, 2*r.options.Buffer)
	return &spare{r.options.NewWorker(), both[:r.options.Buffer:r.options.Buffer], both[r.options.Buffer:]}
}

// New starts the loops.
func New(o *Options) (*Reactor, error) {
	r := &Reactor{options: *o, began: time.Now(), stop: make(chan struct{})}
	r.spares.New = func() any { return r.newSpare() }
	r.asked.Store(-int64(asking))
	for loops := o.Loops; loops > 0; loops -= perGroup {
		g, err := newGroup(r)
		if err != nil {
			r.Close()
			return nil, err
		}
		r.groups = append(r.groups, g)
		for range min(loops, perGroup) {
			r.running.Go(g.loop)
			r.running.Go(func() { g.crowdLoop(&g.polls[fresh]) })
			r.running.Go(func() { g.crowdLoop(&g.polls[waiting]) })
		}
	}
	r.running.Go(r.sweep)
	return r, nil
}

func newGroup(r *Reactor) (*group, error) {
	g := &group{reactor: r}
	for i := range g.polls {
		if err := g.polls[i].open(); err != nil {
			return nil, errors.Join(err, g.close())
		}
	}
	return g, nil
}

// open makes the instance.
func (p *poll) open() error {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return errors.Join(os.NewSyscallError("fcntl", err), syscall.Close(fd))
	}
	p.file = os.NewFile(uintptr(fd), "epoll")
	p.lead = make(chan struct{}, 1)
	p.lead <- struct{}{}
	p.raw, err = p.file.SyscallConn()
	return err
}

// close closes what there is.
func (g *group) close() (err error) {
	for i := range g.polls {
		if p := &g.polls[i]; p.file != nil {
			err = errors.Join(err, p.file.Close())
		}
	}
	return err
}

// Take takes a new connection, as it was accepted; the caller must not use it
// any more, whatever the outcome.
func (r *Reactor) Take(c net.Conn) error {
	return r.Adopt(c, &Arrival{Peer: PeerOf(c.RemoteAddr()), New: true})
}

// Adopt takes a connection back that was handed over, together with its mark, if
// it has any, and with what was read from it and not answered yet: if that is for
// a Worker, it is answered before Adopt returns. The caller must not use the connection any more,
// whatever the outcome; after an error the mark and the Ongoing are the caller's.
//
// The socket is moved out of the runtime's poller, which would otherwise be
// woken by everything that comes.
func (r *Reactor) Adopt(nc net.Conn, a *Arrival) error {
	fd, err := detach(nc)
	if err != nil {
		return err
	}
	now, patience := time.Since(r.began), r.options.Idle
	if a.New {
		patience = r.options.First
	}
	c := &Conn{Peer: a.Peer, Mark: a.Mark, Ongoing: a.Ongoing, Cover: a.Cover}
	c.fd, c.began, c.deadline, c.group = fd, now, now+patience, r.groups[r.next.Add(1)%uint32(len(r.groups))]
	if !a.Served {
		c.station.Store(fresh)
	}
	c.served.Store(a.Served)
	c.state.Store(busy)
	r.count.Add(1)
	r.conns.put(fd, c)
	if r.stopping.Load() { // whether or not Close has seen it
		r.conns.put(fd, nil)
		r.count.Add(-1)
		_ = syscall.Close(fd)
		return net.ErrClosed
	}
	if c.Mark != nil {
		c.Mark.Held(c)
	}
	if !r.begin(c, a.Unread) {
		return nil
	}
	c.watched = true
	err = c.group.control(syscall.EPOLL_CTL_ADD, c) // while nobody else can have it closed
	if !c.state.CompareAndSwap(busy, idle) {
		c.state.Store(idle)
		_ = c.group.control(syscall.EPOLL_CTL_MOD, c) // what came is reported again
	}
	if (err != nil || r.stopping.Load()) && c.state.CompareAndSwap(idle, busy) {
		r.drop(c, false)
	}
	return nil
}

// begin answers what came with a connection that the caller has busy, and reports whether
// that stays with the loops.
func (r *Reactor) begin(c *Conn, unread []byte) bool {
	if len(unread) == 0 && c.Cover == nil {
		return true
	}
	h := r.spares.Get().(*spare)
	defer r.spares.Put(h)
	if len(unread) > 0 && !r.answer(h.worker, c, unread) {
		return false
	}
	return c.Cover == nil || r.open(h, c, nil, time.Since(r.began), false) && r.whole(h, c)
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

// control tells the kernel about a connection. It reports what comes, once for
// each time that something does.
func (g *group) control(what int, c *Conn) (err error) {
	const edge = 1 << 31 // EPOLLET, which package syscall has with a sign
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edge, Fd: int32(c.fd)}
	if e := g.polls[c.station.Load()].raw.Control(func(poll uintptr) {
		err = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(int(poll), what, c.fd, &event))
	}); e != nil {
		return e
	}
	return err
}

// place has a connection that the caller has busy reported elsewhere. What has come is reported again.
func (g *group) place(c *Conn, at station) {
	before := c.station.Load()
	if before == at {
		return
	}
	if c.watched {
		_ = g.control(syscall.EPOLL_CTL_DEL, c)
	}
	c.station.Store(at)
	if c.watched && g.control(syscall.EPOLL_CTL_ADD, c) != nil { // the kernel has no room; it had some where it was
		c.station.Store(before)
		_ = g.control(syscall.EPOLL_CTL_ADD, c)
	}
}

// loop takes on what has come of small questions, again and again.
func (g *group) loop() {
	h := g.reactor.newSpare()
	var events [atOnce]syscall.EpollEvent
	var began time.Duration // of its turn
	for !g.reactor.stopping.Load() {
		n := g.polls[asks].look(events[:])
		waits := n == 0
		if waits {
			n = g.wait(&g.polls[asks], events[:])
		}
		now := time.Since(g.reactor.began)
		if waits {
			began = now
		}
		g.serveAsks(h, events[:n], now)
		if now-began >= turn {
			runtime.Gosched()
			began = time.Since(g.reactor.began)
		}
	}
}

// crowdLoop does it for a crowd.
func (g *group) crowdLoop(p *poll) {
	h := g.reactor.newSpare()
	var events [ofCrowdAtOnce]syscall.EpollEvent
	var began time.Duration // of its stretch
	for !g.reactor.stopping.Load() {
		n := p.look(events[:])
		waits := n == 0
		if waits {
			n = g.wait(p, events[:])
		}
		now := time.Since(g.reactor.began)
		if waits {
			began = now
		}
		g.serve(h, events[:n], now)
		if worked := time.Since(g.reactor.began) - began; worked >= stretch {
			g.reactor.GiveWay(2 * worked)
			began = time.Since(g.reactor.began)
		}
	}
}

// GiveWay answers small questions that have come: who still waits for an answer has asked, however long ago. While some come it
// then rests for as long as its caller worked, one caller at a time, so that those who serve crowds together take no more than
// one of them would; while none come it leaves the processor to others for a moment. The more loops there are the less it rests, for so many others answer meanwhile.
func (r *Reactor) GiveWay(worked time.Duration) {
	r.help(1, false)
	if time.Since(r.began)-time.Duration(r.asked.Load()) > asking {
		runtime.Gosched()
		return
	}
	r.rests.Lock()
	time.Sleep(min(worked/time.Duration(r.options.Loops), restAtMost))
	r.rests.Unlock()
}

// Help answers what has come, if anything has, but not for ever, on the caller's goroutine, and
// leaves the crowd to the loops. It is for code that computes for long: while all processors
// compute, the kernel is not asked what has come for up to ten milliseconds, however often that
// code steps back.
func (r *Reactor) Help() { r.help(helpsAtOnce, false) }

// CatchUp is Help for who brings new work, and for the crowd as well: it goes on until nothing is
// left that has come, but not for ever either, so that new work is done beside old that never ends.
// Then it rests, as the loops of the crowd do, for that and for what bringing the work took.
func (r *Reactor) CatchUp(brought time.Duration) {
	began := time.Now()
	r.help(catchUpAtMost, true)
	r.GiveWay(2 * (brought + time.Since(began)))
}

// help takes on what has come, so many times for each group.
func (r *Reactor) help(times int, crowd bool) {
	var events [atOnce]syscall.EpollEvent
	for _, g := range r.groups {
		for range times {
			n, of := g.polls[asks].look(events[:]), 0
			if crowd {
				of = g.polls[fresh].look(events[n:min(n+ofCrowdAtOnce, atOnce)])
			}
			if n+of == 0 {
				break
			}
			h := r.spares.Get().(*spare)
			now := time.Since(r.began)
			g.serveAsks(h, events[:n], now)
			g.serve(h, events[n:n+of], now)
			r.spares.Put(h)
		}
	}
}

// serveAsks is serve for small questions, and notes that some came.
func (g *group) serveAsks(h *spare, events []syscall.EpollEvent, now time.Duration) {
	if r := g.reactor; len(events) > 0 && now-time.Duration(r.asked.Load()) > time.Millisecond {
		r.asked.Store(int64(now))
	}
	g.serve(h, events, now)
}

// serve serves what has come.
func (g *group) serve(h *spare, events []syscall.EpollEvent, now time.Duration) {
	for i := range events {
		if c := g.reactor.conns.get(int(events[i].Fd)); c != nil {
			over := events[i].Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0
			g.reactor.serve(h, c, now, over)
		}
	}
}

// wait waits until something has come, or it is time to end. One loop at a time
// waits for the kernel, the others for their turn to do so.
func (g *group) wait(p *poll, events []syscall.EpollEvent) (n int) {
	select {
	case <-p.lead:
	case <-g.reactor.stop:
		return 0
	}
	_ = p.raw.Read(func(poll uintptr) bool { // the error is that of the end
		n = look(poll, events)
		return n > 0
	})
	p.lead <- struct{}{}
	return n
}

// look asks the kernel what has come, without waiting.
func (p *poll) look(events []syscall.EpollEvent) (n int) {
	if len(events) > 0 {
		_ = p.raw.Control(func(poll uintptr) { n = look(poll, events) })
	}
	return n
}

// look asks the kernel what has come.
func look(poll uintptr, events []syscall.EpollEvent) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, poll, uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0 // interrupted; looked at again at the next occasion
	}
	return int(n)
}

// A connection is idle, or busy with one goroutine, which is then the only one
// that touches it. What comes meanwhile makes it busy again.
const (
	idle int32 = iota
	busy
	again
	ended // by its peer; it is not touched until Options.Doubt is over
)

// serve reads what has come on a connection and has the worker answer it. A
// short read means that there is no more; with over, the end is behind it.
func (r *Reactor) serve(h *spare, c *Conn, now time.Duration, over bool) {
	buf := h.buf
	for !c.state.CompareAndSwap(idle, busy) {
		if c.state.CompareAndSwap(busy, again) || c.state.Load() >= again {
			return
		}
	}
	for reads := 1; ; reads++ {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		more := over || int(n) == len(buf)
		switch {
		case errno == syscall.EAGAIN:
			more = false
		case errno == syscall.EINTR:
			more = true
		case errno != 0 || n == 0:
			r.end(c, errno != 0)
			return
		case c.Cover != nil && !r.open(h, c, buf[:n], now, over), c.Cover == nil && !r.came(h.worker, c, buf[:n]):
			return
		case c.Cover == nil:
			c.deadline = now + r.options.Idle
		}
		switch {
		case !more && !r.whole(h, c):
			return
		case more && reads < readsAtOnce:
		case more:
			c.state.Store(idle)
			_ = c.group.control(syscall.EPOLL_CTL_MOD, c) // it is reported again
			return
		case c.state.CompareAndSwap(busy, idle):
			return
		default:
			c.state.Store(busy) // something came meanwhile
		}
	}
}

// came has the worker answer what has come, and reports whether the connection stays with
// the loops. Behind an answer without an end nothing is answered.
func (r *Reactor) came(w Worker, c *Conn, in []byte) bool {
	if c.Ongoing == nil || c.parked == nil {
		return r.answer(w, c, c.unpark(in))
	}
	if c.noise += len(in); c.noise > ParkedAtMost {
		r.drop(c, false)
		return false
	}
	return true
}

// open is came for a connection with a Cover.
func (r *Reactor) open(h *spare, c *Conn, in []byte, now time.Duration, over bool) bool {
	for {
		n, err := c.Cover.Open(in, h.open)
		if n > 0 {
			if !r.came(h.worker, c, h.open[:n]) {
				return false
			}
			c.deadline = now + r.options.Idle
		}
		switch {
		case err != nil:
			r.leave(c, err, over)
			return false
		case n < len(h.open):
			return r.flush(c)
		}
		in = nil
	}
}

// leave is the end of what a Cover reads. A farewell of somebody who has to show yet what
// he has heard, and has not ended the connection, is for who can wait for that.
func (r *Reactor) leave(c *Conn, why error, over bool) {
	switch broken := !errors.Is(why, io.EOF); {
	case !broken && over:
		r.end(c, false)
	case !broken && c.Mark != nil && c.parked == nil && !c.parting.Load():
		r.hand(c, Rest{})
	default:
		_, _ = c.push() // it says why; nobody waits until that has left
		r.drop(c, broken)
	}
}

// flush sends what a Cover has to say by itself, and reports whether the connection stays
// with the loops.
func (r *Reactor) flush(c *Conn) bool {
	left, err := c.push()
	switch {
	case err != nil:
		r.drop(c, true)
		return false
	case left:
		return true
	case c.parked != nil: // it has said nothing for long, and takes nothing
		r.drop(c, false)
		return false
	}
	r.hand(c, Rest{})
	return false
}

// whole reports whether a connection stays with the loops, as one does of which no part of
// a record has come. A short part may wait with one that is parked.
func (r *Reactor) whole(h *spare, c *Conn) bool {
	if c.Cover == nil {
		return true
	}
	held := c.Cover.Held()
	switch {
	case held == 0 || c.parked != nil && held <= ParkedAtMost:
		return true
	case c.parked != nil && c.Ongoing != nil:
		r.drop(c, false)
		return false
	case c.parked != nil:
		in := c.unpark(nil)
		if c.Last = true; !r.answer(h.worker, c, in) {
			return false
		}
	}
	r.hand(c, Rest{})
	return false
}

// answer has the worker answer, and reports whether the connection stays with the
// loops.
func (r *Reactor) answer(w Worker, c *Conn, in []byte) bool {
	next, rest := w.Serve(c, in)
	if c.Last = false; next != Park {
		c.Since, c.Held = time.Time{}, false
	} else if c.Since.IsZero() {
		c.Since = time.Now()
	}
	switch next {
	case Keep:
		if c.waits > 0 {
			c.waits--
		} else {
			c.group.place(c, asks)
		}
	case Park:
		c.waits = straight
		c.group.place(c, waiting)
		c.parked = &parked{append([]byte(nil), rest.Unread...), rest.Guest}
		rest.Guest.Parked(c)
	case Close:
		r.drop(c, false)
		return false
	case Hand:
		r.hand(c, rest)
		return false
	}
	if !c.served.Load() {
		c.served.Store(true)
	}
	return true
}

// unpark is what waited on a connection that the caller has busy, and what came since.
func (c *Conn) unpark(came []byte) []byte {
	p := c.parked
	if p == nil {
		return came
	}
	c.parked = nil
	p.guest.Left(c, false)
	in := append(p.in, came...)
	c.Last = len(in) > ParkedAtMost
	return in
}

// Wake has a parked connection served again on the caller's goroutine; last: it is not
// to be parked once more. False: it is busy at the moment, or is not parked any more,
// which its guest was told. It may be called from any goroutine.
func (c *Conn) Wake(last bool) bool {
	r := c.group.reactor
	if !c.state.CompareAndSwap(idle, busy) {
		return false
	}
	if c.parked != nil && !r.wake(c, last) {
		return true
	}
	if !c.state.CompareAndSwap(busy, idle) {
		c.state.Store(idle)
		_ = c.group.control(syscall.EPOLL_CTL_MOD, c) // what came is reported again
	}
	return true
}

// wake serves what waits on a connection that the caller has busy, and reports whether
// it stays with the loops.
func (r *Reactor) wake(c *Conn, last bool) bool {
	in := c.unpark(nil)
	c.Last = c.Last || last
	h := r.spares.Get().(*spare)
	defer r.spares.Put(h)
	stays := r.answer(h.worker, c, in)
	if stays {
		c.deadline = time.Since(r.began) + r.options.Idle
	}
	return stays
}

// end is the end of a connection that the caller has busy. One with a mark stays a
// while: a peer that has ended its side alone, or has closed without having read
// everything, may still send a reset.
func (r *Reactor) end(c *Conn, broken bool) {
	if broken || c.Mark == nil || !c.Peer.IsValid() || c.parting.Load() {
		r.drop(c, broken)
		return
	}
	_ = c.group.control(syscall.EPOLL_CTL_DEL, c) // it would be reported for ever
	c.state.Store(ended)
	if r.stopping.Load() { // whether or not Close has seen it
		r.settle(c)
		return
	}
	time.AfterFunc(r.options.Doubt, func() { r.settle(c) })
}

// settle closes a connection that has ended, if that was not done yet.
func (r *Reactor) settle(c *Conn) {
	if c.state.CompareAndSwap(ended, busy) {
		r.drop(c, false)
	}
}

// drop closes a connection that the caller has busy; the kernel forgets to watch
// it by that.
func (r *Reactor) drop(c *Conn, broken bool) {
	if c.Mark != nil {
		c.Mark.Over(c, broken)
	}
	if c.parked != nil {
		c.parked.guest.Left(c, true)
		c.parked = nil
	}
	if c.Ongoing != nil {
		c.Ongoing.Over(nil)
	}
	r.conns.put(c.fd, nil)
	if !broken {
		c.farewell()
	}
	_ = syscall.Close(c.fd)
	r.count.Add(-1)
	r.options.Closed()
}

// hand lets a connection go that the caller has busy.
func (r *Reactor) hand(c *Conn, rest Rest) {
	r.conns.put(c.fd, nil)
	_ = c.group.control(syscall.EPOLL_CTL_DEL, c) // it may not be there yet
	r.count.Add(-1)
	rest.Unread = append([]byte(nil), rest.Unread...)
	if c.Cover != nil {
		c.Cover.Keep()
		if left := c.Cover.Sealed(); len(left) > 0 {
			rest.Unsent = append([]byte(nil), left...)
			c.Cover.Sent(len(left))
		}
	}
	r.options.Hand(&Handed{Peer: c.Peer, Served: c.served.Load(), Mark: c.Mark, Ongoing: c.Ongoing, Cover: c.Cover, Rest: rest, fd: c.fd})
}

// Count is how many connections the loops hold.
func (r *Reactor) Count() int { return int(r.count.Load()) }

// Unserved lists the connections on which nothing was answered yet, in no order. It
// walks over all there are.
func (r *Reactor) Unserved() []Unserved {
	var list []Unserved
	now := time.Since(r.began)
	r.conns.each(func(c *Conn) {
		if !c.served.Load() {
			list = append(list, Unserved{c.Peer, now - c.began, c})
		}
	})
	return list
}

// Cut closes a connection that Unserved listed, and reports whether it did: one
// that is being answered, or was meanwhile, stays.
func (r *Reactor) Cut(u Unserved) bool {
	c := u.conn
	if !c.state.CompareAndSwap(idle, busy) {
		return false
	}
	if c.served.Load() {
		if !c.state.CompareAndSwap(busy, idle) {
			c.state.Store(idle)
			_ = c.group.control(syscall.EPOLL_CTL_MOD, c)
		}
		return false
	}
	r.drop(c, false)
	return true
}

// Waiting lists the connections that are parked, in no order. It walks over all there are.
func (r *Reactor) Waiting() []Waiting {
	var list []Waiting
	r.conns.each(func(c *Conn) {
		if !c.state.CompareAndSwap(idle, busy) {
			return
		}
		if c.parked != nil {
			list = append(list, Waiting{c.Peer, c.parked.guest, c.Since, c})
		}
		c.release()
	})
	return list
}

// Dismiss has a connection that Waiting listed served for the last time, on the caller's
// goroutine, and closes it. False: it is not parked any more, or was parked anew.
func (r *Reactor) Dismiss(w Waiting) bool {
	c := w.conn
	if !c.state.CompareAndSwap(idle, busy) {
		return false
	}
	if c.parked == nil || c.parked.guest != w.Guest {
		c.release()
		return false
	}
	c.Leaving = true
	if r.wake(c, true) {
		r.drop(c, false)
	}
	return true
}

// release lets go of a connection that the caller has busy.
func (c *Conn) release() {
	if !c.state.CompareAndSwap(busy, idle) {
		c.state.Store(idle)
		_ = c.group.control(syscall.EPOLL_CTL_MOD, c) // what came is reported again
	}
}

// sweep closes connections that have been silent for too long.
func (r *Reactor) sweep() {
	every := min(max(min(r.options.First, r.options.Idle)/4, 10*time.Millisecond), 10*time.Second)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			now := time.Since(r.began)
			r.conns.each(func(c *Conn) {
				if !c.state.CompareAndSwap(idle, busy) {
					return // it is anything but silent
				}
				silent := now > c.deadline && c.parked == nil // who parks it bounds the time
				if silent && (c.Mark == nil || c.parting.Load()) {
					r.drop(c, false)
					return
				}
				if silent {
					c.part()
					c.deadline = now + parting
				}
				if !c.state.CompareAndSwap(busy, idle) {
					c.state.Store(idle)
					_ = c.group.control(syscall.EPOLL_CTL_MOD, c) // what came is reported again
				}
			})
		case <-r.stop:
			return
		}
	}
}

// Close ends the loops after the requests they are at, and closes what they
// hold.
func (r *Reactor) Close() {
	r.once.Do(func() {
		r.stopping.Store(true)
		close(r.stop)
		for _, g := range r.groups {
			for i := range g.polls {
				_ = g.polls[i].file.SetReadDeadline(time.Unix(1, 0)) // wakes the loops that wait
			}
		}
	})
	r.running.Wait()
	var marked []*Conn
	r.conns.each(func(c *Conn) {
		switch {
		case c.state.Load() == ended:
			r.settle(c)
		case !c.state.CompareAndSwap(idle, busy):
		case c.parked != nil && !r.wake(c, true):
		case c.Mark == nil:
			r.drop(c, false)
		default:
			c.part()
			marked = append(marked, c)
		}
	})
	r.await(marked)
	for _, g := range r.groups {
		_ = g.close()
	}
}

// await closes connections once their peers have, or time is over.
func (r *Reactor) await(marked []*Conn) {
	for end := time.Now().Add(lastParting); len(marked) > 0; time.Sleep(time.Millisecond) {
		late := time.Now().After(end)
		marked = slices.DeleteFunc(marked, func(c *Conn) bool {
			s := c.Look()
			over := late || s.Ended || s.Broken || s.Waiting > 0
			if over {
				r.drop(c, false)
			}
			return over
		})
	}
}

// part ends this side of a connection.
func (c *Conn) part() {
	c.farewell()
	c.parting.Store(true)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(c.fd), syscall.SHUT_WR, 0) // it may be over already
}

// farewell says it, where there is one, as far as the kernel takes it at once.
func (c *Conn) farewell() {
	if c.Cover == nil || c.parting.Load() {
		return
	}
	c.Cover.Farewell()
	c.last = len(c.Cover.Sealed())
	_, _ = c.push() // it is over either way
}

// Look asks the kernel about the connection. Only the Worker that has it, and
// a caller that knows that its Mark was not told Over yet, may call it.
func (c *Conn) Look() Sight {
	s := Look(c.fd)
	if s.Unacked > 0 && c.parting.Load() {
		s.Unacked = max(0, s.Unacked-c.last-1) // this side's end
	}
	return s
}

// BoundUnsent has the kernel take no more than so many bytes of a connection before it has
// sent them, and end it when the other end has not acknowledged anything, or had no room,
// for so long, in milliseconds at least; 0: as it does anyway. A Unix socket has bounds of
// its own.
func (c *Conn) BoundUnsent(bytes int, stall time.Duration) { BoundUnsent(c.fd, bytes, stall) }

// BoundUnsent is that for a socket.
func BoundUnsent(fd, bytes int, stall time.Duration) {
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpNotsentLowat, bytes)
	if stall > 0 {
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(max(stall.Milliseconds(), 1)))
	}
}

// Options of sockets that package syscall does not name.
const (
	tcpUserTimeout  = 18
	tcpNotsentLowat = 25
)

// Look asks the kernel about a socket. An end of this side that is not acknowledged
// counts as a byte. It costs two system calls or three, and more only where a signal, such
// as the runtime's own, comes between: a quiet socket is then asked about again.
func Look(fd int) (s Sight) {
	p := pollFd{fd: int32(fd), events: pollIn | syscall.EPOLLRDHUP}
	for errno := syscall.EINTR; errno == syscall.EINTR; {
		var now syscall.Timespec
		_, _, errno = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if errno != 0 && errno != syscall.EINTR {
			return Sight{Broken: true}
		}
	}
	s.Ended = p.seen&(syscall.EPOLLRDHUP|syscall.EPOLLHUP) != 0
	s.Broken = p.seen&syscall.EPOLLERR != 0
	if p.seen&pollIn != 0 {
		s.Waiting = count(fd, syscall.TIOCINQ)
	}
	s.Unacked = count(fd, syscall.TIOCOUTQ)
	return s
}

// pollFd is the kernel's struct pollfd; its events are those of epoll.
type pollFd struct {
	fd           int32
	events, seen uint16
}

const pollIn = syscall.EPOLLIN

// count asks how long a queue of a socket is.
func count(fd int, which uintptr) int {
	var n int32
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), which, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return math.MaxInt32
	}
	return int(n)
}

// Write sends as much as the kernel takes at once. The error is
// syscall.EAGAIN when it took nothing; less than everything is no error. With a Cover
// everything is taken, and ErrUnsent says that a part of it has not left.
func (c *Conn) Write(p []byte) (int, error) {
	if c.Cover == nil {
		return c.write(p)
	}
	if err := c.Cover.Seal(p); err != nil {
		return 0, err
	}
	left, err := c.push()
	switch {
	case err != nil:
		return 0, err
	case !left:
		return len(p), ErrUnsent
	}
	return len(p), nil
}

// push sends what is sealed, and reports whether all of it has left.
func (c *Conn) push() (left bool, err error) {
	sealed := c.Cover.Sealed()
	if len(sealed) == 0 {
		return true, nil
	}
	n, err := c.write(sealed)
	if c.Cover.Sent(n); errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	return n == len(sealed), err
}

func (c *Conn) write(p []byte) (int, error) {
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

// table finds connections by their sockets. Readers do not wait.
type table struct {
	mu     sync.Mutex // held while a chunk is made
	chunks [1 << 10]atomic.Pointer[chunk]
}

// chunk is a stretch of the table.
type chunk [1 << 12]atomic.Pointer[Conn]

// place finds where a socket is kept; nil when it never was there and is not to
// be, or has a number beyond four million, more than a process may have.
func (t *table) place(fd int, make bool) *atomic.Pointer[Conn] {
	at := fd / len(chunk{})
	if at >= len(t.chunks) {
		return nil
	}
	c := t.chunks[at].Load()
	if c == nil {
		if !make {
			return nil
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if c = t.chunks[at].Load(); c == nil {
			c = new(chunk)
			t.chunks[at].Store(c)
		}
	}
	return &c[fd%len(chunk{})]
}

func (t *table) get(fd int) *Conn {
	if p := t.place(fd, false); p != nil {
		return p.Load()
	}
	return nil
}

func (t *table) put(fd int, c *Conn) {
	if p := t.place(fd, c != nil); p != nil {
		p.Store(c)
	}
}

// each visits every connection that is there.
func (t *table) each(visit func(*Conn)) {
	for i := range t.chunks {
		c := t.chunks[i].Load()
		if c == nil {
			continue
		}
		for j := range c {
			if conn := c[j].Load(); conn != nil {
				visit(conn)
			}
		}
	}
}
