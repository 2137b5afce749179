package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// makeFolder makes our folder below the data directory: readable by the
// server's group, which may use the operator's socket, and by nobody else.
func (s *Setup) makeFolder() error {
	if err := os.MkdirAll(s.Folder(), 0o750); err != nil {
		return fmt.Errorf("making the store's folder: %w", err)
	}
	return nil
}

// handOver gives what a verb of root's has made in our folder to the owner of
// the data directory, so that a server that runs as that user can open it.
// Anybody else's verb has nothing to give away.
func (s *Setup) handOver() {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(s.Config.Paths.DataDir)
	if err != nil {
		return
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return
	}
	_ = filepath.WalkDir(s.Folder(), func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			_ = os.Lchown(path, int(owner.Uid), int(owner.Gid))
		}
		return nil
	})
}
