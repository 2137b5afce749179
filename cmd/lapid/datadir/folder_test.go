package datadir

import (
	"os"
	"syscall"
	"testing"
)

// TestUnshared: a folder that a group may change is shared unless the group is
// root's or our own.
func TestUnshared(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uid, gid int
		mode     os.FileMode
		want     bool
	}{
		{0, 0, 0o755, true}, {0, 0, 0o775, true}, {0, 12345, 0o755, true}, {0, 12345, 0o775, false},
		{0, 0, 0o777, false}, {12345, 0, 0o700, false}, {os.Geteuid(), os.Getegid(), 0o775, true},
	} {
		at := &syscall.Stat_t{Uid: uint32(c.uid), Gid: uint32(c.gid)}
		if got := Unshared(statOnly{mode: c.mode, at: at}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// statOnly is a folder of which owner and mode are known.
type statOnly struct {
	os.FileInfo
	mode os.FileMode
	at   *syscall.Stat_t
}

func (s statOnly) Mode() os.FileMode { return s.mode }

func (s statOnly) Sys() any {
	return s.at
}
