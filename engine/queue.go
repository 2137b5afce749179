package engine

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// proposal is one write on its way to the committer, or one chore.
type proposal struct {
	// Either the op is given, or resolve makes it, or both: then resolve has the
	// last word, and clears bytes when it changed the op. A nil op from resolve
	// means there is nothing to write.
	by      Actor // who wants it; zero: the actor of the context, or the server
	from    Sender
	op      op
	bytes   []byte // of op, framed; owned by the proposal
	before  op     // resolve may set it: goes first in the same commit
	resolve func(v *View) (op, error)

	// A chore is no write: it is done by the committer between two commits, on the
	// newest view, and adds nothing to the history. Nothing else is set then.
	chore func(v *View) error

	// once is the id under which the write is made once; zero: it has none. answer is where what
	// was answered the first time goes, if not to op. known: it was, and nothing is written.
	once   RequestID
	answer op
	known  bool

	// key names what resolve looks at. Proposals with the same key never share
	// a commit, for each must see what the one before it did; the key "*" looks
	// at everything, or takes away what others may look at, and goes alone.
	key string

	// key2 is a second one, for what looks at two; "": it does not.
	key2 string

	// ahead: it adds alerts, and resolve looks at allowlists alone. It may go to the journal
	// before the commit in front of it is applied, if that is of such proposals too.
	ahead bool

	err  error
	done chan struct{} // closed once, when err and the op's answer are final
}

// everything is the key of a proposal that must not share its commit: a change
// of a bouncer, made on the view before the bouncer's deletion, would bring it
// and its key back to life.
const everything = "*"

// queue is where proposals wait. The lock is held for a moment only, and no other
// is taken under it.
type queue struct {
	mu      sync.Mutex
	waiting []*proposal
	bytes   int
	closed  bool
	wake    chan struct{} // one token: something waits
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// propose hands a write to the committer and waits until it is durable and
// visible, or refused. When ctx ends first the write is taken back; one that is
// being committed already is waited for, so that no caller is told "no" of what
// was stored, and what resolve borrows from the caller is the caller's again.
func (e *Engine) propose(ctx context.Context, p *proposal) error {
	p.done = make(chan struct{})
	if p.by.Kind == ActorUnknown {
		p.by = actorOr(ctx, Actor{Kind: ActorServer})
	}
	p.from = senderOf(ctx)
	if r := requestOf(ctx); r != nil && p.chore == nil {
		defer r.begin(p)()
	}
	if p.op != nil && p.bytes == nil {
		p.bytes = p.frame()
	}
	e.counters.proposals.Add(1)
	if err := e.enqueue(p); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
	}
	if e.queue.withdraw(p) {
		return fmt.Errorf("waiting for the commit: %w", ctx.Err())
	}
	<-p.done
	return p.err
}

// perform has the committer do a chore, behind the writes that wait already, and waits
// as propose does.
func (e *Engine) perform(ctx context.Context, chore func(v *View) error) error {
	return e.propose(ctx, &proposal{chore: chore, key: everything})
}

func (e *Engine) enqueue(p *proposal) error {
	q := &e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return shuttingDown()
	}
	if p.chore == nil && !e.role.writes.Load() {
		return e.notWriter(nil)
	}
	if len(q.waiting) >= e.options.MaxQueued || (q.bytes > 0 && q.bytes+len(p.bytes) > e.options.MaxQueuedBytes) {
		e.counters.refused.Add(1)
		return &Error{Kind: ErrBusy, Text: "too many writes are waiting, try again later"}
	}
	q.waiting = append(q.waiting, p)
	q.bytes += len(p.bytes)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// number tells alerts which numbers they will get, and returns those that come next. The
// operation is framed then.
func (p *proposal) number(next numbers) numbers {
	add := addedBy(p.op)
	if add != nil {
		if add.first = next; p.bytes != nil {
			next.put(p.bytes[len(p.bytes)-numbersSize:])
		}
		next = add.after(next)
	}
	if p.bytes == nil {
		p.bytes = p.frame()
	}
	return next
}

// frame is the operation as it is written.
func (p *proposal) frame() []byte {
	if p.once.IsZero() {
		return appendOp(nil, p.by, p.op)
	}
	return appendOp(nil, p.by, &requested{p.once, p.op})
}

func shuttingDown() error { return &Error{Kind: ErrClosed, Text: "the server is shutting down"} }

func (p *proposal) refuse(err error) {
	p.err = err
	close(p.done)
}

// Bounds of one commit. A larger proposal makes a commit of its own.
const (
	maxBatch      = 4096
	maxBatchBytes = 8 << 20
)

// gatherRounds and gatherAtMost bound gather: after so many rounds that brought
// no writer, and after so many in all.
const (
	gatherRounds = 3
	gatherAtMost = 16
)

// gather lets writers that are about to propose do so, for each commit costs a
// sync and two changes of threads however small it is: it steps back as long as
// that brings another writer. A lone writer is not kept waiting.
//
// With 64 writers on two processors commits are a third larger and a request takes
// a tenth less of processor time. Tried as well, and no better: stepping back once,
// ten or thirty rounds in vain, and sleeping 100 µs; the rate changes little with
// the size of commits. A third P for those two processors gave a tenth more in some
// runs and nothing in others.
func (q *queue) gather(before int) {
	n, idle := q.length(), 0
	if n <= 1 && before <= 1 {
		return
	}
	for round := 0; n < maxBatch && idle < gatherRounds && round < gatherAtMost; round++ {
		runtime.Gosched()
		idle++
		if m := q.length(); m != n {
			n, idle = m, 0
		}
	}
}

// take removes the longest run of proposals that may share a commit.
func (q *queue) take() []*proposal { return q.takeSome(false) }

// takeAhead removes the longest such run of proposals that may go ahead.
func (q *queue) takeAhead() []*proposal { return q.takeSome(true) }

func (q *queue) takeSome(ahead bool) []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	var keys map[string]bool
	var ids map[RequestID]bool
	for n < len(q.waiting) && n < maxBatch {
		p := q.waiting[n]
		if n > 0 && (bytes+len(p.bytes) > maxBatchBytes || p.key == everything || q.waiting[0].key == everything) {
			break
		}
		if ahead && !p.ahead {
			break
		}
		if !p.once.IsZero() {
			if ids[p.once] {
				break
			}
			if ids == nil {
				ids = map[RequestID]bool{}
			}
			ids[p.once] = true
		}
		if p.key != "" {
			if keys[p.key] || keys[p.key2] {
				break
			}
			if keys == nil {
				keys = map[string]bool{}
			}
			keys[p.key] = true
			if p.key2 != "" {
				keys[p.key2] = true
			}
		}
		bytes += len(p.bytes)
		n++
	}
	batch := append([]*proposal(nil), q.waiting[:n]...)
	clear(q.waiting[:n])
	q.waiting = dropFront(q.waiting, n)
	q.bytes -= bytes
	if len(q.waiting) > 0 {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return batch
}

// withdraw takes a proposal out of the queue; false when it is not there any
// more.
func (q *queue) withdraw(p *proposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(q.waiting, p)
	if at < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	q.bytes -= len(p.bytes)
	return true
}

// close refuses further proposals and returns those that still wait.
func (q *queue) close() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := q.waiting
	q.waiting, q.bytes = nil, 0
	return left
}
