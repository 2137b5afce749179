package transport

import (
	"context"
	"crypto/sha512"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestHeldPolls: a poll that would be told nothing is answered as soon as there is
// something to tell, when its time is up, and when the server ends.
func TestHeldPolls(t *testing.T) {
	t.Parallel()
	bothWays(t, testHeldPolls)
}

// asked is an answer on its way.
type asked chan reply

// later asks on a connection of its own and does not wait.
func (h *house) later(path string, header ...string) (got asked, hangUp func()) {
	h.t.Helper()
	got = make(asked, 1)
	ctx, cancel := context.WithCancel(h.t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+path, nil)
	h.must(err)
	r.Header.Set("X-Api-Key", testKey)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	own := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		answer, err := own.Do(r)
		if err != nil {
			got <- reply{body: err.Error()}
			return
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		got <- reply{answer.StatusCode, string(text), answer.Header}
	}()
	return got, cancel
}

func (h *house) holds(n int) {
	h.t.Helper()
	h.eventually(fmt.Sprint(n, " polls are held"), func() bool { return h.server.feed.Usage().Held == n })
}

func testHeldPolls(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	const stream = "/v1/decisions/stream"
	first := h.asBouncer("GET", stream)
	held, _ := h.later(stream, "Prefer: respond-async, Wait=600;x=y")
	filtered, _ := h.later(stream+"?origins=crowdsec&wait=60s", "If-None-Match: \"x\"")
	if got := <-filtered; got.header.Get("Lapid-Stream") != "full" {
		t.Fatalf("what is everything is not held: %v", got)
	}
	filtered, hangUp := h.later(stream+"?origins=crowdsec&wait=60s&after="+h.asBouncer("GET", stream+"?origins=crowdsec&startup=true").bare(), "Prefer: wait=0")
	h.holds(2)
	h.addMachine("nobody's-business", true)
	h.ban("192.0.2.1")
	got := <-held
	if fresh, _ := got.values(t); !slices.Equal(fresh, []string{"192.0.2.1"}) || got.header.Get("Preference-Applied") != "wait=60" || got.bare() == first.bare() {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	if fresh, _ := h.poll(""); fresh != nil {
		t.Errorf("it is told again: %v", fresh)
	}
	h.holds(1)
	hangUp()
	if got := <-filtered; got.status != 0 {
		t.Errorf("the other was answered: %v", got)
	}
	h.holds(0)

	// Time is up.
	for query, want := range map[string]int{"?wait=10ms": 200, "?wait=0": 200, "?startup=true&wait=60s": 200, "?wait=x": 400, "?wait=-1s": 400, "?wait=": 400} {
		if got := h.asBouncer("GET", stream+query); got.status != want {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	if got := h.asBouncer("GET", stream+"?wait=10ms", "If-None-Match: "+h.asBouncer("GET", stream).header.Get("ETag")); got.status != 304 || got.header.Get("ETag") == "" {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}

	// Whoever is not let in any more is told so.
	h.addBouncer("other", "other-key", false)
	h.ask("GET", stream, "", "X-Api-Key: other-key")
	refused, _ := h.later(stream+"?wait=60s", "X-Api-Key: other-key")
	h.holds(1)
	h.must(h.DeleteBouncer(t.Context(), "other"))
	if got := <-refused; got.status != 403 {
		t.Errorf("a key that is gone: %d %s", got.status, got.body)
	}
	h.addBouncer("other", "other-key", false)
	h.ask("GET", stream, "", "X-Api-Key: other-key")
	refused, _ = h.later(stream+"?wait=60s", "X-Api-Key: other-key")
	stays, _ := h.later(stream + "?wait=60s")
	h.holds(2)
	h.must(h.RotateBouncer(t.Context(), "other", sha512.Sum512([]byte("newer-key")), time.Minute))
	h.ask("GET", stream, "", "X-Api-Key: newer-key")
	h.Advance(time.Minute + time.Second)
	if got := <-refused; got.status != 403 {
		t.Errorf("a key whose grace is over: %d %s", got.status, got.body)
	}
	h.holds(1)
	h.ban("192.0.2.2")
	if got := <-stays; got.status != 200 {
		t.Errorf("another's key: %d %s", got.status, got.body)
	}

	last, _ := h.later(stream + "?wait=60s")
	h.holds(1)
	h.must(h.server.Shutdown(t.Context()))
	if got := <-last; got.status != 200 || got.header.Get("Lapid-Stream") != "delta" {
		t.Errorf("at the end: %d %v %s", got.status, got.header, got.body)
	}
}

// TestPipelineBehindHeld: what comes behind a poll that is held is answered behind it.
func TestPipelineBehindHeld(t *testing.T) {
	t.Parallel()
	bothWays(t, testPipelineBehindHeld)
}

func testPipelineBehindHeld(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.poll("")
	c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	h.must(err)
	defer c.Close()
	_, err = io.WriteString(c, live+request("GET", "/v1/decisions/stream?wait=60s", keyLine)+live)
	h.must(err)
	h.holds(1)
	_, err = io.WriteString(c, miss)
	h.must(err)
	h.ban("192.0.2.1")
	all := ""
	buf := make([]byte, 4096)
	for strings.Count(all, "HTTP/1.1 200") < 4 || strings.Count(all, "null") < 2 {
		n, err := c.Read(buf)
		h.must(err)
		all += string(buf[:n])
	}
	news := strings.Index(all, `"new": [`)
	if strings.Index(all, "null") > news || !strings.Contains(all[news:], "192.0.2.1") || !strings.HasSuffix(all, "null") {
		t.Error(all)
	}
}

// TestHeldFleet: clients that are held all the time, each by places of its own, hold in
// the end what a full state says, through changes, ends and power failures.
func TestHeldFleet(t *testing.T) {
	t.Parallel()
	s := newSite(t, rand.New(rand.NewPCG(rand.Uint64(), 0)))
	url, first := &atomic.Pointer[string]{}, s.url
	url.Store(&first)
	over := make(chan struct{})
	var all sync.WaitGroup
	fleet := make([]*fleetClient, 40)
	for i := range fleet {
		fleet[i] = &fleetClient{t: t, url: url, key: fmt.Sprint("key-", i%4), question: []string{"", "origins=cscli"}[i%2], holds: map[string]bool{}}
		all.Go(func() { fleet[i].run(over) })
	}
	rounds := 120
	if raced {
		rounds = 40
	}
	for range rounds {
		s.happens()
		here := s.url
		url.Store(&here)
	}
	close(over)
	all.Wait()
	s.holds(0)
	for i, c := range fleet {
		judge := s.ask("GET", "/v1/decisions/stream?startup=true&"+c.question, "", "X-Api-Key: judge")
		if want := targets(t, judge.body, "new"); !maps.Equal(c.holds, want) {
			t.Errorf("client %d holds %v, and a full state is %v", i, slices.Sorted(maps.Keys(c.holds)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// fleetClient polls again and again.
type fleetClient struct {
	t             *testing.T
	url           *atomic.Pointer[string]
	key, question string
	tag           string
	holds         map[string]bool
}

func (c *fleetClient) run(over chan struct{}) {
	own := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	defer own.CloseIdleConnections()
	for ended := false; ; {
		select {
		case <-over:
			ended = true
		default:
		}
		query := "?" + c.question + "&wait=1s"
		if ended {
			query = "?" + c.question
		}
		if c.tag != "" {
			query += "&after=" + c.tag
		} else {
			query += "&startup=true"
		}
		r, err := http.NewRequest("GET", *c.url.Load()+"/v1/decisions/stream"+query, nil)
		if err != nil {
			panic(err)
		}
		r.Header.Set("X-Api-Key", c.key)
		got, err := own.Do(r)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		text, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil || got.StatusCode != http.StatusOK {
			continue
		}
		if got.Header.Get("Lapid-Stream") == "full" {
			clear(c.holds)
		}
		for target := range targets(c.t, string(text), "deleted") {
			if got.Header.Get("Lapid-Stream") == "delta" {
				delete(c.holds, target)
			}
		}
		maps.Copy(c.holds, targets(c.t, string(text), "new"))
		c.tag = strings.Trim(got.Header.Get("ETag"), `"`)
		if ended {
			return
		}
	}
}
