package verbs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/engine"
	"lapid/transport/movein"
)

// moveIn is what the verb was asked for.
type moveIn struct {
	from      string
	dryRun    bool
	keepGoing bool
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

The store is made beside its place and put there when it is whole, so that whoever is interrupted has none. No
server of lapid may run, and there may be no store yet. A table says what became of each row. What is not what it should be
(a password that is no hash, a time that is none) is counted with its reason, and nothing is taken over then, but with
--keep-going: that leaves such rows out. --dry-run reads everything and changes nothing.

Ids stay what they are. What is new begins behind the old server's counters.`,
		RunE: func(c *cobra.Command, _ []string) error { return m.run(c.Context(), t) },
	}
	c.Flags().StringVar(&m.from, "from", "", "the database: sqlite:PATH, postgres://… or mysql://… (default: what db_config names)")
	c.Flags().BoolVar(&m.dryRun, "dry-run", false, "read everything and show the table, and change nothing")
	c.Flags().BoolVar(&m.keepGoing, "keep-going", false, "leave out rows that are not what they should be, instead of taking over nothing")
	return c
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
	if !m.dryRun {
		if err := refuseBesideServer(ctx, s, "; lapid movein makes the store, and the server starts on it"); err != nil {
			return err
		}
	}
	// Opened as who runs the verb is: the store's owner need not be able to read it.
	source, err := movein.Open(ctx, place)
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
		return errors.Join(r.show(tally), unfit(tally, false))
	}
	return m.make(ctx, s, r, o)
}

// place says where the database is.
func (m *moveIn) place(s *config.Setup) (movein.Place, error) {
	if m.from != "" {
		p, err := movein.ParsePlace(m.from)
		if err != nil {
			return p, fmt.Errorf("--from %w", err)
		}
		return p, nil
	}
	d := &s.Config.DB
	if d.Type == "" && d.Path == "" {
		return movein.Place{}, fmt.Errorf("there is no db_config that names a database (%s): name the old server's config.yaml with -c, or its database with --from", s.Origin())
	}
	kind, ok := movein.KindOf(d.Type)
	if !ok {
		return movein.Place{}, s.Bad("db_config.type", "db_config.type is %q, and must be sqlite, mysql, postgres, postgresql or pgx to say which database is taken over; or name it with --from", d.Type)
	}
	if kind == movein.SQLite && d.Path == "" {
		return movein.Place{}, s.Bad("db_config.type", "db_config.db_path is missing: name the database with --from sqlite:PATH")
	}
	p := movein.Place{Kind: kind, Path: d.Path, Host: d.Host, Port: d.Port, User: d.User, Password: d.Password, Name: d.Name,
		SSLMode: d.SSLMode, CA: d.SSLCACert, Cert: d.SSLCert, Key: d.SSLKey}
	return p, nil
}

// make makes the store, beside its place until it is whole.
func (m *moveIn) make(ctx context.Context, s *config.Setup, r *reading, o movein.Options) error {
	back, err := s.Data().AsOwner()
	if err != nil {
		return err
	}
	defer back()
	if err := errors.Join(s.Data().MakeFolder(), s.Data().AsMade()); err != nil {
		return err
	}
	held, err := holdStore(s)
	if err != nil {
		return err
	}
	if held != nil {
		_ = held.Close()
		return fmt.Errorf("there is a store in %s, and only a new one can be made from a database: move it away first, or name another data_dir", s.Store())
	}
	made := s.Store() + ".movingin"
	if err := os.RemoveAll(made); err != nil { // left by one that was interrupted
		return err
	}
	tally, renumbered, err := fill(ctx, s, r.source, o, made)
	r.clear()
	if err == nil {
		if err = errors.Join(r.show(tally), unfit(tally, m.keepGoing)); err != nil {
			err = fmt.Errorf("nothing was taken over: %w", err)
		}
	}
	if err != nil {
		return errors.Join(interrupted(ctx, err), os.RemoveAll(made))
	}
	if _, err := putInPlace(s, made, false); err != nil {
		return err
	}
	r.t.success("taken over into %s; start the server now: lapid%s serve", s.Store(), s.Named())
	if renumbered > 0 {
		r.t.success("%d alerts and decisions got other numbers than they had, which were beyond what can be counted here", renumbered)
	}
	return nil
}

// fill makes a store in a folder of its own and reads the source into it. It is on the
// disk when this returns: each commit by itself need not be.
func fill(ctx context.Context, s *config.Setup, source *movein.Source, o movein.Options, dir string) (tally *movein.Tally, renumbered int64, err error) {
	options := s.EngineOptions(slog.New(slog.DiscardHandler))
	options.Dir, options.NoSync = dir, true
	e, err := engine.OpenContext(ctx, options)
	if err != nil {
		return nil, 0, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(running) }()
	b := movein.NewBringer(e, e.Now())
	tally, err = source.Read(ctx, o, b)
	if err == nil {
		err = e.Snapshot(ctx)
	}
	stop()
	if run := <-ended; run != nil && !errors.Is(run, context.Canceled) {
		err = errors.Join(err, run)
	}
	if err = errors.Join(err, e.Close()); err == nil {
		err = syncAll(dir)
	}
	return tally, b.Renumbered.Alerts + b.Renumbered.Decisions, err
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

// unfit is the error about rows that are not what they should be, or not accounted for.
func unfit(tally *movein.Tally, keepGoing bool) error {
	if wrong := tally.Balance(); wrong != nil {
		return fmt.Errorf("the rows that were read from %s are not those that the database counts: it is damaged", strings.Join(wrong, ", "))
	}
	if n := tally.Damaged(); n > 0 && !keepGoing {
		return fmt.Errorf("%d rows are not what they should be, as the table says; with --keep-going they are left out, and all else is taken over", n)
	}
	return nil
}

// reading shows how far a reading has come, and what came of it.
type reading struct {
	t      *Terminal
	source *movein.Source
	began  time.Time
	bar    *progress
}

func (r *reading) progress(read, rows int64) {
	if r.bar == nil {
		r.bar = newProgress(r.t, int(rows))
		r.bar.tail = func(done int) string {
			rate := float64(done) / max(time.Since(r.began).Seconds(), 0.001)
			left := time.Duration(float64(int(rows)-done) / max(rate, 1) * float64(time.Second))
			return fmt.Sprintf(" %.0f rows/s, %s left", rate, left.Round(time.Second))
		}
	}
	r.bar.at(int(read))
}

func (r *reading) clear() {
	if r.bar != nil {
		r.bar.clear()
	}
}

// show is the account of a source.
func (r *reading) show(tally *movein.Tally) error {
	switch r.t.Output {
	case jsonWords:
		return r.t.json(tally, " ")
	case raw:
		var rows [][]string
		for _, table := range tally.Tables {
			rows = append(rows, []string{table.Table, counted(table.Rows), counted(table.Read), counted(table.Taken), counted(table.LeftOut())})
		}
		return r.t.csv([]string{"table", "rows", "read", "taken_over", "left_out"}, rows)
	}
	r.t.print("%s, of a server of version %s or later\n", tally.Source, tally.Version)
	out := boxedTable()
	out.head(left, "Table", "Rows", "Read", "Taken over", "Left out", "Why, and what else there is to say")
	out.body()
	for _, table := range tally.Tables {
		why := reasons(table)
		out.line(cell{text: table.Table}, cell{text: counted(table.Rows), align: right}, cell{text: counted(table.Read), align: right},
			cell{text: counted(table.Taken), align: right}, cell{text: counted(table.LeftOut()), align: right}, cell{text: why[0]})
		for _, line := range why[1:] {
			out.row("", "", "", "", "", line)
		}
	}
	r.t.show(out)
	out = boxedTable()
	out.head(left, "Running decisions of origin", "Taken over")
	out.body()
	for _, o := range tally.Running {
		out.line(cell{text: o.Origin}, cell{text: counted(o.Decisions), align: right})
	}
	r.t.show(out)
	return nil
}

func counted(n int64) string { return strconv.FormatInt(n, 10) }

// reasons are the reasons of a table, at least one line.
func reasons(table *movein.TableTally) (lines []string) {
	for _, r := range table.Left {
		word := "left out"
		if r.Damaged {
			word = "NOT WHAT IT SHOULD BE, left out"
		}
		lines = append(lines, fmt.Sprintf("%d %s: %s (first: id %d)", r.Rows, word, r.Text, r.Example))
	}
	for _, r := range table.Remarks {
		lines = append(lines, fmt.Sprintf("%d: %s (first: id %d)", r.Rows, r.Text, r.Example))
	}
	if lines == nil {
		lines = []string{""}
	}
	return lines
}
