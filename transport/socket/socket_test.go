package socket

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestInTheWay: only a socket on which no program listens is removed.
func TestInTheWay(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"", strings.Repeat("long/", 30)} {
		dir := filepath.Join(t.TempDir(), folder)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "s")
		if err := Try(path); err != nil {
			t.Errorf("nothing in the way: %v", err)
		}
		first := listen(t, path)
		if err := Try(path); !errors.Is(err, ErrHeld) {
			t.Errorf("beside a living one: %v", err)
		}
		if _, err := Listen(path, 0o660); err == nil || !strings.Contains(err.Error(), "another program is listening on "+path) {
			t.Errorf("beside a living one: %v", err)
		}
		if c, err := Dial(t.Context(), path); err != nil {
			t.Errorf("the living one is gone: %v", err)
		} else {
			_ = c.Close()
		}
		_ = first.UnixListener.Close() // as if it had been killed
		if _, err := Dial(t.Context(), path); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a dead one: %v", err)
		}
		second := listen(t, path)
		if err := second.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it was left: %v", err)
		}
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, "link")
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{path, link, dir} {
			if _, err := Listen(path, 0o660); err == nil || !strings.Contains(err.Error(), "is in the way and not a socket") {
				t.Errorf("%s: %v", path, err)
			}
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// TestOthersSocket: what has taken the place of the listener's stays.
func TestOthersSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	ours := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	theirs := listen(t, path)
	if err := ours.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	if theirs.Addr().String() != path {
		t.Errorf("it is at %s", theirs.Addr())
	}
}

func TestMode(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o660, 0o600, 0o666} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Listen(path, mode)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != mode|fs.ModeSocket {
			t.Errorf("%v, want %v, %v", info.Mode(), mode, err)
		}
		_ = l.Close()
	}
}

func listen(t *testing.T, path string) *Listener {
	t.Helper()
	l, err := Listen(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

var _ net.Listener = (*Listener)(nil)
