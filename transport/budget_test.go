package transport

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"lapid/transport/budget"
	"lapid/transport/conn"
)

// TestStrangersBodies has strangers leave bodies unfinished, from many addresses
// and of all kinds, until nobody like them gets in any more: what they take is
// bounded, and machines and bouncers are served from wherever they are; who comes
// from where the store knows somebody can log in, with a wide body too.
func TestStrangersBodies(t *testing.T) {
	t.Parallel()
	bothWays(t, testStrangersBodies)
}

func testStrangersBodies(t *wireTest) {
	t.Parallel()
	const room = 1 << 20
	h := newHouse(t, func(b *build) { b.server.BodyMemory, b.server.StrangerMemory = 8<<20, room })
	token := bearer + h.token() // from 127.0.0.1
	h.Advance(2 * time.Second)
	for n := range 60 {
		for _, text := range []string{
			request("POST", "/v1/watchers/login", "Content-Length: 2000000") + "{" + strings.Repeat(" ", 100_000),
			request("POST", "/v1/watchers", "Content-Length: 60000") + "{" + strings.Repeat(" ", 50_000),
			request("POST", "/v1/watchers", "Content-Length: 60000", "Content-Encoding: gzip") + packed(packed(strings.Repeat(" ", 99)))[:20],
			request("POST", "/v1/alerts", "Content-Length: 40000000", "Content-Encoding: gzip, gzip, gzip") + packed(packed("x"))[:30],
		} {
			c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n%20))}}).Dial("tcp", h.server.Addr().String())
			h.must(err)
			t.Cleanup(func() { c.Close() })
			_, _ = io.WriteString(c, text) // may be refused and closed meanwhile
		}
	}
	h.eventually("strangers are refused", func() bool { return h.server.refusals.of[conn.NoStrangerMemory].count.Load() > 20 })
	if n := h.server.front.MemoryInUse(); n > room/2 {
		t.Errorf("strangers take %d bytes", n)
	}
	if h.server.front.KnownMemory().InUse() != 0 {
		t.Error("strangers take the memory of others")
	}
	fill := func(n int) string {
		return `{"machine_id":"a-machine","password":"a-password","_":"` + strings.Repeat("a", n) + `"}`
	}
	for _, size := range []int{10, 60_000, 2_000_000} {
		if got := h.ask("POST", "/v1/watchers/login", fill(size)); got.status != 200 {
			t.Errorf("a login of %d bytes: %d %s", size, got.status, got.body)
		}
	}
	alert := `[` + strings.Repeat(" ", 3<<20) + `]`
	h.wants(h.ask("POST", "/v1/alerts", alert, token), 201, `[]`)
	h.wants(h.ask("POST", "/v1/alerts", packed(alert), token, "Content-Encoding: gzip"), 201, `[]`)
	if got := h.asBouncer("GET", "/v1/decisions/stream"); got.status != 200 {
		t.Errorf("a poll: %d %s", got.status, got.body)
	}
}

// TestSmallBodiesTakeNothing sends small bodies after large ones, when the memory
// for those is used up: what the large ones left behind is not counted again.
func TestSmallBodiesTakeNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, testSmallBodiesTakeNothing)
}

func testSmallBodiesTakeNothing(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	for range 20 {
		h.wants(h.asMachine("POST", "/v1/alerts", `[`+strings.Repeat(" ", 60<<10)+`]`), 201, `[]`)
	}
	all := &budget.Hold{Of: budget.Holder{Name: "another"}, From: h.server.front.KnownMemory()}
	all.Take(all.From.Most())
	defer all.Release()
	for range 20 {
		h.wants(h.asMachine("POST", "/v1/alerts", `[`+strings.Repeat(" ", 600)+`]`), 201, `[]`)
	}
}

// TestPackedBodiesOfTheKnown are paid by the known, also while nobody is admitted
// yet.
func TestPackedBodiesOfTheKnown(t *testing.T) {
	t.Parallel()
	bothWays(t, testPackedBodiesOfTheKnown)
}

func testPackedBodiesOfTheKnown(t *wireTest) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.StrangerMemory = 2 })
	h.wants(h.asMachine("POST", "/v1/alerts", packed(`[]`), "Content-Encoding: gzip"), 201, `[]`)
	got := h.ask("POST", "/v1/alerts", packed(`[]`), "Content-Encoding: gzip")
	if got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("a stranger's: %d %s", got.status, got.body)
	}
	if h.server.refusals.of[conn.NoStrangerMemory].count.Load() == 0 {
		t.Error("nothing is counted")
	}
}

// TestSlowStrangers holds that a stranger's request has less time than others, and
// what it takes is given back then.
func TestSlowStrangers(t *testing.T) {
	t.Parallel()
	bothWays(t, testSlowStrangers)
}

func testSlowStrangers(t *wireTest) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.patience.Stranger = 20 * time.Millisecond })
	for _, text := range []string{
		request("POST", "/v1/watchers/login", "Content-Length: 60000") + "{" + strings.Repeat(" ", 50_000),
		request("POST", "/v1/watchers", "Content-Length: 60"),
		request("POST", "/v1/alerts", "Content-Length: 600000") + strings.Repeat(" ", 50_000),
	} {
		c, r := h.dial()
		_, err := io.WriteString(c, text)
		h.must(err)
		if _, err = io.Copy(io.Discard, r); err != nil {
			t.Errorf("%.30s: %v", text, err)
		}
	}
	h.eventually("the memory is given back", func() bool { return h.server.front.MemoryInUse() == 0 })
}
