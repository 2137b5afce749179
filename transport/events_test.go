package transport

import (
	"bufio"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
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

	"lapid/engine"
	"lapid/transport/auth"
)

const streamPath = "/v1/decisions/stream"

// event is one of a stream, as a client reads it.
type event struct {
	id, kind, data string
	first, last    bool
	fresh, deleted []string
}

// listener is a client of an event stream.
type listener struct {
	t      testing.TB
	in     *bufio.Scanner
	answer *http.Response
	close  context.CancelFunc
	id     string // the last that was told
	retry  string
}

// listen opens an event stream.
func (h *house) listen(query string, header ...string) *listener {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+streamPath+query, nil)
	h.must(err)
	r.Header.Set("X-Api-Key", testKey)
	r.Header.Set("Accept", "text/event-stream")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	h.must(err)
	l := &listener{t: h.t, answer: answer, in: bufio.NewScanner(answer.Body)}
	l.in.Buffer(nil, 4<<20)
	l.close = func() {
		cancel()
		answer.Body.Close()
	}
	h.t.Cleanup(l.close)
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("got %d %v", answer.StatusCode, answer.Header)
	}
	return l
}

// read gives the next event; false: the stream has ended.
func (l *listener) read() (e event, ok bool) {
	l.t.Helper()
	for l.in.Scan() {
		name, value, _ := strings.Cut(l.in.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data += value
		case "retry":
			l.retry = value
		case "":
			if e.id != "" {
				l.id = e.id
			}
			if e.data == "" {
				e = event{}
				continue
			}
			e.parse(l.t)
			return e, true
		default:
			if !strings.HasPrefix(l.in.Text(), ":") {
				l.t.Fatalf("the line %q", l.in.Text())
			}
		}
	}
	return e, false
}

func (e *event) parse(t testing.TB) {
	t.Helper()
	var d struct{ First, Last bool }
	if err := json.Unmarshal([]byte(e.data), &d); err != nil {
		t.Fatalf("%v: %.200s", err, e.data)
	}
	e.first, e.last = d.First, d.Last
	e.fresh, e.deleted = lists(t, e.data)
}

// next is the next event, which there has to be.
func (l *listener) next() event {
	l.t.Helper()
	e, ok := l.read()
	if !ok {
		l.t.Fatalf("the stream has ended: %v", l.in.Err())
	}
	return e
}

func (e *event) String() string {
	flags := ""
	if e.first {
		flags += " first"
	}
	if e.last {
		flags += " last"
	}
	return fmt.Sprint(e.kind, flags, " ", e.fresh, e.deleted)
}

func (l *listener) wants(want string) event {
	l.t.Helper()
	e := l.next()
	if e.String() != want {
		l.t.Fatalf("got %s, want %s", e.String(), want)
	}
	return e
}

// TestEventStream: whoever asks for events is told everything, then what changes as it
// does, and goes on from where he was.
func TestEventStream(t *testing.T) {
	t.Parallel()
	bothWays(t, testEventStream)
}

func testEventStream(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	l := h.listen("")
	l.wants("full first last [192.0.2.1] []")
	if l.retry < "1000" || len(l.retry) != 4 || l.answer.Header.Get("X-Accel-Buffering") != "no" || l.answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v, retry %s", l.answer.Header, l.retry)
	}
	h.ban("192.0.2.2")
	first := l.wants("delta [192.0.2.2] []")
	h.wants(h.asMachine("DELETE", "/v1/decisions?value=192.0.2.1", ""), 200, `{"nbDeleted":"1"}`)
	last := l.wants("delta [] [192.0.2.1]")
	if first.id == last.id || l.id != last.id {
		t.Errorf("%s then %s", first.id, last.id)
	}
	l.close()
	h.listen("", "Last-Event-ID: "+first.id).wants("delta [] [192.0.2.1]")
	h.listen("?after=" + first.id).wants("delta [] [192.0.2.1]")
	again := h.listen("?after="+last.id, "Last-Event-ID: "+last.id)
	if t.loops != NoLoops {
		h.eventually("no stream has a goroutine", func() bool { return h.server.front.Counts().Served == 0 })
	}
	h.ban("192.0.2.3")
	again.wants("delta [192.0.2.3] []")
	if got := h.asBouncer("GET", streamPath); got.header.Get("Lapid-Stream") != "full" {
		t.Errorf("its cursor moved: %v", got.header)
	}
	for _, n := range []string{"x", "abcdefgh-1-0000000000000000"} {
		h.listen("", "Last-Event-ID: "+n).wants("full first last [192.0.2.2 192.0.2.3] [192.0.2.1]")
	}
	h.listen("?startup=true", "Last-Event-ID: "+last.id).wants("full first last [192.0.2.2 192.0.2.3] [192.0.2.1]")
	h.listen("?scopes=range", "Last-Event-ID: "+last.id).wants("full first last [] []")
	events := "Accept: text/event-stream"
	for query, lines := range map[string][]string{
		"?after=x": {events}, "?after=" + first.id: {events, "Last-Event-ID: " + last.id}, "?ip=x": {events}, "?wait=x": {events},
		"?after=" + first.id + "&x": {events, "Last-Event-ID: x"},
	} {
		if got := h.asBouncer("GET", streamPath+query, lines...); got.status != 400 {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	h.must(h.server.Shutdown(t.Context()))
	if e, more := again.read(); more || again.in.Err() != nil {
		t.Errorf("at the end %v %v", e, again.in.Err())
	}
}

// TestAccept: who names an event stream, and nothing better, gets one.
func TestAccept(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/html, */*": false, "text/html,application/xml;q=0.9,*/*;q=0.8": false,
		"text/event-stream": true, "Text/Event-Stream ; charset=utf-8": true, " text/event-stream , */*": true, "*/*,text/event-stream": true,
		"text/event-stream;q=0": false, "text/event-stream;q=0.000,*/*": false, "text/event-stream;q=0.5, */*": false, "text/event-stream;q=0.5,*/*;q=0.1": true,
		"text/event-stream, application/json": false, "application/json, text/event-stream": false, "application/json, text/event-stream;q=0.999": false, "application/json;q=0.2,text/event-stream;q=0.3": true,
		"text/*": false, "text/*, */*": false, "text/*;q=0.9, application/json;q=0.5": false, "application/*, text/event-stream;q=0.9": false,
		"text/event-stream;q=x": false, "text/event-stream;q=1.5": false, "text/event-stream;q=0.1234": false, "text/event-stream;q=": false,
		"text/event-stream;x=\"a,b;q=0\"": true, ",,text/event-stream,": true, "text/event-streams": false, "xtext/event-stream": false,
	} {
		if got := prefersEvents([]byte(accept)); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
	one := []byte("text/html, application/json;q=0.5, */*;q=0.1")
	if n := testing.AllocsPerRun(100, func() { prefersEvents(one) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestEventsOfMuch: a long full state comes in parts of which only the last can be resumed
// from, and so does a long delta.
func TestEventsOfMuch(t *testing.T) {
	t.Parallel()
	bothWays(t, testEventsOfMuch)
}

func testEventsOfMuch(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.banMany(2000)
	if e := h.listen("").next(); !e.first || !e.last || len(e.fresh) != 2000 || e.id == "" || len(e.data) < 300<<10 {
		t.Fatalf("%s of %d bytes", e.id, len(e.data))
	}
	h.banMany(15_000)
	h.wants(h.asMachine("DELETE", "/v1/decisions?value=10.0.0.1", ""), 200, `{"nbDeleted":"2"}`)
	l := h.listen("")
	n, events := l.much("full")
	if n != 16_998 || events < 3 {
		t.Errorf("%d decisions in %d events", n, events)
	}
	place := l.id
	h.ban("192.0.2.1")
	l.wants("delta [192.0.2.1] []")
	for i := range 9 { // in one commit or several
		go h.ban(manyValues(i)...)
	}
	for n := 0; n < 9*900; {
		e := l.next()
		if e.kind != "delta" || e.first || e.last || len(e.data) > eventSize+100 {
			t.Fatalf("%s of %d bytes", e.kind, len(e.data))
		}
		n += len(e.fresh)
	}
	again := h.listen("", "Last-Event-ID: "+place)
	if n, events := again.much("delta"); n != 9*900+1 || events < 2 {
		t.Errorf("%d decisions in %d deltas", n, events)
	}
	if again.id == place {
		t.Error("it is where it was")
	}
}

func manyValues(i int) (values []string) {
	for j := range 900 {
		values = append(values, fmt.Sprintf("172.%d.%d.%d", 16+i, j>>8, j&255))
	}
	return values
}

// much reads events up to the next with an id.
func (l *listener) much(kind string) (decisions, events int) {
	l.t.Helper()
	for events = 1; ; events++ {
		e := l.next()
		decisions += len(e.fresh)
		if e.kind != kind || kind == "full" && (e.first != (events == 1) || e.last != (e.id != "")) || len(e.data) > eventSize+100 {
			l.t.Fatalf("event %d is %s, %q, of %d bytes, first %v, last %v", events, e.kind, e.id, len(e.data), e.first, e.last)
		}
		if e.id != "" {
			return decisions, events
		}
	}
}

// TestEventsEnd: who is not let in any more is told nothing more.
func TestEventsEnd(t *testing.T) {
	t.Parallel()
	bothWays(t, testEventsEnd)
}

func testEventsEnd(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.addBouncer("other", "other-key", false)
	stays, goes := h.listen(""), h.listen("", "X-Api-Key: other-key")
	stays.next()
	goes.next()
	h.must(h.DeleteBouncer(t.Context(), "other"))
	if e, more := goes.read(); more || goes.in.Err() != nil {
		t.Errorf("%v %v", e, goes.in.Err())
	}
	h.addBouncer("other", "other-key", false)
	goes = h.listen("", "X-Api-Key: other-key")
	goes.next()
	h.must(h.RotateBouncer(t.Context(), "other", sha512.Sum512([]byte("newer-key")), 0))
	if e, more := goes.read(); more || goes.in.Err() != nil {
		t.Errorf("a key that is over: %v %v", e, goes.in.Err())
	}
	h.ban("192.0.2.1")
	stays.wants("delta [192.0.2.1] []")
	stays.close()
	h.eventually("no stream is open", func() bool { return h.server.events.open.Load() == 0 })
	if n := h.server.feed.Usage().Held; n != 0 {
		t.Errorf("%d polls are held", n)
	}
	if sent := h.server.events.sent.Load(); sent != 4 {
		t.Errorf("%d events are counted", sent)
	}
}

// TestBeats: a stream that has nothing to tell says that it is there, and where it is.
func TestBeats(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		t.Parallel()
		h := newHouse(t, func(b *build) { b.server.beat = 20 * time.Millisecond })
		l := h.listen("?origins=nobody")
		first := l.next()
		line := func() string {
			if !l.in.Scan() {
				t.Fatal(l.in.Err())
			}
			return l.in.Text()
		}
		for range 3 {
			if is, then := line(), line(); is != ":" || then != "" {
				t.Fatalf("%q %q", is, then)
			}
		}
		h.ban("192.0.2.1")
		h.Advance(time.Minute)
		for is := line(); !strings.HasPrefix(is, "id: "); is = line() {
			if is != ":" && is != "" {
				t.Fatalf("%q", is)
			}
			l.id = is
		}
		l.id = strings.TrimPrefix(l.in.Text(), "id: ")
		if l.id == first.id || line() != "" || line() != ":" || line() != "" {
			t.Errorf("%s, %q", l.id, l.in.Text())
		}
		h.eventually("it counts as a visit", func() bool { return h.View().Bouncer("fw").LastPull() == h.Engine.Now() })
		h.listen("?origins=nobody", "Last-Event-ID: "+l.id)
	})
}

// TestStalledReader: who takes nothing is cut off, holds up nobody, and goes on from where
// he was.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	bothWays(t, testStalledReader)
}

func testStalledReader(t *wireTest) {
	t.Parallel()
	h := newHouse(t, func(b *build) { b.server.WriteStall = 3 * time.Second })
	before := h.listen("")
	first := before.next()
	before.close()
	h.eventually("it is gone", func() bool { return h.server.events.open.Load() == 0 })
	c, in := h.dial()
	h.must(c.(*net.TCPConn).SetReadBuffer(4 << 10))
	_, err := io.WriteString(c, request("GET", streamPath, keyLine, "Accept: text/event-stream", "Last-Event-ID: "+first.id))
	h.must(err)
	_, err = in.ReadString(' ')
	h.must(err)
	reads := h.listen("?after=" + first.id)
	told := 0
	cut := func() bool { return h.server.events.open.Load() < 2 }
	for i := 0; !cut() && i < 400; i++ {
		h.ban(manyValues(i)[:200]...)
		for told < 200*(i+1) {
			told += len(reads.next().fresh)
		}
	}
	h.eventually("the stream is cut off", func() bool { return cut() })
	if n := h.server.events.cut.Load(); n != 1 {
		t.Errorf("%d streams are counted as cut off", n)
	}
	again := h.listen("", "Last-Event-ID: "+first.id)
	for n := 0; n < told; {
		n += len(again.next().fresh)
	}
}

// TestEventsOldWays: over every way in, and to clients that know no chunks, an event stream
// is the same; what comes behind its request is not answered.
func TestEventsOldWays(t *testing.T) {
	t.Parallel()
	f := newFronts(t, nil)
	for _, one := range f.all {
		for _, version := range []string{"1.1", "1.0"} {
			c := one.dial()
			defer c.Close()
			_, err := io.WriteString(c, "GET "+streamPath+" HTTP/"+version+"\r\nHost: x\r\nX-Api-Key: "+one.key+"\r\nAccept: text/event-stream\r\n\r\n"+live)
			f.must(err)
			f.must(c.SetReadDeadline(time.Now().Add(30 * time.Second)))
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			f.must(err)
			if chunked := len(answer.TransferEncoding) > 0; chunked != (version == "1.1") || !answer.Close {
				t.Errorf("%s: %v", one.name, answer)
			}
			l := &listener{t: t, answer: answer, in: bufio.NewScanner(answer.Body)}
			l.in.Buffer(nil, 4<<20)
			l.next()
			_, err = io.WriteString(c, live)
			f.must(err)
			value := fmt.Sprintf("192.0.2.%d", 100+len(f.all))
			f.ban(value)
			if e := l.next(); !slices.Contains(e.fresh, value) {
				t.Errorf("%s: %s", one.name, e.String())
			}
			f.wants(f.asMachine("DELETE", "/v1/decisions?value="+value, ""), 200, `{"nbDeleted":"1"}`)
			l.next()
		}
	}
}

// TestEventFleet: a thousand streams of two questions all hear of a ban, and cost no
// goroutine.
func TestEventFleet(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	many := 1000
	if raced {
		many = 200
	}
	fleet := make([]*bufio.Reader, many)
	for i := range fleet {
		c, in := h.dial()
		_, err := io.WriteString(c, request("GET", streamPath+[]string{"", "?origins=cscli"}[i%2], keyLine, "Accept: text/event-stream"))
		h.must(err)
		fleet[i] = in
	}
	until := func(in *bufio.Reader, what string) {
		t.Helper()
		for {
			line, err := in.ReadString('\n')
			h.must(err)
			if strings.Contains(line, what) {
				return
			}
		}
	}
	for _, in := range fleet {
		until(in, `"last":true`)
	}
	h.eventually("no stream has a goroutine", func() bool { return h.server.front.Counts().Served == 0 })
	for i := range 3 {
		value := fmt.Sprint("192.0.2.", i+1)
		h.ban(value)
		for _, in := range fleet {
			until(in, value)
		}
	}
	if n := h.server.events.open.Load(); n != int64(many) {
		t.Errorf("%d streams are open", n)
	}
	if n := h.server.front.Counts().Served; n != 0 {
		t.Errorf("%d streams have a goroutine", n)
	}
}

// TestEventHangUps: a client may leave at any byte.
func TestEventHangUps(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		t.Parallel()
		h := newHouse(t, nil)
		for n := 0; n < 560; n += 7 {
			c, in := h.dial()
			_, err := io.WriteString(c, request("GET", streamPath, keyLine, "Accept: text/event-stream"))
			h.must(err)
			if n > 300 {
				h.ban("192.0.2.1")
			}
			_, err = io.CopyN(io.Discard, in, int64(n))
			h.must(err)
			if n%2 == 0 {
				h.must(c.(*net.TCPConn).SetLinger(0))
			}
			h.must(c.Close())
		}
		h.eventually("no stream is open", func() bool { return h.server.events.open.Load() == 0 && h.server.front.Counts().Inside <= 2 })
	})
}

// TestEventsAreLogged: the access log has one line for a stream, at its end.
func TestEventsAreLogged(t *testing.T) {
	t.Parallel()
	bothWays(t, testEventsAreLogged)
}

func testEventsAreLogged(t *wireTest) {
	t.Parallel()
	out := &lockedBuffer{}
	h := newHouse(t, func(b *build) { b.server.AccessLog = &plainLines{out: out} })
	l := h.listen("?origins=cscli")
	first := l.next()
	l.close()
	h.eventually("there is a line", func() bool { return strings.Contains(out.String(), "1 events, ") })
	if text := out.String(); strings.Count(text, "GET /v1/decisions/stream?origins=cscli HTTP/1.1 200 ") != 1 || strings.Count(text, "\n") != 1 {
		t.Error(text)
	}
	// One that goes on from where it was needs no goroutine.
	h.ban("192.0.2.1")
	l = h.listen("?origins=cscli&after=" + first.id)
	l.next()
	h.ban("192.0.2.2")
	l.next()
	if text := out.String(); strings.Count(text, "\n") != 1 {
		t.Errorf("it has a line before its end: %s", text)
	}
	l.close()
	h.eventually("there is another line", func() bool { return strings.Contains(out.String(), "2 events, ") })
	if text := out.String(); strings.Count(text, "\n") != 2 {
		t.Error(text)
	}
}

// TestEventHistories: clients of event streams that are killed at random, also with the
// server, hold in the end what a full state says, through changes, ends, power failures and
// restores.
func TestEventHistories(t *testing.T) {
	t.Parallel()
	s := newSite(t, rand.New(rand.NewPCG(rand.Uint64(), 0)))
	url, first := &atomic.Pointer[string]{}, s.url
	url.Store(&first)
	over := make(chan struct{})
	var all sync.WaitGroup
	fleet := make([]*eventClient, 30)
	for i := range fleet {
		fleet[i] = &eventClient{
			t: t, url: url, key: fmt.Sprint("key-", i%4), question: []string{"", "origins=cscli", "scopes=ip"}[i%3], holds: map[string]bool{},
			chance: rand.New(rand.NewPCG(rand.Uint64(), uint64(i))), place: i % 2,
		}
		all.Go(func() { fleet[i].run(over) })
	}
	rounds := 120
	if raced {
		rounds = 40
	}
	settles := func(fleet ...*eventClient) {
		s.ban("198.51.100.1") // what has run out meanwhile ends with it
		for _, c := range fleet {
			judge := s.ask("GET", streamPath+"?startup=true&"+c.question, "", "X-Api-Key: judge")
			want := targets(t, judge.body, "new")
			s.eventually(fmt.Sprintf("one who asks %q holds %v", c.question, slices.Sorted(maps.Keys(want))), func() bool { return c.isAt(want) })
		}
	}
	for i := range rounds {
		s.happens()
		here := s.url
		url.Store(&here)
		if i%3 == 0 {
			settles(fleet[s.chance.IntN(len(fleet))])
		}
	}
	settles(fleet...)
	close(over)
	for _, c := range fleet {
		c.hangUp()
	}
	all.Wait()
	resumed, full := 0, 0
	for _, c := range fleet {
		resumed, full = resumed+c.resumed, full+c.full
	}
	t.Logf("%d streams began with everything, %d went on", full, resumed)
	if resumed < len(fleet) {
		t.Error("places are not taken")
	}
}

// eventClient follows an event stream, again and again.
type eventClient struct {
	t             *testing.T
	url           *atomic.Pointer[string]
	key, question string
	place         int // how it says where it is
	chance        *rand.Rand
	resumed, full int

	mu    sync.Mutex
	holds map[string]bool
	close func()
	id    string
}

func (c *eventClient) isAt(want map[string]bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Equal(c.holds, want)
}

func (c *eventClient) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.close != nil {
		c.close()
	}
}

func (c *eventClient) run(over chan struct{}) {
	own := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		select {
		case <-over:
			return
		default:
		}
		ctx, cancel := context.WithCancel(context.Background())
		c.mu.Lock()
		c.close = cancel
		c.mu.Unlock()
		c.follow(ctx, own)
		cancel()
		time.Sleep(time.Millisecond)
	}
}

// follow reads a stream until it ends, or for a while.
func (c *eventClient) follow(ctx context.Context, own *http.Client) {
	query, after := "?"+c.question, c.id
	if after != "" && c.place == 0 {
		query += "&after=" + after
	}
	r, err := http.NewRequestWithContext(ctx, "GET", *c.url.Load()+streamPath+query, nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set("X-Api-Key", c.key)
	r.Header.Set("Accept", "text/event-stream")
	if after != "" && c.place != 0 {
		r.Header.Set("Last-Event-ID", after)
	}
	got, err := own.Do(r)
	if err != nil {
		return
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return
	}
	l := &listener{t: c.t, answer: got, in: bufio.NewScanner(got.Body)}
	l.in.Buffer(nil, 4<<20)
	first := true
	for range 1 + c.chance.IntN(20) {
		e, more := l.read()
		if c.mu.Lock(); l.id != "" && more {
			c.id = l.id
		}
		if more {
			c.believe(&e, first)
			first = false
		}
		c.mu.Unlock()
		if !more {
			return
		}
	}
}

func (c *eventClient) believe(e *event, first bool) {
	switch {
	case e.kind == "full":
		if e.first {
			clear(c.holds)
			c.full++
		}
	case first:
		c.resumed++
	}
	if e.kind == "delta" {
		for target := range targets(c.t, e.lists(), "deleted") {
			delete(c.holds, target)
		}
	}
	maps.Copy(c.holds, targets(c.t, e.lists(), "new"))
}

// lists is the event without its flags.
func (e *event) lists() string {
	data, _, flags := strings.Cut(e.data, `,"first"`)
	if !flags {
		data, _, flags = strings.Cut(data, `,"last"`)
	}
	if flags {
		data += "}"
	}
	return data
}

// TestEventsAreAcknowledged: what has arrived of a stream counts as acknowledged by its
// bouncer, and so does what does not concern it.
func TestEventsAreAcknowledged(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		t.Parallel()
		h := newHouse(t, func(b *build) { b.server.beat = 50 * time.Millisecond })
		row := h.View().Bouncer("fw")
		acknowledges := func() {
			t.Helper()
			to := h.View().Revision()
			h.eventually(fmt.Sprint("it has acknowledged ", to), func() bool {
				at, ok := row.Acknowledged()
				return ok && at >= to
			})
		}
		h.ban("192.0.2.1")
		l := h.listen("")
		l.next()
		acknowledges()
		h.ban("192.0.2.2")
		l.next()
		acknowledges()
		h.addMachine("nobody's-business", true)
		acknowledges()
		if _, pulled := row.Cursor(); pulled {
			t.Error("its cursor has moved")
		}
		l.close()
		h.eventually("no stream is open", func() bool { return h.server.events.open.Load() == 0 })
		h.listen("", "Last-Event-ID: "+l.id)
		acknowledges()
	})
}

// TestEventQuestionsAreKnown: what an event stream asks is known of its bouncer as what a
// poll asks is, so nobody waits for it to have what it does not ask for; its events are
// among the bouncer's last polls, and where one has arrived that is said.
func TestEventQuestionsAreKnown(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		t.Parallel()
		h := newHouse(t, func(b *build) { b.server.beat = time.Hour })
		row := h.View().Bouncer("fw")
		h.ban("192.0.2.1")
		l := h.listen("?scopes=country,range")
		l.wants("full first last [] []")
		h.eventually("its first event has arrived", func() bool { _, has := row.Acknowledged(); return has })
		h.ban("192.0.2.2")
		state := func() engine.HoldState {
			t.Helper()
			got, err := h.Await(t.Context(), &engine.Await{Revision: h.View().Revision(), Names: []string{"fw"}}, time.Minute)
			h.must(err)
			return got.Rows[0].State
		}
		if got := state(); got != engine.HoldNothing {
			t.Errorf("to what it does not ask for it says %q", got)
		}
		if o := h.Holdings(h.Engine.Now()).Of(row); o.Expected != 0 || !o.Streams || o.Lag != 0 {
			t.Errorf("it should hold nothing, and %+v", o)
		}
		h.ban("192.0.2.0/24")
		l.wants("delta [192.0.2.0/24] []")
		if got := state(); got != engine.HoldHas {
			t.Errorf("to what it was told it says %q", got)
		}
		if o := h.Holdings(h.Engine.Now()).Of(row); o.Expected != 1 {
			t.Errorf("it should hold one decision, and %+v", o)
		}
		polls := h.Polls(row)
		if len(polls) != 2 || polls[0].Kind != engine.PollDelta || polls[0].Fate != engine.PollHeard || polls[0].To != h.View().Revision() || polls[1].Kind != engine.PollFull {
			t.Errorf("its polls are %+v", polls)
		}
		l.close()
		h.eventually("no stream is open", func() bool { return h.server.events.open.Load() == 0 })
		h.listen("?scopes=country,range", "Last-Event-ID: "+l.id)
		if polls := h.Polls(row); len(polls) != 3 || polls[0].Kind != engine.PollNothing || !polls[0].Placed {
			t.Errorf("when it is back its polls are %+v", polls)
		}
	})
}

// TestEventsEndWithRules: over TLS a stream ends when its certificate is none of a bouncer
// any more.
func TestEventsEndWithRules(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	h := newHouse(t, c.serve)
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+h.server.Addr().String()+streamPath, nil)
	h.must(err)
	r.Header.Set("Accept", "text/event-stream")
	answer, err := c.client(t, c.leaf("edge-1", "bouncers", x509.ExtKeyUsageClientAuth)).Do(r)
	h.must(err)
	defer answer.Body.Close()
	l := &listener{t: t, answer: answer, in: bufio.NewScanner(answer.Body)}
	l.wants("full first last [] []")
	h.ban("192.0.2.1")
	l.wants("delta [192.0.2.1] []")
	h.must(h.gate.Replace(auth.Rules{BouncerUnits: []string{"others"}}))
	if e, more := l.read(); more || l.in.Err() != nil {
		t.Errorf("%s %v", e.String(), l.in.Err())
	}
}

// TestEventsObeySights: a stream tells what its bouncer may see, and everything anew when
// that is another.
func TestEventsObeySights(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		t.Parallel()
		h := newHouse(t, nil)
		h.ban("192.0.2.1")
		h.ban("192.0.2.2")
		l := h.listen("")
		l.wants("full first last [192.0.2.1 192.0.2.2] []")
		see := func(s *engine.Sight) {
			t.Helper()
			_, err := h.EditBouncer(t.Context(), "fw", func(b *engine.Bouncer) error { b.Sight = s; return nil })
			h.must(err)
		}
		see(&engine.Sight{Origins: []string{"nobody"}})
		before := l.wants("full first last [] []")
		see(&engine.Sight{MaxEntries: 1, Priority: engine.Newest})
		l.wants("full first last [192.0.2.2] []")
		if t.loops != NoLoops {
			h.eventually("no stream has a goroutine", func() bool { return h.server.front.Counts().Served == 0 })
		}
		h.ban("192.0.2.3")
		l.wants("delta [192.0.2.3] [192.0.2.2]")
		h.listen("", "Last-Event-ID: "+before.id).wants("full first last [192.0.2.3] []")
		h.listen("", "Last-Event-ID: "+l.id)
		see(nil)
		l.wants("full first last [192.0.2.1 192.0.2.2 192.0.2.3] []")
	})
}
