package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"lapid/persist"
)

// The committer is the one writer of the one history. In a loop it takes what
// has been proposed meanwhile and makes it one commit:
//
//	resolve   orders such as "end what matches" are turned into what exactly
//	          they mean, on the newest view
//	journal   the commit's bytes go to disk, in one synced write
//	          — a crash before this line: nothing happened, no caller was answered
//	          — a crash after it: the restart replays the commit
//	apply     memory follows; no reader can see it yet
//	publish   one pointer is swapped: every reader sees the whole commit
//	answer    the callers that proposed are told
//
// While one commit is being synced the next gathers in the queue, so writers
// that arrive together share one sync. And while one is applied and its writers are
// answered the next is being synced already, if both bring alerts and nothing else
// (commitRun): the disk is at work all the time, and there is never more than one commit
// of which it is not known what became of it. It is neither applied nor published before
// that is known, so that a sync that fails leaves nothing to undo.

// commitLoop is the committer's goroutine.
func (e *Engine) commitLoop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	_, steady := e.clock()
	e.nextSnapshot = steady + int64(e.options.SnapshotEvery)
	e.rounds.begin(steady)
	defer e.rounds.end()
	defer close(e.role.over)
	if err := e.trail.begin(); err != nil {
		e.log.Warn("the audit cannot be begun yet", "error", err)
	}
	if e.role.run = ctx; !e.role.writes.Load() {
		e.startFollowing()
	}
	last := 0 // proposals in the last commit
	for {
		select {
		case <-ctx.Done():
			return e.drain()
		case <-e.queue.wake:
		case <-timer.C:
		case d := <-e.role.news:
			d.done <- e.follow(d)
		case o := <-e.role.orders:
			o.done <- e.obey(o.lead)
		}
		e.queue.gather(last)
		batch := e.queue.take()
		last = e.commitRun(batch)
		timer.Reset(e.housekeeping())
		now, steady := e.clock()
		e.logMissed(now)
		e.rounds.turn(steady)
	}
}

// drain commits what was proposed before the end, then closes the door.
func (e *Engine) drain() error {
	e.stopFollowing()
	defer e.stopFollowing() // a commit of what is left may have shown that another writes
	for {
		batch := e.queue.take()
		if len(batch) == 0 {
			break
		}
		e.commitBatch(batch)
	}
	for _, p := range e.queue.close() {
		p.refuse(shuttingDown())
	}
	if e.options.Relay {
		e.writeOwnVisits()
	}
	for e.role.writes.Load() && e.options.Journal == nil {
		if more, err := e.writeVisits(); (err != nil || !more) && e.role.writes.Load() {
			return err
		}
	}
	return nil // another writes, and this one has nothing to say
}

// draft is a commit on its way: made of proposals, then in the journal, then in memory.
type draft struct {
	batch []*proposal
	rev   Revision
	at    int64
	back  *setBack // the clock was set back: first in the commit
	ops   int
	ahead bool    // all are, see proposal.ahead
	next  numbers // behind it
	from  []sentOp

	record []byte // borrowed from the engine until the next draft is made; nil: there is nothing to write
	begun  bool   // the store's journal has it, or has said begin
	begin  error
}

// commitBatch makes one commit of the batch and of what is due by now.
func (e *Engine) commitBatch(batch []*proposal) {
	d := e.draft(batch, nil)
	var err error
	if d.record != nil {
		err = e.append(d.rev, d.record)
	}
	e.settle(d, err)
}

// runAtMost is for how long commitRun goes on, in nanoseconds: what else the committer has
// to do waits so long, and for the commit that is under way then.
const runAtMost = 20e6

// commitRun makes a commit of the batch, and commits of what gathers meanwhile, each begun
// when the one before is on the disk and before that is applied. It returns how many
// proposals the last one had.
func (e *Engine) commitRun(batch []*proposal) int {
	_, began := e.clock()
	d := e.draft(batch, nil)
	e.beginAppend(d)
	for {
		err := e.endAppend(d)
		var next *draft
		if err == nil && d.ahead && d.begun {
			if _, now := e.clock(); now-began < runAtMost {
				next = e.draftAhead(d)
			}
		}
		e.settle(d, err)
		if next == nil {
			return len(d.batch)
		}
		d = next
	}
}

// draftAhead makes and begins the commit behind one that is on the disk and not yet
// applied; nil, if nothing waits that may go ahead.
func (e *Engine) draftAhead(before *draft) *draft {
	batch := e.queue.takeAhead()
	if len(batch) == 0 {
		return nil
	}
	d := e.draft(batch, before)
	e.beginAppend(d)
	return d
}

// draft makes a commit of the batch and of what is due by now, to follow another that is
// not applied yet, or nil. Its time is never earlier than that of the one before, unless
// the clock was set back by more than the slack: then it says so first. An engine that
// follows does chores and refuses writes.
func (e *Engine) draft(batch []*proposal, before *draft) *draft {
	s, now := e.state, e.Now()
	d := &draft{batch: batch, rev: s.next.revision + 1, next: numbers{s.next.nextAlert, s.next.nextDecision}, ahead: true}
	newest := s.at
	if before != nil {
		d.rev, d.next, newest = before.rev+1, before.next, max(newest, before.at)
	}
	writes := e.role.writes.Load()
	record := e.record[:0] // the operations; their number is known at the end
	// Behind another the set back waits: it is for a commit that is made of all that was.
	if writes && before == nil && now < newest-clockSlack {
		d.back, d.ahead = &setBack{to: now}, false
		record = appendOp(record, Actor{Kind: ActorServer}, d.back)
		d.ops++
	}
	d.at = now
	if d.back == nil {
		d.at = max(now, newest, s.turned) // what is due was looked for by then
	}
	due := writes && before == nil && s.anyDue(d.at)
	e.record = e.resolve(d, record, writes)
	if due || d.ops > 1 || d.ops == 1 && d.back == nil {
		e.frame = appendCommit(e.frame[:0], d.at, d.ops, e.record, d.from)
		d.record = e.frame
	}
	return d
}

// resolve does the chores of a draft's batch and appends the operations of the rest.
func (e *Engine) resolve(d *draft, record []byte, writes bool) []byte {
	view := e.View()
	for _, p := range d.batch {
		d.ahead = d.ahead && p.ahead
		if p.chore != nil {
			p.err = p.chore(view)
			continue
		}
		if !writes {
			p.op, p.err = nil, e.notWriter(nil)
			continue
		}
		if !p.once.IsZero() {
			if p.known, p.err = e.state.recalled(p); p.known || p.err != nil {
				p.op = nil
				continue
			}
		}
		if p.resolve != nil {
			if p.op, p.err = p.resolve(view); p.op == nil {
				continue
			}
			if p.before != nil {
				record = appendOp(record, p.by, p.before)
				d.ops++
			}
		}
		d.next = p.number(d.next)
		record = append(record, p.bytes...)
		p.bytes = nil
		if p.from != (Sender{}) {
			d.from = append(d.from, sentOp{d.ops, p.from})
		}
		d.ops++
	}
	return record
}

// beginAppend has the store's journal begin to write a draft. Journals that are shared
// are asked once, by endAppend.
func (e *Engine) beginAppend(d *draft) {
	if d.record == nil || e.options.Journal != nil || d.rev == 1 {
		return
	}
	d.begun = true
	d.begin = e.ownsStore(d.rev, e.local.begin(d.rev-1, d.record))
}

// endAppend returns when a draft is in the journal or will not be.
func (e *Engine) endAppend(d *draft) error {
	if d.record == nil {
		return nil
	}
	if !d.begun {
		return e.append(d.rev, d.record)
	}
	first := true
	return e.onDisk(func() error {
		if !first {
			return e.appendLocal(d.rev, d.record)
		}
		first = false
		if d.begin != nil {
			return d.begin
		}
		return e.local.end()
	})
}

// settle applies and publishes a draft that is in the journal, or was refused by it for
// err, and answers whoever proposed it.
func (e *Engine) settle(d *draft, err error) {
	if d.record != nil {
		e.conclude(d.batch, d.back, d.at, len(d.record), err)
	}
	e.evictions.settle()
	for _, p := range d.batch {
		close(p.done)
	}
	if cap(e.record) > 2*maxBatchBytes {
		e.record, e.frame = nil, nil // one giant must not hold its memory for ever
	}
}

// write journals, applies and publishes one commit.
func (e *Engine) write(batch []*proposal, back *setBack, at int64, record []byte) {
	err := e.append(e.state.next.revision+1, record)
	e.conclude(batch, back, at, len(record), err)
}

// conclude applies and publishes a commit of so many bytes that is in the journal, or was
// refused by it for err.
func (e *Engine) conclude(batch []*proposal, back *setBack, at int64, size int, err error) {
	s := e.state
	rev := s.next.revision + 1
	if err != nil {
		e.evictions.failed()
		defer e.deposedBy(err)
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
			s.applyOnce(p.once, p.op, rev)
		}
	}
	e.writeRows(rev)
	e.publish(rev)
	e.compareAt(rev)
	e.counters.commits.Add(1)
	e.counters.journalBytes.Add(int64(size))
}

// onDisk writes to the store, which is revived if its disk has refused before, and says
// how the disk is.
func (e *Engine) onDisk(write func() error) error {
	err := write()
	if errors.Is(err, persist.ErrDisk) && e.revive() {
		err = write()
	}
	if errors.Is(err, fs.ErrNotExist) && e.goneNow() {
		err = e.store.Err()
	}
	if errors.Is(err, persist.ErrTooLarge) {
		return tooLarge(err)
	}
	if err != nil {
		if e.sick.CompareAndSwap(false, true) {
			e.log.Error("cannot write the journal: writes are refused, reads go on", "error", err)
		}
		if !errors.Is(err, persist.ErrGone) { // that is logged where it was found
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

func tooLarge(cause error) error {
	return &Error{Kind: ErrInvalid, Text: "the change is too large to be stored at once", Cause: cause}
}

// noteDisk says what the disk refuses to do. What the disk said last counts.
func (e *Engine) noteDisk(what string, err error) {
	e.troubles.set(TroubleDisk, fmt.Sprintf("%s: %v; make room below %s, or make it writable: "+
		"it is tried again every second", what, err, e.options.Dir), e.Now())
}

// wellAgain takes it back once all that was refused has been written.
func (e *Engine) wellAgain() {
	if !e.sick.Load() && e.bodiless.Load() == 0 && !e.role.behind {
		e.troubles.clear(TroubleDisk)
	}
}

// tryDisk syncs what is there, on a disk that has refused: so a server without writes
// notices too when the disk takes writes again, once a second at most.
func (e *Engine) tryDisk(steady int64) {
	if steady < e.nextTry || (!e.sick.Load() && e.bodiless.Load() == 0 && !e.role.behind) {
		return
	}
	e.nextTry = steady + int64(time.Second)
	if e.onDisk(e.store.Mark) == nil { // what fails is a trouble already
		if e.writeRows(e.state.next.revision); e.role.behind {
			e.catchUp()
		}
	}
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
		v := e.View()
		if err = e.writeDown(context.Background(), v); err == nil {
			err = e.store.Reopen()
		}
		if err == nil {
			e.journalFloor.Store(uint64(v.revision)) // what is left before leads nowhere
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

// publish shows readers the state as it is after rev.
func (e *Engine) publish(rev Revision) {
	s := e.state
	s.complete(rev)
	s.next.bouncers.shown, s.next.machines.shown = true, true
	v := s.next // a copy: later commits change s.next
	s.graves.watch(&v)
	s.next.number = v.number
	e.view.Store(&v)
	e.times.note(v.revision, v.at)
	e.changed.give()
	e.counters.history.Store(int64(s.history.Len()))
	e.counters.stored.Store(int64(s.ids.Len()))
}
