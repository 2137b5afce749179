package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const streamPath = "/v1/decisions/stream"

// event is one of a stream, as a client reads it.
type event struct {
	id, kind, data string
	retry          string
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
