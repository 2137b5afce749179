package conn

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	live     = request("GET", "/v1/decisions?ip=192.0.2.1")
	poll     = request("GET", "/v1/decisions/stream")
	longLine = "X-Long: " + strings.Repeat("x", 20<<10) // that no buffer of readBuffer holds
)

// TestIdleKeepsNoBuffer: a connection that waits for a request has nothing of what was
// read before, and one with a part of a small head no more than that takes.
func TestIdleKeepsNoBuffer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	long := request("GET", "/health", longLine)
	w := &watchedConn{parts: []string{live, live[:30], live[30:] + live, poll + live[:9], live[9:], long[:9], long[9:20_000], long[20_000:], live}}
	c := newConn(w, &h.core, netip.MustParseAddr("127.0.0.1"), false)
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
		h.must(h.library.http.ServeConn(unclosed{c}))
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
	h := newHouse(t, nil)
	h.must(h.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- h.Run(ctx, time.Hour, func() {}, func() {}) }()
	c, err := net.Dial("tcp", h.Addr().String())
	h.must(err)
	defer c.Close()
	_, err = io.WriteString(c, request("GET", "/health", longLine))
	h.must(err)
	got, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	h.eventually("it waits for more", func() bool {
		all := h.open.list()
		return len(all) == 1 && all[0].(*conn).resting.Load()
	})
	cancel()
	h.must(<-over)
}

// TestLazyDeadlines reads from a connection whose deadline was moved on without
// being set anew, and from one whose time is over.
func TestLazyDeadlines(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	near, far := net.Pipe()
	c := newConn(near, &h.core, netip.MustParseAddr("127.0.0.1"), false)
	h.must(c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)))
	h.must(c.SetReadDeadline(time.Now().Add(time.Minute)))
	time.AfterFunc(60*time.Millisecond, func() { far.Write([]byte("x")) })
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the deadline was not moved: %v", err)
	}
	h.must(c.SetReadDeadline(time.Now().Add(time.Millisecond)))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("there is no deadline")
	}
}
