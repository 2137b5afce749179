package verbs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/persist"
	"lapid/transport/admin"
	"lapid/transport/movein"
)

// moveIn is what the verb was asked for.
type moveIn struct {
	from      string
	dryRun    bool
	keepGoing bool
	back      string // the folder to write a database to, instead
	schema    string
}

// moveInCommand is movein: the store made from the database of a CrowdSec server.
func moveInCommand(t *Terminal) *cobra.Command {
	var m moveIn
	c := &cobra.Command{
		Use: "movein", Short: "Take over the database of a CrowdSec server", Args: exactArgs(0),
		Long: `Takes over what a CrowdSec server has in its database: bouncers with their keys, machines with their
passwords, allowlists, alerts with all that is theirs, decisions, usage metrics. The database is the one that db_config
in config.yaml names, or that of --from:

  sqlite:PATH
  postgres://USER:PASSWORD@HOST:PORT/DATABASE     without a password PGPASSWORD counts
  mysql://USER:PASSWORD@HOST:PORT/DATABASE        MariaDB too; ?socket=PATH, ?tls=true; without a password MYSQL_PWD counts

It is only read, in one consistent view; the old server may run meanwhile. Where its SQLite database has no write-ahead
log, it cannot write while that is read. SQLite wants its folder to be writable for who reads.

Where a server of lapid runs, it gets everything through its socket: nothing is taken over before all has arrived, and
then all of it, whatever happens to this command or to the server. Bouncers are told of all as one change, and the bouncers
from there come last. Without a server the store is made beside its place and put there when it is whole, so that whoever is
interrupted has none, or the one that was there. That one is kept under another name.

What is in the store stays: run again, the verb makes what it took over equal to what the database has now (what is new,
has changed, has ended or is gone there), and keeps what was stored here otherwise. What it took over and was changed here
since stays as it is here, and is counted: a bouncer with another key, a machine with another password, a ban that was
ended, what was removed. Of an allowlist's item, and of the texts of an alert, a change there is not taken over. Bouncers
are told what that changes.

A table says what became of each row. What is not what it should be (a password that is no hash, a time that is none) is
counted with its reason, and nothing is taken over then, but with --keep-going: that leaves such rows out, and what was
taken over of them before stays as it is. --dry-run reads everything and changes nothing.

Ids stay what they are. What is new begins behind the old server's counters.

The way back is --back DIR: it writes DIR/crowdsec.db, an SQLite database of everything the store holds, which a
CrowdSec server opens. A server of lapid may run meanwhile: it is written of one moment. It is written for the version of
the database that was taken over, or that of --schema, and what that version has no room for is counted. Name the version
that will open it: an earlier one must never, for it throws away what it does not know, and a later one brings it up to date
by itself, but may then count from the highest number that is there, not from the highest that was given. With --schema 1.4
it is for Debian's 1.4.6, with 1.7 for the newest; others are written out, as crowdsec -version says them. A file that is
there is not written over; the new one is for its owner alone, until the other server opens it, which lets its group read.

The page cmd/lapid/docs/moving-in.md, in the sources, walks through the evening step by step.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends the program at once
			switch {
			case m.back != "":
				if err := backAlone(c); err != nil {
					return err
				}
				return m.goBack(ctx, t)
			case m.schema != "":
				return errors.New("--schema is for --back: it says for which version a database is written")
			}
			return m.run(ctx, t)
		},
	}
	c.AddCommand(moveInStatusCommand(t))
	c.Flags().StringVar(&m.from, "from", "", "the database: sqlite:PATH, postgres://… or mysql://… (default: what db_config names)")
	c.Flags().BoolVar(&m.dryRun, "dry-run", false, "read everything and show the table, and change nothing")
	c.Flags().BoolVar(&m.keepGoing, "keep-going", false, "leave out rows that are not what they should be, instead of taking over nothing")
	c.Flags().StringVar(&m.back, "back", "", "write a database for a CrowdSec server into this folder, instead")
	c.Flags().StringVar(&m.schema, "schema", "", "with --back, the version of that server: 1.4, 1.7 or such as 1.6.4 (default: as was taken over, else the newest)")
	return c
}

// backAlone complains about flags that --back has no use for.
func backAlone(c *cobra.Command) error {
	for _, other := range []string{"dry-run", "keep-going", "from"} {
		if c.Flags().Changed(other) {
			return fmt.Errorf("--%s is for taking over, and --back writes a database instead: leave it out; --back changes nothing that there is, "+
				"neither the store nor a database that is there already", other)
		}
	}
	return nil
}

func (m *moveIn) run(ctx context.Context, t *Terminal) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	tellOrigin(t, s)
	place, err := m.place(s)
	if err != nil {
		return err
	}
	retention, err := s.Retention()
	if err != nil {
		return err
	}
	var server *admin.Client
	if !m.dryRun {
		if server, err = m.atServer(ctx, t, s); err != nil {
			return err
		}
		if server != nil {
			defer server.Close()
		}
	}
	// Opened as who runs the verb is: the store's owner need not be able to read it.
	source, err := movein.OpenTelling(ctx, place, func(what string) { t.log("info", "waiting for %s", what) })
	if err != nil {
		return err
	}
	defer source.Close()
	r := &reading{t: t, source: source, began: time.Now()}
	o := movein.Options{Now: r.began, MetricsAge: retention.MetricsMaxAge, Progress: r.progress}
	if m.dryRun {
		tally, err := source.Read(ctx, o, movein.Nobody{})
		r.clear()
		if err != nil {
			return interrupted(ctx, err)
		}
		return errors.Join(r.show(&movein.Account{At: r.began.UTC(), Tally: tally}), tally.Unfit(false))
	}
	if server != nil {
		return m.beside(ctx, server, r, o)
	}
	return m.make(ctx, s, r, o)
}

// place says where the database is.
func (m *moveIn) place(s *config.Setup) (movein.Place, error) {
	if m.from == "" {
		return s.OldDatabase()
	}
	p, err := movein.ParsePlace(m.from)
	if err != nil {
		return p, fmt.Errorf("--from %w", err)
	}
	return p, nil
}

// atServer finds the running server; nil: there is none, and the store is free. One that is
// still starting, or another verb, is waited for.
func (m *moveIn) atServer(ctx context.Context, t *Terminal, s *config.Setup) (*admin.Client, error) {
	c, err := t.serverOr(ctx, s, func() (again bool, err error) {
		held, err := holdStore(s)
		if held != nil {
			_ = held.Close()
		}
		if !errors.Is(err, persist.ErrLocked) {
			return false, nil // what else is wrong with it is found where it is opened
		}
		if err := placeIsFree(s); err != nil {
			return false, err
		}
		return true, err
	})
	return c, interrupted(ctx, err)
}

// placeIsFree fails when another verb is making a store, and not a server that starts.
func placeIsFree(s *config.Setup) error {
	back, err := s.Data().AsOwner()
	if err != nil {
		return err
	}
	defer back()
	place, err := holdPlace(s)
	if errors.Is(err, persist.ErrLocked) {
		return fmt.Errorf("nothing was taken over: %w", err)
	} else if err == nil {
		_ = place.Close()
	}
	return nil // what else is wrong is found later
}

// beside has the running server take over what is read here.
func (m *moveIn) beside(ctx context.Context, c *admin.Client, r *reading, o movein.Options) error {
	var account json.RawMessage
	tally, err := r.source.Exchange(ctx, o, m.keepGoing, func(from io.Reader) (err error) {
		account, err = c.MoveIn(ctx, from, func(done, of int64) {
			if r.clear(); r.applied == nil {
				r.applied = newProgress(r.t, 1000)
				r.applied.tail = func(int) string { return " being put into the store" }
			}
			r.applied.at(int(done * 1000 / max(of, 1)))
		})
		return err
	})
	r.clear()
	done := &movein.Account{}
	if err == nil {
		err = json.Unmarshal(account, done)
	}
	if err != nil {
		if tally != nil && tally.Balance() == nil { // it was read whole
			_ = r.show(&movein.Account{At: o.Now.UTC(), Tally: tally})
		}
		return m.besideFailed(ctx, err, r.source.Ending())
	}
	if err := errors.Join(r.show(done), done.Unfit(m.keepGoing)); err != nil {
		return err
	}
	r.told(done, "the running server")
	return nil
}

// besideFailed says what is so now; sent: the end of what was read was sent, or begun to be.
func (m *moveIn) besideFailed(ctx context.Context, err error, sent bool) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: the server takes over all of it if it had got all, else nothing: 'lapid movein status' tells", ErrInterrupted)
	}
	if sent && errors.Is(err, admin.ErrGone) {
		return fmt.Errorf("it is not known what was taken over, all or nothing, for everything had been sent: "+
			"start the server, which goes on with what had arrived, and 'lapid movein status' tells; it may be run again in any case: %w", err)
	}
	if strings.Contains(err.Error(), "nothing was taken over") || strings.Contains(err.Error(), movein.ErrUnfinished.Error()) || strings.Contains(err.Error(), movein.ErrPutAside.Error()) {
		return err
	}
	return fmt.Errorf("nothing was taken over: %w", err)
}

// make makes the store, beside its place until it is whole. Nobody else makes one there
// meanwhile, and nobody opens the one that is there: what was stored in it after it was copied
// would be missing in what takes its place.
func (m *moveIn) make(ctx context.Context, s *config.Setup, r *reading, o movein.Options) error {
	back, err := s.Data().AsOwner()
	if err != nil {
		return err
	}
	defer back()
	if err := errors.Join(s.Data().MakeFolder(), s.Data().AsMade()); err != nil {
		return err
	}
	place, err := holdPlace(s)
	if err != nil {
		return fmt.Errorf("nothing was taken over: %w", err)
	}
	defer place.Close()
	held, err := holdStore(s)
	if err != nil {
		return fmt.Errorf("nothing was taken over: %w", err)
	}
	there, made := held != nil, s.Store()+".movingin"
	if there {
		defer held.Close()
	}
	if err = os.RemoveAll(made); err == nil && there { // what is there was left by one that was interrupted
		err = copyStore(ctx, s.Store(), made)
	}
	if err != nil {
		return errors.Join(interrupted(ctx, err), os.RemoveAll(made))
	}
	done, err := fill(ctx, s, r.source, o, made, m.keepGoing)
	r.clear()
	if done.Tally != nil && ctx.Err() == nil {
		err = errors.Join(err, r.show(done))
	}
	if err == nil {
		err = ctx.Err() // the last moment to be interrupted in
	}
	if err != nil {
		return errors.Join(interrupted(ctx, fmt.Errorf("nothing was taken over: %w", err)), os.RemoveAll(made))
	}
	return m.install(s, r, made, done, there)
}

// install puts the store that was made in its place.
func (m *moveIn) install(s *config.Setup, r *reading, made string, done *movein.Account, there bool) error {
	old, err := putInPlace(s, made, there)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("nothing was taken over: another lapid has made a store in %s meanwhile: run this again", s.Store())
		return errors.Join(err, os.RemoveAll(made))
	}
	if err != nil {
		return err
	}
	if err := errors.Join(done.Keep(moveInFile(s)), movein.Forget(s.Data().Folder())); err != nil {
		r.t.log("warning", "'lapid movein status' will not tell of this: %v", err)
	}
	r.told(done, s.Store())
	r.t.success("start the server now: lapid%s serve", s.Named())
	if old != "" {
		r.t.success("the store that was there is now %s; remove it when it is not needed any more", old)
	}
	return nil
}

// told says what changed, and where.
func (r *reading) told(done *movein.Account, into string) {
	c := &done.Changes
	r.t.success("taken over into %s: %d new alerts, %d new decisions, %d decisions ended, %d alerts and %d others removed",
		into, c.NewAlerts, c.NewDecisions, c.EndedDecisions, c.RemovedAlerts, c.Removed)
	if c.Renumbered > 0 {
		r.t.success("%d alerts and decisions have other numbers than there, where theirs were taken", c.Renumbered)
	}
	if c.Revised > 0 {
		r.t.success("%d decisions have another end, value or type there now: what is there was taken over in their place", c.Revised)
	}
	if c.Replaced > 0 {
		r.t.success("%d bouncers and machines had been made or changed here under the names of others there: they have the keys and passwords from there now (%s)", c.Replaced, firstOf(c.Replacing))
	}
	if c.Differing > 0 {
		r.t.success("%d decisions run there and were ended here, or were over there before: they stay ended", c.Differing)
	}
	for kind, n := range c.Stays.Each {
		r.t.success("%d %s were changed or removed here since the last taking over: they stay as they are here (%s)", n.N, kind, firstOf(n))
	}
}

// firstOf names the first few.
func firstOf(n *movein.Named) string {
	if n == nil {
		return ""
	}
	text := strings.Join(n.First, ", ")
	if int(n.N) > len(n.First) {
		text += ", …"
	}
	return line(text)
}

// copyStore copies a store that nobody has open, file by file: history and bookmarks go on
// in the copy, so bouncers are told only what changes.
func copyStore(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		within, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		switch {
		case err != nil:
			return err
		case within == "LOCK": // this process holds it, and would let it go with what it reads it by
			return nil
		case entry.IsDir():
			return os.Mkdir(filepath.Join(to, within), info.Mode().Perm())
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is no file, and nothing of a store's", path)
		}
		return copyFile(path, filepath.Join(to, within), info.Mode().Perm())
	})
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// fill reads the source into the store in a folder, a new one where there is none. It is on
// the disk when this returns: each commit by itself need not be. The error is also about
// rows that keep the whole from being taken over.
func fill(ctx context.Context, s *config.Setup, source *movein.Source, o movein.Options, dir string, keepGoing bool) (*movein.Account, error) {
	done := &movein.Account{At: o.Now.UTC()}
	options := s.EngineOptions(slog.New(slog.DiscardHandler))
	options.Dir, options.NoSync = dir, true
	e, err := engine.OpenContext(ctx, options)
	if err != nil {
		return done, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(running) }()
	err = bring(ctx, e, source, o, done, keepGoing)
	stop()
	if run := <-ended; run != nil && !errors.Is(run, context.Canceled) {
		err = errors.Join(err, run)
	}
	if err = errors.Join(err, e.Close()); err == nil {
		err = syncAll(dir)
	}
	return done, err
}

func bring(ctx context.Context, e *engine.Engine, source *movein.Source, o movein.Options, done *movein.Account, keepGoing bool) error {
	b, err := movein.NewBringer(ctx, e)
	if err != nil {
		return err
	}
	if done.Tally, err = source.Read(ctx, o, b); err != nil {
		return err
	}
	if err := done.Tally.Unfit(keepGoing); err != nil {
		return err
	}
	err = b.Finish(ctx, done.Tally)
	done.Changes = b.Changes
	return errors.Join(err, e.Snapshot(ctx))
}

// moveInFile has what the last taking over came to, for who asks. Nothing else reads it.
func moveInFile(s *config.Setup) string { return movein.AccountFile(s.Data().Folder()) }

// moveInStatusCommand is movein status.
func moveInStatusCommand(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "What was taken over the last time", Args: exactArgs(0),
		Long: "Shows when a database was taken over the last time, which, and what became of its rows. A server may run. Exit code 1 also when a later\none has arrived and is not taken over yet, or was put aside because it could not be.",
		RunE: func(*cobra.Command, []string) error {
			s, err := t.Setup()
			if err != nil {
				return err
			}
			tellOrigin(t, s)
			after := unfinished(s)
			done, err := lastMovedIn(s)
			if after != nil && errors.Is(err, fs.ErrNotExist) {
				return after // the first one that there was
			}
			if err != nil {
				return errors.Join(after, err)
			}
			return errors.Join((&reading{t: t}).show(done), after)
		},
	}
}

// unfinished is the error about a later taking over, of which nothing has come yet, or nothing
// whole; nil: there is none.
func unfinished(s *config.Setup) error {
	folder := s.Data().Folder()
	if movein.UnderWay(folder) {
		return errors.New("a later database has arrived and is not wholly taken over yet: the server goes on with it, now or from its next start on, and 'lapid ready' and its log say what fails, if something does")
	}
	if text := movein.Failed(folder); text != "" {
		return fmt.Errorf("what is shown is of an earlier one: %s", text)
	}
	return nil
}

// noneMovedIn is an error that is fs.ErrNotExist, and does not say so.
type noneMovedIn struct{ error }

func (noneMovedIn) Is(target error) bool { return target == fs.ErrNotExist }

// lastMovedIn is what the last taking over came to.
func lastMovedIn(s *config.Setup) (*movein.Account, error) {
	done, err := movein.ReadAccount(moveInFile(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noneMovedIn{fmt.Errorf("nothing was taken over into %s: lapid%s movein does that", s.Store(), s.Named())}
	} else if err != nil {
		return nil, datadir.Permitted(err, moveInFile(s))
	}
	return done, nil
}

// syncAll has the disk hold a folder with everything in it.
func syncAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// interrupted tells the operator's signal from other errors.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: nothing was taken over, and nothing was changed", ErrInterrupted)
	}
	return err
}

// reading shows how far a reading has come, and what came of it.
type reading struct {
	t      *Terminal
	source *movein.Source
	began  time.Time
	bar    *progress

	applied *progress // of the running server
}

func (r *reading) progress(read, rows int64) {
	if r.bar == nil {
		r.bar = newRowProgress(r.t, int(rows), r.began)
	}
	r.bar.at(int(read))
}

func (r *reading) clear() {
	for _, bar := range []*progress{r.bar, r.applied} {
		if bar != nil {
			bar.clear()
		}
	}
}

// show is the account of a source.
func (r *reading) show(done *movein.Account) error {
	tally := done.Tally
	switch r.t.Output {
	case jsonWords:
		return r.t.json(done, " ")
	case raw:
		return rowsOf(tally).raw(r.t, "taken_over")
	}
	r.t.print("%s, of a server of version %s or later, read at %s\n", tally.Source, tally.Version, done.At.Format(time.RFC3339))
	r.t.show(rowsOf(tally).boxed("Taken over"))
	out := boxedTable()
	out.head(left, "Running decisions of origin", "Taken over")
	out.body()
	for _, o := range tally.Running {
		out.line(cell{text: o.Origin}, cell{text: counted(o.Decisions), align: right})
	}
	r.t.show(out)
	return nil
}

func counted(n int64) string { return strconv.FormatInt(n, 10) }

// reasonsOf are why rows of a table were left out, and what else there is to say of them: at
// least one line.
func reasonsOf(leftOut, remarks []movein.Reason) (lines []string) {
	for _, r := range leftOut {
		word := "left out"
		if r.Damaged {
			word = "NOT WHAT IT SHOULD BE, left out"
		}
		lines = append(lines, fmt.Sprintf("%d %s: %s (first: id %d)", r.Rows, word, r.Text, r.Example))
	}
	for _, r := range remarks {
		lines = append(lines, fmt.Sprintf("%d: %s (first: id %d)", r.Rows, r.Text, r.Example))
	}
	if lines == nil {
		lines = []string{""}
	}
	return lines
}
