package verbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/engine"
	"lapid/persist"
)

// errDamage is how a check ends that has found something.
var errDamage = errors.New("the store is damaged")

// checkCommand is check: whether a store or a backup is whole. It never repairs; with
// --accept-loss it makes what is there the whole store, which is the one way out when
// there is no backup.
func checkCommand(t *Terminal) *cobra.Command {
	var acceptLoss bool
	c := &cobra.Command{
		Use: "check [BACKUP]", Short: "Verify the store, or a backup", Args: usage(cobra.MaximumNArgs(1)),
		Long: `Reads the whole store, while no server runs, and changes nothing: whether all is there and belongs to this
store, every checksum, whether a start would come to its end, whether what memory would hold agrees with itself,
whether every alert can be read. What is damaged or missing is named, one line each, and the exit code is 1. With a
file, that backup is verified instead, also beside a running server.

A store in which something is missing (a log of the journal, the end of it, all of it) is not opened by a server. Put
back what is missing, or restore a backup. With --accept-loss what is there becomes the whole store: what was
answered after it is given up for good, and is told nobody. Alerts whose bodies are lost stay, with their decisions
and what else is known of them; each check tells how many they are. Copy the folder before.`,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && acceptLoss:
				return errors.New("--accept-loss is for the store, not for a backup")
			case len(args) == 1:
				return checkBackup(t, args[0])
			}
			return checkStore(c.Context(), t, acceptLoss)
		},
	}
	c.Flags().BoolVar(&acceptLoss, "accept-loss", false, "give up what is missing, for good")
	return c
}

// checkStore verifies the store. No server may run, for what is read must stand still; the
// lock of the store keeps one from starting meanwhile. The error says what to do
// next, by what was found: nothing for damaged snapshots, of which others take the
// place, a restore or an accepted loss for the rest.
func checkStore(ctx context.Context, t *Terminal, acceptLoss bool) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	if err := refuseBesideServer(ctx, s, ", or check a backup of it"); err != nil {
		return err
	}
	back, err := s.Data().AsOwner()
	if err != nil {
		return err
	}
	defer back()
	if err := s.Data().AsMade(); err != nil {
		return err
	}
	if _, err := os.Stat(s.Store()); err != nil {
		return fmt.Errorf("there is no store: %w", err)
	}
	if acceptLoss {
		if err := giveUpLost(ctx, t, s); err != nil {
			return err
		}
	}
	// Inspect reads as a start would, and holds the lock of the store meanwhile.
	found, err := engine.Inspect(ctx, s.EngineOptions(slog.New(slog.DiscardHandler)))
	if errors.Is(err, persist.ErrLocked) {
		return fmt.Errorf("%w: stop what uses it first", err)
	}
	if err != nil {
		return err
	}
	if err := showInspection(t, found); err != nil {
		return err
	}
	// What to do depends on what is damaged: bodies of alerts can be given up, snapshots
	// are made again by themselves, a journal needs a backup.
	switch n := len(found.Damage); {
	case n == 0:
		return nil
	case n == found.Bodiless || found.Bodiless > n: // a long list is cut
		return fmt.Errorf("%w (findings: %d): restore a backup with: lapid restore --force FILE, or accept the loss with: lapid check --accept-loss", errDamage, n)
	case n == damagedSnapshots(found):
		return fmt.Errorf("%w (findings: %d): a start does without that, and new snapshots take its place", errDamage, n)
	case !found.Opened: // it says so itself
		return fmt.Errorf("%w (findings: %d)", errDamage, n)
	default:
		return fmt.Errorf("%w (findings: %d): restore a backup with: lapid restore --force FILE", errDamage, n)
	}
}

// damagedSnapshots counts those that a start would pass over.
func damagedSnapshots(found *engine.Inspection) (n int) {
	for _, s := range found.Store.Snapshots {
		if s.Damaged {
			n++
		}
	}
	return n
}

// giveUpLost makes what there is of the store the whole of it. What was
// given up is told in full before the check that follows. On a store that
// lacks nothing it changes nothing and says so.
func giveUpLost(ctx context.Context, t *Terminal, s *config.Setup) error {
	loss, bodies, err := engine.AcceptLoss(ctx, s.EngineOptions(slog.New(slog.DiscardHandler)))
	if errors.Is(err, persist.ErrLocked) {
		return fmt.Errorf("%w: stop what uses it first", err)
	}
	if err != nil {
		return err
	}
	for _, what := range loss.Missing {
		t.success("given up: %s", what)
	}
	if bodies > 0 {
		t.success("given up: what only their bodies told of %d alerts", bodies)
	}
	switch {
	case len(loss.Missing) > 0:
		t.success("the store ends at revision %d from now on; it is known to have reached %d", loss.Last, loss.Known)
	case bodies == 0:
		t.success("nothing is missing: nothing was given up")
	}
	return nil
}

// inspection is what a check says in JSON. Damage is never null: an empty
// list is the good answer.
type inspection struct {
	Store     string   `json:"store,omitempty"` // its id
	Revision  uint64   `json:"revision"`
	Records   uint64   `json:"journal_records"`
	Snapshots []uint64 `json:"snapshots"`
	Alerts    int      `json:"alerts"`
	Decisions int      `json:"decisions"`
	Bytes     uint64   `json:"bytes"`
	Accepted  int      `json:"accepted_losses"` // alerts whose bodies are lost
	Damage    []string `json:"damage"`
}

// showInspection writes what was found in the chosen format. What is damaged comes
// one line each, for a person to read down and a script to count; the exit code is
// the caller's to choose.
func showInspection(t *Terminal, found *engine.Inspection) error {
	i := inspection{
		Revision: uint64(found.Revision), Records: found.Store.Records, Snapshots: []uint64{}, Alerts: found.Alerts,
		Decisions: found.Decisions, Bytes: found.Store.Bytes, Accepted: found.Accepted, Damage: append([]string{}, found.Damage...),
	}
	if found.ID != (persist.ID{}) {
		i.Store = found.ID.String()
	}
	for _, s := range found.Store.Snapshots {
		i.Snapshots = append(i.Snapshots, s.Rev)
	}
	switch t.Output {
	case jsonWords:
		return t.json(i, " ")
	case raw:
		return t.csv([]string{"damage"}, column(i.Damage))
	}
	t.print("revision %d: %d alerts, %d decisions; %d records, %d snapshots, %d bytes read\n",
		i.Revision, i.Alerts, i.Decisions, i.Records, len(i.Snapshots), i.Bytes)
	if i.Accepted > 0 {
		t.print("lost, and accepted as such: what only their bodies told of %d alerts\n", i.Accepted)
	}
	for _, d := range i.Damage {
		t.print("damaged: %s\n", d)
	}
	if len(i.Damage) == 0 {
		t.print("no damage found\n")
	}
	return nil
}

// column is words as the rows of one column.
func column(words []string) [][]string {
	rows := make([][]string, len(words))
	for i, w := range words {
		rows[i] = []string{w}
	}
	return rows
}

// checkBackup reads a backup to its end and compares every checksum. It needs no
// store and takes no lock, so it can be done beside a running server, and on another
// machine.
func checkBackup(t *Terminal, path string) error {
	file, err := openBackup(path)
	if err != nil {
		return err
	}
	defer file.Close()
	b, err := persist.Verify(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, usableBackup(err))
	}
	if t.Output == jsonWords {
		return t.json(backupObject{path, b.Rev, b.Size()}, " ")
	}
	t.print("%s: revision %d, %d bytes, no damage found\n", path, b.Rev, b.Size())
	return nil
}

// openBackup opens a file that can be read to its end. A pipe or a device would keep
// the reader waiting.
func openBackup(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a folder; name a file that 'lapid backup' has written", path)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is no ordinary file; name one that 'lapid backup' has written", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// usableBackup says what to do about a backup that cannot be read.
func usableBackup(err error) error {
	switch {
	case errors.Is(err, persist.ErrCorrupt):
		return fmt.Errorf("%w; nothing can be restored from it: take another backup, the one before, or copy it again from where it was made", err)
	case errors.Is(err, persist.ErrFormat):
		return fmt.Errorf("%w; name a file that 'lapid backup' has written, with a program that is no older", err)
	}
	return err
}
