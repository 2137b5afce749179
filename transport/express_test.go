package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// onLoops is how many connections the loops of the TCP listener hold.
func (h *house) onLoops() int {
	loops := h.server.tcp.loops.Load()
	if loops == nil {
		h.t.Fatal("there is no reactor here")
	}
	return loops.Count()
}

// line is a connection that is spoken to in raw requests.
type line struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (h *house) line(t *testing.T) *line {
	c, err := net.Dial("tcp", h.server.Addr().String())
	h.must(err)
	t.Cleanup(func() { c.Close() })
	return &line{c, t, bufio.NewReader(c)}
}

func (l *line) send(method, target, more, body string) {
	l.t.Helper()
	if _, err := fmt.Fprintf(l, "%s %s HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\n%s\r\n%s", method, target, testKey, more, body); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) expect(status int, body string) {
	l.t.Helper()
	w, err := http.ReadResponse(l.r, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer w.Body.Close()
	got, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode != status || !strings.Contains(string(got), body) {
		l.t.Fatalf("%d %s, %v; want %d with %q", w.StatusCode, got, err, status, body)
	}
}

// TestLoopsAndBack follows one connection: hot requests stay on a loop, others
// leave it, and the connection comes back by itself when it is idle, or at once
// when it asks something hot again.
func TestLoopsAndBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	l := h.line(t)
	live := func() { l.send("GET", "/v1/decisions?ip=192.0.2.1", "", ""); l.expect(200, "192.0.2.1") }
	live() // the first makes the bouncer's row
	live()
	h.eventually("it is on a loop", func() bool { return h.onLoops() == 1 })
	l.send("POST", "/v1/usage-metrics", "Content-Length: 2\r\n", "{}")
	l.expect(400, "Missing")
	if h.onLoops() != 0 {
		t.Error("a loop answers what is not for it")
	}
	live()
	h.eventually("it is back on a loop", func() bool { return h.onLoops() == 1 })
	l.send("GET", "/v1/decisions/stream?startup=true", "", "")
	l.expect(200, "192.0.2.1")
	h.eventually("it came back because it was idle", func() bool { return h.onLoops() == 1 })
	h.ban("192.0.2.2")
	l.send("GET", "/v1/decisions/stream", "", "")
	l.expect(200, "192.0.2.2")
	l.send("GET", "/v1/decisions/stream", "", "")
	l.expect(200, `{"new": [], "deleted": []}`)
	if h.onLoops() != 1 {
		t.Error("a poll is answered elsewhere")
	}
}

// TestFloodedLoop sends requests and does not read the answers: the loop does
// not wait for that, and no answer is lost.
func TestFloodedLoop(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	l, other := h.line(t), h.line(t)
	const requests = 50_000
	go func() {
		w := bufio.NewWriter(l)
		for i := range requests {
			fmt.Fprintf(w, "GET /v1/decisions?ip=192.0.2.%d HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\n\r\n", i&1, testKey)
		}
		w.Flush()
	}()
	for range 200 { // whatever loop this is on
		other.send("GET", "/v1/decisions?ip=192.0.2.1", "", "")
		other.expect(200, "192.0.2.1")
	}
	for i := range requests {
		l.expect(200, []string{"null", "192.0.2.1"}[i&1])
	}
}

// TestTooManyConnections are told so, and one that leaves makes room.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.MaxConnections = 2 })
	a, b := h.line(t), h.line(t)
	for _, l := range []*line{a, b} {
		l.send("GET", "/health", "", "")
		l.expect(200, "")
	}
	c := h.line(t)
	c.expect(503, "")
	a.Close()
	h.eventually("there is room", func() bool { return h.server.tcp.count.Load() == 1 })
	d := h.line(t)
	d.send("GET", "/v1/decisions?ip=192.0.2.1", "", "")
	d.expect(200, "null")
}
