package conn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"
)

// follower is a cursor that remembers who was to see what becomes of it.
type follower struct {
	mu      sync.Mutex
	offered Witness
	heard   int
}

func (f *follower) Offer(w Witness) bool { f.Watch(w); return true }
func (f *follower) Lost()                {}

func (f *follower) Heard() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard++
	f.offered = nil
}

func (f *follower) Watch(w Witness) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offered = w
}

// watching answers with whether the witness of the answer under way is the request's own,
// and moves the cursor. A goroutine waits with the first of two until the second is there.
type watching struct {
	cursor *follower
	begun  chan bool // on a loop
}

func (h *watching) Serve(r *Request, a *Answer) bool {
	defer r.Drain()
	h.begun <- !r.MayWait()
	for r.MayWait() && string(r.Query) == "first" && r.conn.look().Waiting == 0 {
		runtime.Gosched()
	}
	own, there := r.Witness()
	h.cursor.mu.Lock()
	same := h.cursor.offered == own
	h.cursor.mu.Unlock()
	a.Copy(200, []byte("text/plain"), fmt.Appendf(nil, "%v %v", there, same))
	a.Move(h.cursor)
	return true
}

// TestOwnWitness: a client whose answer is under way and that asks again on the same
// connection is known for the same, on a loop and with a goroutine: of what it has not
// read there it has missed nothing.
func TestOwnWitness(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		loops  int
		onLoop bool
		more   []string
	}{{0, false, nil}, {1, false, []string{"Content-Language: en"}}, {1, true, nil}} {
		cursor, begun := &follower{}, make(chan bool, 2)
		h := newHouse(t, func(o *Options) {
			o.Loops, o.NewHandler = c.loops, func() Handler { return &watching{cursor, begun} }
		})
		h.must(h.Listen())
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- h.Run(ctx, time.Hour, func() {}, func() {}) }()
		client, err := net.Dial("tcp", h.Addr().String())
		h.must(err)
		first, second := request("GET", "/v1/decisions/stream?first", c.more...), request("GET", "/v1/decisions/stream?second", c.more...)
		if c.onLoop { // both come at once, and are answered one after the other
			_, err = io.WriteString(client, first+second)
			h.must(err)
		} else {
			_, err = io.WriteString(client, first)
			h.must(err)
			if <-begun {
				t.Fatalf("%+v: on a loop", c)
			}
			_, err = io.WriteString(client, second)
			h.must(err)
		}
		in := bufio.NewReader(client)
		for _, want := range []string{"true false", "true true"} {
			got, err := http.ReadResponse(in, nil)
			h.must(err)
			body, err := io.ReadAll(got.Body)
			h.must(err)
			if string(body) != want {
				t.Errorf("%+v: there, own: %s, not %s", c, body, want)
			}
		}
		if <-begun != c.onLoop {
			t.Errorf("%+v: not there", c)
		}
		client.Close()
		cancel()
		h.must(<-over)
	}
}
