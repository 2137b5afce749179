package shadow

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A change of who answers must lose nothing: a bouncer's next delta comes from the other server, whose place for it must be
// behind everything that the first has told, and not beyond. So new requests wait, those under way are let finish, and the
// queue runs empty; then both servers are level, and the change is made between two requests.

// answering is who answers.
type answering struct {
	side     Side
	bouncers []string // with Ours: only these; nil: everybody
}

// gate counts the requests that are on their way to the first server or in the queue, and holds new ones up while the one
// who answers changes.
type gate struct {
	mu     sync.Mutex
	shut   chan struct{} // closed when it opens again; nil: it is open
	within int           // requests under way
	queued int           // and those in the queue
}

// enter waits while the gate is shut.
func (g *gate) enter() {
	for {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			g.within++
		}
		g.mu.Unlock()
		if shut == nil {
			return
		}
		<-shut
	}
}

func (g *gate) leave()      { g.add(-1, 0) }
func (g *gate) queue(n int) { g.add(0, n) }
func (g *gate) add(w, q int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.within += w
	g.queued += q
}

// still shuts the gate and waits until nothing is under way. When that takes too long it is opened again.
func (g *gate) still(patience time.Duration) error {
	g.mu.Lock()
	if g.shut != nil {
		g.mu.Unlock()
		return errors.New("another change is under way: wait for it")
	}
	g.shut = make(chan struct{})
	g.mu.Unlock()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		within, queued := g.within, g.queued
		g.mu.Unlock()
		switch {
		case within == 0 && queued == 0:
			return nil
		case time.Now().After(end):
			g.open()
			return fmt.Errorf("nothing was changed: after %v %d requests are still under way and %d wait for the second server, which must be level first; try again", patience, within, queued)
		}
	}
}

// open lets those that wait in.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

// answerer is who answers a request. With bouncers by name only those whose key it is are answered
// by lapid.
func (s *Shadow) answerer(h http.Header) Side {
	a := s.answering.Load()
	if a.side == Theirs || a.bouncers == nil {
		return a.side
	}
	key := h.Get("X-Api-Key")
	if key == "" {
		return Theirs
	}
	if slices.Contains(a.bouncers, s.options.BouncerName(key)) {
		return Ours
	}
	return Theirs
}

// Switch changes who answers, for requests that come from now on, when both servers are level; requests wait meanwhile, for
// Options.SwitchLimit at most, and then nothing has changed. Names that no bouncer has are the caller's to refuse.
func (s *Shadow) Switch(side Side, bouncers []string) error {
	if side == Theirs && len(bouncers) > 0 {
		return errors.New("bouncers are named for 'answer ours'; with 'answer theirs' the old server answers everybody")
	}
	if len(bouncers) == 0 {
		bouncers = nil
	}
	if err := s.gate.still(s.options.SwitchLimit); err != nil {
		return err
	}
	s.answering.Store(&answering{side, slices.Clone(bouncers)})
	s.gate.open()
	switch {
	case side == Theirs:
		s.options.Logger.Warn("the old server answers everybody from now on")
	case bouncers == nil:
		s.options.Logger.Warn("lapid answers everybody from now on, and passes everything on to the old server")
	default:
		s.options.Logger.Warn("lapid answers these bouncers from now on, and the old server all others", "bouncers", bouncers)
	}
	return nil
}
