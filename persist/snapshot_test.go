package persist

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// threeSnapshots returns a store at revision 30 with snapshots of 10, 20 and 30
// written, of which two are kept, and the journal trimmed.
func threeSnapshots(t *testing.T, disk FS) *Store {
	t.Helper()
	s := mustOpen(t, disk)
	for rev := uint64(1); rev <= 30; rev++ {
		if err := s.Append(rev, recordOf(rev)); err != nil {
			t.Fatal(err)
		}
		if err := writeRowsOf(s, rev); err != nil {
			t.Fatal(err)
		}
		if rev%10 != 0 {
			continue
		}
		if err := writeState(s, rev); err != nil {
			t.Fatal(err)
		}
		if err := s.Trim(s.SafeTrim()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestSnapshotsKept(t *testing.T) {
	t.Parallel()
	s := threeSnapshots(t, NewMemFS())
	defer mustClose(t, s)
	infos, err := s.Snapshots()
	if err != nil || len(infos) != 2 || infos[0].Rev != 30 || infos[1].Rev != 20 {
		t.Fatal(infos, err)
	}
	if s.SafeTrim() != 20 {
		t.Fatal(s.SafeTrim())
	}
	if err := s.Replay(19, func(uint64, []byte) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("replay of what was trimmed: %v", err)
	}
	records := 0
	if err := s.Replay(20, func(uint64, []byte) error { records++; return nil }); err != nil || records != 10 {
		t.Fatal(records, err)
	}
	if rev, err := loadState(s); rev != 30 || err != nil {
		t.Fatal(rev, err)
	}
}

// rewrite replaces the content of a file, durably.
func rewrite(t *testing.T, disk FS, path string, change func([]byte) []byte) {
	t.Helper()
	content := change(slurp(t, disk, path))
	file, err := disk.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

func slurp(t *testing.T, disk FS, path string) []byte {
	t.Helper()
	file, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// spoils are the ways in which the tests damage a file at byte i.
func spoils(i int) []func([]byte) []byte {
	return []func([]byte) []byte{
		func(b []byte) []byte { b[i] ^= 0x10; return b },
		func(b []byte) []byte { return b[:i] },
	}
}

// Whichever byte is flipped and wherever the file is cut, a reader notices.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	buildSnapshot(t, &file, 7, []string{"a", "", strings.Repeat("b", 300)})
	for i := range file.Len() {
		for _, spoil := range spoils(i) {
			damaged := spoil(bytes.Clone(file.Bytes()))
			r, err := newSnapshotReader(bytes.NewReader(damaged), int64(len(damaged)))
			if err == nil {
				err = r.drain()
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("at byte %d of %d: %v", i, file.Len(), err)
			}
		}
	}
	longer := append(bytes.Clone(file.Bytes()), 0)
	r, err := newSnapshotReader(bytes.NewReader(longer), int64(len(longer)))
	if err != nil || !errors.Is(r.drain(), ErrCorrupt) {
		t.Fatal("a longer file is accepted", err)
	}
}

// Wherever the newest snapshot is damaged: the one before is taken, and the
// journal reaches back to it.
func TestFallBack(t *testing.T) {
	t.Parallel()
	disk := NewCrashFS()
	mustClose(t, threeSnapshots(t, disk))
	path := folder{disk, testDir}.snapshotPath(30)
	size := len(slurp(t, disk, path))
	for i := 0; i < size; i += 17 {
		for _, spoil := range spoils(i) {
			disk := disk.Crash()
			rewrite(t, disk, path, spoil)
			if _, err := verify(disk, 30, 30); err != nil {
				t.Fatalf("at byte %d of %d: %v", i, size, err)
			}
		}
	}
}

func TestDamagedSnapshotIsNamed(t *testing.T) {
	t.Parallel()
	disk := NewCrashFS()
	mustClose(t, threeSnapshots(t, disk))
	path := folder{disk, testDir}.snapshotPath(30)
	rewrite(t, disk, path, func(b []byte) []byte { b[headerSize+sectionSize] ^= 1; return b })

	s := mustOpen(t, disk)
	report, err := s.Check(t.Context())
	if err != nil || len(report.Damage) != 1 || report.Damage[0].What != path || report.Recovers != 30 {
		t.Fatalf("%+v, %v", report, err)
	}
	if rev, err := loadState(s); rev != 20 || err != nil {
		t.Fatal(rev, err)
	}
	if s.SafeTrim() != 0 {
		t.Fatalf("one sound snapshot, but trim to %d", s.SafeTrim())
	}
	if err := s.Append(31, recordOf(31)); err != nil {
		t.Fatal(err)
	}
	if err := writeRowsOf(s, 31); err != nil {
		t.Fatal(err)
	}
	if err := writeState(s, 31); err != nil {
		t.Fatal(err)
	}
	infos, err := s.Snapshots()
	if err != nil || len(infos) != 3 || s.SafeTrim() != 20 {
		t.Fatal(infos, err, s.SafeTrim())
	}
	mustClose(t, s)
	if _, err := verify(disk, 31, 31); err != nil {
		t.Fatal(err)
	}
}

// All snapshots gone and the journal trimmed: that is an error and no empty state.
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	disk := NewCrashFS()
	mustClose(t, threeSnapshots(t, disk))
	for _, rev := range []uint64{20, 30} {
		rewrite(t, disk, folder{disk, testDir}.snapshotPath(rev), func(b []byte) []byte { return b[:40] })
	}
	if _, err := Open(&Options{Dir: testDir, FS: disk}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "snapshots are missing") {
		t.Fatalf("a start: %v", err)
	}
	s, err := Open(&Options{Dir: testDir, FS: disk, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	from, err := loadState(s)
	if err != nil || from != 0 {
		t.Fatal(from, err)
	}
	if err := s.Replay(from, func(uint64, []byte) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	report, err := s.Check(t.Context())
	if err != nil || len(report.Damage) != 4 || report.Recovers != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
}

func TestSnapshotErrors(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	s := threeSnapshots(t, disk)
	defer mustClose(t, s)
	mine := errors.New("mine")
	if err := s.WriteSnapshot(30, func(*SnapshotWriter) error { return mine }); err != mine {
		t.Fatal(err)
	}
	err := s.WriteSnapshot(30, func(w *SnapshotWriter) error {
		_ = w.Section(1, make([]byte, MaxSection+1))
		return w.Section(1, nil) // remembers
	})
	if !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	names, err := disk.List(testDir + "/" + snapshotDir)
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	_, err = s.LoadSnapshot(func(rev uint64, _ iter.Seq2[uint16, []byte]) error {
		if rev != 30 {
			t.Errorf("sound snapshot passed over for %d", rev)
		}
		return mine
	})
	if err != mine {
		t.Fatal(err)
	}
}

// A state from elsewhere starts a store at its revision.
func TestAdoptedState(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	s := mustOpen(t, disk)
	for rev := uint64(1); rev <= 3; rev++ {
		if err := s.Append(rev, recordOf(rev)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeState(s, 50); err != nil {
		t.Fatal(err)
	}
	if s.Last() != 50 {
		t.Fatal(s.Last())
	}
	mustClose(t, s)
	s = mustOpen(t, disk)
	if err := s.Append(51, recordOf(51)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpen(t, disk)
	defer mustClose(t, s)
	from, err := loadState(s)
	if err != nil || from != 50 || s.Last() != 51 {
		t.Fatal(from, err, s.Last())
	}
	if report, err := s.Check(t.Context()); err != nil || len(report.Damage) > 0 || report.First != 51 {
		t.Fatalf("%+v, %v", report, err)
	}
}

// A disk that is too full for a snapshot takes nothing else along.
func TestSnapshotFails(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	refuse := false
	s := mustOpen(t, NewFaultyFS(disk, func(op Op) error {
		if refuse && strings.Contains(op.Path, snapshotDir) && op.Kind == OpWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	for rev := uint64(1); rev <= 5; rev++ {
		if err := s.Append(rev, recordOf(rev)); err != nil {
			t.Fatal(err)
		}
	}
	refuse = true
	if err := writeState(s, 5); !errors.Is(err, ErrDisk) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := s.Append(6, recordOf(6)); err != nil {
		t.Fatal(err)
	}
	if m := s.Metrics(); m.Failed {
		t.Fatalf("%+v", m)
	}
	mustClose(t, s)
}

// testOrigin is what the snapshots say that tests build by themselves.
var testOrigin = origin{id: ID{1, 2, 3}, journal: 9}

func FuzzSnapshot(f *testing.F) {
	var whole bytes.Buffer
	for _, bodies := range [][]string{{}, {""}, {"a", strings.Repeat("b", 300)}} {
		whole.Reset()
		buildSnapshot(f, &whole, 7, bodies)
		f.Add(bytes.Clone(whole.Bytes()))
		f.Add(bytes.Clone(whole.Bytes()[:whole.Len()-3]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := newSnapshotReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !isKind(err) && !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		var bodies []string
		var kinds []uint16
		for kind, body := range r.sections() {
			kinds = append(kinds, kind)
			bodies = append(bodies, string(body))
		}
		if r.err != nil {
			if !isKind(r.err) {
				t.Fatal(r.err)
			}
			return
		}
		if r.origin == (origin{}) {
			return // written by version 1
		}
		// What is accepted is exactly what would be written.
		var again bytes.Buffer
		w := newSnapshotWriter(&again, r.rev, r.origin)
		for i, body := range bodies {
			if err := w.Section(kinds[i], []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.end(); err != nil || !bytes.Equal(again.Bytes(), data) {
			t.Fatalf("accepted %x, which is written %x (%v)", data, again.Bytes(), err)
		}
	})
}

func buildSnapshot(t testing.TB, out io.Writer, rev uint64, bodies []string) {
	w := newSnapshotWriter(out, rev, testOrigin)
	for i, body := range bodies {
		if err := w.Section(uint16(i), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
}
