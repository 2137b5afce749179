package persist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
)

// testDir is where tests keep their store on a disk in memory.
const testDir = "var/lapid"

func mustOpen(t testing.TB, disk FS, change ...func(*Options)) *Store {
	t.Helper()
	o := &Options{Dir: testDir, FS: disk, MemTableSize: 64 << 10}
	for _, c := range change {
		c(o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func readOnly(o *Options) { o.ReadOnly = true }

// recordOf is what the tests append as revision rev: mostly small, sometimes
// empty, sometimes too large for the memtable.
func recordOf(rev uint64) []byte {
	rng := rand.New(rand.NewPCG(rev, 1))
	n := rng.IntN(400)
	switch rev % 16 {
	case 5:
		n = 0
	case 11:
		n = 36 << 10
	}
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, rng.Uint64()), n/8)
}

func rowKey(rev uint64) []byte { return binary.BigEndian.AppendUint64(nil, rev) }

const (
	bodyRows   = 1 // one row per record
	latestRows = 2 // one row, the latest record
)

// writeRowsOf writes the rows that are derived from the record of rev.
func writeRowsOf(s *Store, rev uint64) error {
	rows := s.NewRows()
	rows.Set(bodyRows, rowKey(rev), recordOf(rev))
	rows.Set(latestRows, nil, rowKey(rev))
	return s.WriteRows(rows)
}

// writeState writes the snapshot of rev: the number of every record so far.
func writeState(s *Store, rev uint64) error {
	return s.WriteSnapshot(rev, func(w *SnapshotWriter) error {
		for from := uint64(1); from <= rev; from += 7 {
			var body []byte
			for r := from; r < min(from+7, rev+1); r++ {
				body = append(body, rowKey(r)...)
			}
			if err := w.Section(uint16(from), body); err != nil {
				return err
			}
		}
		return nil
	})
}

var errWrongState = errors.New("snapshot holds something else")

// loadState is the mirror of writeState.
func loadState(s *Store) (uint64, error) {
	return s.LoadSnapshot(func(rev uint64, sections iter.Seq2[uint16, []byte]) error {
		next := uint64(1)
		for kind, body := range sections {
			if uint64(kind) != next {
				return fmt.Errorf("section %d at %d: %w", kind, next, errWrongState)
			}
			for ; len(body) >= 8; body = body[8:] {
				if binary.BigEndian.Uint64(body) != next {
					return errWrongState
				}
				next++
			}
		}
		if next != rev+1 {
			return fmt.Errorf("%d of %d: %w", next-1, rev, errWrongState)
		}
		return nil
	})
}

// step is one commit of the workload: a record, its rows, sometimes a snapshot.
// It returns the first error; the record counts when accepted is true.
func step(s *Store, rev uint64) (accepted bool, err error) {
	if err := s.Append(rev, recordOf(rev)); err != nil {
		return false, err
	}
	return true, afterStep(s, rev)
}

func afterStep(s *Store, rev uint64) error {
	if err := writeRowsOf(s, rev); err != nil {
		return err
	}
	if rev%9 != 0 {
		return nil
	}
	if err := writeState(s, rev); err != nil {
		return err
	}
	return s.Trim(s.SafeTrim())
}

// verify opens the store, recovers as an engine would, and checks that it holds
// the records up to a revision between low and high, with their rows, and nothing
// else. It returns the revision.
func verify(disk FS, low, high uint64) (uint64, error) {
	s, err := Open(&Options{Dir: testDir, FS: disk, MemTableSize: 64 << 10})
	if err != nil {
		return 0, err
	}
	last, err := verifyOpen(s, low, high)
	return last, errors.Join(err, s.Close())
}

func verifyOpen(s *Store, low, high uint64) (uint64, error) {
	last := s.Last()
	if last < low || last > high {
		return 0, fmt.Errorf("ends at revision %d, want %d to %d", last, low, high)
	}
	from, err := loadState(s)
	if err != nil {
		return 0, fmt.Errorf("load: %w", err)
	}
	err = s.ScanRows(bodyRows, rowKey(last+1), nil, false, func(key, _ []byte) (bool, error) {
		return false, fmt.Errorf("row %x without its record", key)
	})
	if err != nil {
		return 0, err
	}
	err = s.Replay(from, func(rev uint64, record []byte) error {
		if !bytes.Equal(record, recordOf(rev)) {
			return fmt.Errorf("record %d is not what was appended", rev)
		}
		return writeRowsOf(s, rev)
	})
	if err != nil {
		return 0, err
	}
	if err := verifyRows(s, last); err != nil {
		return 0, fmt.Errorf("snapshot %d, end %d: %w", from, last, err)
	}
	return last, nil
}

func verifyRows(s *Store, last uint64) error {
	next := uint64(1)
	err := s.ScanRows(bodyRows, nil, nil, false, func(key, value []byte) (bool, error) {
		if !bytes.Equal(key, rowKey(next)) || !bytes.Equal(value, recordOf(next)) {
			return false, fmt.Errorf("row %x instead of %d", key, next)
		}
		next++
		return true, nil
	})
	if err != nil {
		return err
	}
	if next != last+1 {
		return fmt.Errorf("rows end at %d instead of %d", next-1, last)
	}
	latest, ok, err := s.Row(nil, latestRows, nil)
	if err != nil || ok != (last > 0) || (ok && !bytes.Equal(latest, rowKey(last))) {
		return fmt.Errorf("latest row %x %v: %v", latest, ok, err)
	}
	return nil
}
