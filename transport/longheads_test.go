package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"lapid/transport/conn"
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
		f.eventually("the memory is given back", func() bool { return one.server.front.MemoryInUse() == 0 })
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
		known := h.server.front.StrangerMemory()[1]
		h.eventually("it is paid for or refused", func() bool {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := r.Peek(1)
			return err == nil || known.InUse()+h.server.front.StrangerMemory()[0].InUse() >= int64(len(all)-refused)*64<<10
		})
		if r.Buffered() > 0 {
			refused++
			line, _ := r.ReadString('\n')
			if !strings.HasPrefix(line, "HTTP/1.1 503 ") {
				t.Errorf("refused with %s", line)
			}
		}
	}
	if used := h.server.front.MemoryInUse(); refused == 0 || used > 1<<20 {
		t.Errorf("%d of %d are refused, the others take %d bytes", refused, len(all), used)
	}
	if h.server.refusals.of[conn.NoStrangerMemory].count.Load() == 0 {
		t.Error("nothing is counted")
	}
	if got := h.asBouncer("GET", "/v1/decisions?ip=192.0.2.1"); got.status != 200 {
		t.Errorf("somebody else: %+v", got)
	}
	for _, c := range all {
		c.Close()
	}
	h.eventually("the memory is given back", func() bool { return h.server.front.MemoryInUse() == 0 })
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
		s := one.server
		c := one.dial()
		_, err := io.WriteString(c, request("POST", "/v1/alerts", longLine, token, "Content-Length: 20000")+strings.Repeat(" ", 10_000))
		f.must(err)
		f.eventually("the known pay", func() bool {
			return s.front.KnownMemory().InUse() > 40_000 && s.front.StrangerMemory()[0].InUse()+s.front.StrangerMemory()[1].InUse() == 0
		})
		c.Close()
		f.eventually("the memory is given back", func() bool { return s.front.MemoryInUse() == 0 })
	}
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
	for _, of := range []*Server{f.server, f.looped, f.secure} {
		o, secure := of.options, of != f.server
		o.DrainTimeout, o.Socket = time.Hour, ""
		s, err := New(&o)
		f.must(err)
		f.must(s.Listen())
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- s.Run(ctx) }()
		parts := []string{"GET /v1/dec", live[:len(live)-2], "POST /v1/watchers/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "POST /v1/watchers/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n"}
		send := func(part string) {
			at := f.secure
			f.secure = s
			dial := func() net.Conn { return f.connect("tcp", s.Addr().String()) }
			if secure {
				dial = f.oracle.dial
			}
			c := dial()
			f.secure = at
			t.Cleanup(func() { _ = c.Close() })
			_, err = io.WriteString(c, part)
			f.must(err)
		}
		for _, part := range parts {
			send(part)
		}
		f.eventually("they are there", func() bool { return connectionsOf(s.front) == len(parts) })
		// One that is refused while its body is on the way may be closed at any moment.
		send("POST /v1/alerts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n")
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
	for _, around := range []int{8 << 10, 16 << 10, 32 << 10, 40 << 10} {
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
