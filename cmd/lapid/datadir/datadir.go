package datadir

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir is the path of a data directory, config_paths.data_dir. It need not be
// there, and may be relative to the current folder.
type Dir string

// Folder is ours below the data directory; it holds the store and the operator's
// socket.
func (d Dir) Folder() string { return filepath.Join(string(d), "lapid") }

// Store is the folder of the journal and the snapshots.
func (d Dir) Store() string { return filepath.Join(d.Folder(), "store") }

// MakeFolder makes our folder below the data directory: readable by the
// server's group, which may use the operator's socket, and by no other user.
// One that is there keeps its mode.
func (d Dir) MakeFolder() error {
	if err := os.MkdirAll(d.Folder(), 0o750); err != nil {
		return fmt.Errorf("making the store's folder: %w", err)
	}
	return nil
}
