package persist

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Rows is a batch of changes to cold rows: bodies by kind and key that are too
// large and too rarely read for memory. A row is derived from the journal record
// before it and can be made again by replaying that record.
//
// A Rows belongs to one goroutine. Keys and values are copied.
type Rows struct {
	batch   pebble.Batch
	tooMuch bool
}

// NewRows returns an empty batch, to be used again after Reset.
func (s *Store) NewRows() *Rows { return new(Rows) }

// Set puts value under key, in place of what was there.
func (r *Rows) Set(kind byte, key, value []byte) {
	if r.fits(len(key) + len(value)) {
		op := r.batch.SetDeferred(2+len(key), len(value))
		appendRowKey(op.Key[:0], kind, key)
		copy(op.Value, value)
		_ = op.Finish()
	}
}

// Delete removes the row under key, if there is one.
func (r *Rows) Delete(kind byte, key []byte) {
	if r.fits(len(key)) {
		op := r.batch.DeleteDeferred(2 + len(key))
		appendRowKey(op.Key[:0], kind, key)
		_ = op.Finish()
	}
}

// DeleteRange removes the rows of kind with from <= key < to; nil is an open end.
func (r *Rows) DeleteRange(kind byte, from, to []byte) {
	lower, upper := rowBounds(kind, from, to)
	if bytes.Compare(lower, upper) < 0 && r.fits(len(from)+len(to)) {
		_ = r.batch.DeleteRange(lower, upper, nil)
	}
}

// fits notes when the batch grows too large; WriteRows returns the error.
func (r *Rows) fits(n int) bool {
	r.tooMuch = r.tooMuch || r.batch.Len()+n > MaxRows
	return !r.tooMuch
}

// Len returns the number of changes.
func (r *Rows) Len() int { return int(r.batch.Count()) }

// Reset empties the batch.
func (r *Rows) Reset() {
	r.batch.Reset()
	r.tooMuch = false
}

// WriteRows applies the changes in order, all or none. Afterwards r is empty; but
// after ErrDisk it is as it was, to be written again after Reopen. They can be read
// at once. They are not synced: they reach the disk with the next Append that begins at the
// latest, and after a crash before that they are gone, never without what was
// written before them. Their source is then still in the journal.
//
// The error is an ErrTooLarge when the batch went beyond MaxRows; it can never be
// written, and is emptied.
func (s *Store) WriteRows(r *Rows) error {
	if r.tooMuch {
		r.Reset()
		return fmt.Errorf("write rows: more than %d bytes: %w", MaxRows, ErrTooLarge)
	}
	if r.Len() == 0 {
		return nil
	}
	size := r.batch.Len()
	in, err := s.write()
	if err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	defer in.users.Done()

	// A second batch over the same bytes: one that was committed cannot be again.
	var batch pebble.Batch
	repr := r.batch.Repr()
	clear(repr[:8]) // the place in the log that an earlier attempt was given
	if err := batch.SetRepr(repr); err != nil {
		panic(fmt.Sprintf("BUG: rows are no batch: %v", err))
	}
	sync := !s.options.NoSync && s.unsyncedBytes+size > maxUnsynced
	if err := s.commit(in, &batch, sync); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	switch {
	case sync:
		s.forgetUnsynced(len(s.unsynced))
	case !s.options.NoSync:
		s.unsynced = append(s.unsynced, bytes.Clone(repr))
		s.unsyncedBytes += size
	}
	if uint64(size) > s.options.MemTableSize/4 {
		r.batch = pebble.Batch{} // Pebble may hold on to the bytes of a large one
	}
	r.Reset()
	return nil
}

// Mark writes nothing and returns once everything before it is on the disk: records,
// rows, trims, also with Options.NoSync. An error is as Append's, and Reopen its cure.
// It is for the committer.
func (s *Store) Mark() error {
	in, err := s.write()
	if err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	defer in.users.Done()
	if err := s.mark(in); err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	s.forgetUnsynced(len(s.unsynced))
	return nil
}

// mark syncs what was written before.
func (s *Store) mark(in *instance) error {
	var batch pebble.Batch
	_ = batch.LogData(nil, nil)
	return s.commit(in, &batch, true)
}

// forgetUnsynced is called when the first n of the batches are on disk.
func (s *Store) forgetUnsynced(n int) {
	for _, repr := range s.unsynced[:n] {
		s.unsyncedBytes -= len(repr)
	}
	s.unsynced = slices.Delete(s.unsynced, 0, n)
	s.appending.rows = max(s.appending.rows-n, 0)
}

// Row appends the value under key to dst and tells whether there is one.
func (s *Store) Row(dst []byte, kind byte, key []byte) ([]byte, bool, error) {
	in, err := s.use()
	if err != nil {
		return dst, false, fmt.Errorf("read row: %w", err)
	}
	defer in.users.Done()
	value, closer, err := in.db.Get(appendRowKey(make([]byte, 0, 64), kind, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, fmt.Errorf("read row: %w: %w", kindOf(err), err)
	}
	dst = append(dst, value...)
	if err := closer.Close(); err != nil {
		return dst, false, fmt.Errorf("read row: %w: %w", kindOf(err), err)
	}
	return dst, true, nil
}

// ScanRows calls fn for the rows of kind with from <= key < to in order of their
// keys, or in the opposite order, until fn returns false or an error, which is
// returned as it is. nil is an open end. What is written meanwhile is not seen.
// key and value are borrowed until fn returns; fn may call Row and ScanRows.
func (s *Store) ScanRows(kind byte, from, to []byte, descending bool, fn func(key, value []byte) (more bool, err error)) error {
	in, err := s.use()
	if err != nil {
		return fmt.Errorf("scan rows: %w", err)
	}
	defer in.users.Done()
	lower, upper := rowBounds(kind, from, to)
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	it, err := in.iterate(lower, upper)
	if err != nil {
		return fmt.Errorf("scan rows: %w", err)
	}
	defer it.Close()
	first, next := it.First, it.Next
	if descending {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan rows: %w: %w", kindOf(err), err)
		}
		if more, err := fn(it.Key()[2:], value); err != nil || !more {
			return err
		}
	}
	return iterError(it, "scan rows")
}
