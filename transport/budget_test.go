package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func holdOf(p *purse, name string) *hold { return &hold{of: holder{name: name}, from: p} }

// TestPurse holds the rules by which memory is shared out.
func TestPurse(t *testing.T) {
	t.Parallel()
	p := newPurse(1000, idle)
	whole := holdOf(p, "a")
	if !p.take(whole, 600) || !p.take(whole, 400) || p.take(whole, 1) || p.take(holdOf(p, "b"), 1) {
		t.Error("a single body may not have all, or more than that")
	}
	whole.release()
	first, second, other := holdOf(p, "a"), holdOf(p, "a"), holdOf(p, "b")
	if !p.take(first, 300) || p.take(second, 300) || !p.take(second, 200) || p.take(holdOf(p, "a"), 1) {
		t.Error("two bodies of one holder take more or less than half")
	}
	if p.take(other, 501) || !p.take(other, 500) || p.inUse() != 1000 {
		t.Error("another may have more or less than half")
	}
	for _, h := range []*hold{first, second, other, holdOf(p, "c")} {
		h.release()
	}
	if p.inUse() != 0 || len(p.by) != 0 {
		t.Errorf("%d bytes are lost", p.inUse())
	}
}

// TestPurseIsNeverEmpty has greedy holders take all they may, again and again: as
// much as each of them has is left for a newcomer.
func TestPurseIsNeverEmpty(t *testing.T) {
	t.Parallel()
	const greedy = 10
	p := newPurse(1<<20, idle)
	var has [greedy][]*hold
	for range 200 {
		for i := range greedy {
			for _, h := range has[i] {
				h.release()
			}
			has[i] = nil
			for one := holdOf(p, fmt.Sprint(i)); p.take(one, 1<<10); one = holdOf(p, fmt.Sprint(i)) {
				has[i] = append(has[i], one)
			}
		}
	}
	if left := p.most - p.inUse(); left < p.most/(greedy+2) {
		t.Errorf("%d of %d bytes are left", left, p.most)
	}
}

// TestPurseWaits holds who is let in when somebody leaves: who has least, before
// who asked first.
func TestPurseWaits(t *testing.T) {
	t.Parallel()
	p := newPurse(1000, idle)
	a, b, again, c := holdOf(p, "a"), holdOf(p, "b"), holdOf(p, "a"), holdOf(p, "c")
	p.take(a, 500)
	p.take(b, 500)
	got := make(chan *hold, 2)
	life := make(chan struct{})
	queued := func(n int) {
		for {
			p.mu.Lock()
			m := len(p.queue)
			p.mu.Unlock()
			if m == n {
				return
			}
			runtime.Gosched()
		}
	}
	wait := func(h *hold) {
		if p.await(h, 200, time.Hour, life) {
			got <- h
		} else {
			got <- nil
		}
	}
	go wait(again)
	queued(1)
	go wait(c)
	queued(2)
	if p.await(holdOf(p, "d"), 1, time.Nanosecond, life) {
		t.Error("there is more than there is")
	}
	b.release()
	if h := <-got; h != c {
		t.Errorf("%v was let in", h)
	}
	close(life)
	if h := <-got; h != nil || len(p.queue) != 0 {
		t.Error("who waited at the end was let in")
	}
}

// TestStrangersBodies has strangers leave bodies unfinished, from many addresses
// and of all kinds, until nobody like them gets in any more: what they take is
// bounded, and machines and bouncers are served from wherever they are; who comes
// from where the store knows somebody can log in, with a wide body too.
func TestStrangersBodies(t *testing.T) {
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
	h.eventually("strangers are refused", func() bool { return h.server.refusals[noStrangerMemory].count.Load() > 20 })
	if n := h.server.purses.inUse(); n > room/2 {
		t.Errorf("strangers take %d bytes", n)
	}
	if h.server.purses.known.inUse() != 0 {
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
	h := newHouse(t, nil)
	for range 20 {
		h.wants(h.asMachine("POST", "/v1/alerts", `[`+strings.Repeat(" ", 60<<10)+`]`), 201, `[]`)
	}
	all := holdOf(h.server.purses.known, "another")
	all.from.take(all, all.from.most)
	defer all.release()
	for range 20 {
		h.wants(h.asMachine("POST", "/v1/alerts", `[`+strings.Repeat(" ", 600)+`]`), 201, `[]`)
	}
}

// TestPackedBodiesOfTheKnown are paid by the known, also while nobody is admitted
// yet.
func TestPackedBodiesOfTheKnown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.StrangerMemory = 2 })
	h.wants(h.asMachine("POST", "/v1/alerts", packed(`[]`), "Content-Encoding: gzip"), 201, `[]`)
	got := h.ask("POST", "/v1/alerts", packed(`[]`), "Content-Encoding: gzip")
	if got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("a stranger's: %d %s", got.status, got.body)
	}
	if h.server.refusals[noStrangerMemory].count.Load() == 0 {
		t.Error("nothing is counted")
	}
}

// TestSlowStrangers holds that a stranger's request has less time than others, and
// what it takes is given back then.
func TestSlowStrangers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.last = func(s *Server) { s.strangerPatience = 20 * time.Millisecond } })
	for path, short := range map[string]bool{"/v1/watchers": true, "/v1/watchers/login": true, "/v1/alerts": false} {
		var r fasthttp.Request
		h.must(r.Header.Read(bufio.NewReader(strings.NewReader(request("POST", path, "Content-Length: 10")))))
		if got := h.server.received(&r.Header).ReadTimeout; (got == h.server.strangerPatience) != short {
			t.Errorf("%s may take %s", path, got)
		}
	}
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
	h.eventually("the memory is given back", func() bool { return h.server.purses.inUse() == 0 })
}

func idle(int) {}

// TestLabour has bodies come and go: whoever shares the processors out is told of
// each once, and when it is over.
func TestLabour(t *testing.T) {
	t.Parallel()
	var at, most int
	p := newPurse(1000, func(change int) { at += change; most = max(most, at) })
	var a, b hold
	a.of, b.of, a.from, b.from = holder{name: "a"}, holder{name: "b"}, p, p
	for _, h := range []*hold{&a, &a, &b} {
		if !p.take(h, 100) {
			t.Fatal("there is room")
		}
	}
	if p.take(&b, 1000) || at != 2 {
		t.Error("two are at work, told:", at)
	}
	a.release()
	b.release()
	if b.release(); at != 0 || most != 2 {
		t.Error("nobody is at work any more, told:", at, most)
	}
}
