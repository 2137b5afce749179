package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lapid/transport/admin"
)

// TestKill kills the server again and again in the middle of writes. What was
// answered is there after every restart; an alert is there whole or not at all;
// a token goes on working.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t)
	answered := &ledger{alerts: map[string]int{}, asked: map[string]int{}}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	const kills = 22
	for round := range kills {
		ctx, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for w := range 6 {
			writers.Go(func() { h.writeAlerts(ctx, answered, fmt.Sprintf("r%d-w%d", round, w), 1+w*w) })
		}
		writers.Go(func() { h.writeBouncers(ctx, answered, fmt.Sprintf("r%d", round)) })
		enough := answered.count() + 1 + chance.IntN(400)
		after := time.NewTimer(time.Duration(chance.IntN(int(60 * time.Millisecond))))
		<-after.C
		if chance.IntN(2) == 0 { // by number of answers, instead of by time
			await(t, "writes are answered", func() bool { return answered.count() >= enough })
		}
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.ended
		stop()
		writers.Wait()
		p = start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		h.compare(answered)
		if t.Failed() {
			t.Fatalf("after kill %d", round+1)
		}
	}
	if answered.count() == 0 {
		t.Error("nothing was ever answered")
	}
	t.Logf("%d kills, %d writes answered", kills, answered.count())
}

// ledger is what writers asked for and what they were answered.
type ledger struct {
	mu       sync.Mutex
	alerts   map[string]int // scenario to number of decisions, answered
	asked    map[string]int // the same, asked for
	bouncers []string       // answered
	next     int            // of addresses
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.alerts) + len(l.bouncers)
}

// begin notes a write and gives its first address.
func (l *ledger) begin(scenario string, many int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[scenario] = many
	l.next += many
	return l.next - many
}

func (h *house) writeAlerts(ctx context.Context, l *ledger, name string, many int) {
	for i := 0; ctx.Err() == nil; i++ {
		scenario := fmt.Sprintf("%s-%d", name, i)
		code, _, err := h.ask("POST", "/v1/alerts", alertText(scenario, l.begin(scenario, many), many))
		if err != nil {
			return // killed
		}
		if code != 201 {
			h.t.Errorf("an alert is answered with %d", code)
			return
		}
		l.mu.Lock()
		l.alerts[scenario] = many
		l.mu.Unlock()
	}
}

func (h *house) writeBouncers(ctx context.Context, l *ledger, name string) {
	client, err := admin.Dial(ctx, filepath.Join(h.dir, "lapid/admin.sock"))
	if err != nil {
		return
	}
	defer client.Close()
	for i := 0; ctx.Err() == nil; i++ {
		n := fmt.Sprintf("%s-%d", name, i)
		if err := client.AddBouncer(ctx, &admin.NewBouncer{Name: n, KeyHash: hashOf(n)}); err != nil {
			return
		}
		l.mu.Lock()
		l.bouncers = append(l.bouncers, n)
		l.mu.Unlock()
	}
}

// compare asks the server for everything and holds it against the ledger.
func (h *house) compare(l *ledger) {
	h.t.Helper()
	code, text, err := h.ask("GET", "/v1/decisions/stream?startup=true", "")
	var all struct {
		New []struct{ Scenario, Value string }
	}
	if err := errors.Join(err, json.Unmarshal([]byte(text), &all)); err != nil || code != 200 {
		h.t.Fatalf("the stream: %d %v", code, err)
	}
	found := map[string]int{}
	for _, d := range all.New {
		found[d.Scenario]++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for scenario, many := range l.alerts {
		if found[scenario] != many {
			h.t.Errorf("%s was answered with %d decisions, there are %d", scenario, many, found[scenario])
		}
	}
	for scenario, n := range found {
		if l.asked[scenario] != n {
			h.t.Errorf("%s is half there: %d of %d decisions", scenario, n, l.asked[scenario])
		}
	}
	client, err := admin.Dial(h.t.Context(), filepath.Join(h.dir, "lapid/admin.sock"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer client.Close()
	list, err := client.Bouncers(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	names := map[string]bool{}
	for i := range list.Bouncers {
		names[list.Bouncers[i].Name] = true
	}
	for _, n := range l.bouncers {
		if !names[n] {
			h.t.Errorf("bouncer %s was answered and is gone", n)
		}
	}
	if code, _, err := h.ask("GET", "/v1/heartbeat", ""); code != 200 {
		h.t.Errorf("the token of before the kill: %d %v", code, err)
	}
}
