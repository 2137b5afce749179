package auth

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fastQueue is how many may wait for a password check; the rest are told
	// to come back later. At two workers this is some five seconds of waiting.
	fastQueue = 256
	// slowQueue is the same for addresses that have guessed wrong too often.
	slowQueue = 32
)

var errBusy = &Refusal{Kind: Busy, Text: "too many logins at once"}

// lane lets few at a time do something dear.
//
// There are two lanes. Everybody takes the fast one, except addresses that
// failed often of late: those share a single worker. They still get in with
// the right password, only slower, so a fleet behind one proxy is not locked
// out by one of its members, and guessing never takes more than one worker.
type lane struct {
	workers chan struct{}
	waiting atomic.Int32
	most    int32
}

func newLane(workers, queue int) lane {
	return lane{workers: make(chan struct{}, workers), most: int32(queue)}
}

// do waits for a worker and runs work. errBusy means that the queue was full
// or ctx ended first, and work did not run.
func (l *lane) do(ctx context.Context, work func()) error {
	if l.waiting.Add(1) > l.most {
		l.waiting.Add(-1)
		return errBusy
	}
	select {
	case l.workers <- struct{}{}:
		l.waiting.Add(-1)
	case <-ctx.Done():
		l.waiting.Add(-1)
		return errBusy
	}
	defer func() { <-l.workers }()
	work()
	return nil
}

const (
	// guessesAllowed is how many wrong passwords an address may give before
	// it is sent to the slow lane.
	guessesAllowed = 10
	// guessForgotten is after how long one of them is forgotten.
	guessForgotten = int64(6 * time.Second)
	// mostGuessers bounds the memory. When it is full those that are nearly
	// forgotten make room; if all are busy a newcomer is not counted.
	mostGuessers = 4096
)

// guesses counts wrong passwords by address, IPv6 by /64.
type guesses struct {
	mu      sync.Mutex
	byPlace map[netip.Prefix]int64 // when the last of its guesses is forgotten
}

func placeOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// tooMany reports whether an address has to take the slow lane.
func (g *guesses) tooMany(a netip.Addr, now int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byPlace[placeOf(a)]-now > guessesAllowed*guessForgotten
}

// wrong counts one wrong password.
func (g *guesses) wrong(a netip.Addr, now int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byPlace == nil {
		g.byPlace = make(map[netip.Prefix]int64)
	}
	place := placeOf(a)
	if _, known := g.byPlace[place]; !known && len(g.byPlace) >= mostGuessers {
		g.forget(now)
		if len(g.byPlace) >= mostGuessers {
			return
		}
	}
	until := max(g.byPlace[place], now) + guessForgotten
	g.byPlace[place] = min(until, now+2*guessesAllowed*guessForgotten)
}

// forget drops whom nothing is held against any more. Called with the lock.
func (g *guesses) forget(now int64) {
	for place, until := range g.byPlace {
		if until <= now+guessForgotten {
			delete(g.byPlace, place)
		}
	}
}
