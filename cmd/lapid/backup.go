package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"lapid/persist"
	"lapid/transport/admin"
	"lapid/transport/visible"
)

// backupSuffix ends the names of backups.
const backupSuffix = ".backup"

func backupCommand(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use: "backup DIR|-", Short: "Write a backup of the whole store", Args: exactArgs(1),
		Long: `Writes everything the store holds, as it is at one moment: decisions, alerts, bouncers with their
keys' hashes and their places in the stream, machines, allowlists, usage metrics, and the key that tokens are
signed with. A running server goes on meanwhile; without one the store itself is read. The file in DIR is named
by time and revision, readable by its owner alone, and is there only once it is whole and on disk. With "-" the
backup goes to standard output. It is as secret as the store.`,
		RunE: func(c *cobra.Command, args []string) error { return t.backup(c.Context(), args[0]) },
	}
}

func (t *terminal) backup(ctx context.Context, where string) error {
	s, err := t.setup()
	if err != nil {
		return err
	}
	if _, err := os.Stat(s.Store()); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no store in %s", s.Store())
	}
	return t.withDoor(ctx, func(c *admin.Client) error {
		stream, err := c.Backup(ctx)
		if err != nil {
			return err
		}
		defer stream.Close()
		if where == "-" {
			_, err := verified(stream, visible.Under(t.out))
			return err
		}
		path, b, err := backupTo(where, stream, time.Now())
		if err == nil {
			t.success("wrote %s: revision %d, %d bytes", path, b.Rev, b.Size())
		}
		return err
	})
}

// verified copies a backup and checks it on the way.
func verified(from io.Reader, to io.Writer) (*persist.BackupReader, error) {
	b, err := persist.Verify(io.TeeReader(from, to))
	if err != nil {
		return nil, fmt.Errorf("the backup is not whole: %w", err)
	}
	return b, nil
}

// backupTo writes a backup into a folder, under its name only when all of it is
// on disk.
func backupTo(dir string, stream io.Reader, now time.Time) (path string, b *persist.BackupReader, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	file, err := os.CreateTemp(dir, ".lapid-*.tmp") // mode 0600
	if err != nil {
		return "", nil, err
	}
	defer os.Remove(file.Name()) // unless it has its name
	b, err = verified(stream, file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, fmt.Sprintf("lapid-%s-%d%s", now.UTC().Format("20060102T150405Z"), b.Rev, backupSuffix))
	if err := os.Rename(file.Name(), path); err != nil {
		return "", nil, err
	}
	return path, b, syncFolder(dir)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
