//go:build linux

package load

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readSize = 256 << 10 // bytes taken from a socket at once
	events   = 512       // sockets looked at after one wait
	// patience is how long a thread sleeps at most: then it looks whether it has
	// been stopped.
	patience = 5 * time.Millisecond
	// awake is how long a thread looks for news before it sleeps.
	awake = 100 * time.Microsecond
	// nearby: what is due so soon is waited for awake, or the kernel's timer would
	// count as latency.
	nearby = 2 * time.Millisecond
	// maxLost ends a run whose connections die again and again.
	maxLost = 1000
)

var errLost = errors.New("too many connections were lost")

// thread is one run of one group. It is owned by its goroutine until that ends;
// stop may be set by others.
type thread struct {
	*group
	plan   *Plan
	source Source
	good   int
	stop   atomic.Bool

	start       time.Time
	from, until time.Duration // since start: what is counted
	period      float64       // nanoseconds between requests of an open loop; 0: closed
	due         float64       // nanoseconds since start: next request of an open loop
	idle        []*connection // without a request; order of use: last in, first out
	under       int           // requests under way

	buffer []byte
	events []unix.EpollEvent

	latency  Histogram
	requests uint64 // answered within the counted time
	good200  uint64 // of these with the wanted status
	empty    uint64 // of these with a body of at most four bytes, as null
	body     uint64 // bytes
	bad      uint64 // answered otherwise
	lost     uint64 // connections that broke, with their request
	late     uint64 // unanswered when the run was over
	worst    string // first thing that went wrong
	last     time.Duration
	free     time.Duration // without anything to do
}

func (t *thread) run() error {
	if err := t.settle(); err != nil {
		return err
	}
	t.buffer = make([]byte, readSize)
	t.events = make([]unix.EpollEvent, events)
	for i := len(t.connections) - 1; i >= 0; i-- {
		c := t.connections[i]
		c.sent = 0
		t.idle = append(t.idle, c)
	}
	err := t.loop()
	t.late = uint64(t.under)
	if unsent := float64(min(t.until, time.Since(t.start))) - t.due; t.period > 0 && unsent > 0 {
		t.late += uint64(unsent / t.period)
	}
	for _, c := range t.connections {
		if c.busy { // its answer would be taken for that of the next run
			t.drop(c)
			if again := t.connect(c); err == nil {
				err = again
			}
		}
	}
	return err
}

func (t *thread) loop() error {
	for {
		now := time.Since(t.start)
		if now >= t.until+grace || t.stop.Load() {
			return nil
		}
		if err := t.send(now); err != nil {
			return err
		}
		if t.under == 0 && (now >= t.until || t.plan.Each > 0) {
			return nil
		}
		n, err := t.wait(now)
		if err != nil {
			return err
		}
		for i := range n {
			if err := t.serve(&t.events[i]); err != nil {
				return err
			}
		}
	}
}

// send starts what is due. In an open loop that includes, after the end, what was
// due before it and found no free connection.
func (t *thread) send(now time.Duration) error {
	for len(t.idle) > 0 {
		asked := now
		if t.period > 0 {
			asked = time.Duration(t.due)
		}
		if asked > now || asked >= t.until {
			return nil
		}
		t.due += t.period
		c := t.idle[len(t.idle)-1]
		t.idle = t.idle[:len(t.idle)-1]
		if t.plan.Each > 0 && c.sent >= t.plan.Each {
			continue
		}
		if err := t.ask(c, asked); err != nil {
			return err
		}
	}
	return nil
}

// ask sends c's next request.
func (t *thread) ask(c *connection, asked time.Duration) error {
	if c.secure != nil {
		c.plain = t.source.Next(c.plain[:0], c.number)
		c.out = c.secure.seal(c.out[:0], c.plain)
	} else {
		c.out = t.source.Next(c.out[:0], c.number)
	}
	c.asked, c.busy = asked, true
	c.sent++
	t.under++
	return t.push(c)
}

// push writes what is left of a request.
func (t *thread) push(c *connection) error {
	n, errno := writeRaw(c.fd, c.out)
	if errno != 0 && errno != unix.EAGAIN {
		return t.broken(c, fmt.Errorf("write: %w", errno))
	}
	if n < len(c.out) {
		c.out = c.out[:copy(c.out, c.out[n:])]
		return t.listen(c, true)
	}
	c.out = c.out[:0]
	return t.listen(c, false)
}

// listen has epoll report room in the socket, or no more.
func (t *thread) listen(c *connection, room bool) error {
	if c.unsent == room {
		return nil
	}
	c.unsent = room
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}
	if room {
		e.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(t.epoll, unix.EPOLL_CTL_MOD, c.fd, &e); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// wait gives the number of sockets that have news. It looks again and again for a
// while before it sleeps: to wake a sleeper costs the server more than the answer.
func (t *thread) wait(now time.Duration) (n int, err error) {
	limit, wake := now+awake, now+patience
	if t.period > 0 && len(t.idle) > 0 && now < t.until {
		wake = min(wake, time.Duration(t.due))
		limit = min(max(limit, wake), now+nearby)
	}
	if t.sleeps {
		n, errno := epollFor(t.epoll, t.events, wake-now)
		if errno != 0 && errno != unix.EINTR {
			return 0, fmt.Errorf("epoll: %w", errno)
		}
		t.rest(now, time.Since(t.start))
		return n, nil
	}
	for moment := now; ; moment = time.Since(t.start) {
		n, errno := epollNow(t.epoll, t.events)
		switch {
		case errno != 0 && errno != unix.EINTR:
			return 0, fmt.Errorf("epoll: %w", errno)
		case n > 0 || moment >= wake:
			t.rest(now, moment)
			return n, nil
		case moment >= limit:
			n, err := unix.EpollWait(t.epoll, t.events, int((wake-moment)/time.Millisecond))
			if errors.Is(err, unix.EINTR) {
				err = nil
			}
			t.rest(now, time.Since(t.start))
			return max(n, 0), err
		}
	}
}

// rest counts time in which there was nothing to do.
func (t *thread) rest(since, until time.Duration) {
	if since >= t.from && until < t.until {
		t.free += until - since
	}
}

// serve takes what one socket brought.
func (t *thread) serve(e *unix.EpollEvent) error {
	c := t.byFD[e.Fd]
	if c == nil { // closed since
		return nil
	}
	if c.unsent && e.Events&unix.EPOLLOUT != 0 {
		if err := t.push(c); err != nil || e.Events == unix.EPOLLOUT {
			return err
		}
	}
	n, errno := readRaw(c.fd, t.buffer)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return nil
	case errno != 0:
		return t.broken(c, fmt.Errorf("read: %w", errno))
	case n == 0:
		return t.broken(c, errors.New("closed by the server"))
	}
	rest, done, err := c.take(t.buffer[:n])
	switch {
	case err != nil:
		return t.broken(c, err)
	case !done:
		return nil
	case rest > 0 || !c.busy || c.unsent:
		return t.broken(c, errors.New("bytes that nobody asked for"))
	}
	return t.finish(c)
}

// finish counts an answer and, in a closed loop, asks again.
func (t *thread) finish(c *connection) error {
	now := time.Since(t.start)
	c.busy = false
	t.under--
	t.count(c, now)
	c.answer.reset()
	if t.period > 0 || now >= t.until {
		t.idle = append(t.idle, c)
		return nil
	}
	if t.plan.Each > 0 && c.sent >= t.plan.Each {
		return nil
	}
	return t.ask(c, now)
}

// count enters an answer. An open loop counts what was due within the time,
// a closed loop what was answered within it.
func (t *thread) count(c *connection, now time.Duration) {
	moment := now
	if t.period > 0 {
		moment = c.asked
	}
	if moment < t.from || moment >= t.until {
		return
	}
	t.last = now
	t.requests++
	t.body += uint64(c.answer.body)
	t.latency.Record(now - c.asked)
	if c.answer.status != t.good {
		t.bad++
		t.note(fmt.Sprintf("status %d", c.answer.status))
		return
	}
	t.good200++
	if c.answer.body <= 4 {
		t.empty++
	}
}

// broken counts a lost connection and its request, and connects again.
func (t *thread) broken(c *connection, why error) error {
	t.note(why.Error())
	t.lost++
	if t.lost > maxLost {
		return fmt.Errorf("%w: %s", errLost, t.worst)
	}
	if c.busy {
		t.under--
	}
	t.drop(c)
	if err := t.connect(c); err != nil {
		return fmt.Errorf("connecting again after %q: %w", why, err)
	}
	t.idle = append(t.idle, c)
	return nil
}

func (t *thread) note(what string) {
	if t.worst == "" {
		t.worst = what
	}
}

// The sockets never block, so these three need not tell the scheduler.

func readRaw(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return count(n, errno), errno
}

func writeRaw(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return count(n, errno), errno
}

func epollNow(fd int, list []unix.EpollEvent) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), 0, 0, 0)
	return count(n, errno), errno
}

// epollFor sleeps until there is news or time is up, to the nanosecond. It does block.
func epollFor(fd int, list []unix.EpollEvent, limit time.Duration) (int, unix.Errno) {
	t := unix.NsecToTimespec(max(int64(limit), 0))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), uintptr(unsafe.Pointer(&t)), 0, 0)
	return count(n, errno), errno
}

func count(n uintptr, errno unix.Errno) int {
	if errno != 0 {
		return 0
	}
	return int(n)
}
