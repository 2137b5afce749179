package persist

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	s := mustOpen(t, disk)
	for rev := uint64(1); rev <= 100; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	if err := verifyRows(s, 100); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := verify(disk, 100, 100); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, disk)
	defer mustClose(t, s)
	report, err := s.Check(context.Background())
	if err != nil || len(report.Damage) > 0 || report.Recovers != 100 || report.Rows != 101 {
		t.Fatalf("check: %+v, %v", report, err)
	}
}

func TestRealDisk(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Open(&Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for rev := uint64(1); rev <= 40; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("folder mode %v, %v", info.Mode(), err)
	}
	if _, err := Open(&Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second Open: %v", err)
	}
	mustClose(t, s)
	s, err = Open(&Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifyOpen(s, 40, 40); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	s := mustOpen(t, disk)
	if s.Last() != 0 || s.SafeTrim() != 0 {
		t.Fatal("an empty store has revisions")
	}
	if rev, err := loadState(s); rev != 0 || err != nil {
		t.Fatal(rev, err)
	}
	if err := s.Replay(0, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(0); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteRows(s.NewRows()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := verify(disk, 0, 0); err != nil {
		t.Fatal(err)
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	s := mustOpen(t, disk)
	if _, err := Open(&Options{Dir: testDir, FS: disk}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second Open: %v", err)
	}
	if _, err := s.step(1); err != nil {
		t.Fatalf("the first is disturbed: %v", err)
	}
	mustClose(t, s)
	mustClose(t, mustOpen(t, disk))
}

func (s *Store) step(rev uint64) (bool, error) { return step(s, rev) }

// TestCheckFormat: what Open would refuse for its file FORMAT is known without opening.
func TestCheckFormat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for text, good := range map[string]bool{"garbage": false, "lapid store, format 9\n": false, "lapid store, format 1\n": true} {
		if err := os.WriteFile(filepath.Join(dir, formatFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := CheckFormat(dir); good != (err == nil) || !good && !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := CheckFormat(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
}

func TestOtherFormat(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(disk FS) error{
		"newer":   func(disk FS) error { return folder{disk, testDir}.write(formatFile, "lapid store, format 2\n") },
		"foreign": func(disk FS) error { return folder{disk, testDir}.write(formatFile, "\x00\x01") },
		"missing": func(disk FS) error { return disk.Remove(testDir + "/" + formatFile) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := NewCrashFS()
			s := mustOpen(t, disk)
			if _, err := step(s, 1); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			if err := spoil(disk); err != nil {
				t.Fatal(err)
			}
			untouched := NewFaultyFS(disk, func(op Op) error {
				if op.Kind.Writes() {
					t.Errorf("%s %s", op.Kind, op.Path)
				}
				return nil
			})
			if _, err := Open(&Options{Dir: testDir, FS: untouched}); !errors.Is(err, ErrFormat) {
				t.Fatalf("Open: %v", err)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	if _, err := Open(&Options{Dir: testDir, FS: disk, ReadOnly: true}); !errors.Is(err, ErrFormat) {
		t.Fatalf("nothing there: %v", err)
	}
	s := mustOpen(t, disk)
	for rev := uint64(1); rev <= 30; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)

	untouched := NewFaultyFS(disk, func(op Op) error {
		if op.Kind.Writes() && op.Kind != OpLock {
			t.Errorf("%s %s", op.Kind, op.Path)
		}
		return nil
	})
	s = mustOpen(t, untouched, readOnly)
	if rev, err := loadState(s); rev != 27 || err != nil {
		t.Fatal(rev, err)
	}
	records := 0
	if err := s.Replay(27, func(uint64, []byte) error { records++; return nil }); err != nil || records != 3 {
		t.Fatal(records, err)
	}
	if err := verifyRows(s, 30); err != nil {
		t.Fatal(err)
	}
	if report, err := s.Check(context.Background()); err != nil || len(report.Damage) > 0 {
		t.Fatalf("check: %+v, %v", report, err)
	}
	rows := s.NewRows()
	rows.Delete(bodyRows, nil)
	for _, err := range []error{s.Append(31, nil), s.WriteRows(rows), s.Trim(1), writeState(s, 30)} {
		if !errors.Is(err, ErrReadOnly) {
			t.Fatalf("write: %v", err)
		}
	}
	mustClose(t, s)
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, NewMemFS())
	mustClose(t, s)
	rows := s.NewRows()
	rows.Set(1, nil, nil)
	_, _, rowErr := s.Row(nil, 1, nil)
	_, checkErr := s.Check(context.Background())
	_, listErr := s.Snapshots()
	for i, err := range []error{
		s.Close(), s.Append(1, nil), s.WriteRows(rows), s.Reopen(), s.Err(), rowErr, checkErr, listErr,
		s.Replay(0, nil), s.ScanRows(1, nil, nil, false, nil), writeState(s, 1),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%d: %v", i, err)
		}
	}
	s.Metrics()
}

// A folder that ends before it was known to has lost something that no checksum
// can tell: the end of a file.
func TestLatestMark(t *testing.T) {
	t.Parallel()
	disk := NewMemFS()
	s := mustOpen(t, disk)
	for rev := uint64(1); rev <= 4; rev++ {
		if err := s.Append(rev, recordOf(rev)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	l := latest{disk: disk, path: testDir + "/" + latestFile}
	if err := l.read(); err != nil {
		t.Fatal(err)
	}
	if err := l.renew(folder{disk, testDir}, func(m *mark) { m.journal++; m.last++ }); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(&Options{Dir: testDir, FS: disk}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("Open: %v", err)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, NewMemFS())
	defer mustClose(t, s)
	rows := s.NewRows()
	for _, kind := range []byte{0, 1, 254, 255} {
		for _, key := range []string{"", "a", "b", "\xff", "\xff\xff"} {
			rows.Set(kind, []byte(key), append([]byte{kind}, key...))
		}
	}
	rows.Delete(1, []byte("b"))
	rows.DeleteRange(255, []byte("a"), []byte("\xff\xff"))
	rows.DeleteRange(0, []byte("b"), []byte("a")) // nothing
	if rows.Len() != 22 {
		t.Fatal(rows.Len())
	}
	if err := s.WriteRows(rows); err != nil {
		t.Fatal(err)
	}
	if rows.Len() != 0 {
		t.Fatal("not empty after WriteRows")
	}
	for _, c := range []struct {
		kind       byte
		from, to   []byte
		descending bool
		want       string
	}{
		{0, nil, nil, false, " a b \xff \xff\xff"},
		{1, nil, nil, false, " a \xff \xff\xff"},
		{1, nil, nil, true, "\xff\xff \xff a "},
		{254, []byte("a"), []byte("\xff"), false, "a b"},
		{254, []byte("a"), []byte("\xff"), true, "b a"},
		{254, []byte("b"), []byte("a"), true, "-"},
		{255, nil, nil, false, " \xff\xff"},
		{7, nil, nil, false, "-"},
	} {
		var got [][]byte
		err := s.ScanRows(c.kind, c.from, c.to, c.descending, func(key, value []byte) (bool, error) {
			if !bytes.Equal(value, append([]byte{c.kind}, key...)) {
				t.Errorf("%q has %q", key, value)
			}
			got = append(got, bytes.Clone(key))
			return true, nil
		})
		text := string(bytes.Join(got, []byte(" ")))
		if len(got) == 0 {
			text = "-"
		}
		if err != nil || text != c.want {
			t.Errorf("%+v: %q, %v", c, text, err)
		}
	}
	if _, ok, err := s.Row(nil, 1, []byte("b")); ok || err != nil {
		t.Fatal(ok, err)
	}
	if v, ok, err := s.Row([]byte("x"), 1, []byte("a")); string(v) != "x\x01a" || !ok || err != nil {
		t.Fatal(v, ok, err)
	}
	stop := errors.New("stop")
	if err := s.ScanRows(0, nil, nil, false, func(_, _ []byte) (bool, error) { return true, stop }); err != stop {
		t.Fatal(err)
	}
}
