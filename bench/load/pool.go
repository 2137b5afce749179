//go:build linux

package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Target is where to connect and how.
type Target struct {
	Address  string // host:port with an IP address, or the path of a Unix socket
	Protocol Protocol
	Threads  int   // OS threads that drive the connections; 0 is 1
	CPUs     []int // thread i runs on CPU i of these, around; none: wherever
	// Sleeps has threads sleep whenever there is nothing to do, instead of looking for news a
	// while: for pools that are driven beside others on the same CPU. To wake them costs the
	// server something, so only what slept is to be compared with what slept.
	Sleeps bool
	// Last has all other threads go first, at once, where the kernel knows how: for a crowd
	// that is driven on the same CPU as what is measured beside it, which would wait for the
	// crowd's own work otherwise and not for the server.
	Last bool
	TLS  *tls.Config // encrypted, TLS 1.3 with AES-GCM alone; nil: plain
}

// Pool is a number of open connections, shared out to threads.
type Pool struct {
	target Target
	groups []*group
}

// group is what one thread drives. Between runs nobody touches it.
type group struct {
	address     unix.Sockaddr // the kernel's form of it is made inside, so each group has its own
	cpu         int           // -1: wherever
	sleeps      bool
	last        bool
	tls         *tls.Config
	epoll       int
	connections []*connection
	byFD        []*connection
}

// connection has at most one request under way.
type connection struct {
	fd     int
	number int
	answer answer
	secure *session      // nil: plain
	plain  []byte        // request before it is encrypted
	out    []byte        // rest of a request that did not fit the socket
	asked  time.Duration // since the run's start: when the request was due
	sent   int           // requests in this run
	busy   bool
	unsent bool // waits for room in the socket
}

// Dial opens count connections. They are open when it returns.
func Dial(t Target, count int) (*Pool, error) {
	t.Threads = min(max(t.Threads, 1), count)
	p := &Pool{target: t}
	for i := range t.Threads {
		g, err := t.group(i)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.groups = append(p.groups, g)
	}
	for i := range count {
		g := p.groups[i%len(p.groups)]
		c := &connection{number: i, fd: -1, answer: answer{protocol: t.Protocol}}
		if err := g.connect(c); err != nil {
			p.Close()
			return nil, fmt.Errorf("connection %d of %d to %s: %w", i+1, count, t.Address, err)
		}
		g.connections = append(g.connections, c)
	}
	return p, nil
}

// group is what thread i drives, without connections yet.
func (t *Target) group(i int) (*group, error) {
	address, err := sockaddr(t.Address)
	if err != nil {
		return nil, err
	}
	g := &group{address: address, cpu: -1, sleeps: t.Sleeps, last: t.Last, tls: t.TLS}
	if len(t.CPUs) > 0 {
		g.cpu = t.CPUs[i%len(t.CPUs)]
	}
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return g, nil
}

// Close closes all connections.
func (p *Pool) Close() {
	for _, g := range p.groups {
		for _, c := range g.connections {
			g.drop(c)
		}
		_ = unix.Close(g.epoll)
	}
	p.groups = nil
}

func sockaddr(address string) (unix.Sockaddr, error) {
	if strings.Contains(address, "/") {
		return &unix.SockaddrUnix{Name: address}, nil
	}
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("address %s: %w", address, err)
	}
	if ip := a.IP.To4(); ip != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}, nil
	}
	return &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP)}, nil
}

// connect opens c, waiting for it, and has the group listen to it.
func (g *group) connect(c *connection) error {
	fd, err := g.socket(0)
	if err != nil {
		return err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Connect(fd, g.address)
	}
	if err == nil && g.tls != nil {
		c.secure, err = secure(fd, g.tls)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	c.fd = fd
	c.answer.reset()
	for len(g.byFD) <= fd {
		g.byFD = append(g.byFD, nil)
	}
	g.byFD[fd] = c
	return nil
}

// socket makes one of the address's family.
func (g *group) socket(flags int) (fd int, err error) {
	family := unix.AF_INET
	switch g.address.(type) {
	case *unix.SockaddrInet6:
		family = unix.AF_INET6
	case *unix.SockaddrUnix:
		family = unix.AF_UNIX
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0); err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if family != unix.AF_UNIX {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // refused: only slower
	}
	return fd, nil
}

// settle gives the calling goroutine's thread its place. The goroutine ends without
// unlocking, and the thread with it: its place on a CPU is not left to others.
func (g *group) settle() error {
	runtime.LockOSThread()
	if g.cpu >= 0 {
		if err := pin(0, []int{g.cpu}); err != nil {
			return err
		}
	}
	if g.sleeps && !g.last {
		// Who is woken beside others waits for the end of their turns, of up to four milliseconds, and so does what
		// it measures. So its own turns are shorter, since Linux 6.12, and it goes before others, where it may,
		// also before what the kernel does for the crowd's packets. Where both are refused it waits like others.
		short := unix.SchedAttr{Size: unix.SizeofSchedAttr, Runtime: 100_000, Nice: -15}
		if unix.SchedSetAttr(0, &short, 0) != nil {
			short.Nice = 0
			_ = unix.SchedSetAttr(0, &short, 0)
		}
	}
	if g.last {
		idle := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
		_ = unix.SchedSetAttr(0, &idle, 0) // of the thread; refused: it takes its share
	}
	return nil
}

// take gives c's answer what the socket brought, and says whether it is complete and how much more came.
func (c *connection) take(b []byte) (rest int, done bool, err error) {
	if c.secure != nil {
		return c.secure.feed(&c.answer, b)
	}
	used, done, err := c.answer.feed(b)
	return len(b) - used, done, err
}

// drop closes c; the kernel takes it out of epoll.
func (g *group) drop(c *connection) {
	if c.fd < 0 {
		return
	}
	g.byFD[c.fd] = nil
	_ = unix.Close(c.fd)
	c.fd = -1
	c.busy, c.unsent, c.out = false, false, c.out[:0]
}
