package enginetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"lapid/engine"
)

// Agreed is a history that several engines share, as servers that agree on one keep it,
// in the memory of a test, and with the accidents of a network: requests come late, twice
// or never, answers are lost, and the writer changes in the middle. What it does is a
// matter of its seed and of how the goroutines that ask are interleaved.
//
// The log compares: a request names the revision that it follows and the writer's term, and
// is refused unless both are those of now. So of a request that comes late, or twice, at
// most one is ever stored.
type Agreed struct {
	mu     sync.Mutex
	chance *rand.Rand
	calm   bool // nothing goes wrong

	floor engine.Revision // what is forgotten
	log   []entry         // behind it
	term  uint64          // of the writer; a new one deposes the last
	ids   uint64          // of requests
	late  []ask           // on their way, at most lateAtMost
	grown chan struct{}   // closed and replaced when the log grows

	// What went wrong, for tests that want to have seen it.
	Lost, Late, Doubled, Unsure, Refused int
}

// lateAtMost bounds the requests that are on their way; the oldest is lost then.
const lateAtMost = 64

type entry struct {
	id     uint64
	commit []byte
}

// ask is one request of an Append.
type ask struct {
	id, term uint64
	after    engine.Revision
	commit   []byte
}

// errNoAnswer is what the asking side sees of everything that is lost.
var errNoAnswer = errors.New("no answer")

// NewAgreed returns an empty history. With seed 0 nothing goes wrong.
func NewAgreed(seed uint64) *Agreed {
	return &Agreed{chance: rand.New(rand.NewPCG(seed, 1)), calm: seed == 0, grown: make(chan struct{})}
}

// Node is one engine's end of it.
func (a *Agreed) Node() *AgreedNode { return &AgreedNode{agreed: a} }

// AgreedNode is an engine.Journal.
type AgreedNode struct {
	agreed *Agreed
	term   uint64 // under the lock of agreed
}

// Claim makes this node the one that may write; another that was is deposed.
func (n *AgreedNode) Claim() {
	a := n.agreed
	a.mu.Lock()
	defer a.mu.Unlock()
	a.term++
	n.term = a.term
}

// Append asks up to three times. Once it gives up, a request of it may still be on its way.
func (n *AgreedNode) Append(ctx context.Context, after engine.Revision, commit []byte) error {
	a := n.agreed
	a.mu.Lock()
	a.ids++
	request := ask{a.ids, n.term, after, append([]byte(nil), commit...)}
	a.mu.Unlock()
	for range 3 {
		if ctx.Err() != nil {
			break
		}
		if err := a.ask(request); !errors.Is(err, errNoAnswer) {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Unsure++
	return engine.ErrUnsure
}

// ask sends a request once, after some of those that are late.
func (a *Agreed) ask(request ask) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.late) > 0 && a.chance.IntN(3) == 0 {
		i := a.chance.IntN(len(a.late))
		_ = a.take(a.late[i])
		a.late = append(a.late[:i], a.late[i+1:]...)
	}
	if a.calm {
		return a.take(request)
	}
	switch a.chance.IntN(16) {
	case 0: // the request is lost
		a.Lost++
		return errNoAnswer
	case 1: // its answer is
		a.Lost++
		_ = a.take(request)
		return errNoAnswer
	case 2, 3: // it comes later
		a.Late++
		if a.late = append(a.late, request); len(a.late) > lateAtMost {
			a.late = a.late[1:]
		}
		return errNoAnswer
	case 4: // it comes twice
		a.Doubled++
		err := a.take(request)
		_ = a.take(request)
		return err
	}
	return a.take(request)
}

// take is what the log does with a request that has come.
func (a *Agreed) take(r ask) error {
	newest := a.newest()
	if r.after < newest && r.after >= a.floor && a.log[r.after-a.floor].id == r.id {
		return nil // it came before
	}
	if r.term != a.term || r.after != newest {
		a.Refused++
		return engine.ErrNotWriter
	}
	a.log = append(a.log, entry{r.id, r.commit})
	close(a.grown)
	a.grown = make(chan struct{})
	return nil
}

func (a *Agreed) newest() engine.Revision { return a.floor + engine.Revision(len(a.log)) }

// Follow hands over commits one by one.
func (n *AgreedNode) Follow(ctx context.Context, after engine.Revision, deliver func(engine.Revision, []byte) error) error {
	a := n.agreed
	for {
		a.mu.Lock()
		grown := a.grown
		if after < a.floor {
			a.mu.Unlock()
			return engine.ErrForgotten
		}
		var next []entry
		if after < a.newest() {
			next = a.log[after-a.floor:]
		}
		a.mu.Unlock()
		for _, e := range next {
			if err := ctx.Err(); err != nil {
				return err
			}
			after++
			if err := deliver(after, e.commit); err != nil {
				return err
			}
		}
		if len(next) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Newest asks the log.
func (n *AgreedNode) Newest(context.Context) (engine.Revision, error) {
	n.agreed.mu.Lock()
	defer n.agreed.mu.Unlock()
	return n.agreed.newest(), nil
}

// Trim forgets for all nodes.
func (n *AgreedNode) Trim(to engine.Revision) error {
	a := n.agreed
	a.mu.Lock()
	defer a.mu.Unlock()
	if to = min(to, a.newest()); to > a.floor {
		a.log = append([]entry(nil), a.log[to-a.floor:]...)
		a.floor = to
	}
	return nil
}
