//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve starts a server and gives its address.
func serve(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func dial(t *testing.T, address string, count int) *Pool {
	p, err := Dial(Target{Address: address, Threads: 2}, count)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestEach(t *testing.T) {
	t.Parallel()
	var asked [10]atomic.Int32
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		if _, err := fmt.Sscanf(r.Header.Get("X-Api-Key"), "key-%d", &n); err != nil {
			t.Error(err)
		}
		asked[n].Add(1)
		_, _ = io.WriteString(w, strings.Repeat("x", 4+n%2*100_000))
	})
	p := dial(t, address, 10)
	sources := PerConnection(10, func(dst []byte, n int) []byte {
		return append(dst, "GET / "+Tail(fmt.Sprintf("key-%d", n))[1:]...)
	})
	for range 2 { // the connections serve again
		r, err := p.Run(t.Context(), &Plan{Sources: sources, Each: 5, Server: &Process{PID: os.Getpid()}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests != 50 || r.Errors() != 0 || r.Empty != 25 || r.Body != 25*(100_004+4) || r.Resident == 0 {
			t.Errorf("result %+v", r)
		}
	}
	for n := range asked {
		if got := asked[n].Load(); got != 10 {
			t.Errorf("connection %d asked %d times", n, got)
		}
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("ip") == "" {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, "null")
	})
	p := dial(t, address, 8)
	r, err := p.Run(t.Context(), &Plan{
		Sources: Filled("GET /v1/decisions?ip=", words{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, Tail("secret"), Tail("other")),
		Warmup:  time.Millisecond, Length: 100 * time.Millisecond,
	})
	if err != nil || r.Errors() != 0 || r.Requests == 0 || r.Empty != r.Requests {
		t.Errorf("result %+v, %v", r, err)
	}
}

type words []string

func (w words) Len() int        { return len(w) }
func (w words) At(i int) []byte { return []byte(w[i]) }

// A server that holds one answer back makes all requests late that were due
// meanwhile, not only the one it held.
func TestOpenCountsWaiting(t *testing.T) {
	t.Parallel()
	const held = 300 * time.Millisecond
	var first atomic.Bool
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if first.CompareAndSwap(false, true) {
			<-time.After(held)
		}
		_, _ = io.WriteString(w, "null")
	})
	p := dial(t, address, 1)
	r, err := p.Run(t.Context(), &Plan{Sources: Fixed([]byte("GET /" + Tail(""))), Rate: 1000, Length: 600 * time.Millisecond})
	if err != nil || r.Errors() != 0 {
		t.Fatalf("result %+v, %v", r, err)
	}
	if r.Requests < 599 || r.Requests > 601 {
		t.Errorf("%d requests were due in 600 ms", r.Requests)
	}
	// Half of all were due while the answer was held, their mean wait was half of it.
	if r.Mean < held/6 {
		t.Errorf("mean latency %v: the wait was left out", r.Mean)
	}
}

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	var count atomic.Int32
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		switch count.Add(1) % 10 {
		case 3:
			panic(http.ErrAbortHandler)
		case 7:
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, "null")
	})
	p := dial(t, address, 2)
	r, err := p.Run(t.Context(), &Plan{Sources: Fixed([]byte("GET /" + Tail(""))), Each: 50})
	if err != nil || r.Lost != 10 || r.Bad != 10 || r.Requests != 90 || r.First == "" {
		t.Errorf("result %+v, %v", r, err)
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := Dial(Target{Address: l.Addr().String()}, 3); err == nil {
		t.Error("connected to nobody")
	}
}

func TestStopped(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	address := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := dial(t, address, 4).Run(ctx, &Plan{Sources: Fixed([]byte("GET /" + Tail(""))), Length: time.Hour})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = io.WriteString(w, strings.Repeat("y", 50_000))
		}
	})
	f, err := Fetch(t.Context(), address, []byte("GET /"+Tail("")), nil)
	if err != nil || f.Status != 200 || f.Body != 5_000_000 || f.First > f.Whole {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestNothingAllocated(t *testing.T) {
	s := Filled("GET /v1/decisions?ip=", words{"192.0.2.1"}, Tail("secret"))(0, 1)
	dst := make([]byte, 0, 1000)
	a := answer{}
	text := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nnull")
	if n := testing.AllocsPerRun(100, func() {
		dst = s.Next(dst[:0], 0)
		a.reset()
		if _, done, _ := a.feed(text); !done {
			t.Error("not done")
		}
	}); n > 1 { // the list of words above makes one
		t.Errorf("%v allocations per request", n)
	}
}
