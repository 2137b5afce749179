package feed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

// watched has a house's feed watch its engine, until the test ends.
func watched(t testing.TB) (h *house, end func()) {
	h = newHouse(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.feed.Watch(ctx, h.Changed, h.StreamView, func(time.Duration) {})
	}()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return h, end
}

// waiter is one who is woken.
type waiter struct {
	held  *Held
	woken chan bool
}

func (h *house) wait(raw string, wait time.Duration) *waiter {
	h.t.Helper()
	w := &waiter{woken: make(chan bool, 1)}
	w.held = h.feed.Hold([]byte(raw), nil, nil, h.View().Revision(), wait, Manners{}, func(last bool) bool { w.woken <- last; return true })
	if w.held == nil {
		h.t.Fatal("nobody is taken")
	}
	return w
}

// is expects to be woken, in a while at most.
func (w *waiter) is(t testing.TB, last bool) {
	t.Helper()
	select {
	case got := <-w.woken:
		if got != last {
			t.Fatalf("woken with last %v", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("not woken")
	}
}

// still expects not to have been woken by what has come up to now.
func (w *waiter) still(t testing.TB) {
	t.Helper()
	if len(w.woken) > 0 {
		t.Fatal("woken")
	}
}

// TestHeld: who waits is woken by what concerns the question, by nothing else, when the
// time is up, and at the end.
func TestHeld(t *testing.T) {
	t.Parallel()
	h, end := watched(t)
	any, other := h.wait("", HeldAtMost), h.wait("origins=crowdsec", HeldAtMost)
	gone := h.wait("", HeldAtMost)
	gone.held.Leave()
	gone.held.Leave()
	h.row("nobody's business")
	h.ban("192.0.2.1")
	any.is(t, false)
	other.still(t)
	gone.still(t)

	// One who asked before the watcher looked.
	before := h.View().Revision()
	h.ban("192.0.2.2")
	again := h.wait("", HeldAtMost)
	h.await("the watcher has looked", func() bool { h.feed.held.mu.Lock(); defer h.feed.held.mu.Unlock(); return h.feed.held.seen > before })
	late := &waiter{woken: make(chan bool, 1)}
	h.feed.Hold([]byte("scopes=ip"), nil, nil, before, HeldAtMost, Manners{}, func(last bool) bool { late.woken <- last; return true })
	late.is(t, false)
	again.still(t)

	short := h.wait("", 10*time.Millisecond)
	short.is(t, true)
	if n := h.feed.Usage().Held; n != 2 {
		t.Errorf("%d wait", n)
	}
	again.still(t)

	// One who is busy is asked again.
	tries := atomic.Int32{}
	busy := make(chan bool, 1)
	h.feed.Hold([]byte("value=192.0.2.3"), nil, nil, h.View().Revision(), HeldAtMost, Manners{}, func(last bool) bool {
		if tries.Add(1) < 3 {
			return false
		}
		busy <- last
		return true
	})
	h.ban("192.0.2.3")
	<-busy
	end()
	other.is(t, true)
	if h.feed.Hold(nil, nil, nil, 0, time.Second, Manners{}, nil) != nil {
		t.Error("one more is taken")
	}
	h.feed.held.mu.Lock()
	defer h.feed.held.mu.Unlock()
	if n := len(h.feed.held.groups); n != 0 || h.feed.held.many != 0 {
		t.Errorf("%d groups are left, %d wait", n, h.feed.held.many)
	}
}

// TestHeldAtRandom: whoever waits at a revision is woken if anything that the question
// admits has changed since, whatever comes meanwhile.
func TestHeldAtRandom(t *testing.T) {
	t.Parallel()
	h, _ := watched(t)
	stop := make(chan struct{})
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		chance := rand.New(rand.NewPCG(1, 2))
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				h.ban(fmt.Sprintf("10.0.%d.%d", chance.IntN(4), chance.IntN(256)))
			}
		}
	}()
	chance := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		raw := []string{"", "scopes=ip", fmt.Sprintf("value=10.0.%d.%d", chance.IntN(4), chance.IntN(4))}[chance.IntN(2)]
		h.wait(raw, HeldAtMost).is(t, false)
	}
	close(stop)
	<-wrote
}
