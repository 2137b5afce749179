package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestShutdown ends a real server by SIGTERM in the middle of writes, again and
// again. Every write is answered or refused, never both: what was answered is
// there after the next start, which follows at once, and what was refused is not.
// The end is in good order and within its bound, and the store is sound.
func TestShutdown(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	chance := rand.New(rand.NewPCG(seed, 3<<32))
	h := newHouse(t)
	l := &ledger{alerts: map[string]int{}, asked: map[string]int{}}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	refused, cut := 0, 0
	for round := range 4 {
		ctx, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		var mu sync.Mutex // guards refused and cut
		for w := range 8 {
			writers.Go(func() {
				no, lost := h.writeUntilTheEnd(ctx, l, fmt.Sprintf("r%d-w%d", round, w), 1+w*w)
				mu.Lock()
				defer mu.Unlock()
				refused, cut = refused+no, cut+lost
			})
		}
		enough := l.count() + 1 + chance.IntN(60)
		await(t, "writes are answered", func() bool { return l.count() >= enough })
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code != exitGood {
			t.Fatalf("SIGTERM ends with %d", code)
		}
		stop()
		writers.Wait()
		if round == 2 {
			h.steps([]step{{"check", exitGood, "~no damage found", ""}})
		}
		p = start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		h.compare(l)
		if t.Failed() {
			t.Fatalf("after end %d", round+1)
		}
	}
	t.Logf("%d answered, %d refused, %d not heard of", l.count(), refused, cut)
}

// writeUntilTheEnd asks for alerts until the server is gone. What was refused
// must never be there; what was cut off may be.
func (h *house) writeUntilTheEnd(ctx context.Context, l *ledger, name string, many int) (refused, cut int) {
	for i := 0; ctx.Err() == nil; i++ {
		scenario := fmt.Sprintf("%s-%d", name, i)
		code, text, err := h.ask("POST", "/v1/alerts", alertText(scenario, l.begin(scenario, many), many))
		l.mu.Lock()
		switch {
		case err != nil:
			cut++
		case code == http.StatusCreated:
			l.alerts[scenario] = many
		case code == http.StatusServiceUnavailable:
			refused++
			delete(l.asked, scenario)
		default:
			h.t.Errorf("an alert is answered with %d: %s", code, text)
		}
		l.mu.Unlock()
		if err != nil {
			select { // nobody listens any more
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
	}
	return refused, cut
}
