package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"lapid/persist"
)

// Engine decides what is true and in which order it became true. Open makes
// one, complete or not at all; Run must be running for writes to be answered;
// reads need only View.
type Engine struct {
	options   Options
	log       *slog.Logger
	store     *persist.Store
	journal   Journal // the store's, or Options.Journal
	local     *storeJournal
	state     *state
	queue     queue
	role      role
	comparing comparing
	changed   signal // when a view is published

	profiles atomic.Pointer[Profiles]
	view     atomic.Pointer[View]
	holding  holding // what streams see, while it is not the newest

	// Owned by the committer.
	record, frame []byte                   // the commit being written; reused
	batch         *persist.Rows            // scratch
	readOnly      bool                     // the disk has taken no writes since the start (readonly.go)
	revived       int64                    // last attempt to open a sick store again, on the steady clock
	minutes       [historyMinutes]Revision // the newest at the latest looks at the history, oldest first
	nextTry       int64                    // on the steady clock, in nanoseconds; not before this is a disk that refused tried again
	nextLook      int64                    // when to see whether the store is still there
	nextVisits    int64                    // when to write visits down
	nextMark      int64                    // a relay's: not before this is what it has synced again
	marked        Revision                 // a relay's: its disk has this
	ownUnsynced   bool                     // a relay's: and lacks rows that were written
	nextRetention int64
	nextUsage     int64
	nextWins      int64
	nextRelease   int64
	unreturned    int         // bytes of chunks that came free and may still be with the program
	collecting    atomic.Bool // a collection that giveBack asked for goes on
	nextSnapshot  int64
	survey        survey
	evictions     evictions

	// What is wrong with the disk, for any goroutine.
	sick     atomic.Bool   // the disk refused the last write
	gone     atomic.Bool   // the store was not there when it was looked for
	bodiless atomic.Uint64 // first revision whose cold rows are not on disk; 0: none

	// Of the snapshotter and its callers.
	snapshotFailing atomic.Bool  // the last one could not be written: tried again soon
	snapshotPause   atomic.Int64 // none before this, on the steady clock
	snapshotWake    chan struct{}
	snapshotting    chan struct{} // holds one token while a snapshot is written

	journalFloor atomic.Uint64       // the journal begins behind this revision
	lost         map[string]Revision // bookmarks that it does not reach back to, as they were told of; the committer's

	reading chan struct{} // one for each alert that is being read; nil: any number
	wall    clock
	started time.Time // a reading of the clock; set once

	remade  map[uint64]bool // not nil: only inspecting (inspect.go)
	lacking lacking         // while replaying on a disk that takes no writes (readonly.go)

	counters counters // what Metrics tells, for any goroutine
	flow     flow     // likewise: what came and went

	polls   polls   // the last ones
	reports reports // of bouncers, about themselves
	times   times   // of commits

	bounded boundCounts // what was cut or left out on the way in, for any goroutine
	usage   usageMeter  // what senders of usage metrics may still send today, for any goroutine

	trail Trail // the audit

	troubles troubles // what is wrong at the moment, for any goroutine
	rounds   rounds   // of the committer, for any goroutine
	alertLog alertLog // lines of the log about alerts, for any goroutine
	spared   spared   // alerts that allowlists kept from being stored
	proven   proven   // the committer's
	pace     pace     // set once
}

// Open is OpenContext without an end.
func Open(o *Options) (*Engine, error) { return OpenContext(context.Background(), o) }

// OpenContext opens the store in o.Dir, made when missing, and brings memory up to
// the last commit. It starts nothing: call Run. Errors wrap persist.ErrLocked,
// persist.ErrFormat or persist.ErrCorrupt and name what to do, or are that of ctx.
//
// Its end is obeyed within leaveAfter, whatever the start is at. As a rule nothing
// is open then, for a start looks between two sections of a snapshot, two commits,
// two blocks of a log. What takes longer (the library reads its logs, one commit is
// huge, the disk does not answer) is left to itself: it changes nothing that a crash
// at the same moment would not leave as well, and closes the store when it is
// through; until then the folder is locked. A process that ends need not wait for
// that.
//
// On a disk that takes no writes, because it is full or read-only, an existing
// store opens all the same: reads are served, writes are refused with ErrDisk, a
// TroubleReadOnly says so, and Run ends that as soon as the disk is willing.
func OpenContext(ctx context.Context, o *Options) (*Engine, error) {
	if ctx.Done() == nil {
		return open(ctx, o)
	}
	type opened struct {
		e   *Engine
		err error
	}
	done := make(chan opened, 1)
	go func() {
		e, err := open(ctx, o)
		done <- opened{e, err}
	}()
	select {
	case r := <-done:
		return r.e, r.err
	case <-ctx.Done():
	}
	late := time.NewTimer(leaveAfter)
	defer late.Stop()
	select {
	case r := <-done:
		return r.e, r.err
	case <-late.C:
	}
	go func() {
		if r := <-done; r.err == nil {
			_ = r.e.Close()
		}
	}()
	return nil, fmt.Errorf("opening the store: %w", ctx.Err())
}

// leaveAfter is how long an end waits for a start to come to a good place.
const leaveAfter = 300 * time.Millisecond

func open(ctx context.Context, o *Options) (*Engine, error) {
	options := o.withDefaults()
	store, err := persist.OpenContext(ctx, &persist.Options{
		Dir: options.Dir, FS: options.FS, NoSync: options.NoSync || options.Journal != nil, ServeReads: true, Logger: options.Logger,
	})
	if err != nil {
		return nil, err
	}
	e := &Engine{options: options, log: options.Logger, store: store, snapshotWake: make(chan struct{}, 1), snapshotting: make(chan struct{}, 1), reading: make(chan struct{}, readingAtMost), pace: options.Yield}
	e.started = options.Now()
	e.queue.wake = make(chan struct{}, 1)
	e.role.orders, e.role.over = make(chan order), make(chan struct{})
	e.local = &storeJournal{store: store}
	if e.journal = options.Journal; e.journal == nil {
		e.journal = e.local
		e.role.writes.Store(true)
	}
	e.batch = store.NewRows()
	if options.Profiles != nil {
		e.SetProfiles(options.Profiles)
	}
	if refused := store.Err(); refused != nil {
		e.startReadOnly(refused)
	}
	if err := e.recover(ctx); err != nil {
		if errors.Is(err, errRecord) {
			err = fmt.Errorf("%w; use the program that wrote it, or restore a backup with: lapid restore --force FILE", err)
		}
		return nil, errors.Join(store.Advise(err), store.Close())
	}
	if o.Journal != nil {
		var start [8]byte
		_, _ = rand.Read(start[:]) // never fails
		e.state.notes.start = binary.LittleEndian.Uint64(start[:]) | 1
	}
	e.trail.open(e)
	e.state.pace = e.pace // not before: there are no requests while the journal is replayed
	e.state.flow = &e.flow
	e.doubtStart()
	return e, nil
}

// begin writes the first commit of a new history.
func (e *Engine) begin() error {
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		return fmt.Errorf("starting a history: %w", err)
	}
	o := &genesis{uuidKey: [2]uint64{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}}
	now := e.Now()
	if err := e.append(1, appendCommit(nil, now, 1, appendOp(nil, Actor{Kind: ActorServer}, o), nil)); err != nil {
		return fmt.Errorf("starting a history: %w", err)
	}
	e.state.at = now
	o.apply(e.state, 1)
	e.publish(1)
	return nil
}

// Run commits, expires, forgets and snapshots until ctx ends. Proposals that
// were accepted by then are still committed; later ones are refused. Call it
// once.
func (e *Engine) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.snapshotLoop(ctx)
	}()
	err := e.commitLoop(ctx)
	<-done
	return err
}

// Close closes the store. Run must have returned.
func (e *Engine) Close() error {
	for _, p := range e.queue.close() {
		p.refuse(shuttingDown())
	}
	return e.store.Close()
}

// DropPrevious lets go of the store as an older program wrote it, if it is still kept
// (persist.Store.DropPrevious), and says so in the log. It is for a server that ends in
// good order after it has served; Run must have returned, Close follows.
func (e *Engine) DropPrevious() {
	dropped, err := e.store.DropPrevious()
	switch {
	case err != nil:
		e.log.Warn("cannot remove the store as an older program wrote it; the next end tries again", "error", err)
	case dropped:
		e.log.Info("the store as an older program wrote it is removed: from here a backup is the only way back")
	}
}

// StoreID returns the id of the store that is open; zero in one of an earlier format
// that could not be written to since.
func (e *Engine) StoreID() persist.ID { return e.store.ID() }

// View returns the state after the newest commit: one atomic load.
func (e *Engine) View() *View { return e.view.Load() }

// Now is the time by which ends and tokens are judged, in Unix nanoseconds: the clock's,
// or that of the history where it is later by no more than the slack of clocks, as it is
// behind a writer whose clock is a little ahead. A clock that is further behind was set
// back, and the next commit says so. Doors call it once a request.
func (e *Engine) Now() int64 {
	now, _ := e.clock()
	if v := e.view.Load(); v != nil && v.at > now && v.at-now <= clockSlack {
		return v.at
	}
	return now
}

// Wake makes the committer look at the clock. Only tests that move the clock
// by hand need it.
func (e *Engine) Wake() {
	select {
	case e.queue.wake <- struct{}{}:
	default:
	}
}

// SetProfiles swaps the rules for alerts that arrive from now on.
func (e *Engine) SetProfiles(p Profiles) { e.profiles.Store(&p) }
