//go:build linux

package reactor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stage is a reactor behind a listener. Its workers answer each line with the
// same line in brackets; "wait" parks it until it is woken for the last time, "bye" ends a connection, "away" and what cannot be
// written hand it over, and a goroutine that takes it over does the same until "home".
type stage struct {
	t        *testing.T
	reactor  *Reactor
	listener net.Listener
	closed   atomic.Int64
	handed   atomic.Int64
	peer     atomic.Value
	all      sync.WaitGroup
	guests   guests
}

type worker struct{ stage *stage }

// guests are those of a stage's parked connections.
type guests struct {
	mu     sync.Mutex
	parked map[*Conn]bool
	left   int
	gone   int
}

func (g *guests) Parked(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.parked == nil {
		g.parked = map[*Conn]bool{}
	}
	g.parked[c] = true
}

func (g *guests) Left(c *Conn, gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.parked, c)
	if g.left++; gone {
		g.gone++
	}
}

// list is who is parked now.
func (g *guests) list() (all []*Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.parked {
		all = append(all, c)
	}
	return all
}

func newStage(t *testing.T, network, address string, change func(*Options)) *stage {
	s := &stage{t: t}
	o := &Options{
		Loops: 2, Buffer: 4 << 10, First: time.Minute, Idle: time.Minute,
		NewWorker: func() Worker { return &worker{s} },
		Hand:      func(h *Handed) { s.handed.Add(1); s.all.Go(func() { s.take(h) }) },
		Closed:    func() { s.closed.Add(1) },
	}
	if change != nil {
		change(o)
	}
	var err error
	if s.reactor, err = New(o); err != nil {
		t.Fatal(err)
	}
	if s.listener, err = net.Listen(network, address); err != nil {
		t.Fatal(err)
	}
	s.all.Go(func() {
		for {
			c, err := s.listener.Accept()
			if err != nil {
				return
			}
			if err := s.reactor.Take(c); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("taking a connection: %v", err)
			}
		}
	})
	t.Cleanup(func() {
		s.listener.Close()
		s.reactor.Close()
		s.all.Wait()
	})
	return s
}

func (w *worker) Serve(c *Conn, in []byte) (Next, Rest) {
	w.stage.peer.Store(c.Peer)
	var out []byte
	for {
		line, rest, whole := bytes.Cut(in, []byte("\n"))
		switch {
		case !whole:
			if next, left := w.send(c, out, in); next != Keep || len(in) == 0 {
				return next, left
			}
			return Hand, Rest{Unread: in}
		case string(line) == "bye":
			w.send(c, out, nil)
			return Close, Rest{}
		case string(line) == "wait" && !c.Last:
			if next, left := w.send(c, out, in); next != Keep {
				return next, left
			}
			return Park, Rest{Unread: in, Guest: &w.stage.guests}
		case string(line) == "away":
			if next, left := w.send(c, out, rest); next != Keep {
				return next, left
			}
			return Hand, Rest{Unread: rest}
		}
		out = fmt.Appendf(out, "(%s)\n", line)
		in = rest
	}
}

func (w *worker) send(c *Conn, out, in []byte) (Next, Rest) {
	if len(out) == 0 {
		return Keep, Rest{}
	}
	n, err := c.Write(out)
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		return Close, Rest{}
	}
	if n < len(out) {
		return Hand, Rest{Unread: in, Unsent: out[n:]}
	}
	return Keep, Rest{}
}

// take goes on with a connection that was handed over.
func (s *stage) take(h *Handed) {
	c, err := h.Conn()
	if err != nil {
		s.t.Errorf("taking over: %v", err)
		h.Drop()
		return
	}
	if _, err := c.Write(h.Unsent); err != nil {
		c.Close()
		return
	}
	in := bufio.NewReader(io.MultiReader(bytes.NewReader(h.Unread), c))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			c.Close()
			return
		}
		if line == "home\n" {
			unread, _ := in.Peek(in.Buffered())
			if err := s.reactor.Adopt(c, &Arrival{Peer: h.Peer, Unread: unread, Ongoing: h.Ongoing, Served: h.Served}); err != nil {
				s.t.Logf("giving back: %v", err) // the reactor may have ended
			}
			return
		}
		if _, err := fmt.Fprintf(c, "[%s]\n", strings.TrimSuffix(line, "\n")); err != nil {
			c.Close()
			return
		}
	}
}

func (s *stage) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial(s.listener.Addr().Network(), s.listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// talk sends and expects.
func talk(t *testing.T, c net.Conn, send, want string) {
	t.Helper()
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q was answered with %q, %v; want %q", send, got[:n], err, want)
	}
}

// gone expects the end of a connection.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("the connection is still there: %d bytes, %v", n, err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never happened that " + what)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, where := range [][2]string{{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"unix", filepath.Join(t.TempDir(), "s")}} {
		s := newStage(t, where[0], where[1], nil)
		c := s.dial()
		talk(t, c, "a\n", "(a)\n")
		talk(t, c, "b\nc\n", "(b)\n(c)\n")
		if want := PeerOf(c.LocalAddr()); s.peer.Load() != want {
			t.Errorf("%v: the peer is %v, want %v", where, s.peer.Load(), want)
		}
		talk(t, c, "d\nbye\nnever\n", "(d)\n")
		gone(t, c)
		eventually(t, "the end is told", func() bool { return s.closed.Load() == 1 && s.reactor.Count() == 0 })
	}
}

// TestCrowdBesideQuestions: who asks without a pause is answered while many come, and those who come, and who
// bring work, are served although he never stops.
func TestCrowdBesideQuestions(t *testing.T) {
	t.Parallel()
	s := newStage(t, "tcp", "127.0.0.1:0", func(o *Options) { o.Loops = 1 })
	regular := s.dial()
	for range straight + 1 {
		talk(t, regular, "a\n", "(a)\n")
	}
	over := make(chan struct{})
	var asks int
	var all sync.WaitGroup
	all.Go(func() {
		for b := make([]byte, 4); ; asks++ {
			select {
			case <-over:
				return
			default:
			}
			if _, err := io.WriteString(regular, "b\n"); err != nil {
				t.Error(err)
				return
			}
			if _, err := io.ReadFull(regular, b); err != nil || string(b) != "(b)\n" {
				t.Errorf("%q, %v", b, err)
				return
			}
		}
	})
	for range 8 {
		var crowd sync.WaitGroup
		for range 25 {
			c := s.dial()
			crowd.Go(func() {
				if _, err := io.WriteString(c, "c\n"); err != nil {
					t.Error(err)
				}
				if b := make([]byte, 4); readTo(c, b) != nil || string(b) != "(c)\n" {
					t.Errorf("one of the crowd was answered with %q", b)
				}
			})
		}
		s.reactor.CatchUp(time.Millisecond)
		crowd.Wait()
	}
	close(over)
	if all.Wait(); asks == 0 {
		t.Error("nobody else was answered meanwhile")
	}
}

// readTo fills b.
func readTo(c net.Conn, b []byte) error { _, err := io.ReadFull(c, b); return err }

// TestHalfClosed has a client end its side together with its last request.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	s := newStage(t, "tcp", "127.0.0.1:0", nil)
	for range 50 {
		c := s.dial()
		io.WriteString(c, "a\n")
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(c); err != nil || string(all) != "(a)\n" {
			t.Fatalf("%q, %v", all, err)
		}
	}
	eventually(t, "nobody is there", func() bool { return s.reactor.Count() == 0 })
}

// TestChangesHands has a connection go out and come back, with what was in
// flight.
func TestChangesHands(t *testing.T) {
	t.Parallel()
	s := newStage(t, "tcp", "127.0.0.1:0", nil)
	c := s.dial()
	for range 50 {
		talk(t, c, "a\naway\nb\n", "(a)\n[b]\n")
		talk(t, c, "c\n", "[c]\n")
		talk(t, c, "home\nd\n", "(d)\n")
		talk(t, c, "e\nf", "(e)\n") // half a line goes out
		talk(t, c, "g\nhome\n", "[fg]\n")
	}
	if n := s.handed.Load(); n != 100 {
		t.Errorf("handed over %d times", n)
	}
	c.Close()
	eventually(t, "nobody is there", func() bool { return s.reactor.Count() == 0 })
}

// TestSlowReader asks for more than the kernel keeps before it reads anything.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	s := newStage(t, "tcp", "127.0.0.1:0", nil)
	c := s.dial()
	const lines = 200_000
	go func() {
		w := bufio.NewWriter(c)
		for i := range lines {
			fmt.Fprintf(w, "%d %s\n", i, strings.Repeat("x", 50))
		}
		w.Flush()
	}()
	eventually(t, "the connection is handed over", func() bool { return s.handed.Load() > 0 })
	r := bufio.NewReader(c)
	for i := range lines {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Trim(strings.Fields(line)[0], "(["); n != fmt.Sprint(i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	s := newStage(t, "tcp", "127.0.0.1:0", func(o *Options) { o.First, o.Idle = 2*time.Second, time.Second })
	silent, spoke := s.dial(), s.dial()
	talk(t, spoke, "a\n", "(a)\n")
	gone(t, silent)
	gone(t, spoke)
	eventually(t, "both ends are told", func() bool { return s.closed.Load() == 2 })
}

func TestEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, "tcp", "127.0.0.1:0", nil)
	conns := make([]net.Conn, 20)
	for i := range conns {
		conns[i] = s.dial()
		talk(t, conns[i], "a\n", "(a)\n")
	}
	s.reactor.Close()
	for _, c := range conns {
		gone(t, c)
	}
	if s.closed.Load() != 20 || s.reactor.Count() != 0 {
		t.Errorf("%d ends were told, %d are left", s.closed.Load(), s.reactor.Count())
	}
	a, b := net.Pipe()
	defer b.Close()
	if err := s.reactor.Take(a); err == nil {
		t.Error("took what has no socket")
	}
	late := s.dial()
	if err := s.reactor.Adopt(late, &Arrival{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("took a connection after the end: %v", err)
	}
	s.reactor.Close() // again
}

// TestManyAtOnce has many clients ask at their own pace, some of which go away
// in the middle: no client is forgotten, and no file descriptor.
func TestManyAtOnce(t *testing.T) { // not parallel: it counts file descriptors
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	} else {
		l.Close() // the runtime has what it waits for sockets with from now on
	}
	before := open(t)
	defer func() {
		if now := open(t); t.Failed() {
			t.Logf("open before: %q, now: %q", before, now)
		}
	}()
	t.Run("talk", func(t *testing.T) {
		s := newStage(t, "tcp", "127.0.0.1:0", nil)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				chance := rand.New(rand.NewPCG(uint64(i), 1))
				c, err := net.Dial("tcp", s.listener.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				r := bufio.NewReader(c)
				for n := range 300 {
					var want string
					switch chance.IntN(3) {
					case 0:
						fmt.Fprintf(c, "%d\n", n)
						want = fmt.Sprintf("(%d)\n", n)
					case 1:
						fmt.Fprintf(c, "away\n%d\nhome\n", n)
						want = fmt.Sprintf("[%d]\n", n)
					case 2:
						fmt.Fprintf(c, "%d", n)
						time.Sleep(time.Duration(chance.IntN(200)) * time.Microsecond) // the pace of a client
						io.WriteString(c, "\nhome\n")
						want = "" // out or at home, as it happened to arrive
					}
					line, err := r.ReadString('\n')
					if err != nil || want != "" && line != want || strings.Trim(line, "()[]\n") != fmt.Sprint(n) {
						t.Errorf("client %d was answered %q, %v; want %q", i, line, err, want)
						return
					}
					if want == "" && line[0] == '(' {
						if line, err := r.ReadString('\n'); err != nil || line != "(home)\n" {
							t.Errorf("client %d was answered %q, %v", i, line, err)
							return
						}
					}
				}
			})
		}
		all.Wait()
		eventually(t, "all are gone", func() bool { return s.reactor.Count() == 0 })
	})
	eventually(t, "no file is left open", func() bool { return len(open(t)) <= len(before) })
}

// open lists what this process's file descriptors are.
func open(t *testing.T) (files []string) {
	t.Helper()
	const folder = "/proc/self/fd"
	all, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		file, _ := os.Readlink(filepath.Join(folder, one.Name())) // the folder itself is closed again
		files = append(files, file)
	}
	return files
}

// TestParked: what is parked is served when it is woken, also what came behind it
// meanwhile; its guest is told of every end, and the end of everything serves it.
func TestParked(t *testing.T) {
	t.Parallel()
	s := newStage(t, "tcp", "127.0.0.1:0", func(o *Options) { o.First, o.Idle = 2*time.Second, 2*time.Second })
	dial := func(text string) (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return c, bufio.NewReader(c)
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for late := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(late) {
				t.Fatalf("waited in vain until %s", what)
			}
		}
	}
	read := func(r *bufio.Reader, want string) {
		t.Helper()
		if line, err := r.ReadString('\n'); line != want+"\n" {
			t.Fatalf("%q, %v, not %s", line, err, want)
		}
	}
	one := func() *Conn {
		t.Helper()
		until("one is parked", func() bool { return len(s.guests.list()) == 1 })
		return s.guests.list()[0]
	}
	wake := func(c *Conn, last bool) { t.Helper(); until("it is woken", func() bool { return c.Wake(last) }) }

	c, r := dial("a\nwait\nb\n")
	read(r, "(a)")
	parked := one()
	since := parked.Since
	wake(parked, false)
	if again := one(); again != parked || again.Since != since {
		t.Error("it is another, or its time begins anew")
	}
	if _, err := io.WriteString(c, "c\n"); err != nil {
		t.Fatal(err)
	}
	until("what came is there", func() bool {
		s.guests.mu.Lock()
		defer s.guests.mu.Unlock()
		return s.guests.left == 2 && len(s.guests.parked) == 1
	})
	silent, _ := dial("d\n")
	if _, err := io.Copy(io.Discard, silent); err != nil { // until its silence ends it
		t.Fatal(err)
	}
	wake(parked, true)
	for _, want := range []string{"(wait)", "(b)", "(c)"} {
		read(r, want)
	}
	_, r2 := dial("wait\n")
	end, _ := dial("wait\n")
	until("two are parked", func() bool { return len(s.guests.list()) == 2 })
	end.Close()
	until("one has gone", func() bool { s.guests.mu.Lock(); defer s.guests.mu.Unlock(); return s.guests.gone == 1 })
	late := one()
	s.reactor.Close()
	read(r2, "(wait)")
	if late.Wake(true) {
		until("nothing is parked", func() bool { return len(s.guests.list()) == 0 })
	}
	long, rl := dial("wait\n")
	_ = long
	if _, err := rl.ReadByte(); err == nil {
		t.Error("answered after the end")
	}
}

// TestParkedTooLong: a connection that goes on sending is not kept waiting with all of it.
func TestParkedTooLong(t *testing.T) {
	t.Parallel()
	s := newStage(t, "tcp", "127.0.0.1:0", nil)
	c, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "wait\n"+strings.Repeat("x\n", ParkedAtMost)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); line != "(wait)\n" {
		t.Fatal(line, err)
	}
}

// TestLookAmongSignals asks about a quiet socket on a thread that gets one signal after the
// other, as those of a busy process get from the runtime: it is never taken for a broken one.
func TestLookAmongSignals(t *testing.T) {
	t.Parallel()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here := syscall.Gettid()
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for sent := 0; ; sent++ {
			select {
			case <-done:
				return
			default:
				_, _, _ = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(here), uintptr(syscall.SIGURG))
			}
		}
	}()
	for range 100_000 {
		if s := Look(pair[0]); s != (Sight{}) {
			t.Errorf("a quiet socket: %+v", s)
			break
		}
	}
	close(done)
	<-over
}
