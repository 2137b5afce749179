//go:build linux

package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// board has those who listen wait until a number of changes is there.
type board struct {
	mu   sync.Mutex
	at   int
	news chan struct{}
}

func (b *board) change() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at++
	close(b.news)
	b.news = make(chan struct{})
}

func (b *board) after(ctx context.Context, at int) (int, bool) {
	for {
		b.mu.Lock()
		now, news := b.at, b.news
		b.mu.Unlock()
		if now > at {
			return now, true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return 0, false
		}
	}
}

// ServeHTTP tells polls and event streams what has changed since a place, event streams in
// pieces that end anywhere.
func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := 0
	_, _ = fmt.Sscanf(r.URL.Query().Get("after"), "at-%d", &at)
	if r.Header.Get("Accept") == "" {
		if now, ok := b.after(r.Context(), at); ok {
			w.Header().Set("ETag", fmt.Sprintf(`"at-%d"`, now))
			_, _ = io.WriteString(w, strings.Repeat("x", unmoved+1))
		}
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	say := func(text string) {
		for _, part := range []string{text[:len(text)/3], text[len(text)/3 : len(text)/2], text[len(text)/2:]} {
			_, _ = io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	}
	say("retry: 1500\n\n")
	for ok := true; ok; {
		if at, ok = b.after(r.Context(), at); ok {
			say(fmt.Sprintf("id: at-%d\nevent: delta\ndata: {%s}\n\n", at, strings.Repeat("y", 3*lineKept)))
			say(":\n\n")
		}
	}
}

// Polls and event streams are told what changes, each as often as it does, and go on from
// where they were when they are cut off.
func TestListeners(t *testing.T) {
	t.Parallel()
	b := &board{news: make(chan struct{})}
	address := serve(t, b.ServeHTTP)
	ask := func(dst []byte, i int, place []byte) []byte {
		tail := Tail("")
		if i%2 == 0 {
			tail = strings.TrimSuffix(tail, "\r\n") + "Accept: text/event-stream\r\n\r\n"
		}
		return append(fmt.Appendf(dst, "GET /?after=%s", place), tail...)
	}
	var places [][]byte
	for round := range 2 {
		l, err := Listen(Target{Address: address}, 20, places, ask)
		if err != nil {
			t.Fatal(err)
		}
		for k := 1; k <= 3; k++ {
			began := time.Now()
			b.change()
			if at, err := l.Await(t.Context(), k); err != nil || at.Before(began) {
				t.Fatalf("told %d times at %v, change at %v: %v", k, at, began, err)
			}
		}
		if err := l.AwaitBegun(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := l.Heard()
		if h.Begun != 20 || h.Told != 60 || h.Lost != 0 || len(h.Retry) != 10 || h.Retry[0] != 1500*time.Millisecond {
			t.Errorf("heard %+v", h)
		}
		if places, err = l.Close(); err != nil {
			t.Fatal(err)
		}
		for i, place := range places {
			if want := fmt.Sprintf("at-%d", 3*(round+1)); string(place) != want {
				t.Errorf("listener %d is at %q, not %s", i, place, want)
			}
		}
	}
}

func TestListenersLost(t *testing.T) {
	t.Parallel()
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	l, err := Listen(Target{Address: address}, 3, nil, func(dst []byte, _ int, _ []byte) []byte { return append(dst, "GET / "+Tail("")[1:]...) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Await(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "status 403") {
		t.Errorf("nobody may listen, and the error is %v", err)
	}
	if _, err := l.Close(); err != nil {
		t.Error(err)
	}
}
