package persist

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Append writes the record of the next revision and returns when it is on disk
// (with Options.NoSync: when it will be). It is whole or not there.
//
// rev must be Last()+1. record is borrowed until Append returns; at most
// MaxRecord bytes.
//
// After ErrDisk the record counts as not written: Last is what it was, later
// calls fail the same way at once, and Reopen removes what may have reached the
// disk. Only if the process ends before that, the next Open may find it, whole.
func (s *Store) Append(rev uint64, record []byte) error {
	if err := s.BeginAppend(rev, record); err != nil {
		return err
	}
	return s.EndAppend()
}

// appending is the record that is on its way to the disk; in is nil when there is none.
type appending struct {
	in    *instance
	rev   uint64
	size  int
	rows  int // how many of Store.unsynced were written before it
	began time.Time
}

// BeginAppend is the first half of Append: it hands the record to the disk, and returns
// before it is there. What the caller does until EndAppend takes none of the time of the
// sync. record is borrowed until BeginAppend returns. An error is Append's, and there is
// nothing to end then.
//
// Until EndAppend the record counts as not written, and of what is for the committer only
// WriteRows may be called.
func (s *Store) BeginAppend(rev uint64, record []byte) error {
	if last := s.Last(); rev != last+1 || s.appending.in != nil {
		panic(fmt.Sprintf("BUG: append of revision %d after %d, another under way: %t", rev, last, s.appending.in != nil))
	}
	if len(record) > MaxRecord {
		return fmt.Errorf("append revision %d: %d bytes: %w", rev, len(record), ErrTooLarge)
	}
	in, err := s.write()
	if err != nil {
		return fmt.Errorf("append revision %d: %w", rev, err)
	}
	if tail := s.tail.Load(); tail != 0 && tail != rev-1 {
		// A snapshot is ahead of the journal; what is left of it leads nowhere.
		_ = s.batch.DeleteRange(appendJournalKey(nil, 0), appendJournalKey(nil, rev), nil)
	}
	op := s.batch.SetDeferred(journalKeySize, frameSize+len(record))
	appendJournalKey(op.Key[:0], rev)
	in.identity.putFrame(op.Value, rev, record)
	_ = op.Finish() // only indexed batches can fail
	if in.unsigned.Swap(false) {
		in.identity.sign(&s.batch) // the first record of a log
	}

	s.appending = appending{in: in, rev: rev, size: len(record), rows: len(s.unsynced), began: time.Now()}
	apply := in.db.ApplyNoSyncWait
	options := pebble.Sync
	if s.options.NoSync {
		apply, options = in.db.Apply, pebble.NoSync
	}
	if err := apply(&s.batch, options); err != nil {
		in.fence.lower("commit", s.folder.join(storeDir), err)
		s.batch.Reset()
		s.appending = appending{}
		in.users.Done()
		return fmt.Errorf("append revision %d: %w", rev, in.fence.err())
	}
	return nil
}

// EndAppend returns when the record of BeginAppend is on disk, with Append's error if it
// will not be.
func (s *Store) EndAppend() error {
	a := s.appending
	s.appending = appending{}
	defer a.in.users.Done()
	defer s.batch.Reset()
	if !s.options.NoSync {
		if err := s.batch.SyncWait(); err != nil {
			a.in.fence.lower("commit", s.folder.join(storeDir), err)
		}
	}
	if err := a.in.fence.err(); err != nil {
		return fmt.Errorf("append revision %d: %w", a.rev, err)
	}
	s.metrics.appended(a.size, time.Since(a.began))
	s.tail.Store(a.rev)
	s.last.Store(a.rev)
	if !s.options.NoSync {
		s.noteReached(a.rev, a.rev, false)
		s.forgetUnsynced(a.rows) // they went into the same log, before
	}
	return nil
}

// Replay calls fn for each record after revision after, in order, up to Last. A
// missing or damaged record is an ErrCorrupt that names it, and an ErrForgotten too when
// the journal begins behind it; an error of fn ends the replay and is returned as it is.
// record is borrowed until fn returns. What is trimmed meanwhile is still handed over.
func (s *Store) Replay(after uint64, fn func(rev uint64, record []byte) error) error {
	in, err := s.use()
	if err != nil {
		return fmt.Errorf("replay journal: %w", err)
	}
	defer in.users.Done()
	last := s.Last()
	if after >= last {
		return nil
	}
	it, err := in.journal(after + 1)
	if err != nil {
		return fmt.Errorf("replay journal: %w", err)
	}
	defer it.Close()

	next := after + 1
	for ok := it.First(); ok && next <= last; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("replay journal: record %d: %w: %w", next, kindOf(err), err)
		}
		record, err := in.identity.parseEntry(it.Key(), value, next)
		if rev, ok := parseJournalKey(it.Key()); err != nil && next == after+1 && ok && rev > next {
			return fmt.Errorf("replay journal: %w: %w", ErrForgotten, err)
		}
		if err != nil {
			return fmt.Errorf("replay journal: %w", err)
		}
		if err := fn(next, record); err != nil {
			return err
		}
		next++
	}
	if err := iterError(it, "replay journal after revision "+fmt.Sprint(next-1)); err != nil {
		return err
	}
	if next <= last && next == after+1 {
		return fmt.Errorf("replay journal: records %d to %d are missing: %w: %w", next, last, ErrForgotten, ErrCorrupt)
	}
	if next <= last {
		return fmt.Errorf("replay journal: records %d to %d are missing: %w", next, last, ErrCorrupt)
	}
	return nil
}

// Skip has the journal go on behind a revision that the newest snapshot holds: what was
// appended before is left behind. It is for a store that others' commits are noted in, and
// that missed some; for the committer.
func (s *Store) Skip(rev uint64) error {
	if newest := s.snapshots.newest(); newest < rev || rev < s.Last() {
		panic(fmt.Sprintf("BUG: skip to revision %d, and the newest snapshot is of %d, the last record of %d", rev, newest, s.Last()))
	}
	in, err := s.write()
	if err != nil {
		return fmt.Errorf("skip to revision %d: %w", rev, err)
	}
	in.users.Done()
	s.last.Store(rev)
	return nil
}

// First returns the first revision that the journal still has; 0 when it has none,
// because nothing was appended behind the snapshot that the store began with.
func (s *Store) First() (uint64, error) {
	in, err := s.use()
	if err != nil {
		return 0, fmt.Errorf("read the journal's beginning: %w", err)
	}
	defer in.users.Done()
	return in.firstRecord()
}

// JournalBytes estimates how many bytes of the disk the records after a revision take.
// What is still in memory counts as nothing, some megabytes at most.
func (s *Store) JournalBytes(after uint64) (uint64, error) {
	in, err := s.use()
	if err != nil {
		return 0, fmt.Errorf("measure the journal: %w", err)
	}
	defer in.users.Done()
	n, err := in.db.EstimateDiskUsage(appendJournalKey(nil, after+1), journalEnd())
	if err != nil {
		return 0, fmt.Errorf("measure the journal: %w: %w", kindOf(err), err)
	}
	return n, nil
}

// parseEntry returns the record of an entry that must be that of revision want.
func (i identity) parseEntry(key, value []byte, want uint64) ([]byte, error) {
	rev, ok := parseJournalKey(key)
	if !ok {
		return nil, fmt.Errorf("journal key %x: %w", key, ErrCorrupt)
	}
	if rev != want {
		return nil, fmt.Errorf("journal records %d to %d are missing: %w", want, rev-1, ErrCorrupt)
	}
	return i.parseFrame(rev, value)
}

// Trim forgets the records up to and including revision upto, which must not be
// above SafeTrim; the last record stays, so that a journal that is empty tells that
// something is missing. It is not synced: after a crash they may be back.
func (s *Store) Trim(upto uint64) error {
	if safe := s.SafeTrim(); upto > safe {
		panic(fmt.Sprintf("BUG: trim of the journal to revision %d, but snapshots need it from %d", upto, safe))
	}
	if tail := s.tail.Load(); upto >= tail {
		upto = max(tail, 1) - 1
	}
	if upto == 0 {
		return nil
	}
	in, err := s.write()
	if err != nil {
		return fmt.Errorf("trim journal to revision %d: %w", upto, err)
	}
	defer in.users.Done()
	var batch pebble.Batch
	_ = batch.DeleteRange(appendJournalKey(nil, 0), appendJournalKey(nil, upto+1), nil)
	if err := s.commit(in, &batch, false); err != nil {
		return fmt.Errorf("trim journal to revision %d: %w", upto, err)
	}
	// The space returns only when the deletion is written to a table.
	if _, err := in.db.AsyncFlush(); err != nil {
		in.fence.lower("flush", s.folder.join(storeDir), err)
	}
	return nil
}

// SafeTrim returns the revision up to which the journal can be forgotten: that of
// the older of the two newest sound snapshots, so that one damaged snapshot costs
// nothing. With fewer than two it is 0.
func (s *Store) SafeTrim() uint64 { return s.snapshots.safeTrim() }
