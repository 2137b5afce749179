package transport

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/valyala/fasthttp"
)

// longLine is a header that no buffer of readBuffer holds.
var longLine = "X-Forwarded-Client-Cert: " + strings.Repeat("c", 40_000)

// TestLongHeadsAreGivenBack has connections send long heads and stay: each is
// answered on the same connection, again and again, and keeps nothing of it.
func TestLongHeadsAreGivenBack(t *testing.T) {
	t.Parallel()
	bothWays(t, testLongHeadsAreGivenBack)
}

func testLongHeadsAreGivenBack(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for _, one := range f.all {
		c := one.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		for i := range 6 {
			text := request("GET", "/v1/decisions?ip=192.0.2.1", longLine, keyLine)
			if i%2 == 1 {
				text = live
			}
			_, err := c.Write(one.say(text))
			f.must(err)
			if got := f.answerOf(r); got == nil || got.status != 200 || !strings.Contains(got.body, "192.0.2.1") {
				t.Fatalf("the %dth over %s: %+v", i, one.name, got)
			}
		}
		for _, s := range []*Server{f.server, f.secure} {
			f.eventually("the memory is given back", func() bool { return s.purses.inUse() == 0 })
		}
	}
}

// TestLongHeadsOfStrangers has strangers begin long heads and stop: what they take
// is bounded, those whom nobody knows do not take the place of others, and it is
// given back when their time is over.
func TestLongHeadsOfStrangers(t *testing.T) {
	t.Parallel()
	bothWays(t, testLongHeadsOfStrangers)
}

func testLongHeadsOfStrangers(t *wireTest) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.HeaderBytes, b.server.StrangerMemory = 1<<20, 1<<20 })
	var all []net.Conn
	refused := 0
	for range 40 {
		c, r := h.dial()
		all = append(all, c)
		_, err := io.WriteString(c, "GET /v1/decisions HTTP/1.1\r\nX-Long: "+strings.Repeat("c", 60_000))
		h.must(err)
		known := h.server.purses.strangers[1]
		h.eventually("it is paid for or refused", func() bool {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := r.Peek(1)
			return err == nil || known.InUse()+h.server.purses.strangers[0].InUse() >= int64(len(all)-refused)*64<<10
		})
		if r.Buffered() > 0 {
			refused++
			line, _ := r.ReadString('\n')
			if !strings.HasPrefix(line, "HTTP/1.1 503 ") {
				t.Errorf("refused with %s", line)
			}
		}
	}
	if used := h.server.purses.inUse(); refused == 0 || used > 1<<20 {
		t.Errorf("%d of %d are refused, the others take %d bytes", refused, len(all), used)
	}
	if h.server.refusals[noStrangerMemory].count.Load() == 0 {
		t.Error("nothing is counted")
	}
	if got := h.asBouncer("GET", "/v1/decisions?ip=192.0.2.1"); got.status != 200 {
		t.Errorf("somebody else: %+v", got)
	}
	for _, c := range all {
		c.Close()
	}
	h.eventually("the memory is given back", func() bool { return h.server.purses.inUse() == 0 })
}

// TestLongHeadOfTheKnown: who shows who he is with a long head does not hold the
// memory of strangers while he is answered.
func TestLongHeadOfTheKnown(t *testing.T) {
	t.Parallel()
	bothWays(t, testLongHeadOfTheKnown)
}

func testLongHeadOfTheKnown(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	token := "Authorization: Bearer " + f.token()
	for _, one := range f.all {
		s := f.server
		if one == f.oracle {
			s = f.secure
		}
		c := one.dial()
		_, err := io.WriteString(c, request("POST", "/v1/alerts", longLine, token, "Content-Length: 20000")+strings.Repeat(" ", 10_000))
		f.must(err)
		f.eventually("the known pay", func() bool {
			return s.purses.known.InUse() > 40_000 && s.purses.strangers[0].InUse()+s.purses.strangers[1].InUse() == 0
		})
		c.Close()
		f.eventually("the memory is given back", func() bool { return s.purses.inUse() == 0 })
	}
}

// watchedConn is a connection on which things come one by one, and which is looked at
// before each.
type watchedConn struct {
	memoryConn
	parts []string
	look  func()
}

func (c *watchedConn) Read(b []byte) (int, error) {
	c.look()
	if len(c.in) == 0 && len(c.parts) > 0 {
		c.in, c.parts = []byte(c.parts[0]), c.parts[1:]
	}
	return c.memoryConn.Read(b)
}

// TestIdleKeepsNoBuffer: a connection that waits for a request has nothing of what was
// read before, and one with a part of a small head no more than that takes.
func TestIdleKeepsNoBuffer(t *testing.T) {
	t.Parallel()
	bothWays(t, testIdleKeepsNoBuffer)
}

func testIdleKeepsNoBuffer(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	long := request("GET", "/health", longLine)
	w := &watchedConn{parts: []string{live, live[:30], live[30:] + live, poll + live[:9], live[9:], long[:9], long[9:20_000], long[20_000:], live}}
	c := newConn(w, h.server)
	whole := true // what came so far
	w.look = func() {
		came := strings.Join([]string{live, live, live, poll, live, long, live}, "")
		at := len(came) - len(strings.Join(w.parts, "")) - len(w.in)
		whole = strings.HasSuffix(came[:at], "\r\n\r\n")
		switch {
		case whole && (c.in.room != nil || c.in.long != nil || len(c.in.held) > 0):
			t.Errorf("behind %d bytes %d are held", at, len(c.in.held))
		case !whole && c.in.long != nil && len(c.in.held) < readBuffer:
			t.Errorf("behind %d bytes a long buffer has %d", at, len(c.in.held))
		}
	}
	for again := true; again; again = c.again.Swap(false) { // as the connection's closing would
		h.must(h.server.http.ServeConn(unclosed{c}))
	}
	if len(w.parts) > 0 || whole != true {
		t.Errorf("%d parts are not read", len(w.parts))
	}
}

// unclosed is a connection that the library cannot end.
type unclosed struct{ *conn }

func (unclosed) Close() error { return nil }

// TestStopAfterLongHeads: connections that sent long heads and say nothing more do not
// hold up the end of the server.
func TestStopAfterLongHeads(t *testing.T) {
	t.Parallel()
	bothWays(t, testStopAfterLongHeads)
}

func testStopAfterLongHeads(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	o := f.secure.options
	o.DrainTimeout = time.Hour
	s, err := New(&o)
	f.must(err)
	f.must(s.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- s.Run(ctx) }()
	at := f.secure
	f.secure = s
	c := f.oracle.dial()
	f.secure = at
	defer c.Close()
	_, err = io.WriteString(c, request("GET", "/health", longLine))
	f.must(err)
	if got := f.answerOf(bufio.NewReader(c)); got == nil || got.status != 200 {
		t.Fatalf("%+v", got)
	}
	f.eventually("it waits for more", func() bool {
		all := s.open.list()
		return len(all) == 1 && all[0].resting.Load()
	})
	cancel()
	f.must(<-over)
}

// TestStopBesideStrangers: strangers that have sent a part of a request, of its head or
// of its body, do not hold up the end of the server.
func TestStopBesideStrangers(t *testing.T) {
	t.Parallel()
	bothWays(t, testStopBesideStrangers)
}

func testStopBesideStrangers(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for _, secure := range []bool{false, true} {
		o := f.server.options
		if secure {
			o = f.secure.options
		}
		o.DrainTimeout, o.Socket = time.Hour, ""
		s, err := New(&o)
		f.must(err)
		f.must(s.Listen())
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- s.Run(ctx) }()
		parts := []string{"GET /v1/dec", live[:len(live)-2], "POST /v1/watchers/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "POST /v1/alerts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n"}
		for _, part := range parts {
			at := f.secure
			f.secure = s
			c := f.connect("tcp", s.Addr().String())
			if secure {
				c = f.oracle.dial()
			}
			f.secure = at
			defer c.Close()
			_, err = io.WriteString(c, part)
			f.must(err)
		}
		f.eventually("they are there", func() bool { return s.connections() == len(parts) })
		cancel()
		f.must(<-over)
	}
}

// TestHeadsOfAllLengths goes over the lengths at which a head changes hands: each is
// answered on all fronts, or refused when it is one byte too long.
func TestHeadsOfAllLengths(t *testing.T) {
	t.Parallel()
	bothWays(t, testHeadsOfAllLengths)
}

func testHeadsOfAllLengths(t *wireTest) {
	t.Parallel()
	f := newFronts(t, func(b *build) { b.server.HeaderBytes = 40 << 10 })
	base := len(request("GET", "/v1/decisions?ip=192.0.2.1", keyLine, "X: "))
	for _, around := range []int{readBuffer, 2 * readBuffer, 4 * readBuffer, 40 << 10} {
		for size := around - 3; size <= around+3; size++ {
			text := request("GET", "/v1/decisions?ip=192.0.2.1", keyLine, "X: "+strings.Repeat("x", size-base))
			want := "200 200"
			if size > 40<<10 {
				want = "431"
			}
			for _, cuts := range [][]int{nil, {size - 1}, {1, size}, {size - 2, size + 1}} {
				if got := statuses(f.alike(fmt.Sprintf("a head of %d bytes", size), text+live, cuts...)); got != want {
					t.Errorf("a head of %d bytes: %s, not %s", size, got, want)
				}
			}
			odd := strings.Replace(text, "/v1", "http://x/v1", 1)
			if got := statuses(f.alike("an absolute one", odd+live)); got != want && size+8 <= 40<<10 {
				t.Errorf("an absolute one of %d bytes: %s, not %s", size+8, got, want)
			}
		}
	}
}

// FuzzChunking: a body in chunks ends for us where it does for the HTTP library: what
// is whole for us leaves nothing for it to take for the next request, and what is not
// is not whole for it.
func FuzzChunking(f *testing.F) {
	for _, text := range []string{
		chunks("hello", ""), "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", "2 \r\n[]\r\n0\r\n\n", "2\n[]\r\n0\r\n\r\n", "000\r\n\r\n", "1\r\nab\r\n",
		"0\r\nX: y\n\r\n", "0;\r\n\r\nGET", strings.Repeat("0", 16) + "\r\n\r\n", "fffffffffffffff\r\n", "1\r\na\n0\r\n\r\n", "0\r\nX: y\r\n\n",
	} {
		f.Add([]byte(text))
	}
	head := request("POST", "/", "Transfer-Encoding: chunked")
	f.Fuzz(func(t *testing.T, body []byte) {
		var c chunking
		n, trailer := 0, false // the library takes an error there for its end
		for n < len(body) && c.at < chunksEnd {
			if k := c.walk(body[n : n+1]); k == 0 {
				break
			}
			n++
			trailer = trailer || c.at == trailerLine
		}
		given := append([]byte(nil), body[:n]...)
		if c.at == chunksEndCR {
			given = append(given, '\r', '\n')
		}
		var r fasthttp.Request
		in := bufio.NewReaderSize(io.MultiReader(strings.NewReader(head), bytes.NewReader(given), iotest.ErrReader(io.ErrNoProgress)), 64<<10)
		if err := r.Header.Read(in); err != nil {
			t.Fatal(err)
		}
		err := r.ContinueReadBodyStream(in, 1<<30, false)
		if err == nil {
			_, err = io.Copy(io.Discard, r.BodyStream())
		}
		whole := c.at == chunksEnd || c.at == chunksEndCR
		rest, _ := io.ReadAll(in)
		switch {
		case err == nil && !whole && !trailer:
			t.Fatalf("%q at %d: the library takes %q for whole", body, c.at, given)
		case err == nil && whole && len(rest) > 0:
			t.Fatalf("%q: the library leaves %q", body, rest)
		}
	})
}
