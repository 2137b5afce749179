package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

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
	if m := p.engine.Metrics(); ctx.Err() != nil || m.Bouncers+m.Machines > 0 || movein.Taken(p.engine) {
		return nil
	}
	if p.setup.Own.MoveIn != "auto" {
		p.tellOldDatabase(ctx)
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

// moveInNow takes over what db_config names. Where that is an SQLite file that is not there, or
// nothing, there was no old server.
func (p *program) moveInNow(ctx context.Context) error {
	d := &p.setup.Config.DB
	if info, err := os.Stat(d.Path); d.Type == "" || d.Type == "sqlite" && (errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0) {
		p.log.Info("movein is auto (LAPID_MOVEIN), and db_config names no database in which there is something to take over: the store begins empty")
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

// tellOldDatabase has the one line about a database with bouncers or machines beside a
// store that has none. One that cannot be looked into is told as well.
func (p *program) tellOldDatabase(ctx context.Context) {
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
		p.log.Warn(fmt.Sprintf("this store has no bouncers and no machines, and the old server's database has %d and %d, who are refused until it is taken over: %s", bouncers, machines, left))
	}
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
	return p.arrival.Receive(ctx, from, tell)
}
