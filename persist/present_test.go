package persist

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestGoneFoundByAWrite: a table cannot be written because the folder was moved away, before
// anybody looked for it. From the look on what is told is that, and what is put back is
// opened again with all that was accepted, and no sooner.
func TestGoneFoundByAWrite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := mustOpen(t, nil, func(o *Options) { o.Dir, o.FS = dir, nil })
	t.Cleanup(func() { mustClose(t, s) })
	rev := uint64(1)
	for ; rev < 20; rev++ {
		if err := s.Append(rev, recordOf(rev)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, storeDir), dir+".aside"); err != nil {
		t.Fatal(err)
	}
	err := s.Err()
	for ; err == nil; rev++ { // until a memtable is full
		if err = s.Append(rev, recordOf(rev)); err == nil {
			err = s.Err()
		}
	}
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrDisk) || errors.Is(err, ErrGone) {
		t.Fatalf("a write into a missing folder: %v", err)
	}
	if err := s.Present(); !errors.Is(err, ErrGone) {
		t.Fatalf("the look: %v", err)
	}
	if err := s.Err(); !errors.Is(err, ErrGone) || !errors.Is(err, ErrDisk) {
		t.Fatalf("after the look: %v", err)
	}
	if err := s.Reopen(); !errors.Is(err, ErrGone) {
		t.Fatalf("opened again without it: %v", err)
	}
	if err := os.Rename(dir+".aside", filepath.Join(dir, storeDir)); err != nil {
		t.Fatal(err)
	}
	last := s.Last()
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(last+1, recordOf(last+1)); err != nil {
		t.Fatal(err)
	}
}
