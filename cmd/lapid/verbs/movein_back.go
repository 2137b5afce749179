package verbs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/persist"
	"lapid/transport/admin"
	"lapid/transport/capi"
	"lapid/transport/movein"
)

// backName is what the database is called; the reference's packages call it so.
const backName = "crowdsec.db"

// backWork is the folder, in that of the database, in which it is made. Whoever was
// interrupted leaves it behind, and the next one removes it.
const backWork = ".lapid-movein-back"

// wayBack is one going back.
type wayBack struct {
	t      *Terminal
	s      *config.Setup
	dir    string
	schema movein.Schema
	bar    *progress
}

// goBack is movein --back: a database for a CrowdSec server, of what the store holds.
func (m *moveIn) goBack(ctx context.Context, t *Terminal) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	tellOrigin(t, s)
	schema, why, err := m.schemaFor(s)
	if err != nil {
		return err
	}
	w := &wayBack{t: t, s: s, dir: m.back, schema: schema}
	if err := anyStore(ctx, s); err != nil {
		return err
	}
	path, tally, err := w.make(ctx)
	w.clear()
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: no database was written", ErrInterrupted)
		}
		return fmt.Errorf("no database was written: %w", err)
	}
	if err := w.show(path, tally); err != nil {
		return err
	}
	if list := tally.OlderKeys; len(list) > 0 {
		t.log("warning", "only the newest key of each bouncer was written, and these may still show an older one, which is refused there: give them the newest before the other server answers: %s", someOf(list))
	}
	t.success("wrote %s for a server of version %s (%s); never let an older one open it", path, w.schema, why)
	return nil
}

// mostShownKeys is how many bouncers with older keys are named in a line; -o json names all.
const mostShownKeys = 20

// someOf are the first of a list of names, and how many others there are.
func someOf(names []string) string {
	if more := len(names) - mostShownKeys; more > 0 {
		return fmt.Sprintf("%s and %d others", strings.Join(names[:mostShownKeys], ", "), more)
	}
	return strings.Join(names, ", ")
}

// schemaFor is the version that a database is written for, and why.
func (m *moveIn) schemaFor(s *config.Setup) (schema movein.Schema, why string, err error) {
	if m.schema != "" {
		if schema, err = movein.ParseSchema(m.schema); err != nil {
			err = fmt.Errorf("--schema %w", err)
		}
		return schema, "as --schema says", err
	}
	done, err := lastMovedIn(s)
	if err != nil {
		return movein.Newest, "the newest", nil // nothing was taken over, or nobody knows what
	}
	const past = "as the database that was taken over; --schema names another"
	if done.Version == movein.NewestKnown() {
		return movein.Newest, past, nil
	}
	if schema, err = movein.ParseSchema(done.Version); err != nil {
		return schema, "", fmt.Errorf("the database that was taken over is of version %s, and for that none can be written: say with --schema for which version; 1.4 is for servers of 1.4.0 or later", done.Version)
	}
	return schema, past, nil
}

// make makes the database beside its place and puts it there when it is whole.
func (w *wayBack) make(ctx context.Context) (path string, tally *movein.BackTally, err error) {
	path = filepath.Join(w.dir, backName)
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return "", nil, err
	}
	if err := nothingThere(path); err != nil {
		return "", nil, err
	}
	folder, err := lockFolder(w.dir)
	if err != nil {
		return "", nil, err
	}
	defer folder.Close()
	work := filepath.Join(w.dir, backWork)
	if err := os.RemoveAll(work); err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		return "", nil, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	made := filepath.Join(work, backName)
	b, err := movein.NewBack(ctx, made, w.schema)
	if err != nil {
		return "", nil, err
	}
	defer b.Discard()
	if err := w.fill(ctx, b, filepath.Join(work, "store")); err != nil {
		return "", nil, err
	}
	if err := b.Finish(ctx); err != nil {
		return "", nil, err
	}
	if wrong := b.Tally.Balance(); wrong != nil {
		return "", nil, fmt.Errorf("not every row of %s is accounted for: this is a fault of lapid's; lapid backup keeps everything", strings.Join(wrong, ", "))
	}
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	return path, &b.Tally, errors.Join(placeNew(made, path), folder.Sync())
}

// lockFolder opens a folder and keeps others who lock it from it, until it is closed.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another lapid is writing a database into %s", dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// nothingThere refuses to write over a database, or beside the log of another one: SQLite
// would play that into the new one.
func nothingThere(path string) error {
	for _, suffix := range []string{"", "-wal", "-journal", "-shm"} {
		info, err := os.Lstat(path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case suffix == "" && info.Mode().IsRegular() && info.Size() == 0:
		case suffix == "":
			return fmt.Errorf("%s is there, and is not written over: name another folder, or move it away", path)
		default:
			return fmt.Errorf("%s is there, which belongs to another database of the same name and would spoil the new one: name another folder, or move it away with its database", path+suffix)
		}
	}
	return nil
}

// placeNew gives a file its name, unless somebody else has taken it meanwhile.
func placeNew(made, path string) error {
	if err := nothingThere(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty one
		return err
	}
	err := os.Link(made, path)
	if err != nil && !errors.Is(err, fs.ErrExist) { // a file system without links
		return os.Rename(made, path)
	}
	return err
}

// fill writes everything from the running server, or from the store itself.
func (w *wayBack) fill(ctx context.Context, b *movein.Back, copied string) error {
	c, err := w.t.serverOr(ctx, w.s, func() (again bool, err error) {
		err = w.fromStore(ctx, b)
		return errors.Is(err, persist.ErrLocked), err
	})
	if c == nil {
		return err
	}
	defer c.Close()
	return w.fromServer(ctx, c, b, copied)
}

// fromServer takes a backup of the running server, which goes on meanwhile, and writes what
// is in that. Its copy of the store is on the disk as long as that takes.
func (w *wayBack) fromServer(ctx context.Context, c *admin.Client, b *movein.Back, copied string) error {
	stream, err := c.Backup(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	o := w.s.EngineOptions(slog.New(slog.DiscardHandler))
	o.Dir, o.NoSync = copied, true
	if _, err := engine.Restore(o, engine.Actor{}, stream); err != nil {
		return fmt.Errorf("the server's own copy of its store: %w", err)
	}
	e, err := engine.OpenContext(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(w.write(ctx, b, e), e.Close(), os.RemoveAll(copied))
}

// fromStore opens the store itself, with its owner's rights. The database has been opened
// before.
func (w *wayBack) fromStore(ctx context.Context, b *movein.Back) error {
	if err := storeThere(w.s); err != nil {
		return err
	}
	back, err := w.s.Data().AsOwner()
	if err != nil {
		return err
	}
	defer back()
	e, err := engine.OpenContext(ctx, w.s.EngineOptions(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("opening the store in %s: %w", w.s.Store(), datadir.Permitted(err, w.s.Store()))
	}
	tellAlone(w.t, w.s)
	return errors.Join(w.write(ctx, b, e), e.Close())
}

// write keeps the memory near what the store takes: the rows leave no more than garbage.
func (w *wayBack) write(ctx context.Context, b *movein.Back, e *engine.Engine) error {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	debug.FreeOSMemory() // what the start has left
	k := capi.KeptIn(e.View())
	return b.Fill(ctx, e, movein.Central{Items: k.Items, UsagePushed: k.UsageUpTo}, w.progress)
}

func (w *wayBack) progress(done, all int64) {
	if w.bar == nil {
		w.bar = newRowProgress(w.t, int(all), time.Now())
	}
	w.bar.at(int(done))
}

func (w *wayBack) clear() {
	if w.bar != nil {
		w.bar.clear()
	}
}

// writtenBack is what --back says in JSON.
type writtenBack struct {
	File string `json:"file"`
	*movein.BackTally
}

// show is the account of what was written.
func (w *wayBack) show(path string, tally *movein.BackTally) error {
	switch w.t.Output {
	case jsonWords:
		return w.t.json(writtenBack{path, tally}, " ")
	case raw:
		return backRowsOf(tally).raw(w.t, "written")
	}
	w.t.show(backRowsOf(tally).boxed("Written"))
	return nil
}
