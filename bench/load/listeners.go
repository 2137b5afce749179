//go:build linux

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lineKept is how much of a line of events is looked at.
	lineKept = 64
	// unmoved is the longest body of an answer that says nothing new.
	unmoved = 32
	// glance is how long a listening thread sleeps at most.
	glance = 20 * time.Millisecond
	// opensAtOnce is how many connections are opened before what has come is looked at. The kernel
	// carries all their packets within those calls.
	opensAtOnce = 32
)

// Listeners are clients that are told what changes for as long as they stay: event
// streams, which are one answer without an end, and polls that are held, which ask again at
// once. One thread drives them all; it sleeps when nothing comes. A connection that ends is
// not made again. Its methods are safe for concurrent use, Close aside.
type Listeners struct {
	group  *group
	ask    Question
	list   []*listener
	byFD   []*listener
	buffer []byte
	stop   atomic.Bool
	ended  chan error

	mu     sync.Mutex
	heard  Heard
	behind []int       // how many have been told k times and no more
	all    []time.Time // when the last one was told for the k-th time
	news   chan struct{}
}

// Question appends the request of a listener, 0 to count-1, to dst. place is the ETag,
// without its quotes, or the id that it was told last, empty: it was told none.
type Question func(dst []byte, i int, place []byte) []byte

// Heard is what all of them were told until now.
type Heard struct {
	Begun    int    // who have had the head of an answer
	Told     uint64 // events, and answers that are not empty
	Comments uint64
	Bytes    uint64 // of bodies
	Lost     int    // connections that ended
	First    string // first thing that went wrong
	Retry    []time.Duration
}

// listener is one of them; its thread has it.
type listener struct {
	of     *Listeners
	number int
	fd     int
	answer answer
	out    []byte // of a request that is not sent yet
	place  []byte
	begun  bool
	told   int
	stream bool // the answer is one of events
	line   []byte
	data   bool // the event that has begun has some
}

// Listen opens count connections, without waiting for one before it opens the next, and has
// them ask. places are where they begin, and may be nil.
func Listen(t Target, count int, places [][]byte, ask Question) (*Listeners, error) {
	g, err := t.group(0)
	if err != nil {
		return nil, err
	}
	l := &Listeners{group: g, ask: ask, buffer: make([]byte, readSize), ended: make(chan error, 1), behind: []int{count}, news: make(chan struct{})}
	for i := range count {
		c := &listener{of: l, number: i, fd: -1}
		if c.answer.hears = c; places != nil {
			c.place = bytes.Clone(places[i])
		}
		l.list = append(l.list, c)
	}
	go func() { l.ended <- l.run() }()
	return l, nil
}

// Close ends all connections and gives the places of all. When it is called again it does
// nothing.
func (l *Listeners) Close() (places [][]byte, err error) {
	if l.stop.Load() {
		return nil, nil
	}
	l.stop.Store(true)
	err = <-l.ended
	for _, c := range l.list {
		places = append(places, c.place)
	}
	_ = unix.Close(l.group.epoll)
	return places, err
}

// Heard gives what was heard.
func (l *Listeners) Heard() Heard {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

// Await waits until everybody has been told something so many times, and gives the moment
// in which the last one was. A connection that ends before is an error.
func (l *Listeners) Await(ctx context.Context, times int) (at time.Time, err error) {
	return at, l.until(ctx, func(h *Heard) bool {
		if len(l.all) >= times {
			at = l.all[times-1]
		}
		return !at.IsZero()
	})
}

// AwaitBegun waits until everybody has the head of an answer.
func (l *Listeners) AwaitBegun(ctx context.Context) error {
	return l.until(ctx, func(h *Heard) bool { return h.Begun == len(l.list) })
}

func (l *Listeners) until(ctx context.Context, enough func(*Heard) bool) error {
	for {
		l.mu.Lock()
		done, heard, news := enough(&l.heard), l.heard, l.news
		l.mu.Unlock()
		switch {
		case done:
			return nil
		case heard.Lost > 0:
			return fmt.Errorf("%d of %d who listen were lost (%s)", heard.Lost, len(l.list), heard.First)
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d who listen have an answer, told %d times in all: %w", heard.Begun, len(l.list), heard.Told, ctx.Err())
		}
	}
}

func (l *Listeners) run() error {
	if err := l.group.settle(); err != nil {
		return err
	}
	defer func() {
		for _, c := range l.list { // by a thread that gives way, where others are to go first
			l.drop(c)
		}
	}()
	events := make([]unix.EpollEvent, events)
	opened := 0
	for !l.stop.Load() {
		for range min(opensAtOnce, len(l.list)-opened) { // who is first need not wait for who is last
			l.lose(l.list[opened], l.open(l.list[opened]))
			opened++
		}
		wait := glance
		if opened < len(l.list) {
			wait = 0
		}
		n, errno := epollFor(l.group.epoll, events, wait)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("epoll: %w", errno)
		}
		for i := range n {
			if c := l.byFD[events[i].Fd]; c != nil {
				l.lose(c, l.serve(c, events[i].Events))
			}
		}
		if n > 0 {
			l.tell()
		}
	}
	return nil
}

// tell has those look who wait for something.
func (l *Listeners) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.behind) > len(l.all)+1 && l.behind[len(l.all)] == 0 {
		l.all = append(l.all, time.Now())
	}
	close(l.news)
	l.news = make(chan struct{})
}

// open begins a connection, which is there when there is room to write.
func (l *Listeners) open(c *listener) (err error) {
	if c.fd, err = l.group.socket(unix.SOCK_NONBLOCK); err != nil {
		return err
	}
	for len(l.byFD) <= c.fd {
		l.byFD = append(l.byFD, nil)
	}
	l.byFD[c.fd] = c
	c.out = l.ask(c.out[:0], c.number, c.place)
	if err := unix.Connect(c.fd, l.group.address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	return unix.EpollCtl(l.group.epoll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: int32(c.fd)})
}

func (l *Listeners) serve(c *listener, what uint32) error {
	if len(c.out) > 0 && what&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if err := l.push(c); err != nil {
			return err
		}
	}
	if what&^unix.EPOLLOUT == 0 {
		return nil
	}
	n, errno := readRaw(c.fd, l.buffer)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return nil
	case errno != 0:
		return fmt.Errorf("read: %w", errno)
	case n == 0:
		return errors.New("closed by the server")
	}
	used, done, err := c.answer.feed(l.buffer[:n])
	switch {
	case err != nil:
		return err
	case c.answer.status != 0 && c.answer.status != 200:
		return fmt.Errorf("status %d", c.answer.status)
	case !done:
		return nil
	case used < n || c.stream:
		return errors.New("an answer ends that has none, or bytes come that nobody asked for")
	}
	return l.again(c)
}

// push sends what is left of a request, and listens for room no longer than there is some
// left.
func (l *Listeners) push(c *listener) error {
	n, errno := writeRaw(c.fd, c.out)
	if errno != 0 && errno != unix.EAGAIN {
		return fmt.Errorf("write: %w", errno)
	}
	if c.out = c.out[:copy(c.out, c.out[n:])]; len(c.out) > 0 {
		return nil
	}
	return unix.EpollCtl(l.group.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)})
}

// again has a poll ask again.
func (l *Listeners) again(c *listener) error {
	if l.mu.Lock(); c.answer.body > unmoved {
		c.count()
	}
	l.heard.Bytes += uint64(c.answer.body)
	l.mu.Unlock()
	c.answer.reset()
	c.out = l.ask(c.out[:0], c.number, c.place)
	n, errno := writeRaw(c.fd, c.out)
	if errno != 0 || n < len(c.out) {
		return fmt.Errorf("a request does not fit the socket: %d bytes of %d: %w", n, len(c.out), errno)
	}
	c.out = c.out[:0]
	return nil
}

// lose ends a connection that went wrong.
func (l *Listeners) lose(c *listener, why error) {
	if why == nil {
		return
	}
	l.drop(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard.Lost++; l.heard.First == "" {
		l.heard.First = why.Error()
	}
}

func (l *Listeners) drop(c *listener) {
	if c.fd >= 0 {
		l.byFD[c.fd] = nil
		_ = unix.Close(c.fd)
		c.fd = -1
	}
}

// field implements hearer.
func (c *listener) field(line []byte) {
	if !c.begun {
		c.begun = true
		c.of.mu.Lock()
		c.of.heard.Begun++
		c.of.mu.Unlock()
	}
	switch {
	case named(line, "etag:"):
		c.place = append(c.place[:0], bytes.Trim(line[len("etag:"):], " \"\r\n")...)
	case named(line, "content-type:"):
		c.stream = bytes.Contains(line, []byte("text/event-stream"))
	}
}

// text implements hearer.
func (c *listener) text(part []byte) {
	if !c.stream {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.heard.Bytes += uint64(len(part))
	for len(part) > 0 {
		end := bytes.IndexByte(part, '\n')
		piece := part[:max(end, 0)]
		if end < 0 {
			piece = part
		}
		c.line = append(c.line, piece[:min(len(piece), lineKept-len(c.line))]...)
		if end < 0 {
			return
		}
		c.hear(c.line)
		c.line, part = c.line[:0], part[end+1:]
	}
}

// hear takes a line of events, or its beginning. Called with the lock.
func (c *listener) hear(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(": "))
	switch string(name) {
	case "":
		if c.data {
			c.data = false
			c.count()
		}
	case ":":
		c.of.heard.Comments++
	case "id":
		c.place = append(c.place[:0], value...)
	case "data":
		c.data = true
	case "retry":
		c.of.heard.Retry = append(c.of.heard.Retry, time.Duration(number(value))*time.Millisecond)
	}
}

// count enters that one was told something. Called with the lock.
func (c *listener) count() {
	l := c.of
	l.behind[c.told]--
	if c.told++; c.told == len(l.behind) {
		l.behind = append(l.behind, 0)
	}
	l.behind[c.told]++
	l.heard.Told++
}
