package persist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"maps"
	"runtime"
	"strings"
	"testing"
)

// sample is a backup with sections, rows large and small, and a note.
func sample(t testing.TB) []byte {
	s := mustOpen(t, NewMemFS())
	defer mustClose(t, s)
	for rev := uint64(1); rev <= 12; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	rows := s.NewRows()
	rows.Set(7, []byte("large"), bytes.Repeat([]byte("x"), rowsFrame+5))
	rows.Set(8, nil, nil)
	if err := s.WriteRows(rows); err != nil {
		t.Fatal(err)
	}
	pin, err := s.PinRows()
	if err != nil {
		t.Fatal(err)
	}
	defer pin.Close()
	late := s.NewRows()
	late.Set(9, []byte("later"), []byte("not in it"))
	if err := s.WriteRows(late); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := NewBackupWriter(&b, 12)
	err = errors.Join(w.Section(1, []byte("one")), w.Section(2, nil), w.Rows(pin), w.Note(3, []byte("note")))
	size, ended := w.End()
	if err = errors.Join(err, ended); err != nil || size != int64(b.Len()) {
		t.Fatalf("%d of %d bytes: %v", size, b.Len(), err)
	}
	return b.Bytes()
}

func allRows(t *testing.T, s *Store) map[string]string {
	rows := map[string]string{}
	for kind := range 256 {
		if err := s.ScanRows(byte(kind), nil, nil, false, func(key, value []byte) (bool, error) {
			rows[string(rune(kind))+string(key)] = string(value)
			return true, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

func TestBackupRoundTrip(t *testing.T) {
	t.Parallel()
	b := sample(t)
	disk := NewMemFS()
	notes := ""
	rev, err := Restore(&Options{Dir: testDir, FS: disk}, bytes.NewReader(b), func(kind uint16, body []byte) error {
		notes += string(rune('0'+kind)) + string(body)
		return nil
	})
	if err != nil || rev != 12 || notes != "3note" {
		t.Fatal(rev, notes, err)
	}
	s := mustOpen(t, disk)
	defer mustClose(t, s)
	sections := map[uint16]string{}
	if rev, err := s.LoadSnapshot(func(_ uint64, all iter.Seq2[uint16, []byte]) error {
		for kind, body := range all {
			sections[kind] = string(body)
		}
		return nil
	}); err != nil || rev != 12 || s.Last() != 12 || !maps.Equal(sections, map[uint16]string{1: "one", 2: ""}) {
		t.Errorf("revision %d, sections %v: %v", rev, sections, err)
	}
	rows := allRows(t, s)
	if len(rows) != 12+1+2 || rows["\x07large"] != strings.Repeat("x", rowsFrame+5) || rows["\x08"] != "" {
		t.Errorf("%d rows", len(rows))
	}
	if _, later := rows["\x09later"]; later {
		t.Error("a row that was written after the pin is there")
	}
	if err := s.Append(13, []byte("on")); err != nil {
		t.Error(err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	b := sample(t)
	disk := NewMemFS()
	s := mustOpen(t, disk)
	for range 2 { // open, then closed
		_, err := Restore(&Options{Dir: testDir, FS: disk}, bytes.NewReader(b), nil)
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLocked) {
			t.Error(err)
		}
		_ = s.Close()
	}
	if held, err := Hold(&Options{Dir: testDir, FS: disk}); err != nil || held == nil {
		t.Error(held, err)
	} else if _, err := Open(&Options{Dir: testDir, FS: disk}); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	if held, err := Hold(&Options{Dir: "nowhere", FS: disk}); err != nil || held != nil {
		t.Error(held, err)
	}
}

// A backup from a future format is not touched.
func TestBackupOfANewerFormat(t *testing.T) {
	t.Parallel()
	b := bytes.Clone(sample(t))
	header := backupFile.appendHeader(nil, 12)
	header[8] = byte(backupFile.version) + 1
	binary.LittleEndian.PutUint32(header[28:], crc32.Checksum(header[:28], castagnoli))
	copy(b, header)
	if _, err := Verify(bytes.NewReader(b)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), fmt.Sprintf("backup format %d, this program knows %d", backupFile.version+1, backupFile.version)) {
		t.Error(err)
	}
}

// A row that no frame can hold goes in parts, as programs that had no bounds may
// have stored them.
func TestBackupOfAGiantRow(t *testing.T) {
	t.Parallel()
	giant := bytes.Repeat([]byte("giant row "), MaxSection/10+1)
	s := mustOpen(t, NewMemFS())
	for rev := uint64(1); rev <= 2; rev++ {
		if err := s.Append(rev, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	rows := s.NewRows()
	rows.Set(1, []byte("giant"), giant)
	rows.Set(1, []byte("small"), []byte("after it"))
	if err := s.WriteRows(rows); err != nil {
		t.Fatal(err)
	}
	pin, err := s.PinRows()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := NewBackupWriter(&b, 2)
	err = errors.Join(w.Section(1, []byte("one")), w.Rows(pin), pin.Close())
	_, ended := w.End()
	mustClose(t, s)
	if err = errors.Join(err, ended); err != nil {
		t.Fatal(err)
	}
	disk := NewMemFS()
	if _, err := Restore(&Options{Dir: testDir, FS: disk}, bytes.NewReader(b.Bytes()), nil); err != nil {
		t.Fatal(err)
	}
	restored := mustOpen(t, disk)
	defer mustClose(t, restored)
	if all := allRows(t, restored); all["\x01giant"] != string(giant) || all["\x01small"] != "after it" || len(all) != 2 {
		t.Errorf("%d rows, the giant has %d bytes", len(all), len(all["\x01giant"]))
	}
	cut := bytes.Clone(b.Bytes()[:MaxSection+1000])
	if _, err := Verify(bytes.NewReader(cut)); !errors.Is(err, ErrCorrupt) {
		t.Error("a backup that ends in the middle of a row:", err)
	}
}

func FuzzBackup(f *testing.F) {
	b := sample(f)
	f.Add(b[:200])
	var small bytes.Buffer
	w := NewBackupWriter(&small, 1)
	_, _ = w.Section(1, []byte("x")), w.Note(1, nil)
	_, _ = w.End()
	f.Add(small.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := Verify(bytes.NewReader(in))
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20+8*uint64(len(in)) {
			t.Errorf("%d bytes cost %d of memory", len(in), used)
		}
		if err == nil && r.Size() != int64(len(in)) {
			t.Errorf("%d of %d bytes were read", r.Size(), len(in))
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
			t.Errorf("an unclear error: %v", err)
		}
		for rest := in; len(rest) > 0; {
			_, key, value, more, err := parseBackupRow(rest)
			if err != nil {
				break
			}
			if len(key)+len(value) > len(rest) {
				t.Error("a row is larger than its frame")
			}
			rest = more
		}
	})
}

// A writer that fails says so at every later call.
func TestBackupWriterFails(t *testing.T) {
	t.Parallel()
	pipe, into := io.Pipe()
	_ = pipe.Close()
	w := NewBackupWriter(into, 1)
	_ = w.Section(1, make([]byte, 1<<20))
	if _, err := w.End(); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if err := w.Section(1, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	w = NewBackupWriter(io.Discard, 1)
	if err := w.Section(1, make([]byte, MaxSection+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}
