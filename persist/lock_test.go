package persist

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder that is held stays held when its file LOCK is taken away, or replaced.
func TestLockOutlivesItsFile(t *testing.T) {
	t.Parallel()
	o := &Options{Dir: filepath.Join(t.TempDir(), "store")}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(o.Dir, lockFile)
	for _, change := range []func() error{
		func() error { return nil },
		func() error { return os.Remove(lock) },
		func() error { return os.WriteFile(lock, nil, 0o600) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{false, true} {
			if _, err := Open(&Options{Dir: o.Dir, ReadOnly: readOnly}); !errors.Is(err, ErrLocked) {
				t.Errorf("a second Open: %v", err)
			}
		}
		if _, err := Hold(o); !errors.Is(err, ErrLocked) {
			t.Errorf("Hold: %v", err)
		}
	}
	mustClose(t, s)
	for range 2 {
		if s, err = Open(o); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	}
}

// A program that opens a store with the rights of root changes nothing outside of it,
// whatever links lie in the folder.
func TestLinksInTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := &Options{Dir: filepath.Join(dir, "store")}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	outside := filepath.Join(dir, "outside")
	for _, name := range []string{lockFile, latestFile, latestFile + tmpSuffix, probeFile, closedFile} {
		if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(o.Dir, name)
		before, _ := os.ReadFile(at)
		_ = os.Remove(at)
		if err := os.Symlink(outside, at); err != nil {
			t.Fatal(err)
		}
		s, err := Open(o)
		if err == nil {
			err = errors.Join(s.Append(s.Last()+1, []byte("a")), s.Close())
		}
		if (name == lockFile || name == latestFile) != (err != nil) {
			t.Errorf("%s is a link: %v", name, err)
		}
		if text, err := os.ReadFile(outside); err != nil || !strings.HasPrefix(string(text), "precious") || len(text) != 8 {
			t.Errorf("%s is a link: outside is %q, %v", name, text, err)
		}
		_ = os.Remove(at)
		if before != nil {
			if err := os.WriteFile(at, before, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
