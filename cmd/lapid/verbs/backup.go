package verbs

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/backups"
	"lapid/cmd/lapid/config"
	"lapid/persist"
	"lapid/transport/admin"
	"lapid/transport/visible"
)

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
	if s.Own.Relay.On() {
		return errors.New("this is a relay: its store is a copy without passwords and what alerts say, of which no server could be made again. Take the backup at a node")
	}
	if err := anyStore(ctx, s); err != nil {
		return err
	}
	if where == "-" {
		_, err := backupInto(ctx, t, visible.Under(t.Out))
		return err
	}
	file, err := backups.New(where)
	if err != nil {
		return err
	}
	defer file.Discard()
	b, err := backupInto(ctx, t, file)
	if err != nil {
		return err
	}
	path, err := file.Keep(b, time.Now())
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
		b, err = backups.Copy(stream, out)
		return err
	})
	return b, err
}
