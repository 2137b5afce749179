package movein

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Source is a database, opened to be read: one connection with one transaction, so that
// everything comes from the same moment. For one goroutine. Close ends it.
type Source struct {
	Place   Place
	Version string // "1.6.3": of that version or later, up to the next that changed the tables

	db   *sql.DB
	conn *sql.Conn
	has  map[string][]string // the columns of each table that is there
}

// Open opens a database and looks whether it is the reference's. Errors are sentences
// that say what to do.
func Open(ctx context.Context, p Place) (*Source, error) {
	db, err := connect(p)
	if err != nil {
		return nil, explain(p, err)
	}
	s := &Source{Place: p, db: db, has: map[string][]string{}}
	if err := s.begin(ctx); err != nil {
		_ = s.Close()
		return nil, explain(p, err)
	}
	return s, nil
}

// Close lets the database go. It may be called twice.
func (s *Source) Close() error {
	if s.conn != nil {
		_, _ = s.conn.ExecContext(context.Background(), "ROLLBACK")
		_ = s.conn.Close()
		s.conn = nil
	}
	return s.db.Close()
}

// begin connects, begins the view and reads which tables and columns there are.
func (s *Source) begin(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	s.conn = conn
	for _, command := range map[Kind][]string{
		SQLite:   {"BEGIN"},
		Postgres: {"SET TIME ZONE 'UTC'", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
		MySQL:    {"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"},
	}[s.Place.Kind] {
		if _, err := conn.ExecContext(ctx, command); err != nil {
			return err
		}
	}
	names, err := s.tables(ctx)
	if err != nil {
		return err
	}
	for _, r := range relations {
		if !slices.Contains(names, r.name) {
			continue
		}
		if s.has[r.name], err = s.columns(ctx, r.name); err != nil {
			return err
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
