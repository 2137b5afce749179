package movein

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	sqlite "modernc.org/sqlite"
)

// Source is a database, opened to be read: one connection with one transaction, so that
// everything comes from the same moment. For one goroutine. Close ends it.
type Source struct {
	Place   Place
	Version string // "1.6.3": of that version or later, up to the next that changed the tables

	db      *sql.DB
	conn    *sql.Conn
	has     map[string][]string // the columns of each table that is there
	waiting func(what string)   // nil: nobody asks

	ending atomic.Bool // see Ending
}

// Open opens a database and looks whether it is the reference's. Errors are sentences
// that say what to do. A server that says nothing is waited for 15 seconds, and a lock of
// another as long; ctx ends it at once.
func Open(ctx context.Context, p Place) (*Source, error) { return OpenTelling(ctx, p, nil) }

// OpenTelling is Open that calls waiting when it waits for something longer than a moment:
// with what it is and how long at most, from any goroutine, once for each.
func OpenTelling(ctx context.Context, p Place, waiting func(what string)) (*Source, error) {
	if p.patience == 0 {
		p.patience = patience
	}
	db, err := connect(p)
	if err != nil {
		return nil, explain(p, err)
	}
	s := &Source{Place: p, db: db, has: map[string][]string{}, waiting: waiting}
	if err := s.begin(ctx); err != nil {
		_ = s.Close()
		return nil, explain(p, err)
	}
	return s, nil
}

// farewell bounds how long a server may take to let a connection go.
const farewell = 2 * time.Second

// Close lets the database go. It may be called twice.
func (s *Source) Close() error {
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		_, _ = s.conn.ExecContext(ctx, "ROLLBACK")
		_ = s.conn.Close()
		s.conn = nil
	}
	return s.db.Close()
}

// sessions are what each kind is told before anything is read, so that a setting of the
// server, the database or the user does not change what is read. PostgreSQL's hold for the
// transaction alone, for there may be a pooler between. MySQL's time zone stays the server's
// (connect.go). Times are limits for locks.
var sessions = map[Kind][]string{
	SQLite: {"BEGIN"},
	Postgres: {"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET LOCAL TIME ZONE 'UTC'", "SET LOCAL datestyle = 'ISO, YMD'", "SET LOCAL client_encoding = 'UTF8'",
		"SET LOCAL extra_float_digits = 1", "SET LOCAL bytea_output = 'hex'", "SET LOCAL standard_conforming_strings = on",
		"SET LOCAL statement_timeout = 0", "SET LOCAL idle_in_transaction_session_timeout = 0", "SET LOCAL lock_timeout = %d"},
	MySQL: {"SET SESSION sql_mode = ''", "SET SESSION lock_wait_timeout = %d", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
		"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"},
}

// session is a command of sessions with the limit that it has a place for.
func (s *Source) session(command string) string {
	if !strings.Contains(command, "%d") {
		return command
	}
	limit := s.Place.patience.Milliseconds()
	if s.Place.Kind == MySQL {
		limit = max((limit+999)/1000, 1)
	}
	return fmt.Sprintf(command, limit)
}

// begin connects, begins the view and reads which tables and columns there are. Locks are
// waited for here alone: what is seen now is held up to the end.
func (s *Source) begin(ctx context.Context) error {
	if err := s.patiently(ctx, "the database server to answer", s.connect); err != nil {
		return err
	}
	for _, command := range sessions[s.Place.Kind] {
		if _, err := s.conn.ExecContext(ctx, s.session(command)); err != nil {
			return err
		}
	}
	var names []string
	if err := s.patiently(ctx, "the lock that another process has on the database", func(ctx context.Context) (err error) {
		names, err = s.tables(ctx)
		return err
	}); err != nil {
		return err
	}
	for _, r := range relations {
		if !slices.Contains(names, r.name) {
			continue
		}
		if err := s.patiently(ctx, "the lock that another process has on the table "+r.name, func(ctx context.Context) (err error) {
			s.has[r.name], err = s.columns(ctx, r.name)
			return err
		}); err != nil {
			return fmt.Errorf("the table %s: %w", r.name, err)
		}
	}
	if err := s.recognise(names); err != nil {
		return err
	}
	s.Version = "before 1.0.3"
	for _, f := range firsts {
		if slices.Contains(s.has[f.table], f.column) {
			s.Version = f.version
			break
		}
	}
	return nil
}

// connect makes the one connection. A driver that has no limit of its own for a server that
// accepts and says nothing has this one.
func (s *Source) connect(ctx context.Context) (err error) {
	within := ctx
	if s.Place.Kind == MySQL {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, s.Place.patience)
		defer cancel()
	}
	if s.conn, err = s.db.Conn(within); err != nil && ctx.Err() == nil && within.Err() != nil {
		return fmt.Errorf("%wthe database server accepts connections and says nothing, for %v: look whether host and port are its own, and whether it is well", errOther, s.Place.patience)
	}
	return err
}

// aMoment is how long something may take before it is said that it is waited for.
const aMoment = 2 * time.Second

// patiently does something that may have to wait, and says so. SQLite's own waiting cannot be
// ended; so it is tried again.
func (s *Source) patiently(ctx context.Context, what string, do func(context.Context) error) error {
	if s.waiting != nil {
		told := time.AfterFunc(min(aMoment, s.Place.patience/2), func() { s.waiting(fmt.Sprintf("%s, at most %v", what, s.Place.patience)) })
		defer told.Stop()
	}
	for deadline := time.Now().Add(s.Place.patience); ; {
		err := do(ctx)
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// isBusy is an SQLite file that is locked.
func isBusy(err error) bool {
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == sqliteBusy
}

const sqliteBusy = 5

// tables lists the tables that can be named without their schema.
func (s *Source) tables(ctx context.Context) ([]string, error) {
	return s.strings(ctx, map[Kind]string{
		SQLite:   "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
		Postgres: "SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v') AND pg_table_is_visible(c.oid) AND c.relnamespace <> 'pg_catalog'::regnamespace ORDER BY 1",
		MySQL:    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1",
	}[s.Place.Kind])
}

// columns lists the columns of a table.
func (s *Source) columns(ctx context.Context, table string) ([]string, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT * FROM "+s.quote(table)+" WHERE 1 = 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	return names, errors.Join(err, rows.Err())
}

// errOther is a database of something else, or one that is not whole.
var errOther = errors.New("")

// recognise refuses what is not the reference's database.
func (s *Source) recognise(names []string) error {
	var lacking []string
	for _, r := range relations {
		have, there := s.has[r.name]
		if !there && r.core {
			lacking = append(lacking, r.name)
		}
		for _, c := range r.columns {
			if there && c.must && !slices.Contains(have, c.name) {
				return fmt.Errorf("%wits table %s has no column %s, so it is no database of CrowdSec: look which database the old server's db_config names", errOther, r.name, c.name)
			}
		}
	}
	core := 0
	for _, r := range relations {
		if r.core {
			core++
		}
	}
	switch {
	case len(lacking) == 0:
		return nil
	case len(names) == 0:
		return fmt.Errorf("%wthere is no table in it that this user sees: either the old server never started with it, or it is another database, or the user has no right to its tables (SELECT is enough)", errOther)
	case len(lacking) == core:
		return fmt.Errorf("%wit is no database of CrowdSec (its tables: %s): look which database the old server's db_config names", errOther, strings.Join(firstFew(names, 6), ", "))
	}
	return fmt.Errorf("%wthe table %s is missing: an upgrade of the old server was interrupted, the copy is not whole, or the user has no right to it (SELECT is enough); "+
		"let the old server start and end once, then try again", errOther, strings.Join(lacking, ", "))
}

func firstFew(names []string, n int) []string {
	if len(names) <= n {
		return names
	}
	return append(slices.Clone(names[:n]), fmt.Sprintf("and %d more", len(names)-n))
}

// quote writes the name of a table or column: some are words of SQL.
func (s *Source) quote(name string) string {
	if s.Place.Kind == MySQL {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// selection is the list of columns to read; what is not there reads as NULL. Times are
// read as their text, which no driver touches then.
func (s *Source) selection(r *relation) string {
	var b strings.Builder
	for i, c := range r.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		name := s.quote(c.name)
		switch {
		case !slices.Contains(s.has[r.name], c.name):
			b.WriteString("NULL")
		case c.form == moment && s.Place.Kind == SQLite:
			b.WriteString("CAST(" + name + " AS TEXT)")
		case c.form == moment && s.Place.Kind == Postgres:
			b.WriteString(name + "::text")
		default:
			b.WriteString(name)
		}
	}
	return b.String()
}

// where writes the marks of parameters in a database's own way; they stand as ? in text.
func (s *Source) where(text string) string {
	if s.Place.Kind != Postgres {
		return text
	}
	var b strings.Builder
	n := 0
	for _, r := range text {
		if r == '?' {
			n++
			fmt.Fprintf(&b, "$%d", n)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// strings are the texts of a query with one column.
func (s *Source) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// number is the number that a query gives; 0 when it gives none.
func (s *Source) number(ctx context.Context, query string, args ...any) (int64, error) {
	n, err := s.nullable(ctx, query, args...)
	return n.Int64, err
}

func (s *Source) nullable(ctx context.Context, query string, args ...any) (n sql.NullInt64, err error) {
	err = s.conn.QueryRowContext(ctx, query, args...).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return n, err
}

// count is how many rows a table has; none when it is not there.
func (s *Source) count(ctx context.Context, r *relation) (int64, error) {
	if s.has[r.name] == nil {
		return 0, nil
	}
	return s.number(ctx, "SELECT count(*) FROM "+s.quote(r.name))
}

// lastID is the highest number that a table has given out, as its counter says it: rows
// with higher numbers than those that are left may have been there. Where the user may
// not read the counter (false) it is the highest of those.
func (s *Source) lastID(ctx context.Context, r *relation) (n int64, counted bool, err error) {
	highest, err := s.number(ctx, "SELECT max("+s.quote("id")+") FROM "+s.quote(r.name))
	if err != nil {
		return 0, false, err
	}
	var last sql.NullInt64
	switch s.Place.Kind {
	case SQLite:
		var there int64 // where no table ever counted, there is none
		if there, err = s.number(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"); there > 0 {
			last, err = s.nullable(ctx, "SELECT seq FROM sqlite_sequence WHERE name = ?", r.name)
		}
	case Postgres:
		last, err = s.nullable(ctx, "SELECT last_value FROM pg_sequences WHERE quote_ident(schemaname) || '.' || quote_ident(sequencename) = pg_get_serial_sequence($1, 'id')", r.name)
	case MySQL:
		last, err = s.nullable(ctx, "SELECT CAST(auto_increment AS SIGNED) - 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?", r.name)
	}
	return max(highest, last.Int64), last.Valid, err
}

// indexed tells whether rows can be found quickly by a column.
func (s *Source) indexed(ctx context.Context, table, column string) (bool, error) {
	switch s.Place.Kind {
	case SQLite:
		n, err := s.number(ctx, "SELECT count(*) FROM pragma_index_list(?) l JOIN pragma_index_info(l.name) i WHERE i.seqno = 0 AND i.name = ?", table, column)
		return n > 0, err
	case Postgres:
		n, err := s.number(ctx, "SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "+
			"WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL AND a.attname = $2", table, column)
		return n > 0, err
	}
	return true, nil // MySQL makes one for each foreign key
}
