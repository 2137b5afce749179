package persist

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// behind opens the store, changes its keys behind its back, and closes it.
func behind(t *testing.T, disk FS, change func(db *pebble.DB) error) {
	t.Helper()
	s := mustOpen(t, disk)
	if err := change(s.current.db); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
}

func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(db *pebble.DB) error
		first  uint64 // that is not replayed
		says   string
	}{
		"flipped": {func(db *pebble.DB) error {
			value := make([]byte, frameSize+3)
			identity{}.putFrame(value, 7, []byte("abc"))
			value[5] ^= 1
			return db.Set(appendJournalKey(nil, 7), value, nil)
		}, 7, "record 7"},
		"cut": {func(db *pebble.DB) error {
			return db.Set(appendJournalKey(nil, 7), []byte{1, 2, 3}, nil)
		}, 7, "record 7"},
		"moved": {func(db *pebble.DB) error {
			value, closer, err := db.Get(appendJournalKey(nil, 6))
			if err != nil {
				return err
			}
			defer closer.Close()
			return db.Set(appendJournalKey(nil, 7), value, nil)
		}, 7, "record 7"},
		"missing": {func(db *pebble.DB) error {
			return db.DeleteRange(appendJournalKey(nil, 4), appendJournalKey(nil, 6), nil)
		}, 4, "records 4 to 5"},
		"first missing": {func(db *pebble.DB) error {
			return db.Delete(appendJournalKey(nil, 1), nil)
		}, 1, "records 1 to 1"},
		"stray key": {func(db *pebble.DB) error {
			return db.Set([]byte("j\x00\x00\x00\x00\x00\x00\x00\x03x"), nil, nil)
		}, 4, "journal key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := NewMemFS()
			s := mustOpen(t, disk)
			for rev := uint64(1); rev <= 10; rev++ {
				if err := s.Append(rev, recordOf(rev)); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, s)
			behind(t, disk, c.change)

			s, err := Open(&Options{Dir: testDir, FS: disk, ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, s)
			next := uint64(1)
			err = s.Replay(0, func(rev uint64, record []byte) error {
				if rev != next || !bytes.Equal(record, recordOf(rev)) {
					t.Errorf("record %d instead of %d", rev, next)
				}
				next++
				return nil
			})
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) || next != c.first {
				t.Fatalf("replayed up to %d: %v", next, err)
			}
			report, err := s.Check(t.Context())
			if err != nil || len(report.Damage) < 2 || !strings.Contains(fmt.Sprint(report.Damage), c.says) {
				t.Fatalf("check: %+v, %v", report, err)
			}
		})
	}
}

// Bytes all over the files of a store at rest are flipped, and files cut short: what was stored comes back whole, or there is an error of a named kind.
// Nothing is lost in silence, nothing panics.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	disk := NewCrashFS()
	s := mustOpen(t, disk)
	for rev := uint64(1); rev <= 12; rev++ {
		if err := s.Append(rev, []byte(fmt.Sprint("record ", rev))); err != nil {
			t.Fatal(err)
		}
		if rev == 6 {
			if err := s.current.db.Flush(); err != nil { // half in a table, half in the log
				t.Fatal(err)
			}
		}
	}
	mustClose(t, s)

	dir := folder{disk, testDir}.join(storeDir)
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	damaged, found := 0, 0
	for _, name := range names {
		path := filepath.Join(dir, name)
		size := len(slurp(t, disk, path))
		for i := 0; i < size; i += 1 + size/100 {
			for _, spoil := range spoils(i) {
				disk := disk.Crash()
				rewrite(t, disk, path, spoil)
				damaged++
				err := readAll(disk)
				if err == nil {
					continue
				}
				found++
				if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
					t.Errorf("%s at byte %d of %d: %v", name, i, size, err)
				}
			}
		}
	}
	t.Logf("%d damaged, %d found, the rest harmless", damaged, found)
}

// readAll reads back what TestDamagedFiles wrote.
func readAll(disk FS) error {
	s, err := Open(&Options{Dir: testDir, FS: disk})
	if err != nil {
		return err
	}
	next := uint64(1)
	err = s.Replay(0, func(rev uint64, record []byte) error {
		if string(record) != fmt.Sprint("record ", next) {
			return errors.New("wrong record came back")
		}
		next++
		return nil
	})
	if err == nil && next != 13 {
		err = fmt.Errorf("silently ends after record %d", next-1)
	}
	if closeErr := s.Close(); err == nil && closeErr != nil && !isKind(closeErr) {
		err = closeErr
	}
	return err
}

func TestReplayStops(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, NewMemFS())
	defer mustClose(t, s)
	for rev := uint64(1); rev <= 3; rev++ {
		if err := s.Append(rev, nil); err != nil {
			t.Fatal(err)
		}
	}
	mine := errors.New("mine")
	if err := s.Replay(1, func(rev uint64, record []byte) error {
		if rev != 2 || len(record) != 0 {
			t.Errorf("record %d of %d bytes", rev, len(record))
		}
		return mine
	}); err != mine {
		t.Fatal(err)
	}
	if err := s.Replay(3, nil); err != nil {
		t.Fatal(err)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, NewMemFS())
	defer mustClose(t, s)
	huge := make([]byte, MaxRecord+1)
	if err := s.Append(1, huge); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	rows := s.NewRows()
	rows.Set(1, []byte("small"), nil)
	rows.Set(1, nil, huge)
	if err := s.WriteRows(rows); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if _, ok, err := s.Row(nil, 1, []byte("small")); ok || err != nil {
		t.Fatal("half of a batch was written", err)
	}
	rows.Set(1, []byte("small"), nil)
	if err := s.WriteRows(rows); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(1, huge[:3<<20]); err != nil {
		t.Fatal(err)
	}
}

func TestBugs(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, NewMemFS())
	defer mustClose(t, s)
	if err := s.Append(1, nil); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(){
		"again":    func() { _ = s.Append(1, nil) },
		"gap":      func() { _ = s.Append(3, nil) },
		"too soon": func() { _ = s.Trim(1) },
	} {
		func() {
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "BUG: ") {
					t.Errorf("%s: %v", name, r)
				}
			}()
			call()
		}()
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := threeSnapshots(t, NewMemFS())
	defer mustClose(t, s)
	m := s.Metrics()
	var buckets uint64
	for _, n := range m.Sync.Counts {
		buckets += n
	}
	if m.AppendBytes == 0 || m.Sync.Count != 30 || buckets != 30 || m.Sync.Sum <= 0 || m.DiskBytes == 0 || m.Failed {
		t.Fatalf("%+v", m)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(uint64(1), []byte(nil))
	f.Add(uint64(9), []byte("abcdefgh"))
	f.Fuzz(func(t *testing.T, rev uint64, data []byte) {
		if record, err := (identity{}).parseFrame(rev, data); err == nil {
			again := make([]byte, frameSize+len(record))
			identity{}.putFrame(again, rev, record)
			if !bytes.Equal(again, data) {
				t.Fatalf("accepted %x", data)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		framed := make([]byte, frameSize+len(data))
		identity{}.putFrame(framed, rev, data)
		if record, err := (identity{}).parseFrame(rev, framed); err != nil || !bytes.Equal(record, data) {
			t.Fatal(record, err)
		}
		if _, err := (identity{}).parseFrame(rev+1, framed); err == nil {
			t.Fatal("accepted under another revision")
		}
		if got, ok := parseJournalKey(appendJournalKey(nil, rev)); !ok || got != rev {
			t.Fatal(got, ok)
		}
	})
}
