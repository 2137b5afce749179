package socket

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWidenHolds: the mode goes to the socket, not to what a link names that was
// put in its place.
func TestWidenHolds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious, link := filepath.Join(dir, "precious"), filepath.Join(dir, "link")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, link); err != nil {
		t.Fatal(err)
	}
	if _, err := widen(link, 0o666); err == nil {
		t.Error("a link was taken for a socket")
	}
	if info, err := os.Stat(precious); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
