package verbs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/persist"
	"lapid/transport/admin"
)

// restoreCommand is restore: the store anew from a backup, by itself, without a
// server.
func restoreCommand(t *Terminal) *cobra.Command {
	var force, previous bool
	c := &cobra.Command{
		Use: "restore FILE|-", Short: "Make the store anew from a backup", Args: func(c *cobra.Command, args []string) error {
			if previous && len(args) > 0 {
				return errors.New("lapid restore --previous takes no file: it goes back to what is kept in the store")
			}
			if previous {
				return nil
			}
			return exactArgs(1)(c, args)
		},
		Long: `Makes the store from a backup, while no server runs. It is made beside the present one, verified to
hold what was backed up to the last bit, and only then put in its place. A store that is there is not touched
without --force, and even then it is kept, under another name. Every bouncer is told everything at its next
poll, without being started anew: what runs by the backup, and the end of all that the backup knows to be over.
Of what came after the backup, and is in the store that is replaced, bouncers are told the end as well, up to
100000 decisions. Where that store cannot be read, or there is none, a bouncer that was told of such a ban keeps it
until it ends by itself, or until the bouncer is started anew; the command says so.

With --previous the store becomes again what it was before this program opened it, if an older one wrote it:
for going back to that one. It is kept until a server that served it has ended in good order; a start that fails and verbs
without a server keep it. What came since stays in the store that is replaced, which is kept under another name.`,
		RunE: func(c *cobra.Command, args []string) error {
			if previous {
				return restorePrevious(c.Context(), t)
			}
			return restoreStore(c.Context(), t, args[0], force)
		},
	}
	c.Flags().BoolVar(&previous, "previous", false, "go back to the store as an older program wrote it, instead of a backup")
	c.Flags().BoolVar(&force, "force", false, "also when there is a store; it is kept under another name")
	c.MarkFlagsMutuallyExclusive("previous", "force")
	return c
}

// restoreStore makes the new store beside the old one, and only when it is whole and
// verified do the two change places. Whatever goes wrong before leaves the old one as
// it was; after it, both are there under names that are told.
//
// The lock of the old store is held from before the first look to the exchange, but
// for the moment in which it is read itself.
func restoreStore(ctx context.Context, t *Terminal, from string, force bool) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	if err := refuseBesideServer(ctx, s, ""); err != nil {
		return err
	}
	// The backup is opened with the rights of this process, what follows is done with the
	// owner's: see datadir.Dir.AsOwner.
	in := t.In
	if from != "-" {
		file, err := openBackup(from)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	back, err := s.Data().AsOwner()
	if err != nil {
		return err
	}
	defer back()
	if err := s.Data().MakeFolder(); err != nil {
		return err
	}
	place, err := holdPlace(s)
	if err != nil {
		return err
	}
	defer place.Close()
	held, err := holdStore(s)
	if err != nil {
		return err
	}
	there := held != nil
	if there {
		defer func() {
			if held != nil {
				held.Close()
			}
		}()
		if !force {
			return fmt.Errorf("there is a store in %s: give --force to put the backup in its place", s.Store())
		}
	}
	// The name is fixed, so what an interrupted restore has left is found and replaced.
	made := s.Store() + ".restoring"
	rev, err := restoreTo(s, made, in)
	if err != nil {
		return err
	}
	// From here on two whole stores are there; what is left is which of them has the name.
	out := restoreObject{Revision: uint64(rev), Store: s.Store()}
	if there {
		_ = held.Close() // the store is held while it is read
		out.Restart = carry(ctx, t, s, made)
		if held, err = holdStore(s); err != nil {
			return errors.Join(err, os.RemoveAll(made))
		}
	}
	old, err := putInPlace(s, made, there)
	if err != nil {
		return err
	}
	if out.Kept = old; t.Output == jsonWords {
		return t.json(out, " ")
	}
	t.success("restored revision %d to %s", rev, s.Store())
	if old != "" {
		t.success("the store that was there is now %s; remove it when it is not needed any more", old)
	}
	return nil
}

// restorePrevious puts the store as an older program wrote it in the place of the one
// that was made of it. It is taken out of that first; interrupted there, it is found
// under its name the next time.
func restorePrevious(ctx context.Context, t *Terminal) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	if err := refuseBesideServer(ctx, s, ", at best with kill -9, for its orderly end removes what you want back"); err != nil {
		return err
	}
	back, err := s.Data().AsOwner()
	if err != nil {
		return err
	}
	defer back()
	if _, err := os.Stat(s.Data().Folder()); err == nil { // else there is nothing to go back to
		place, err := holdPlace(s)
		if err != nil {
			return err
		}
		defer place.Close()
	}
	held, err := holdStore(s)
	if err != nil {
		return err
	}
	if held != nil {
		defer held.Close()
	}
	// Taken out first: then what is put aside is one store, not one within another.
	taken, err := takePrevious(s)
	if err != nil {
		return err
	}
	old, err := install(taken, s.Store(), held != nil, time.Now())
	if err != nil {
		return err
	}
	if t.Output == jsonWords {
		return t.json(restoreObject{Store: s.Store(), Kept: old, Restart: old != ""}, " ")
	}
	t.success("%s is again as an older program wrote it: start that one now, for this one would change it again", s.Store())
	if old != "" {
		t.success("the store that was there is now %s; remove it when it is not needed any more", old)
		t.success("restart your bouncers: of what was decided in it they are not told the end")
	}
	return nil
}

// takePrevious takes the store as an older program wrote it out of the one that was made
// of it, once all of it was read.
func takePrevious(s *config.Setup) (taken string, err error) {
	taken = s.Store() + ".previous"
	id, there, err := persist.Whose(&persist.Options{Dir: s.Store()})
	if err != nil {
		return "", err
	}
	dir, _, err := persist.Previous(&persist.Options{Dir: s.Store()})
	if err != nil {
		return "", err
	}
	from := dir
	if dir == "" && isFolder(taken) {
		from = taken // an earlier one was interrupted
	}
	if from == "" {
		return "", noPrevious(s, there)
	}
	was, _, err := persist.Whose(&persist.Options{Dir: from})
	if err == nil && there && was != (persist.ID{}) && was != id {
		err = fmt.Errorf("it is of another store, with the id %s instead of %s", was, id)
	}
	if err == nil {
		o := s.EngineOptions(slog.New(slog.DiscardHandler))
		o.Dir = from
		var found *engine.Inspection
		if found, err = engine.Inspect(context.Background(), o); err == nil && len(found.Damage) > 0 {
			err = errors.New(found.Damage[0])
		}
	}
	if err != nil {
		return "", fmt.Errorf("nothing was changed: what is kept in %s cannot be used: %w", from, err)
	}
	if was == (persist.ID{}) { // it had none yet, and will get the one that its journal knows
		if err := os.Remove(s.Data().MadeFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if from == taken {
		return taken, nil
	}
	if err := os.RemoveAll(taken); err != nil { // of an earlier one
		return "", err
	}
	return taken, os.Rename(dir, taken)
}

// noPrevious says why there is nothing to go back to.
func noPrevious(s *config.Setup, there bool) error {
	if !there {
		return fmt.Errorf("there is no store in %s", s.Store())
	}
	if format, err := persist.Format(&persist.Options{Dir: s.Store()}); err == nil && format < persist.FormatVersion {
		return fmt.Errorf("the store in %s is as an older program wrote it (format %d): there is nothing to go back from", s.Store(), format)
	}
	return fmt.Errorf("the store in %s is not kept as an older program wrote it: none did, or a server has ended in good order since; a backup is restored with: lapid restore --force FILE", s.Store())
}

// isFolder tells whether there is a folder at a path, and no link to one.
func isFolder(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// restoreObject is what a restore says in JSON.
type restoreObject struct {
	Revision uint64 `json:"revision,omitempty"` // that was restored; not told of --previous
	Store    string `json:"store"`
	Kept     string `json:"kept,omitempty"`   // where the store that was there is now
	Restart  bool   `json:"restart_bouncers"` // they are not told all that has ended
}

// holdStore keeps others from the store, until it is closed; nil: there is none.
// What is in the place of the store and is no store cannot be locked, and need not
// be.
func holdStore(s *config.Setup) (io.Closer, error) {
	if s.Data().OddStore() != "" {
		return io.NopCloser(nil), nil // no process can have that open; it is moved as it is
	}
	held, err := persist.Hold(&persist.Options{Dir: s.Store()})
	if errors.Is(err, persist.ErrLocked) {
		return nil, fmt.Errorf("%w: stop what uses it first", err)
	}
	if err != nil {
		return nil, datadir.Permitted(err, s.Store())
	}
	return held, nil
}

// holdPlace keeps others from making a store beside this one until it is closed: two at once would
// take what they make from each other. The folder must be there. The store's own lock does not do
// that, for there may be none yet.
func holdPlace(s *config.Setup) (io.Closer, error) {
	held, err := persist.HoldBeside(&persist.Options{Dir: s.Store()})
	if errors.Is(err, persist.ErrLocked) {
		return nil, fmt.Errorf("another lapid is making a store there (movein, restore, or a first start): %w; nothing was changed, run this again when that has ended", err)
	}
	if err != nil {
		return nil, datadir.Permitted(err, s.Data().Folder())
	}
	return held, nil
}

// carry has what was made tell bouncers of the end of what they may hold by
// the store that is there. What fails is no reason not to restore. Bouncers
// that hold a ban of which the backup knows nothing would otherwise hold it
// until its end. How many can be told is bounded; what is left is said, with
// what to do.
//
// It reports whether bouncers must be started anew all the same.
func carry(ctx context.Context, t *Terminal, s *config.Setup, made string) (restart bool) {
	restored, other := s.EngineOptions(slog.New(slog.DiscardHandler)), s.EngineOptions(slog.New(slog.DiscardHandler))
	restored.Dir = made
	done, err := engine.Carry(ctx, restored, other)
	if done.Decisions > 0 {
		t.success("%d decisions of the store that was there are not in the backup: bouncers will be told that they are over", done.Decisions)
	}
	if err != nil {
		t.success("restart your bouncers: the store that was there cannot be read (%v), so they are not told the end of what came after the backup", err)
	} else if done.Left > 0 {
		t.success("restart your bouncers: %d more decisions came after the backup, of whose end they are not told", done.Left)
	}
	return err != nil || done.Left > 0
}

// restoreTo makes a store in a folder of its own. The folder is removed
// again after an error. The backup is read to its end and every checksum
// compared before the store counts as made.
func restoreTo(s *config.Setup, dir string, in io.Reader) (engine.Revision, error) {
	if err := os.RemoveAll(dir); err != nil { // left by one that was interrupted
		return 0, err
	}
	o := s.EngineOptions(slog.New(slog.DiscardHandler))
	o.Dir = dir
	rev, err := engine.Restore(o, admin.LocalUser(), in)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("nothing was restored, and nothing was changed: %w", usableBackup(err)), os.RemoveAll(dir))
	}
	return rev, nil
}

// putInPlace installs what was made. Before, it is noted that it may be
// found in the place of the store, beside that which is there: so there is
// no moment to be interrupted in between the two. The name of the store that
// goes stays noted until the exchange is durable.
func putInPlace(s *config.Setup, made string, there bool) (old string, err error) {
	id, _, err := persist.Whose(&persist.Options{Dir: made})
	if err == nil {
		present, _, _ := persist.Whose(&persist.Options{Dir: s.Store()}) // whatever it is: it goes
		err = s.Data().NoteMade(present, id)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("nothing was restored, and nothing was changed: %w", err), os.RemoveAll(made))
	}
	if err := s.Data().NoteNode(datadir.Node{}); err != nil { // what is restored has a history of its own
		return "", errors.Join(fmt.Errorf("nothing was restored, and nothing was changed: %w", err), os.RemoveAll(made))
	}
	if old, err = install(made, s.Store(), there, time.Now()); err == nil {
		_ = s.Data().NoteMade(id) // it is named already, and the next start does this too
	}
	return old, err
}

// install puts what was made in the place of the store, and says where that
// went. The two change places in one step: an interruption leaves the
// one or the other, whole, and both under some name. The old one is kept
// under a name with the time, UTC, for the operator to remove. Both folders
// are on one file system, for they are neighbours.
func install(made, store string, there bool, now time.Time) (old string, err error) {
	if !there {
		if err := os.Rename(made, store); err != nil { // an empty folder may be there
			return "", err
		}
		return "", datadir.SyncFolder(filepath.Dir(store))
	}
	// UTC, so that names sort by time; a number behind it for a second one.
	name := store + ".before-" + now.UTC().Format("20060102T150405Z")
	old = name
	for n := 2; ; n++ { // more than one in a second
		if _, err := os.Lstat(old); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		old = fmt.Sprintf("%s-%d", name, n)
	}
	if err := os.Rename(made, old); err != nil {
		return "", err
	}
	if err := exchange(old, store); err != nil {
		return "", fmt.Errorf("%w; what was restored is in %s", err, old)
	}
	return old, datadir.SyncFolder(filepath.Dir(store))
}
