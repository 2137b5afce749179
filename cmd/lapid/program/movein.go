package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/transport/movein"
)

// lookPatience is how long a start takes to look into the database of an old installation,
// when its own store has nothing.
const lookPatience = 5 * time.Second

// moveIn goes on with what an earlier server was interrupted in, and looks after a store
// in which nothing was made yet: what db_config names is taken over, where movein says
// auto, or told. It comes before the listeners are opened, so that nobody is answered from
// less. The error ends the start: whoever asked for auto must not be served from an empty
// store, in which keys and bans are missing, and a service manager tries again when a
// database server comes up later.
func (p *program) moveIn(ctx context.Context) error {
	p.arrival = movein.NewArrival(p.engine, p.setup.Data().Folder(), p.log.Logger)
	p.condition.arrival.Store(p.arrival)
	if err := p.arrival.Resume(ctx); err != nil && ctx.Err() == nil {
		p.log.Error("a database that has arrived could not be taken over yet: it is tried again while the server runs", "error", err)
	}
	if ctx.Err() != nil || movein.Taken(p.engine) || p.setup.Own.MoveIn == "never" {
		return nil
	}
	if m := p.engine.Metrics(); m.Bouncers+m.Machines > 0 {
		p.tellOldDatabase(ctx, fmt.Sprintf("this store has %d bouncers and %d machines of its own, and nothing was taken over from the old server's database, which has %%d and %%d: %%s; "+
			"movein: never in lapid.yaml (LAPID_MOVEIN) keeps this line away", m.Bouncers, m.Machines))
		return nil
	}
	if p.setup.Own.MoveIn != "auto" {
		p.tellOldDatabase(ctx, "this store has no bouncers and no machines, and the old server's database has %d and %d, who are refused until it is taken over: %s; with LAPID_MOVEIN=auto a start does that")
		return nil
	}
	err := p.moveInNow(ctx)
	if err != nil && ctx.Err() != nil {
		return nil // the start was ended
	}
	if err != nil {
		return fmt.Errorf("movein is auto (LAPID_MOVEIN), and the old server's database could not be taken over: %w; mend that and start again, "+
			"look at it with 'lapid%s movein --dry-run', or start without LAPID_MOVEIN to serve an empty store", err, p.setup.Named())
	}
	return nil
}

// moveInNow takes over what db_config names. Where that is nothing, there was no old server;
// an SQLite file that is not there, or empty, may be on a disk that comes later.
func (p *program) moveInNow(ctx context.Context) error {
	if p.setup.Config.DB.Type == "" {
		p.log.Info("movein is auto (LAPID_MOVEIN), and db_config names no database: the store begins empty")
		return nil
	}
	if path, wrong := p.setup.OldFile(); wrong == config.OldMissing || wrong == config.OldEmpty {
		p.log.Warn(fmt.Sprintf("movein is auto (LAPID_MOVEIN), but the database that db_config names %s, %s: nothing was taken over, and the store begins empty; "+
			"if it is on a disk that was not mounted yet, mount that and start again, or run 'lapid%s movein'", wrong, path, p.setup.Named()))
		return nil
	}
	place, err := p.setup.OldDatabase()
	if err != nil {
		return err
	}
	p.noteStart("the old server's database is being taken over")
	p.log.Info("the old server's database is being taken over (LAPID_MOVEIN=auto)", "database", place.String())
	source, err := movein.OpenTelling(ctx, place, func(what string) { p.log.Info("waiting for " + what) })
	if err != nil {
		return err
	}
	defer source.Close()
	told := time.Now()
	o := movein.Options{Now: time.Unix(0, p.engine.Now()), MetricsAge: p.retention.MetricsMaxAge, Progress: func(read, rows int64) {
		if time.Since(told) > 2*time.Second {
			told = time.Now()
			p.noteStart(fmt.Sprintf("the old server's database is being taken over: %d of %d rows read", read, rows))
		}
	}}
	_, tally, err := p.arrival.TakeOver(ctx, source, o, false)
	if err != nil && tally != nil {
		p.tellDamage(tally)
	}
	return err
}

// tellDamage has a line for each kind of row that is not what it should be.
func (p *program) tellDamage(tally *movein.Tally) {
	for _, t := range tally.Tables {
		for _, r := range t.Left {
			if r.Damaged {
				p.log.Error("rows are not what they should be", "table", t.Table, "rows", r.Rows, "first", r.Example, "why", r.Text)
			}
		}
	}
}

// tellOldDatabase has the one line about a database with bouncers or machines of which
// nothing was taken over: how many, and what is to be done, go into words. One that cannot be
// looked into is told as well, and a file that is none.
func (p *program) tellOldDatabase(ctx context.Context, words string) {
	if path, wrong := p.setup.OldFile(); wrong == config.OldOther {
		p.log.Warn(fmt.Sprintf("db_config.db_path: %s %s: nothing can be taken over from it; name the old server's database there, or with 'lapid%s movein --from'", path, wrong, p.setup.Named()))
		return
	}
	left := p.setup.DatabaseLeft()
	if left == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	bouncers, machines, err := p.oldPeople(ctx)
	switch {
	case err != nil:
		p.log.Warn(left, "error", err)
	case bouncers+machines > 0:
		p.log.Warn(fmt.Sprintf(words, bouncers, machines, left))
	}
}

// tryOldDatabase says in a trial of the configuration what a start would, as far as that is
// known without the store: a server may have it open.
func (p *program) tryOldDatabase(ctx context.Context) {
	s := p.setup
	if _, err := os.Stat(movein.AccountFile(s.Data().Folder())); err == nil || s.Own.MoveIn == "never" {
		return
	}
	_, err := os.Stat(s.Store())
	fresh := errors.Is(err, fs.ErrNotExist)
	if path, wrong := s.OldFile(); fresh && s.Own.MoveIn == "auto" {
		if wrong != "" {
			p.log.Warn(fmt.Sprintf("movein is auto (LAPID_MOVEIN), but the database that db_config names %s, %s: nothing would be taken over", wrong, path))
		}
		return
	}
	end := "; movein: never in lapid.yaml (LAPID_MOVEIN) keeps this line away"
	if fresh {
		end = "; with LAPID_MOVEIN=auto a start does that"
	}
	p.tellOldDatabase(ctx, "nothing was taken over from the old server's database, which has %d bouncers and %d machines, who are refused until it is: %s"+end)
}

func (p *program) oldPeople(ctx context.Context) (bouncers, machines int64, err error) {
	place, err := p.setup.OldDatabase()
	if err != nil {
		return 0, 0, err
	}
	source, err := movein.Open(ctx, place)
	if err != nil {
		return 0, 0, err
	}
	defer source.Close()
	return source.People(ctx)
}

// takeOver is the operator's verb beside this server.
func (p *program) takeOver(ctx context.Context, from io.Reader, tell func(done, of int64)) (any, error) {
	if p.arrival == nil {
		return nil, errors.New("a database moves into a server for itself: take the section cluster away, move in, and make that store the first node (lapid cluster init)")
	}
	return p.arrival.Receive(ctx, from, tell)
}
