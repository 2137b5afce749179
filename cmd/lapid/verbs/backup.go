package verbs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/persist"
	"lapid/transport/admin"
	"lapid/transport/visible"
)

// backupSuffix ends the names of backups.
const backupSuffix = ".backup"

// backupCommand is backup. The stream comes over the operator's socket, from a
// running server as well as from a store that this process has opened.
func backupCommand(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "backup DIR|-", Short: "Write a backup of the whole store", Args: exactArgs(1),
		Long: `Writes everything the store holds, as it is at one moment: decisions, alerts, bouncers with their
keys' hashes and their places in the stream, machines, allowlists, usage metrics, and the key that tokens are
signed with. A running server goes on meanwhile; without one the store itself is read. The file in DIR is named
by time and revision, readable by its owner alone, and is there only once it is whole and on disk. With "-" the
backup goes to standard output. It is as secret as the store.`,
		RunE: func(c *cobra.Command, args []string) error { return writeBackup(c.Context(), t, args[0]) },
	}
}

// writeBackup writes and verifies in one pass, so a backup that has a name can be
// restored. Nothing is left of one that broke off.
func writeBackup(ctx context.Context, t *Terminal, where string) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	if err := anyStore(ctx, s); err != nil {
		return err
	}
	if where == "-" {
		_, err := backupInto(ctx, t, visible.Under(t.Out))
		return err
	}
	file, err := newBackup(where)
	if err != nil {
		return err
	}
	defer file.discard()
	b, err := backupInto(ctx, t, file)
	if err != nil {
		return err
	}
	path, err := file.keep(b, time.Now())
	if err == nil && t.Output == jsonWords {
		return t.json(backupObject{path, b.Rev, b.Size()}, " ")
	}
	if err == nil {
		t.success("wrote %s: revision %d, %d bytes", path, b.Rev, b.Size())
	}
	return err
}

// anyStore makes sure, before a file is made, that there is a server or a store.
// A folder for backups that is made for nothing would look like one that has some.
func anyStore(ctx context.Context, s *config.Setup) error {
	c, err := admin.Dial(ctx, s.Socket())
	if err == nil {
		c.Close() // also when its store was removed: it has it in memory
		return nil
	}
	if !errors.Is(err, admin.ErrNotRunning) {
		return nil // told when it is opened
	}
	return storeThere(s)
}

// backupObject is a backup in JSON.
type backupObject struct {
	File     string `json:"file"`
	Revision uint64 `json:"revision"`
	Bytes    int64  `json:"bytes"`
}

// backupInto writes a backup to what was opened before: while the store is open,
// root may not have its rights.
func backupInto(ctx context.Context, t *Terminal, out io.Writer) (b *persist.BackupReader, err error) {
	err = t.withClient(ctx, func(c *admin.Client) error {
		stream, err := c.Backup(ctx)
		if err != nil {
			return err
		}
		defer stream.Close()
		b, err = verified(stream, out)
		return err
	})
	return b, err
}

// verified copies a backup and checks it on the way. Every checksum is
// compared, and the end must be there.
func verified(from io.Reader, to io.Writer) (*persist.BackupReader, error) {
	b, err := persist.Verify(io.TeeReader(from, to))
	if err != nil {
		return nil, fmt.Errorf("the backup is not whole: %w", err)
	}
	return b, nil
}

// backupFile is a backup that is being written into a folder. It has its name
// only when all of it is on disk. The folder is held: what is done in it is done
// in the same one, whatever others move or link meanwhile.
type backupFile struct {
	*os.File
	dir    string
	folder *os.Root
	tmp    string // its name until it is whole
}

// newBackup begins a file in a folder, which is made when it is missing, mode 0700.
// The file has mode 0600 and a name that is no backup's.
func newBackup(dir string) (*backupFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	folder, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &backupFile{dir: dir, folder: folder, tmp: ".lapid-" + rand.Text() + ".tmp"}
	if f.File, err = folder.OpenFile(f.tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		_ = folder.Close()
		return nil, err
	}
	return f, nil
}

// keep gives the backup its name. File and folder are synced before it
// returns: then a power failure takes neither. A name that is there already
// can only be the same revision within the same second; it is replaced.
func (f *backupFile) keep(b *persist.BackupReader, now time.Time) (path string, err error) {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", err
	}
	name := fmt.Sprintf("lapid-%s-%d%s", now.UTC().Format("20060102T150405Z"), b.Rev, backupSuffix)
	if err := f.folder.Rename(f.tmp, name); err != nil {
		return "", err
	}
	folder, err := f.folder.Open(".")
	if err != nil {
		return "", err
	}
	return filepath.Join(f.dir, name), errors.Join(folder.Sync(), folder.Close())
}

// discard removes what has no name yet, and lets go of the folder. It may be
// called after keep, and does nothing to the backup then.
func (f *backupFile) discard() {
	_ = f.Close()
	_ = f.folder.Remove(f.tmp)
	_ = f.folder.Close()
}
