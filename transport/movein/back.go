package movein

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lapid/engine"
)

// Back is a database on its way, for going back to a CrowdSec server: an SQLite file that
// such a server opens. It is written from its beginning to its end, once:
//
//	NewBack   makes the file, which must not be there
//	Fill      writes everything that an engine holds into it
//	Finish    makes its indexes, sets its counters, looks at it and has the disk hold it
//	Discard   removes it again, unless it was finished
//
// Nothing guards a file that is not finished against a crash: whoever wants it under a
// name that others look for renames it behind Finish. For one goroutine; its errors say
// what to do.
type Back struct {
	Tally BackTally

	path   string
	schema Schema
	now    int64
	db     *sql.DB
	conn   *sql.Conn
	made   map[*table]*inserting
	whole  bool
}

// BackTally is what became of what a store holds, table by table.
type BackTally struct {
	Schema   string       `json:"schema"`   // the version of the server that it was written for
	Revision uint64       `json:"revision"` // of the store
	Tables   []*BackTable `json:"tables"`
	Counters Counters     `json:"counters"`
	// OlderKeys are the bouncers of which a key before the newest is still good in the store. The database has
	// the newest alone: whoever shows an older one is refused there.
	OlderKeys []string `json:"older_keys_left_out,omitempty"`
}

// BackTable counts the rows of one table. Rows is what the store says before anything is
// written, where it counts them; Read is Written and all of Left together.
type BackTable struct {
	Table   string   `json:"table"`
	Rows    int64    `json:"rows"`
	Read    int64    `json:"read"`
	Written int64    `json:"written"`
	Left    []Reason `json:"left_out,omitempty"`
	Remarks []Reason `json:"remarks,omitempty"` // on rows that were written
}

// LeftOut is how many rows were left out.
func (t *BackTable) LeftOut() (n int64) {
	for _, r := range t.Left {
		n += r.Rows
	}
	return n
}

// Balance names the tables of which not every row is accounted for.
func (t *BackTally) Balance() (wrong []string) {
	for _, table := range t.Tables {
		if table.Rows != table.Read || table.Read != table.Written+table.LeftOut() {
			wrong = append(wrong, table.Table)
		}
	}
	return wrong
}

// Table is the tally of the table of that name, nil where there is none.
func (t *BackTally) Table(name string) *BackTable {
	for _, one := range t.Tables {
		if one.Table == name {
			return one
		}
	}
	return nil
}

// Central is what is known of the connection to the Central API, so that the server goes
// on with it. The zero one is nothing.
type Central struct {
	Items       map[string]string // config_items by name
	UsagePushed int64             // usage metrics up to here were sent, Unix nanoseconds
}

// NewBack makes a file, mode 0600, that holds an empty database.
func NewBack(ctx context.Context, path string, s Schema) (*Back, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	b := &Back{path: path, schema: s, now: time.Now().UnixNano(), made: map[*table]*inserting{}, Tally: BackTally{Schema: s.String()}}
	if err := errors.Join(f.Close(), b.begin(ctx)); err != nil {
		b.Discard()
		return nil, b.explain(err)
	}
	return b, nil
}

// begin opens the file with everything off that guards against a crash, and makes the
// tables. From here on SQLite opens no further file beside it.
func (b *Back) begin(ctx context.Context) (err error) {
	u := url.URL{Scheme: "file", Path: b.path, RawQuery: "mode=rw&_pragma=journal_mode(off)&_pragma=synchronous(off)&_pragma=locking_mode(exclusive)&_pragma=cache_size(-32768)"}
	if b.db, err = sql.Open("sqlite", u.String()); err != nil {
		return err
	}
	if b.conn, err = b.db.Conn(ctx); err != nil {
		return err
	}
	if err := b.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	for _, t := range tablesMade {
		b.Tally.Tables = append(b.Tally.Tables, &BackTable{Table: t.name})
		b.made[t] = newInserting(b, t, b.Tally.Tables[len(b.Tally.Tables)-1])
		if !t.in(b.schema) {
			continue
		}
		if err := b.exec(ctx, t.statement(b.schema)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Back) exec(ctx context.Context, statement string, args ...any) error {
	_, err := b.conn.ExecContext(ctx, statement, args...)
	return err
}

// Fill writes what the engine holds, in one view of it. Progress gets now and then how
// many alerts and decisions were written of how many; nil: nobody asks.
func (b *Back) Fill(ctx context.Context, e *engine.Engine, c Central, progress func(done, all int64)) error {
	f := &filling{Back: b, engine: e, view: e.View(), central: c, progress: progress, machine: map[string]int64{}}
	b.Tally.Revision = uint64(f.view.Revision())
	for _, step := range []func(context.Context) error{f.count, f.machines, f.bouncers, f.allowlists, f.alerts, f.usage, f.items} {
		if err := step(ctx); err != nil {
			return b.explain(err)
		}
	}
	return nil
}

// Finish makes the file whole, closes it and has the disk hold it.
func (b *Back) Finish(ctx context.Context) error {
	steps := []func(context.Context) error{b.flush, b.index, b.count, b.look}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return b.explain(err)
		}
	}
	if err := b.close(); err != nil {
		return b.explain(err)
	}
	f, err := os.Open(b.path)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	b.whole = err == nil
	return b.explain(err)
}

func (b *Back) flush(ctx context.Context) error {
	for _, t := range tablesMade {
		if err := b.made[t].flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// index makes the indexes, which takes less time behind all rows.
func (b *Back) index(ctx context.Context) error {
	for _, t := range tablesMade {
		for i := range t.indexes {
			if !t.in(b.schema) || !t.indexes[i].in(b.schema) {
				continue
			}
			if err := b.exec(ctx, t.indexes[i].statement(t)); err != nil {
				return err
			}
		}
	}
	return nil
}

// count sets the counters of alerts and decisions above everything that was given. Those
// of the other tables count by themselves.
func (b *Back) count(ctx context.Context) error {
	for name, last := range map[string]int64{"alerts": b.Tally.Counters.Alert, "decisions": b.Tally.Counters.Decision} {
		if err := b.exec(ctx, "DELETE FROM sqlite_sequence WHERE name = ?", name); err != nil {
			return err
		}
		if err := b.exec(ctx, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", name, last); err != nil {
			return err
		}
	}
	return b.exec(ctx, "COMMIT")
}

// look reads the file that was written: whether SQLite finds it whole, and whether every
// row that was written is there.
func (b *Back) look(ctx context.Context) error {
	for _, t := range tablesMade {
		if !t.in(b.schema) {
			continue
		}
		var n int64
		if err := b.conn.QueryRowContext(ctx, "SELECT count(*) FROM "+marked(t.name)).Scan(&n); err != nil {
			return err
		}
		if want := b.made[t].tally.Written; n != want {
			return fmt.Errorf("%d rows were written to %s, and %d are there", want, t.name, n)
		}
	}
	var said string
	if err := b.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return errors.New("the file is damaged as it was written: " + said)
	}
	return nil
}

// close ends the statements first: one that is open keeps the file open, and locked.
func (b *Back) close() (err error) {
	for _, i := range b.made {
		if i.full != nil {
			err = errors.Join(err, i.full.Close())
			i.full = nil
		}
	}
	if b.conn != nil {
		err = errors.Join(err, b.conn.Close())
		b.conn = nil
	}
	if b.db != nil {
		err = errors.Join(err, b.db.Close())
		b.db = nil
	}
	return err
}

// Discard removes the file, unless it was finished. It may be called at any time.
func (b *Back) Discard() {
	_ = b.close()
	if !b.whole {
		_ = os.Remove(b.path)
	}
}

// explain says what to do about an error of SQLite's.
func (b *Back) explain(err error) error {
	if err == nil {
		return nil
	}
	return explain(Place{Kind: SQLite, Path: b.path}, err)
}

// inserting writes rows of one table, as many at once as a statement has room for.
type inserting struct {
	back  *Back
	of    *table
	tally *BackTable
	there []int // places of the columns that the version has
	last  int64 // number of the last row, where they are counted here

	args  []any
	rows  int
	bytes int
	most  int       // rows in one statement
	full  *sql.Stmt // for so many
}

const (
	mostRows  = 64
	mostBytes = 1 << 20 // of texts in one statement, or one row
)

func newInserting(b *Back, t *table, tally *BackTable) *inserting {
	i := &inserting{back: b, of: t, tally: tally, most: mostRows}
	for place := range t.columns {
		if t.columns[place].in(b.schema) {
			i.there = append(i.there, place)
		}
	}
	return i
}

// next counts rows that have no number of their own.
func (i *inserting) next() int64 {
	i.last++
	return i.last
}

// put writes a row, whose values come in the order of all columns of the table. What the
// version has no room for is counted.
func (i *inserting) put(ctx context.Context, id int64, values ...any) error {
	i.tally.Read++
	if !i.of.in(i.back.schema) {
		add(&i.tally.Left, id, fmt.Sprintf("a server of version %s has no such table", i.back.schema), false)
		return nil
	}
	for place := range i.of.columns {
		c := &i.of.columns[place]
		switch {
		case !c.in(i.back.schema):
			if says(values[place]) && c.until == (Schema{}) { // else it is one that old versions have, and means nothing
				add(&i.tally.Remarks, id, fmt.Sprintf("%s is left out: it came with version %s", c.name, c.since), false)
			}
			continue
		case values[place] == nil && c.kind == "datetime" && c.required.in(i.back.schema):
			add(&i.tally.Remarks, id, c.name+" is not known, and must be there: the time of this writing stands for it", false)
			values[place] = moment64(i.back.now)
		}
		i.args = append(i.args, values[place])
		if text, ok := values[place].(string); ok {
			i.bytes += len(text)
		}
	}
	i.tally.Written++
	if i.rows++; i.rows == i.most || i.bytes > mostBytes {
		return i.flush(ctx)
	}
	return nil
}

// says tells whether a value says more than its absence.
func says(v any) bool {
	switch v {
	case nil, "", false, int64(0):
		return false
	}
	blob, ok := v.([]byte)
	return !ok || len(blob) > 0
}

// flush writes the rows that wait.
func (i *inserting) flush(ctx context.Context) (err error) {
	if i.rows == 0 {
		return nil
	}
	if i.rows == i.most {
		if i.full == nil {
			if i.full, err = i.back.conn.PrepareContext(ctx, i.statement(i.rows)); err != nil {
				return err
			}
		}
		_, err = i.full.ExecContext(ctx, i.args...)
	} else {
		err = i.back.exec(ctx, i.statement(i.rows), i.args...)
	}
	clear(i.args)
	i.args, i.rows, i.bytes = i.args[:0], 0, 0
	return err
}

func (i *inserting) statement(rows int) string {
	var names []string
	for _, place := range i.there {
		names = append(names, marked(i.of.columns[place].name))
	}
	one := "(?" + strings.Repeat(", ?", len(names)-1) + ")"
	return "INSERT INTO " + marked(i.of.name) + " (" + strings.Join(names, ", ") + ") VALUES " + one + strings.Repeat(", "+one, rows-1)
}
