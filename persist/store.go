package persist

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// A Store is one folder that is open: the journal, the rows, the snapshots.
//
// Append and its halves, WriteRows, Trim and Reopen are for one goroutine, the committer.
// WriteSnapshot may run beside it on another. Everything else may be called from
// any goroutine at any time.
type Store struct {
	options Options
	folder  folder
	lock    io.Closer     // of the folder; nil on a read-only disk
	cache   *pebble.Cache // shared by one Pebble and its successor
	log     *slog.Logger

	// current is replaced by Reopen and taken away by Close. mu is held for that,
	// and for a moment by each call that takes hold of it.
	mu      sync.RWMutex
	current *instance
	retired sync.WaitGroup // predecessors that are being closed

	// Written by the committer and read by all. tail is the last record in the
	// journal on disk, 0 when there was none yet.
	last, tail atomic.Uint64

	// latest is the second opinion on how far the store reaches.
	latest   latest
	unmarked atomic.Bool // it could not be written, and that was told
	identity identity    // of the folder; changed by Open and Reopen only
	written  int         // the number in FORMAT; 0: there was none. Changed with identity

	// What was opened, for Present; the committer's.
	opened, format place

	// For the time of opening: whether losses are accepted, and which were; the
	// highest revision that something knows of; whether the journal is not there,
	// or which logs of it are not.
	accepting bool
	accepted  []string
	known     uint64
	emptied   bool
	gone      []string

	// Owned by the committer. unsynced holds the row batches since the last synced write
	// (which a failing disk takes along), at most maxUnsynced bytes and one batch.
	batch         pebble.Batch
	appending     appending
	unsynced      [][]byte
	unsyncedBytes int

	snapshots snapshots
	metrics   counters
}

// maxUnsynced bounds Store.unsynced, in bytes; the batch that goes beyond is synced.
const maxUnsynced = 1 << 20

// abandon gives back what a failed open took.
func (s *Store) abandon() {
	if s.current != nil {
		_ = s.current.close()
	}
	s.latest.close()
	s.cache.Unref()
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// Close waits for calls that are under way, syncs, and gives the folder back.
// The committer and the snapshotter must have stopped. The error is an ErrDisk when
// the disk refuses writes, now or since before; what was accepted with a sync is
// safe all the same. A second Close returns ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	in := s.current
	s.current = nil
	s.mu.Unlock()
	if in == nil {
		return fmt.Errorf("close store: %w", ErrClosed)
	}
	err := errors.Join(in.close(), in.fence.err())
	s.retired.Wait()
	if err == nil && !s.options.ReadOnly {
		if markErr := s.latest.reached(s.tail.Load(), s.Last(), true); markErr != nil {
			err = fmt.Errorf("write %s: %w: %w", s.latest.path, ErrDisk, markErr)
		}
	}
	s.latest.close()
	s.cache.Unref()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Err returns nil while the disk takes writes, and the ErrDisk that writes are
// answered with until Reopen otherwise.
func (s *Store) Err() error {
	in, err := s.use()
	if err != nil {
		return err
	}
	defer in.users.Done()
	return in.fence.err()
}

// Reopen makes the Store usable again after a write returned ErrDisk. While the
// disk is still unwilling it returns ErrDisk and changes nothing: rows can still
// be read, and the next Reopen may have more luck. When it returns nil, everything
// that was accepted is there, and nothing that was refused: the journal ends with
// Last, which is the last Append that returned nil, and the rows are those of the
// WriteRows that returned nil.
//
// With Options.NoSync accepted records may be gone; then Reopen returns ErrBehind
// and changes nothing. The caller writes a snapshot of what it holds at Last and
// calls Reopen again.
//
// On a Store that is well, Reopen does nothing.
func (s *Store) Reopen() error {
	if s.options.ReadOnly {
		return nil
	}
	old, err := s.use()
	if err != nil {
		return fmt.Errorf("reopen store: %w", err)
	}
	refused := old.fence.err()
	old.users.Done()
	if refused == nil {
		return nil
	}
	if err := s.present(); err != nil {
		return fmt.Errorf("reopen store: %w", err)
	}
	if err := s.folder.probe(); err != nil {
		return fmt.Errorf("reopen store: %w: %w", ErrDisk, err)
	}
	old.fence.drain()
	return s.replace(old)
}

// replace opens a second Pebble and puts it in place of old. Readers wait for it:
// it removes tables that old could still name.
func (s *Store) replace(old *instance) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != old {
		return fmt.Errorf("reopen store: %w", ErrClosed)
	}
	if errors.Is(old.fence.err(), ErrGone) {
		if err := s.backAgain(); err != nil {
			return fmt.Errorf("reopen store: %w", err)
		}
	}
	if err := s.migrate(); err != nil {
		return fmt.Errorf("reopen store: %w", err)
	}
	if s.identity.given() {
		if err := s.latest.renew(s.folder, func(*mark) {}); err != nil {
			return fmt.Errorf("reopen store: write %s: %w: %w", s.latest.path, ErrDisk, err)
		}
	}
	in, err := s.openInstance()
	if err != nil {
		return fmt.Errorf("reopen store: %w", err)
	}
	tail, err := s.restore(in)
	if err == nil && !s.identity.given() { // there was no room for an id before
		err = s.adopt(in)
	}
	if err == nil {
		err = s.modern()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("reopen store: %w", err), in.close())
	}
	s.current = in
	s.tail.Store(tail)
	s.unsynced, s.unsyncedBytes = nil, 0
	s.log.Info("store: disk writes again", "revision", s.Last())
	s.retired.Go(func() { _ = old.close() })
	return nil
}

// backAgain makes sure, without changing anything, that what was away is back as it
// was: opened too early, it could not be put back any more.
func (s *Store) backAgain() error {
	in, err := s.openToRead(nil)
	if err != nil {
		return fmt.Errorf("%w: %w: %w", ErrDisk, ErrGone, err)
	}
	tail, err := in.lastRecord()
	who, errWho := in.whose()
	if err = errors.Join(err, errWho, in.close()); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrDisk, ErrGone, err)
	}
	if who != s.identity.id || tail < s.tail.Load() {
		return gone(s.folder.join(storeDir), fmt.Sprintf("is not what it was: it ends at revision %d instead of %d", tail, s.tail.Load()))
	}
	return nil
}

// restore brings a freshly opened Pebble to what was accepted: it forgets the
// record whose Append failed, if that one reached the disk, and writes the rows
// again that may not have. It returns the last record of the journal.
func (s *Store) restore(in *instance) (tail uint64, err error) {
	if tail, err = in.lastRecord(); err != nil {
		return 0, err
	}
	last := s.Last()
	if max(tail, s.snapshots.newest()) < last {
		return 0, fmt.Errorf("%w: it ends at revision %d instead of %d", ErrBehind, tail, last)
	}
	var batch pebble.Batch
	if tail > last {
		_ = batch.DeleteRange(appendJournalKey(nil, last+1), appendJournalKey(nil, math.MaxUint64), nil)
		tail = last
	}
	for _, repr := range s.unsynced {
		var rows pebble.Batch
		if err := rows.SetRepr(repr); err != nil {
			panic(fmt.Sprintf("BUG: kept rows are no batch: %v", err))
		}
		if err := batch.Apply(&rows, nil); err != nil {
			panic(fmt.Sprintf("BUG: kept rows do not apply: %v", err))
		}
	}
	if batch.Empty() {
		return tail, nil
	}
	if err := in.db.Apply(&batch, pebble.Sync); err != nil {
		return 0, fmt.Errorf("%w: %w", kindOf(err), err)
	}
	return tail, in.fence.err()
}

// noteReached notes how far journal and store got. If that fails, evidence is
// weaker and nothing else: what must be safe is.
func (s *Store) noteReached(journal, last uint64, sync bool) {
	err := s.latest.reached(journal, last, sync)
	if err != nil && s.unmarked.CompareAndSwap(false, true) {
		s.log.Warn("store: cannot note how far the journal reaches", "path", s.latest.path, "err", err.Error())
	}
}

// ID returns the id of the store, zero in one of format 1 that was not written to
// since.
func (s *Store) ID() ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.identity.id
}

// Last returns the highest revision in the journal or, when that is empty or ends
// earlier, of the newest snapshot; 0 in an empty Store.
func (s *Store) Last() uint64 { return s.last.Load() }

// use takes hold of the current Pebble; the caller calls users.Done when through.
func (s *Store) use() (*instance, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.current == nil {
		return nil, ErrClosed
	}
	s.current.users.Add(1)
	return s.current, nil
}

// write is use for a change: it refuses when the Store is read-only or the disk
// has failed.
func (s *Store) write() (*instance, error) {
	if s.options.ReadOnly {
		return nil, ErrReadOnly
	}
	in, err := s.use()
	if err != nil {
		return nil, err
	}
	if err := in.fence.err(); err != nil {
		in.users.Done()
		return nil, err
	}
	return in, nil
}

// commit applies batch and returns an error unless the disk took all of it.
func (s *Store) commit(in *instance, batch *pebble.Batch, sync bool) error {
	options := pebble.NoSync
	if sync {
		options = pebble.Sync
	}
	if err := in.db.Apply(batch, options); err != nil {
		in.fence.lower("commit", s.folder.join(storeDir), err)
	}
	return in.fence.err()
}
