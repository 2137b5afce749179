package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"lapid/persist"
)

// The committer is the one writer of the one history. In a loop it takes what
// has been proposed meanwhile and makes it one commit:
//
//	resolve   orders such as "end what matches" are turned into what exactly
//	          they mean, on the newest view
//	journal   the commit's bytes go to disk, in one synced write
//	          — a crash before this line: nothing happened, nobody was answered
//	          — a crash after it: the restart replays the commit
//	apply     memory follows; no reader can see it yet
//	publish   one pointer is swapped: everybody sees the whole commit
//	answer    whoever proposed is told
//
// While one commit is being synced the next gathers in the queue, so writers
// that arrive together share one sync.

// proposal is one write on its way to the committer.
type proposal struct {
	// Either the op is given, or resolve makes it, or both: then resolve has the
	// last word, and clears bytes when it changed the op. A nil op from resolve
	// means there is nothing to write.
	by      Actor // who wants it; zero: who the context says, or the server
	op      op
	bytes   []byte // of op, framed; owned by the proposal
	before  op     // resolve may set it: goes first in the same commit
	resolve func(v *View) (op, error)

	// key names what resolve looks at. Proposals with the same key never share
	// a commit, for each must see what the one before it did; the key "*" looks
	// at everything, or takes away what others may look at, and goes alone.
	key string

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
// being committed already is waited for, so that nobody is told "no" of what
// was stored, and what resolve borrows from the caller is the caller's again.
func (e *Engine) propose(ctx context.Context, p *proposal) error {
	p.done = make(chan struct{})
	if p.by.Kind == ActorUnknown {
		p.by = actorOr(ctx, Actor{Kind: ActorServer})
	}
	if p.op != nil && p.bytes == nil {
		p.bytes = appendOp(nil, p.by, p.op)
	}
	e.proposals.Add(1)
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

func (e *Engine) enqueue(p *proposal) error {
	q := &e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return &Error{Kind: ErrClosed, Text: "the server is shutting down"}
	}
	if len(q.waiting) >= e.options.MaxQueued || (q.bytes > 0 && q.bytes+len(p.bytes) > e.options.MaxQueuedBytes) {
		e.refused.Add(1)
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

// Bounds of one commit. A larger proposal makes a commit of its own.
const (
	maxBatch      = 4096
	maxBatchBytes = 8 << 20
)

// gatherRounds and gatherAtMost bound gather: after so many rounds that brought
// nobody, and after so many in all.
const (
	gatherRounds = 3
	gatherAtMost = 16
)

// gather lets writers that are about to propose do so, for each commit costs a
// sync and two changes of threads however small it is: it steps back as long as
// that brings somebody. A lone writer is not kept waiting.
//
// With 64 writers on two processors commits are a third larger and a request takes
// a tenth less of processor time. Tried as well, and no better: stepping back once,
// ten or thirty rounds in vain, and sleeping 100 µs; the rate changes little with
// the size of commits. A third P for those two processors gave a tenth more in some
// runs and nothing in others. Not tried: to begin the sync of a commit while the
// one before is applied, which could use the fifth of the time in which no sync is
// under way.
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
func (q *queue) take() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	var keys map[string]bool
	for n < len(q.waiting) && n < maxBatch {
		p := q.waiting[n]
		if n > 0 && (bytes+len(p.bytes) > maxBatchBytes || p.key == everything || q.waiting[0].key == everything) {
			break
		}
		if p.key != "" {
			if keys[p.key] {
				break
			}
			if keys == nil {
				keys = map[string]bool{}
			}
			keys[p.key] = true
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

// commitLoop is the committer's goroutine.
func (e *Engine) commitLoop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	_, steady := e.clock()
	e.nextSnapshot = steady + int64(e.options.SnapshotEvery)
	e.rounds.begin(steady)
	defer e.rounds.end()
	last := 0 // proposals in the last commit
	for {
		select {
		case <-ctx.Done():
			return e.drain()
		case <-e.queue.wake:
		case <-timer.C:
		}
		e.queue.gather(last)
		batch := e.queue.take()
		last = len(batch)
		e.commitBatch(batch)
		timer.Reset(e.housekeeping())
		now, steady := e.clock()
		e.tellMissed(now)
		e.rounds.turn(steady)
	}
}

// drain commits what was proposed before the end, then closes the door.
func (e *Engine) drain() error {
	for {
		batch := e.queue.take()
		if len(batch) == 0 {
			break
		}
		e.commitBatch(batch)
	}
	for _, p := range e.queue.close() {
		p.refuse(&Error{Kind: ErrClosed, Text: "the server is shutting down"})
	}
	for {
		if more, err := e.writeVisits(); err != nil || !more {
			return err
		}
	}
}

func (p *proposal) refuse(err error) {
	p.err = err
	close(p.done)
}

// commitBatch makes one commit of the batch and of what is due by now. Its time is
// never earlier than that of the one before, unless the clock was set back by more than
// the slack: then it says so first.
func (e *Engine) commitBatch(batch []*proposal) {
	now := e.Now()
	s := e.state
	view := e.View()
	record := e.record[:0] // the operations; their number is known at the end
	ops := 0
	var back *setBack
	if now < s.at-clockSlack {
		back = &setBack{to: now}
		record = appendOp(record, Actor{Kind: ActorServer}, back)
		ops++
	}
	at := now
	if back == nil {
		at = max(now, s.at)
	}
	next, ok := s.deadlines.Next()
	due := ok && next <= at
	for _, p := range batch {
		if p.resolve != nil {
			if p.op, p.err = p.resolve(view); p.op == nil {
				continue
			}
			if p.bytes == nil {
				p.bytes = appendOp(nil, p.by, p.op)
			}
			if p.before != nil {
				record = appendOp(record, p.by, p.before)
				ops++
			}
		}
		record = append(record, p.bytes...)
		p.bytes = nil
		ops++
	}
	e.record = record
	if due || ops > 1 || ops == 1 && back == nil {
		framed := append(appendCommitHead(e.frame[:0], at, ops), record...)
		e.frame = framed
		e.write(batch, back, at, framed)
	}
	e.strangers.settle()
	for _, p := range batch {
		close(p.done)
	}
	if cap(e.record) > 2*maxBatchBytes {
		e.record, e.frame = nil, nil // one giant must not hold its memory for ever
	}
}

// write journals, applies and publishes one commit.
func (e *Engine) write(batch []*proposal, back *setBack, at int64, record []byte) {
	s := e.state
	rev := s.next.revision + 1
	if err := e.journal(rev, record); err != nil {
		e.strangers.failed()
		for _, p := range batch {
			if p.op != nil {
				p.err = err
			}
		}
		return
	}
	s.turnTo(rev, at, back)
	for _, p := range batch {
		if p.op != nil {
			s.actor = p.by
			if p.before != nil {
				p.before.apply(s, rev)
			}
			p.op.apply(s, rev)
		}
	}
	e.writeRows(rev)
	e.publish(rev)
	e.commits.Add(1)
	e.sinceSnapshot.Add(int64(len(record)))
}

// journal writes one record, reviving a store whose disk has refused before.
func (e *Engine) journal(rev Revision, record []byte) error {
	err := e.store.Append(uint64(rev), record)
	if errors.Is(err, persist.ErrDisk) && e.revive() {
		err = e.store.Append(uint64(rev), record)
	}
	if errors.Is(err, persist.ErrTooLarge) {
		return &Error{Kind: ErrInvalid, Text: "the change is too large to be stored at once", Cause: err}
	}
	if err != nil {
		if e.sick.CompareAndSwap(false, true) {
			e.log.Error("cannot write the journal: writes are refused, reads go on", "error", err)
		}
		if !errors.Is(err, persist.ErrGone) { // that is said by who saw it
			e.noteDisk("writes are refused, reads go on", err)
		}
		return &Error{Kind: ErrDisk, Text: "the change could not be stored", Cause: err}
	}
	if e.sick.CompareAndSwap(true, false) {
		e.log.Info("the journal can be written again")
		e.wellAgain()
	}
	return nil
}

// noteDisk says what the disk refuses to do. What the disk said last counts.
func (e *Engine) noteDisk(what string, err error) {
	e.troubles.set(TroubleDisk, fmt.Sprintf("%s: %v; make room below %s, or make it writable: "+
		"it is tried again every second", what, err, e.options.Dir), e.Now())
}

// wellAgain takes it back once all that was refused has been written.
func (e *Engine) wellAgain() {
	if !e.sick.Load() && e.bodiless.Load() == 0 {
		e.troubles.clear(TroubleDisk)
	}
}

// tryDisk commits nothing, on a disk that has refused: so a server that nobody
// writes to notices too when the disk takes writes again, once a second at most.
func (e *Engine) tryDisk(steady int64) {
	if steady < e.nextTry || (!e.sick.Load() && e.bodiless.Load() == 0) {
		return
	}
	e.nextTry = steady + int64(time.Second)
	_ = e.commitOwn(Actor{Kind: ActorServer}, &visits{live: true}) // what fails is a trouble already
}

// commitOwn commits what the committer itself wants.
func (e *Engine) commitOwn(by Actor, o op) error {
	p := &proposal{by: by, op: o, bytes: appendOp(nil, by, o), done: make(chan struct{})}
	e.commitBatch([]*proposal{p})
	return p.err
}

// revive tries to open the store again, once a second at most.
func (e *Engine) revive() bool {
	_, steady := e.clock()
	if e.revived != 0 && steady-e.revived < int64(time.Second) {
		return false
	}
	e.revived = steady
	err := e.store.Reopen()
	if errors.Is(err, persist.ErrBehind) {
		// Without syncs the disk has lost commits that memory holds: write the
		// state down whole, and the journal can go on from there.
		if err = e.writeDown(context.Background(), e.View()); err == nil {
			err = e.store.Reopen()
		}
	}
	if err != nil {
		e.log.Debug("the store cannot be opened again yet", "error", err)
		return false
	}
	if e.readOnly {
		e.endReadOnly()
	}
	return true
}

// writeRows stores the cold bodies of applied commits, up to revision rev. They
// follow from the journal, so a failure here costs nothing that was promised:
// they are kept and tried again with the next commit, and made again by a
// replay. No snapshot may be taken before, for a replay would begin after it.
func (e *Engine) writeRows(rev Revision) {
	if err := e.state.rows.write(e.store, e.batch); err != nil {
		e.bodiless.CompareAndSwap(0, uint64(rev))
		e.log.Warn("cannot write alert bodies yet", "error", err)
		e.noteDisk("alerts cannot be written out, and no snapshot is written", err)
		return
	}
	if e.bodiless.Swap(0) != 0 {
		e.wellAgain()
	}
}

// publish shows everybody the state as it is after rev.
func (e *Engine) publish(rev Revision) {
	s := e.state
	s.ranges.Publish()
	s.history.Publish(uint64(rev))
	s.next.revision, s.next.at = rev, s.at
	s.next.bouncers.shown, s.next.machines.shown = true, true
	v := s.next // a copy: later commits change s.next
	s.graves.watch(&v)
	s.next.number = v.number
	e.view.Store(&v)
	e.historyLen.Store(int64(s.history.Len()))
	e.stored.Store(int64(s.ids.Len()))
}
