package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/feed"
)

// TestCursor follows one bouncer through its life.
func TestCursor(t *testing.T) {
	t.Parallel()
	bothWays(t, testCursor)
}

func testCursor(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	if fresh, gone := h.poll(""); !slices.Equal(fresh, []string{"192.0.2.1"}) || gone != nil {
		t.Errorf("who never pulled gets everything: %v %v", fresh, gone)
	}
	if fresh, gone := h.poll(""); fresh != nil || gone != nil {
		t.Errorf("nothing new: %v %v", fresh, gone)
	}
	h.ban("192.0.2.2")
	if fresh, gone := h.poll("?startup=false"); !slices.Equal(fresh, []string{"192.0.2.2"}) || gone != nil {
		t.Errorf("one more: %v %v", fresh, gone)
	}
	h.wants(h.asMachine("DELETE", "/v1/decisions?value=192.0.2.1", ""), 200, `{"nbDeleted":"1"}`)
	for _, bad := range []string{"?ip=zz", "?startup=true&contains=x", "?offset=x"} {
		h.wants(h.asBouncer("GET", "/v1/decisions/stream"+bad), 200, string(feed.EmptyAnswer))
	}
	if fresh, gone := h.poll(""); fresh != nil || !slices.Equal(gone, []string{"192.0.2.1"}) {
		t.Errorf("a bad filter moved the cursor: %v %v", fresh, gone)
	}
	if fresh, gone := h.poll("?startup=true"); !slices.Equal(fresh, []string{"192.0.2.2"}) || !slices.Equal(gone, []string{"192.0.2.1"}) {
		t.Errorf("startup: %v %v", fresh, gone)
	}
	got := h.asBouncer("GET", "/v1/decisions/stream?startup=true")
	if got.header.Get("Content-Type") != "application/json" || !strings.HasPrefix(got.body, `{"new": [{"duration":"4h0m0s","id":2,"origin":"cscli","scenario":"test/scenario","scope":"Ip","type":"ban","uuid":"`) {
		t.Errorf("%s %s", got.header, got.body)
	}
}

// TestLiveQueryMovesNothing: a live query is a visit, not a pull.
func TestLiveQueryMovesNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, testLiveQueryMovesNothing)
}

func testLiveQueryMovesNothing(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.poll("")
	h.ban("192.0.2.1")
	h.asBouncer("GET", "/v1/decisions?ip=192.0.2.1")
	if fresh, _ := h.poll(""); len(fresh) != 1 {
		t.Error("the live query moved the cursor")
	}
	row := h.View().Bouncer("fw")
	before := row.LastPull()
	h.Advance(59 * time.Second)
	h.asBouncer("GET", "/v1/decisions")
	if row.LastPull() != before {
		t.Error("noted within a minute")
	}
	h.Advance(2 * time.Second)
	h.asBouncer("GET", "/v1/decisions")
	if row.LastPull() == before {
		t.Error("not noted after a minute")
	}
}

// brokenConn is a connection whose other end hangs up after so many bytes.
type brokenConn struct {
	memoryConn
	takes int
}

func (c *brokenConn) Write(p []byte) (int, error) {
	if c.takes -= len(p); c.takes < 0 {
		return 0, errors.New("hung up")
	}
	return c.memoryConn.Write(p)
}

func (c *brokenConn) Close() error { return nil }

// pollBroken polls over a connection that takes only so many bytes.
func (h *house) pollBroken(query string, takes int) []byte {
	c := &brokenConn{takes: takes}
	c.in = []byte("GET /v1/decisions/stream" + query + " HTTP/1.1\r\nHost: x\r\nUser-Agent: tester/1.0\r\nX-Api-Key: " + testKey + "\r\nConnection: close\r\n\r\n")
	_ = h.server.front.ServeConn(c)
	return c.out
}

// TestBrokenPoll has connections break at every stage of an answer: what the
// bouncer did not hear it hears again.
func TestBrokenPoll(t *testing.T) {
	t.Parallel()
	bothWays(t, testBrokenPoll)
}

func testBrokenPoll(t *wireTest) {
	t.Parallel()
	for _, n := range []int{1, 5000} { // a delta in one, and in pieces
		h := newHouse(t, nil)
		h.poll("")
		h.banMany(n)
		whole := len(h.pollBroken("?startup=true&dedup=false", 1<<30)) // moves the cursor
		h.banMany(n)
		row := h.View().Bouncer("fw")
		at, _ := row.Cursor()
		for _, takes := range []int{0, 1, whole / 2, whole - 1} {
			h.pollBroken("?dedup=false", takes)
			if now, _ := row.Cursor(); now != at {
				t.Fatalf("%d decisions: the cursor moved after %d of %d bytes", n, takes, whole)
			}
		}
		h.pollBroken("?dedup=false", 1<<30)
		if now, _ := row.Cursor(); now != h.View().Revision() {
			t.Errorf("%d decisions: the cursor did not move", n)
		}
	}
}

// TestSharedStartup starts a fleet at once: one encoding, everybody gets all of
// it, and nothing is kept afterwards.
func TestSharedStartup(t *testing.T) {
	t.Parallel()
	bothWays(t, testSharedStartup)
}

func testSharedStartup(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	const n = 6000
	h.banMany(n)
	want := h.asBouncer("GET", "/v1/decisions/stream?startup=true").body
	if fresh, _ := lists(t, want); len(fresh) != n {
		t.Fatalf("%d decisions of %d", len(fresh), n)
	}
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			got := h.asBouncer("GET", "/v1/decisions/stream?startup=true")
			if got.body != want {
				t.Errorf("reader %d got %d bytes of %d", i, len(got.body), len(want))
			}
		})
	}
	all.Wait()
	if shared := h.server.feed.Usage().Shared; shared > 2 {
		t.Errorf("%d shared answers", shared)
	}
	h.Advance(2 * time.Second)
	h.eventually("the shared answers are gone", func() bool { return h.server.feed.Usage().Shared == 0 })
}

// TestSlowReader begins to read a startup and stops; it is cut off, its cursor
// stays, and nobody else notices.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	bothWays(t, testSlowReader)
}

func testSlowReader(t *wireTest) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.WriteStall = 3 * time.Second })
	const n = 60_000
	h.banMany(n)
	slow, _ := h.dial()
	slow.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(slow, "GET /v1/decisions/stream?startup=true HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\n\r\n", testKey)
	_, err := io.ReadFull(slow, make([]byte, 1))
	h.must(err)
	h.addBouncer("other", "other-key", true)
	got := h.ask("GET", "/v1/decisions/stream?startup=true", "", "X-Api-Key: other-key")
	if fresh, _ := lists(t, got.body); len(fresh) != n {
		t.Errorf("another reader got %d", len(fresh))
	}
	http.DefaultClient.CloseIdleConnections()
	h.eventually("the slow connection is gone", func() bool { return h.server.front.Counts().Served == 0 })
	if _, pulled := h.View().Bouncer("fw").Cursor(); pulled {
		t.Error("the cursor moved")
	}
}

// TestOldProtocol gets a long answer without chunks.
func TestOldProtocol(t *testing.T) {
	t.Parallel()
	bothWays(t, testOldProtocol)
}

func testOldProtocol(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.banMany(4000)
	got, closed := h.raw("GET /v1/decisions/stream?startup=true HTTP/1.0\r\nX-Api-Key: " + testKey + "\r\n\r\n")
	if fresh, _ := lists(t, got.body); len(fresh) != 4000 || !closed || got.header.Get("Transfer-Encoding") != "" {
		t.Errorf("%d decisions, closed %v, %v", len(fresh), closed, got.header)
	}
	if _, pulled := h.View().Bouncer("fw").Cursor(); !pulled {
		t.Error("the cursor did not move")
	}
}

// TestReadersBesideWriters polls while decisions come and go; every bouncer ends
// up knowing exactly what runs.
func TestReadersBesideWriters(t *testing.T) {
	t.Parallel()
	bothWays(t, testReadersBesideWriters)
}

func testReadersBesideWriters(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for r := range 6 {
		readers.Go(func() {
			key := fmt.Sprintf("reader-%d", r)
			h.addBouncer(key, key, false)
			holds := map[string]bool{}
			poll := func() {
				got := h.ask("GET", "/v1/decisions/stream", "", "X-Api-Key: "+key)
				fresh, gone := lists(t, got.body)
				for _, v := range gone {
					delete(holds, v)
				}
				for _, v := range fresh {
					holds[v] = true
				}
			}
			for on := true; on; {
				select {
				case <-stop:
					on = false
				default:
				}
				poll()
			}
			q := &engine.Query{Now: h.Engine.Now(), Limit: -1}
			if runs := h.View().Find(nil, q); len(holds) != len(runs) {
				t.Errorf("%s holds %d of %d", key, len(holds), len(runs))
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			for i := range 60 {
				value := fmt.Sprintf("10.%d.0.%d", w, i)
				if err := h.tryBan("4h", value); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					q := &engine.Query{Now: h.Engine.Now(), Limit: -1, Value: engine.Word{Given: true, Text: value}}
					if _, err := h.EndDecisions(t.Context(), q); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}
