package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"lapid/persist"
)

// An engine writes or follows. Writing it makes commits of what is proposed and appends
// them to its journal; following it applies what another appends to the same journal, as
// a restart does, only that this never ends, and refuses proposals with ErrNotWriter.
// Lead and Yield change from one to the other in place: views, readers, cursors and
// everything in memory stay, for both do the same with a commit.
//
//	           ──── Lead: it has applied the newest commit ────►
//	follows                                                      writes
//	           ◄─── Yield, or an Append that is not answered with nil ───
//
// An Append that is refused (ErrNotWriter), or of which it is not known (ErrUnsure), leaves
// nothing to undo, for a commit is applied after it is appended: the engine follows from
// where it stands, and is told what became of it.
//
// With a journal of its own (Options.Journal is nil) an engine begins by writing. With one
// that is shared it begins by following. The store has every commit in that case too, but
// unsynced, for the shared journal is where they are safe: a start replays what is there
// and follows from its end.
type role struct {
	writes atomic.Bool
	orders chan order    // of Lead and Yield, for the committer
	over   chan struct{} // closed when the committer has left

	// The committer's.
	run    context.Context    // of Run
	leave  context.CancelFunc // ends the following; nil while it writes
	news   chan delivered     // what is followed; nil while it writes
	ended  chan struct{}      // closed when nothing more comes on news
	behind bool               // the store lacks commits that memory has; a snapshot of now is to bring it up
}

// order is a change of role that a caller waits for.
type order struct {
	lead bool
	done chan error // has room for the answer
}

// delivered is a commit on its way from the journal to the committer.
type delivered struct {
	rev    Revision
	record []byte // borrowed until the answer
	commit *commit
	done   chan error // has room for the answer
}

// followAgain is how long an engine waits, after its journal failed, before it asks again.
const followAgain = time.Second

// Writes reports whether the engine takes writes itself at the moment.
func (e *Engine) Writes() bool { return e.role.writes.Load() }

// IsRelay reports whether the engine follows what is redacted, for ever (Options.Relay).
func (e *Engine) IsRelay() bool { return e.options.Relay }

// Lead makes a following engine the writer, once it has applied all that the journal
// has. The journal decides which engine may be it, by refusing what others append.
// The first writer of an empty journal begins the history. It needs Run, and does nothing
// for an engine that writes. Errors: ErrNotWriter, ErrUnsure, those of the journal, ErrClosed
// and that of ctx.
func (e *Engine) Lead(ctx context.Context) error {
	newest, err := e.journal.Newest(ctx)
	if err != nil {
		return fmt.Errorf("asking for the newest revision: %w", err)
	}
	if err := e.Reach(ctx, newest); err != nil {
		return err
	}
	return e.order(ctx, true)
}

// Yield has a writing engine follow. What is being committed is finished first, what waits
// is refused with ErrNotWriter. It needs Run, and does nothing for an engine that follows.
func (e *Engine) Yield(ctx context.Context) error { return e.order(ctx, false) }

// Reach waits until the view is of a revision or a later one.
func (e *Engine) Reach(ctx context.Context, rev Revision) error {
	for {
		changed := e.Changed()
		if e.View().revision >= rev {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for revision %d: %w", rev, ctx.Err())
		}
	}
}

func (e *Engine) order(ctx context.Context, lead bool) error {
	o := order{lead, make(chan error, 1)}
	select {
	case e.role.orders <- o:
		return <-o.done // the committer answers what it has taken
	case <-e.role.over:
		return shuttingDown()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// obey changes the role, between two commits.
func (e *Engine) obey(lead bool) error {
	if lead == e.role.writes.Load() {
		return nil
	}
	if !lead {
		e.stepDown("it was asked to")
		return nil
	}
	e.stopFollowing()
	e.troubles.clear(TroubleFollowing) // there is nothing to follow
	e.evictions.failed()               // rows that were heard of here meanwhile count
	e.role.writes.Store(true)
	if e.state.next.revision == 0 {
		if err := e.begin(); err != nil {
			e.deposedBy(err)
			return err
		}
	}
	e.log.Info("this server writes the history now", "after", e.state.next.revision)
	return nil
}

// deposedBy makes the engine follow when that is what an error of its journal means.
func (e *Engine) deposedBy(err error) {
	if errors.Is(err, ErrNotWriter) || errors.Is(err, ErrUnsure) {
		e.stepDown(err.Error())
	}
}

func (e *Engine) stepDown(why string) {
	e.role.writes.Store(false)
	e.log.Info("this server follows the history now, another writes", "after", e.state.next.revision, "because", why)
	e.startFollowing()
}

// startFollowing has a goroutine ask the journal for what comes.
func (e *Engine) startFollowing() {
	r := &e.role
	ctx, leave := context.WithCancel(r.run)
	r.leave, r.news, r.ended = leave, make(chan delivered), make(chan struct{})
	go e.listen(ctx, e.state.next.revision, r.news, r.ended)
}

// stopFollowing applies what is under way and waits until nothing more comes.
func (e *Engine) stopFollowing() {
	r := &e.role
	if r.leave == nil {
		return
	}
	r.leave()
	for ended := false; !ended; {
		select {
		case d := <-r.news:
			d.done <- e.follow(d)
		case <-r.ended:
			ended = true
		}
	}
	r.leave, r.news, r.ended = nil, nil, nil
}

// listen hands what follows to the committer, one by one, until ctx ends. A journal that
// fails is a trouble, and asked again every second.
func (e *Engine) listen(ctx context.Context, after Revision, news chan<- delivered, ended chan<- struct{}) {
	defer close(ended)
	deliver := func(rev Revision, record []byte) error {
		c, err := decodeCommit(record)
		if err != nil {
			return fmt.Errorf("commit %d: %w", rev, err)
		}
		d := delivered{rev, record, c, make(chan error, 1)}
		select {
		case news <- d:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := <-d.done; err != nil {
			return err
		}
		after = rev
		e.troubles.clear(TroubleFollowing)
		return nil
	}
	for {
		err := e.journal.Follow(ctx, after, deliver)
		if ctx.Err() != nil {
			return
		}
		e.troubles.set(TroubleFollowing, fmt.Sprintf("the history cannot be followed beyond revision %d (%v): "+
			"what is answered is as old as that; it is tried again every second", after, err), e.Now())
		again := time.NewTimer(followAgain)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return
		}
	}
}

// follow applies and publishes a commit that another made.
func (e *Engine) follow(d delivered) error {
	s := e.state
	if d.rev <= s.next.revision {
		return nil // it was here when the following began
	}
	if d.rev != s.next.revision+1 {
		return fmt.Errorf("the journal goes on with revision %d after %d", d.rev, s.next.revision)
	}
	touched := e.ownersTouched(d.commit)
	if err := s.replay(d.rev, d.commit); err != nil {
		return err
	}
	e.alignOwn(d.rev, touched)
	e.keep(d.rev, d.record)
	e.writeRows(d.rev)
	e.publish(d.rev)
	e.compareAt(d.rev)
	e.counters.commits.Add(1)
	e.counters.journalBytes.Add(int64(len(d.record)))
	return nil
}

// append makes a commit durable: in the journal that is shared, or in the store's.
func (e *Engine) append(rev Revision, record []byte) error {
	if e.options.Journal == nil && rev == 1 {
		return e.journal.Append(context.Background(), 0, record) // Open tells what the disk says
	}
	if e.options.Journal == nil {
		return e.onDisk(func() error { return e.appendLocal(rev, record) })
	}
	ctx, cancel := context.WithTimeout(context.Background(), e.options.JournalPatience)
	defer cancel()
	err := e.journal.Append(ctx, rev-1, record)
	switch {
	case err == nil:
		e.keep(rev, record)
		return nil
	case errors.Is(err, ErrNotWriter):
		return e.notWriter(err)
	case errors.Is(err, ErrUnsure):
		return &Error{Kind: ErrUnsure, Text: "it is not known whether the change was stored, look before trying again", Cause: err}
	case errors.Is(err, persist.ErrTooLarge):
		return tooLarge(err)
	}
	return &Error{Kind: ErrDisk, Text: "the change could not be stored", Cause: err}
}

// appendLocal makes a commit durable in the store's journal.
func (e *Engine) appendLocal(rev Revision, record []byte) error {
	return e.ownsStore(rev, e.local.Append(context.Background(), rev-1, record))
}

// ownsStore makes sure that an append to the store was not refused for its place.
func (e *Engine) ownsStore(rev Revision, err error) error {
	if errors.Is(err, ErrNotWriter) {
		panic(fmt.Sprintf("BUG: append of revision %d to a store that ends with %d", rev, e.store.Last()))
	}
	return err
}

// keep writes a commit of a shared history into the store, unsynced. A disk that refuses
// ends nothing, for the commit is safe: the store falls behind until a snapshot of what
// memory has can be written.
func (e *Engine) keep(rev Revision, record []byte) {
	if e.role.behind {
		return
	}
	err := e.store.Append(uint64(rev), record)
	if errors.Is(err, persist.ErrDisk) && e.revive() {
		err = e.store.Append(uint64(rev), record)
	}
	if err != nil {
		e.role.behind = true
		e.noteDisk("the store falls behind the history that is shared, which goes on", err)
	}
}

// catchUp ends that.
func (e *Engine) catchUp() {
	v := e.View()
	err := e.writeDown(context.Background(), v)
	if err == nil {
		err = e.store.Skip(uint64(v.revision))
	}
	if err != nil {
		e.noteDisk("the store falls behind the history that is shared, which goes on", err)
		return
	}
	e.role.behind = false
	e.journalFloor.Store(uint64(v.revision)) // what is left before leads nowhere
	e.wellAgain()
}

// notWriter refuses a write of an engine that follows.
func (e *Engine) notWriter(cause error) error {
	if e.options.Relay {
		return &Error{Kind: ErrNotWriter, Text: "this server is a relay: it serves what there is and takes no changes, send them to a node of the cluster", Cause: cause}
	}
	return &Error{Kind: ErrNotWriter, Text: "another server writes at the moment, try again", Cause: cause}
}
