package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"lapid/transport/conn"

	"lapid/transport/feed"
)

// onLoops is how many connections the loops of the TCP listener hold.
func (h *house) onLoops() int {
	return h.server.front.Counts().Looped
}

// line is a connection that is spoken to in raw requests.
type line struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (h *house) line(t testing.TB) *line {
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

// TestTooManyConnections are told so while everybody has shown who he is, and one
// that leaves makes room.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.MaxConnections = 2 })
	a, b := h.line(t), h.line(t)
	for _, l := range []*line{a, b} {
		l.send("GET", "/v1/decisions?ip=192.0.2.1", "", "")
		l.expect(200, "null")
	}
	c := h.line(t)
	c.expect(503, "")
	a.Close()
	h.eventually("there is room", func() bool { return h.server.front.Counts().Inside == 1 })
	d := h.line(t)
	d.send("GET", "/v1/decisions?ip=192.0.2.1", "", "")
	d.expect(200, "null")
}

// onLoop gives a function that answers one raw request as a loop would, without
// sending the answer.
func (h *house) onLoop(request string) func() ([]byte, bool) {
	return h.server.front.Rehearse(request, netip.MustParseAddr("127.0.0.1"))
}

func plainGet(target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: x\r\nUser-Agent: tester/1.0\r\nX-Api-Key: " + testKey + "\r\n\r\n"
}

// TestNothingIsAllocatedOnLoops holds for loops what TestNothingIsAllocated does
// for goroutines.
func TestNothingIsAllocatedOnLoops(t *testing.T) {
	h := newHouse(t, nil)
	h.ban("192.0.2.1", "198.51.100.0/24")
	h.asBouncer("GET", "/v1/decisions/stream?startup=true") // makes the row and its cursor
	for target, body := range map[string]string{
		"/v1/decisions?ip=192.0.2.1":             `"value":"192.0.2.1"`,
		"/v1/decisions?ip=203.0.113.1":           "null",
		"/v1/decisions?ip=198.51.100.77":         `"value":"198.51.100.0/24"`,
		"/v1/decisions/stream":                   string(feed.EmptyAnswer),
		"/v1/decisions/stream?startup=false":     string(feed.EmptyAnswer),
		"/v1/decisions/stream?scopes=ip,range&x": string(feed.EmptyAnswer),
	} {
		h.asBouncer("GET", "/v1/decisions/stream") // nothing is new
		answer := h.onLoop(plainGet(target))
		if out, done := answer(); !done || !strings.Contains(string(out), body) {
			t.Errorf("%s is not answered on a loop: %s", target, out)
		}
		if n := testing.AllocsPerRun(200, func() { answer() }); n != 0 && !raced {
			t.Errorf("%s: %v allocations", target, n)
		}
	}
}

// TestPanicOnLoop costs one client a 500, not the loop.
func TestPanicOnLoop(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.asBouncer("GET", "/v1/decisions/stream?startup=true")
	answer := h.onLoop(plainGet("/v1/decisions?ip=192.0.2.1"))
	good := h.server.routes.hot[conn.Address]
	broken := *good
	broken.handle = func(*exchange) error { panic("on purpose") }
	h.server.routes.hot[conn.Address] = &broken
	if out, done := answer(); !done || !strings.HasPrefix(string(out), "HTTP/1.1 500 ") || !strings.Contains(string(out), "Connection: close") {
		t.Errorf("a panic is answered with %s", out)
	}
	h.server.routes.hot[conn.Address] = good
	if out, done := answer(); !done || !strings.HasSuffix(string(out), "null") {
		t.Errorf("after it: %s", out)
	}
}

// TestLaterOnLoop: what would have to wait or to search is not begun on a loop.
func TestLaterOnLoop(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	before := h.View().Revision()
	for _, target := range []string{
		"/v1/decisions/stream", // never pulled, and from an address without a row
		"/v1/decisions?ip=192.0.2.1",
	} {
		if _, done := h.onLoop(plainGet(target))(); done {
			t.Errorf("%s of a bouncer without a row is answered on a loop", target)
		}
	}
	if h.View().Revision() != before {
		t.Error("a loop has written")
	}
	h.asBouncer("GET", "/v1/decisions?ip=192.0.2.1") // now it has a row, and no cursor
	for _, target := range []string{
		"/v1/decisions/stream", "/v1/decisions/stream?startup=true",
		"/v1/decisions?scope=ip", "/v1/decisions?range=192.0.2.0/24&contains=false",
	} {
		if _, done := h.onLoop(plainGet(target))(); done {
			t.Errorf("%s is answered on a loop", target)
		}
	}
}
