package persist

import (
	"context"
	"errors"
	"fmt"
)

// Report is what Check read and what it found.
type Report struct {
	First, Last uint64 // revisions in the journal, 0 when it is empty
	Records     uint64 // of the journal
	Rows        uint64
	Bytes       uint64 // of records, rows and snapshots
	Snapshots   []SnapshotInfo
	// Recovers is the revision that a start would reach now.
	Recovers uint64
	Damage   []Damage
}

// Damage is one thing that is not as it was written.
type Damage struct {
	// What is a journal record or gap, a row kind, or the path of a snapshot.
	What string
	Err  error
}

// Check reads everything, verifies every checksum and that the journal goes on
// from a snapshot without a gap, and names what is damaged. The error is that of
// ctx, or ErrClosed; damage is no error. It may run beside everything else.
func (s *Store) Check(ctx context.Context) (Report, error) {
	in, err := s.use()
	if err != nil {
		return Report{}, fmt.Errorf("check: %w", err)
	}
	defer in.users.Done()
	var r Report
	last := s.Last() // what comes later is of no concern
	sound := s.checkSnapshots(ctx, &r)
	whole := s.checkJournal(ctx, in, &r)
	s.checkRows(ctx, in, &r)
	r.checkRecovery(sound, whole, last)
	if err := ctx.Err(); err != nil {
		return r, fmt.Errorf("check: %w", err)
	}
	return r, nil
}

func (r *Report) damage(what string, err error) {
	r.Damage = append(r.Damage, Damage{what, err})
}

func (r *Report) missing(from, to uint64) {
	r.damage(fmt.Sprintf("journal records %d to %d", from, to), fmt.Errorf("missing: %w", ErrCorrupt))
}

// checkSnapshots returns the revision of the newest sound one, or 0. No snapshot
// is written, and none removed, meanwhile.
func (s *Store) checkSnapshots(ctx context.Context, r *Report) (sound uint64) {
	s.snapshots.writing.Lock()
	defer s.snapshots.writing.Unlock()
	for _, info := range s.snapshots.all() {
		if ctx.Err() != nil {
			return sound
		}
		err := verifySnapshot(s.options.FS, info)
		info.Damaged = err != nil
		r.Snapshots = append(r.Snapshots, info)
		r.Bytes += uint64(info.Size)
		if err != nil {
			r.damage(info.Path, err)
			s.snapshots.damaged(info.Rev)
			continue
		}
		sound = max(sound, info.Rev)
	}
	return sound
}

func verifySnapshot(disk FS, info SnapshotInfo) error {
	file, reader, err := openSnapshot(disk, info)
	if err != nil {
		return err
	}
	return errors.Join(reader.drain(), file.Close())
}

// checkJournal returns the first revision from which the journal is whole up to
// its end.
func (s *Store) checkJournal(ctx context.Context, in *instance, r *Report) (whole uint64) {
	it, err := in.journal(0)
	if err != nil {
		r.damage("journal", err)
		return 0
	}
	defer it.Close()
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		rev, ok := parseJournalKey(it.Key())
		if !ok {
			r.damage(fmt.Sprintf("journal key %x", it.Key()), ErrCorrupt)
			whole = r.Last + 1
			continue
		}
		if r.Records == 0 {
			r.First, whole = rev, rev
		} else if rev != r.Last+1 {
			r.missing(r.Last+1, rev-1)
			whole = rev
		}
		r.Last = rev
		r.Records++
		value, err := it.ValueAndErr()
		if err == nil {
			r.Bytes += uint64(len(value))
			_, err = in.identity.parseFrame(rev, value)
		}
		if err != nil {
			r.damage(fmt.Sprintf("journal record %d", rev), err)
			whole = rev + 1
		}
	}
	if err := iterError(it, fmt.Sprintf("journal after record %d", r.Last)); err != nil {
		r.damage(fmt.Sprintf("journal after record %d", r.Last), err)
		whole = 0
	}
	return whole
}

// checkRows reads all rows; an unreadable one hides the rest of its kind.
func (s *Store) checkRows(ctx context.Context, in *instance, r *Report) {
	for kind := range 256 {
		lower, upper := rowBounds(byte(kind), nil, nil)
		it, err := in.iterate(lower, upper)
		if err != nil {
			r.damage(fmt.Sprintf("rows of kind %d", kind), err)
			continue
		}
		for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
			value, err := it.ValueAndErr()
			if err != nil {
				r.damage(fmt.Sprintf("row %x of kind %d", it.Key()[2:], kind), err)
				continue
			}
			r.Rows++
			r.Bytes += uint64(len(it.Key()) + len(value))
		}
		if err := iterError(it, "read"); err != nil {
			r.damage(fmt.Sprintf("rows of kind %d", kind), err)
		}
		_ = it.Close() // its error was told above
	}
}

// checkRecovery finds out how far a start would get, and whether that is last.
func (r *Report) checkRecovery(sound, whole, last uint64) {
	r.Recovers = sound
	if r.Records > 0 && whole != 0 && whole <= sound+1 {
		r.Recovers = max(sound, r.Last)
	}
	if r.First > sound+1 {
		r.missing(sound+1, r.First-1)
	}
	if r.Recovers < last {
		r.damage("recovery", fmt.Errorf("a start would end at revision %d instead of %d: %w", r.Recovers, last, ErrCorrupt))
	}
}
