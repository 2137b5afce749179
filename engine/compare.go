package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// compare is an operation that changes nothing: each engine that shares the history makes the digest of what it holds after it,
// and whoever runs them compares those.
type compare struct{}

func (*compare) number() byte                 { return numberCompare }
func (*compare) append(dst []byte) []byte     { return dst }
func (*compare) decode(*decoder)              {}
func (*compare) apply(s *state, rev Revision) { s.compared = rev }

// Compared is what an engine held after a commit that asked for a comparison.
type Compared struct {
	Revision Revision
	Digest   [32]byte // as Engine.Digest
}

// comparing makes the digests.
type comparing struct {
	asked   atomic.Uint64 // the newest revision that was to be compared here
	last    atomic.Pointer[Compared]
	waiting atomic.Int32
	one     sync.Mutex // held while one is made
}

// mostComparing is how many comparisons may wait or be under way here, each of which holds its view: of more no digest
// is made, and the next one counts.
const mostComparing = 2

// Compare has every engine of the history make a digest at one revision, which it returns, or that of a comparison that was asked for
// since. Errors: ErrBusy while one is under way here, and those of every write.
func (e *Engine) Compare(ctx context.Context) (Revision, error) {
	if e.comparing.waiting.Load() > 0 {
		return 0, &Error{Kind: ErrBusy, Text: "a comparison is under way, try again when it is done"}
	}
	if err := e.propose(ctx, &proposal{op: &compare{}}); err != nil {
		return 0, fmt.Errorf("asking for a comparison: %w", err)
	}
	return Revision(e.comparing.asked.Load()), nil
}

// Compared returns the newest comparison of which this engine made the digest since it was opened; nil: none. It takes seconds for
// millions of decisions, so Compare has returned long before.
func (e *Engine) Compared() *Compared { return e.comparing.last.Load() }

// compareAt begins a digest if the commit that was just published asks for it. It is the committer's, which goes on meanwhile. A relay
// has another digest, and makes none.
func (e *Engine) compareAt(rev Revision) {
	if e.state.compared != rev || e.options.Relay {
		return
	}
	c := &e.comparing
	c.asked.Store(uint64(rev))
	if c.waiting.Add(1) > mostComparing {
		c.waiting.Add(-1)
		return
	}
	v := e.View()
	who := v.people() // exact here alone
	go func() {
		defer c.waiting.Add(-1)
		c.one.Lock()
		defer c.one.Unlock()
		c.last.Store(&Compared{rev, v.digest(who)})
	}()
}
