package transport

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"lapid/transport/conn"
	"lapid/transport/feed"
)

// from opens a connection from an address of the loopback.
func (h *house) from(last byte) net.Conn {
	h.t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}}).Dial("tcp", h.server.Addr().String())
	h.must(err)
	h.t.Cleanup(func() { c.Close() })
	return c
}

// TestStrangersMakeRoom has strangers take all the connections there may be, from
// many addresses and from the one that others use: bouncers and machines get in
// all the same, none of theirs is closed, and strangers take the place of strangers.
func TestStrangersMakeRoom(t *testing.T) {
	t.Parallel()
	bothWays(t, testStrangersMakeRoom)
}

func testStrangersMakeRoom(t *wireTest) {
	t.Parallel()
	const most = 64
	h := newHouse(t, func(b *build) { b.server.MaxConnections, b.server.patience.ShedAge = most, -1 })
	flood := func() {
		for i := range most {
			c := h.from(byte(1 + i%8))
			if i%4 == 0 {
				_, _ = io.WriteString(c, request("POST", "/v1/watchers/login", "Content-Length: 20000"))
			}
		}
	}
	flood()
	var bouncers []*line
	token := bearer + h.token()
	for i := range most / 2 {
		b := h.line(t)
		b.send("GET", "/v1/decisions?ip=192.0.2.1", "", "")
		b.expect(200, "null")
		bouncers = append(bouncers, b)
		if i%8 == 0 {
			m := h.line(t)
			m.send("POST", "/v1/alerts", token+"\r\nContent-Length: 2\r\n", "[]")
			m.expect(201, "[]")
			bouncers = append(bouncers, m)
		}
	}
	flood()
	for _, b := range bouncers {
		b.send("GET", "/v1/decisions?ip=192.0.2.1", "", "")
		b.expect(200, "null")
	}
	// Whoever made room is counted until the connection is closed, beside the one that
	// came for it: no more than there may be is what it settles to.
	for h.server.front.Counts().Inside > most {
		runtime.Gosched()
	}
	if h.server.refusals.of[conn.CutConnection].count.Load() == 0 || h.server.refusals.of[conn.NoConnection].count.Load() != 0 {
		t.Error("not only connections of strangers were closed")
	}
}

// TestHeldGiveWay has one key wait for news on more connections than there may be, as polls
// and as event streams: who asks now gets in, and so does who waits with another key; those
// of the one are answered before they are closed. Where each has a goroutine, that many may
// not wait.
func TestHeldGiveWay(t *testing.T) {
	t.Parallel()
	bothWays(t, testHeldGiveWay)
}

func testHeldGiveWay(t *wireTest) {
	t.Parallel()
	const most = 64
	h := newHouse(t, func(b *build) { b.server.MaxConnections = most })
	h.addBouncer("other", "other-key", false)
	const stream = "/v1/decisions/stream"
	place := h.ask("GET", stream, "", "X-Api-Key: other-key").bare()
	mine := h.asBouncer("GET", stream).bare()
	waiting := func() int { u := h.server.feed.Usage(); return u.Held + int(h.server.events.open.Load()) }
	var others []asked
	for i := range 4 {
		got, _ := h.later(stream+"?wait=60s&after="+place, "X-Api-Key: other-key")
		others = append(others, got)
		h.eventually("another waits", func() bool { return waiting() == i+1 })
	}
	var greedy []*line
	refused := 0
	for i := range 2 * most {
		l := h.line(t)
		more := ""
		if i%2 == 0 {
			more = "Accept: text/event-stream\r\n"
		}
		l.send("GET", stream+"?wait=60s&after="+mine, more, "")
		greedy = append(greedy, l)
		h.asBouncer("HEAD", stream) // the one before has been looked at
	}
	last := h.line(t) // connections come in one after the other: once it is answered, or turned away, all did
	last.send("HEAD", stream, "Connection: close\r\n", "")
	_, _ = io.Copy(io.Discard, last.r)
	h.eventually("what was closed is gone", func() bool { return t.loops != NoLoops || h.server.front.Counts().Inside <= most*7/8 })
	for range most {
		l := h.line(t)
		l.send("GET", "/v1/decisions?ip=192.0.2.1", "Connection: close\r\n", "")
		l.expect(200, "null")
		_, _ = l.r.ReadByte() // the end
	}
	if n := h.server.refusals.of[conn.NoConnection].count.Load(); t.loops != NoLoops && n > 0 {
		t.Errorf("%d were turned away", n)
	}
	h.ban("192.0.2.7")
	for _, got := range others {
		if a := <-got; a.status != 200 || !strings.Contains(a.body, "192.0.2.7") {
			t.Errorf("another: %d %s", a.status, a.body)
		}
	}
	for _, l := range greedy {
		w, err := http.ReadResponse(l.r, nil)
		if err != nil {
			t.Errorf("closed without an answer: %v", err)
			continue
		}
		if w.StatusCode == 503 {
			refused++
		} else if w.StatusCode != 200 {
			t.Errorf("%d", w.StatusCode)
		}
	}
	if t.loops != NoLoops && refused > 0 {
		t.Errorf("%d of the one key were refused", refused)
	}
}

// TestStrangersLeaveGoroutines has strangers hold all the goroutines there may be
// with requests that do not end: those of others are served.
func TestStrangersLeaveGoroutines(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.MaxServed, b.server.patience.ShedAge = 16, -1 })
	token := bearer + h.token()
	for i := range 80 {
		c := h.from(byte(1 + i%8))
		_, _ = io.WriteString(c, request("POST", "/v1/watchers", "Content-Length: 20000")+"{")
	}
	for range 40 {
		h.wants(h.ask("POST", "/v1/alerts", "[]", token), 201, "[]")
		l := h.line(t)
		l.send("GET", "/v1/decisions/stream?startup=true", "", "")
		l.expect(200, string(feed.EmptyAnswer))
	}
	if n := h.server.front.Counts().Served; n > 17 {
		t.Errorf("%d have a goroutine", n)
	}
}

// TestKnownWaitForGoroutines has more come at once than may have a goroutine:
// everybody is served, nobody is closed.
func TestKnownWaitForGoroutines(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.MaxServed = 4 })
	token := bearer + h.token()
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			l := h.line(t)
			for range 3 {
				l.send("POST", "/v1/alerts", token+"\r\nContent-Length: 2\r\n", "[]")
				l.expect(201, "[]")
			}
		})
	}
	all.Wait()
	if n := h.server.refusals.of[conn.CutServed].count.Load(); n != 0 {
		t.Errorf("%d were closed", n)
	}
}

// TestHalfHandshakesMakeRoom has strangers begin with TLS and go no further.
func TestHalfHandshakesMakeRoom(t *testing.T) {
	t.Parallel()
	bothWays(t, testHalfHandshakesMakeRoom)
}

func testHalfHandshakesMakeRoom(t *wireTest) {
	t.Parallel()
	certificates := newCertificates(t)
	s := newHouse(t, func(b *build) {
		b.server.MaxServed, b.server.patience.ShedAge = 16, -1
		certificates.serve(b)
	})
	for i := range 64 {
		_, _ = io.WriteString(s.from(byte(1+i%8)), "\x16\x03\x01\x02\x00\x01")
	}
	var open []*tls.Conn
	for range 12 {
		c := tls.Client(s.from(1), &tls.Config{InsecureSkipVerify: true})
		_, err := io.WriteString(c, plainGet("/v1/decisions?ip=192.0.2.1"))
		s.must(err)
		open = append(open, c)
		ok(s, c)
	}
	for i := range 64 {
		_, _ = io.WriteString(s.from(byte(1+i%8)), "\x16\x03\x01\x02\x00\x01")
	}
	for _, c := range open {
		_, err := io.WriteString(c, plainGet("/v1/decisions?ip=192.0.2.1"))
		s.must(err)
		ok(s, c)
	}
}

func ok(h *house, c net.Conn) {
	h.t.Helper()
	w, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	if _, err := io.Copy(io.Discard, w.Body); err != nil || w.StatusCode != 200 {
		h.t.Errorf("%s %v", w.Status, err)
	}
}
