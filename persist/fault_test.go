package persist

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
)

// kinds are the errors a Store may answer a failing disk with.
func isKind(err error) bool {
	for _, kind := range []error{ErrDisk, ErrCorrupt} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// mostTries is after how many refusals in a row a disk counts as one that never
// obeys. A reopening has some thirty operations, and where one in ten fails only one
// in twenty-five reopenings meets none of them.
const mostTries = 10_000

// live runs the workload over a disk that may fail at any moment: it opens, goes
// on to revision upto, reopens after ErrDisk, and closes. Errors that a failing
// disk does not explain are returned. accepted follows what was promised.
func live(disk FS, upto uint64, accepted *atomic.Uint64) error {
	var s *Store
	for tries := 0; s == nil; tries++ {
		var err error
		s, err = Open(&Options{Dir: testDir, FS: disk, MemTableSize: 64 << 10})
		if err != nil && (tries == mostTries || !isKind(err)) {
			return fmt.Errorf("open: %w", err)
		}
	}
	if last := s.Last(); last < accepted.Load() {
		return fmt.Errorf("opened at %d, %d were accepted: %w", last, accepted.Load(), s.Close())
	}
	for rev := s.Last() + 1; rev <= upto; {
		ok, err := step(s, rev)
		if ok {
			accepted.Store(rev)
			rev++
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrDisk) {
			return fmt.Errorf("step %d: %w", rev, err)
		}
		// What came after Append may not have been accepted: the rows stay with
		// the caller until they are.
		for healed := false; !healed; {
			if err := heal(s); err != nil {
				return err
			}
			if s.Last() != rev-1 {
				return fmt.Errorf("reopened at %d instead of %d", s.Last(), rev-1)
			}
			err := error(nil)
			if ok {
				err = writeRowsOf(s, rev-1)
			}
			if err != nil && !errors.Is(err, ErrDisk) {
				return err
			}
			healed = err == nil
		}
	}
	if err := s.Close(); err != nil && !errors.Is(err, ErrDisk) {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// heal reopens until the disk obeys.
func heal(s *Store) error {
	for tries := 0; ; tries++ {
		err := s.Reopen()
		if err == nil {
			return nil
		}
		if tries == mostTries || !isKind(err) {
			return fmt.Errorf("reopen: %w", err)
		}
	}
}

// Every single operation of a disk fails once, in turn, reads and writes alike.
// The store goes on or says why not, and the next start on a good disk finds what
// was accepted and nothing that was not.
func TestEveryOperationFailsOnce(t *testing.T) {
	t.Parallel()
	const revisions = 20
	seen := map[string]bool{}
	total := int64(1)
	for fails := int64(1); fails <= total; fails++ {
		disk := NewCrashFS()
		var operations atomic.Int64
		var failed atomic.Pointer[Op]
		faulty := NewFaultyFS(disk, func(op Op) error {
			if operations.Add(1) == fails {
				failed.Store(&op)
				return syscall.EIO
			}
			return nil
		})
		var accepted atomic.Uint64
		err := live(faulty, revisions, &accepted)
		op := failed.Load()
		if op != nil {
			seen[string(op.Kind)+" "+filepath.Ext(op.Path)] = true
		}
		if err == nil && accepted.Load() == revisions {
			_, err = verify(disk.Crash(), revisions, revisions)
		}
		if err != nil {
			t.Fatalf("operation %d of %d (%v): accepted %d: %v", fails, operations.Load(), op, accepted.Load(), err)
		}
		if fails == 1 {
			total = operations.Load()
		}
	}
	t.Logf("%d operations, %d kinds", total, len(seen))
}

// Operations fail at random, one in a few, for a while; then the power fails.
func TestShakyDisk(t *testing.T) {
	t.Parallel()
	for range 8 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		one := 10 + rng.IntN(200)
		disk := NewCrashFS()
		var n, accepted atomic.Uint64
		faulty := NewFaultyFS(disk, func(op Op) error {
			r := rand.New(rand.NewPCG(seed, n.Add(1)))
			if op.Kind.Writes() && r.IntN(one) == 0 {
				return syscall.EIO
			}
			return nil
		})
		err := live(faulty, 60, &accepted)
		if err == nil {
			_, err = verify(disk.CrashKeeping(rng.IntN(100), rng), 60, 60)
		}
		if err != nil {
			t.Fatalf("seed %d, one in %d, accepted %d: %v", seed, one, accepted.Load(), err)
		}
	}
}

// smallDisk refuses writes of content while full.
type smallDisk struct {
	*CrashFS
	full atomic.Bool
}

func (d *smallDisk) fs() FS {
	return NewFaultyFS(d.CrashFS, func(op Op) error {
		switch op.Kind {
		case OpWrite, OpCreate, OpAllocate, OpSync:
			if d.full.Load() {
				return syscall.ENOSPC
			}
		}
		return nil
	})
}

// A full disk: writes are refused, at once and all of them; what is there can be
// read; when space returns everything accepted is there and goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := &smallDisk{CrashFS: NewCrashFS()}
	s := mustOpen(t, disk.fs())
	for rev := uint64(1); rev <= 20; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	disk.full.Store(true)
	rows := s.NewRows()
	rows.Set(bodyRows, rowKey(21), nil)
	for i, err := range []error{
		s.Append(21, recordOf(21)), s.Append(21, recordOf(21)), s.WriteRows(rows), s.Trim(9),
		s.Reopen(), s.Append(21, recordOf(21)), writeState(s, 20), s.Err(),
	} {
		if !errors.Is(err, ErrDisk) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if !s.Metrics().Failed {
		t.Fatalf("metrics: %+v", s.Metrics())
	}
	if err := verifyRows(s, 20); err != nil {
		t.Fatalf("reading on a full disk: %v", err)
	}
	disk.full.Store(false)
	if err := s.Append(21, recordOf(21)); !errors.Is(err, ErrDisk) {
		t.Fatalf("before Reopen: %v", err)
	}
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); err != nil || s.Last() != 20 {
		t.Fatal(err, s.Last())
	}
	for rev := uint64(21); rev <= 40; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	if _, err := verify(disk.Crash(), 40, 40); err != nil {
		t.Fatal(err)
	}
}

// The disk fills at each write in turn and stays full for a while: the committer
// is never left waiting, and only what was refused is missing.
func TestDiskFillsAnywhere(t *testing.T) {
	t.Parallel()
	for fillsAt := int64(1); fillsAt < 400; fillsAt += 7 {
		disk := NewCrashFS()
		var writes, refused atomic.Int64
		faulty := NewFaultyFS(disk, func(op Op) error {
			if !op.Kind.Writes() || op.Kind == OpRemove {
				return nil
			}
			if writes.Add(1) >= fillsAt && refused.Add(1) <= 30 {
				return syscall.ENOSPC
			}
			return nil
		})
		var accepted atomic.Uint64
		err := live(faulty, 30, &accepted)
		if err == nil {
			_, err = verify(disk.Crash(), 30, 30)
		}
		if err != nil {
			t.Fatalf("full from write %d on, accepted %d: %v", fillsAt, accepted.Load(), err)
		}
	}
}

// A record whose Append failed may have reached the disk; Reopen removes it.
func TestRefusedRecordIsForgotten(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	var armed atomic.Bool
	s := mustOpen(t, NewFaultyFS(disk, func(op Op) error {
		if op.Kind == OpSync && filepath.Ext(op.Path) == ".log" && armed.Swap(false) {
			return syscall.EIO // after the write, which this disk remembers
		}
		return nil
	}))
	if _, err := step(s, 1); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	if err := s.Append(2, []byte("refused")); !errors.Is(err, ErrDisk) {
		t.Fatal(err)
	}
	if err := s.Reopen(); err != nil || s.Last() != 1 {
		t.Fatal(err, s.Last())
	}
	if _, err := step(s, 2); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := verify(disk, 2, 2); err != nil {
		t.Fatal(err)
	}
}

// Rows that were accepted but not yet synced go down with the disk, and come back.
func TestReopenKeepsRows(t *testing.T) {
	t.Parallel()
	disk := &smallDisk{CrashFS: NewCrashFS()}
	s := mustOpen(t, disk.fs())
	defer mustClose(t, s)
	for rev := uint64(1); rev <= 3; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	disk.full.Store(true)
	if err := s.Append(4, recordOf(4)); !errors.Is(err, ErrDisk) {
		t.Fatal(err)
	}
	rows := s.NewRows()
	rows.Set(bodyRows, rowKey(0), []byte("refused"))
	if err := s.WriteRows(rows); !errors.Is(err, ErrDisk) || rows.Len() != 1 {
		t.Fatal(err, rows.Len())
	}
	disk.full.Store(false)
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := verifyRows(s, 3); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteRows(rows); err != nil || rows.Len() != 0 {
		t.Fatal(err, rows.Len())
	}
	if v, ok, err := s.Row(nil, bodyRows, rowKey(0)); string(v) != "refused" || !ok || err != nil {
		t.Fatal(v, ok, err)
	}
}

// The write that brings the disk down leaves its rows with the caller as well.
func TestFailedRowsAreKept(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 40 << 10, 2 << 20} {
		disk := &smallDisk{CrashFS: NewCrashFS()}
		s := mustOpen(t, disk.fs())
		rows := s.NewRows()
		for try := 0; ; try++ {
			rows.Set(bodyRows, rowKey(1), make([]byte, size))
			disk.full.Store(true)
			err := s.WriteRows(rows)
			if err == nil && try < 1000 {
				continue // not yet written through
			}
			if !errors.Is(err, ErrDisk) || rows.Len() != 1 {
				t.Fatal(err, rows.Len())
			}
			break
		}
		disk.full.Store(false)
		if err := s.Reopen(); err != nil {
			t.Fatal(err)
		}
		rows.Set(latestRows, nil, nil) // a refused batch can grow
		if err := s.WriteRows(rows); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := s.Row(nil, bodyRows, rowKey(1)); len(v) != size || !ok || err != nil {
			t.Fatal(len(v), ok, err)
		}
		mustClose(t, s)
	}
}

// Without syncs, a disk that fails takes accepted records along. A snapshot of
// what the caller holds brings the store back.
func TestBehind(t *testing.T) {
	t.Parallel()
	disk := &smallDisk{CrashFS: NewCrashFS()}
	s := mustOpen(t, disk.fs(), func(o *Options) { o.NoSync = true })
	rev := uint64(1)
	for ; rev <= 5; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	disk.full.Store(true)
	for ; s.Err() == nil; rev++ { // accepted until the log is really written
		if err := s.Append(rev, recordOf(rev)); err != nil {
			break
		}
	}
	last := s.Last()
	disk.full.Store(false)
	err := s.Reopen()
	if last > 5 && !errors.Is(err, ErrBehind) {
		t.Fatalf("reopen at %d: %v", last, err)
	}
	if err := writeState(s, last); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	if s.Last() != last {
		t.Fatal(s.Last(), last)
	}
	for rev = last + 1; rev <= last+20; rev++ {
		if err := s.Append(rev, recordOf(rev)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	s = mustOpen(t, disk)
	defer mustClose(t, s)
	from, err := loadState(s)
	if err != nil || from != last {
		t.Fatal(from, err)
	}
	next := last + 1
	if err := s.Replay(from, func(rev uint64, _ []byte) error {
		if rev != next {
			t.Errorf("record %d instead of %d", rev, next)
		}
		next++
		return nil
	}); err != nil || next != last+21 {
		t.Fatal(next, err)
	}
}
