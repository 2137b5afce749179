package movein

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// TestLiveSQLiteIsReadWithItsLog reads a database that a server has open, of which the
// newest rows are only in the write-ahead log; the view stays while more is written.
func TestLiveSQLiteIsReadWithItsLog(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	owner.SetMaxOpenConns(1)
	exec1(t, owner, "PRAGMA journal_mode = wal")
	exec1(t, owner, "PRAGMA wal_autocheckpoint = 0")
	insert := func(id int) {
		exec1(t, owner, fmt.Sprintf("INSERT INTO decisions (id, created_at, updated_at, until, scenario, type, scope, value, origin, simulated, alert_decisions) "+
			"VALUES (%d, '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', '2036-01-01 00:00:00+00:00', 's', 'ban', 'Ip', '192.0.2.%d', 'cscli', 0, 1)", id, id))
	}
	insert(100)
	if info, err := os.Stat(p.Path + "-wal"); err != nil || info.Size() == 0 {
		t.Fatalf("there is no log: %v", err)
	}
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	insert(101)
	k := newKeeper()
	tally, err := s.Read(t.Context(), Options{Now: now}, k)
	if err != nil || len(tally.Balance()) > 0 {
		t.Fatalf("%v %v", err, tally.Balance())
	}
	all := k.decisions()
	if _, there := all[100]; !there {
		t.Error("what is only in the log is missing")
	}
	if _, there := all[101]; there {
		t.Error("what was written after the beginning is there")
	}
}

// TestSourceIsNotChanged compares the file before and after.
func TestSourceIsNotChanged(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	owner.Close()
	before, err := os.ReadFile(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	taken(t, p)
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.conn.ExecContext(t.Context(), "DELETE FROM alerts"); err == nil {
		t.Error("the source can be written to")
	}
	after, err := os.ReadFile(p.Path)
	if err != nil || string(before) != string(after) {
		t.Errorf("the file is another one now: %v", err)
	}
}

// TestServersAreOnlyRead has the two servers refuse a write in the transaction.
func TestServersAreOnlyRead(t *testing.T) {
	t.Parallel()
	for kind, file := range map[Kind]string{Postgres: "postgres-1.7.sql", MySQL: "mysql-1.7.sql"} {
		p, owner := filled(t, kind, file)
		p.User, p.Password = "root", ""
		if kind == Postgres {
			p.Password = secretWord
		}
		s, err := Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		exec1(t, owner, "DELETE FROM decisions WHERE id = 1")
		k := newKeeper()
		if _, err := s.Read(t.Context(), Options{Now: now}, k); err != nil {
			t.Fatal(err)
		}
		if _, there := k.decisions()[1]; !there {
			t.Errorf("%s: what was deleted after the beginning is missing", kind)
		}
		if _, err := s.conn.ExecContext(t.Context(), "DELETE FROM events"); err == nil {
			t.Errorf("%s can be written to", kind)
		}
		s.Close()
	}
}

// TestOddRowsAreCounted puts rows into a database that no server writes.
func TestOddRowsAreCounted(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	exec1(t, owner, "PRAGMA foreign_keys = off")
	for _, command := range []string{
		"INSERT INTO machines SELECT 50, created_at, updated_at, NULL, NULL, 'no-hash', 'plain', '', NULL, NULL, 1, 'password', NULL, NULL, NULL, NULL, NULL, NULL FROM machines WHERE id = 1",
		"INSERT INTO machines SELECT 51, created_at, updated_at, NULL, NULL, 'bad-json', password, '', NULL, NULL, 1, 'password', NULL, NULL, NULL, NULL, CAST('{' AS BLOB), NULL FROM machines WHERE id = 1",
		"UPDATE bouncers SET api_key = 'abc' WHERE name = 'never-used'",
		"UPDATE alerts SET started_at = 'yesterday' WHERE id = 2",
		"UPDATE alerts SET machine_alerts = 999 WHERE id = 3",
		"UPDATE decisions SET alert_decisions = 15 WHERE id = 4",          // an alert that is not there
		"UPDATE decisions SET alert_decisions = 4711 WHERE id = 9",        // over, likewise
		"UPDATE decisions SET until = 'soon' WHERE id = 10",               // no time
		"UPDATE decisions SET value = 'nonsense' WHERE id = 12",           // no address
		"UPDATE decisions SET start_ip = 7 WHERE id = 13",                 // integers of another
		"UPDATE decisions SET simulated = 1 WHERE id = 14",                // its alert is not
		"UPDATE events SET serialized = '[{\"key\":' WHERE id = 1",        // cut
		"UPDATE meta SET value = CAST(x'68c3' AS TEXT) WHERE id = 1",      // cut within a character
		"UPDATE allow_list_items SET value = 'printer' WHERE id = 1",      // no address
		"UPDATE metrics SET generated_type = 'XX' WHERE id = 1",           // no sender
		"UPDATE decisions SET alert_decisions = 'one' WHERE id = 11",      // no number
		"UPDATE bouncers SET ip_address = '1.2.3' WHERE name = 'fw-edge'", // no address
	} {
		exec1(t, owner, command)
	}
	k, tally := taken(t, Place{Kind: SQLite, Path: p.Path})
	t.Cleanup(func() {
		if t.Failed() {
			for _, table := range tally.Tables {
				t.Logf("%+v", *table)
			}
		}
	})
	for _, want := range []struct{ table, reason string }{
		{"machines", "password is no bcrypt hash"}, {"machines", "hubstate is no JSON"}, {"bouncers", "api_key is no SHA-512"}, {"bouncers", "ip_address is no address"},
		{"alerts", "started_at is no time"}, {"alerts", "its machine is not there"}, {"decisions", "runs without an alert"}, {"decisions", "over, and without an alert"},
		{"decisions", "until is no time"}, {"decisions", "the value is no address"}, {"decisions", "integers beside"}, {"decisions", "is simulated and its alert is not"},
		{"events", "its metadata is no JSON"}, {"allow_list_items", "value is no address"}, {"metrics", "generated_type is neither"},
		{"events", "its alert is left out"}, {"decisions", "alert_decisions is no number"},
	} {
		table := tally.Table(want.table)
		found := false
		for _, r := range append(append([]Reason{}, table.Left...), table.Remarks...) {
			found = found || strings.HasPrefix(r.Text, want.reason) || strings.Contains(r.Text, want.reason)
		}
		if !found {
			t.Errorf("%s: nothing says that %s", want.table, want.reason)
		}
	}
	if d, there := k.decisions()[3]; !there || d.Value != "2001:db8::7" {
		t.Errorf("the running decision of an alert that is left out: %+v", d)
	}
	if m := k.alert(t, 1).Meta[0]; m.Value != "h\uFFFD" {
		t.Errorf("half a character is %q", m.Value)
	}
	if tally.Damaged() == 0 {
		t.Error("nothing counts as damaged")
	}
}

// TestWrongSources has the errors that say what to do.
func TestWrongSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, content []byte) Place {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return Place{Kind: SQLite, Path: path}
	}
	made := func(commands ...string) Place {
		p, owner := database(t, SQLite)
		for _, c := range commands {
			exec1(t, owner, c)
		}
		owner.Close()
		return p
	}
	whole, owner := filled(t, SQLite, "sqlite-1.7.sql")
	owner.Close()
	text, err := os.ReadFile(whole.Path)
	if err != nil {
		t.Fatal(err)
	}
	lacking, owner := filled(t, SQLite, "sqlite-1.7.sql")
	exec1(t, owner, "DROP TABLE events")
	owner.Close()
	pg, _ := filled(t, Postgres, "postgres-1.7.sql")
	my, _ := filled(t, MySQL, "mysql-1.7.sql")
	with := func(p Place, change func(*Place)) Place { change(&p); return p }
	for name, test := range map[string]struct {
		place Place
		says  string
	}{
		"no file":           {Place{Kind: SQLite, Path: filepath.Join(dir, "none.db")}, "there is no file"},
		"a folder":          {Place{Kind: SQLite, Path: dir}, "is no file"},
		"empty":             {file("empty.db", nil), "is empty"},
		"no database":       {file("text.db", []byte(strings.Repeat("this is a text. ", 100))), "this is no SQLite file"},
		"half":              {file("half.db", text[:len(text)/2]), "only half of it was copied"},
		"another program's": {made("CREATE TABLE users (id integer)", "CREATE TABLE posts (id integer)"), "it is no database of CrowdSec (its tables: posts, users)"},
		"the same names":    {made("CREATE TABLE machines (id integer, hostname text)"), "its table machines has no column machine_id"},
		"nothing in it":     {made("CREATE TABLE t (id integer)", "DROP TABLE t"), "there is no table in it"},
		"a missing table":   {lacking, "the table events is missing"},
		"postgres password": {with(pg, func(p *Place) { p.Password = "wrong-word" }), "user or password is wrong"},
		"postgres database": {with(pg, func(p *Place) { p.Name = "nobody" }), "there is no such database"},
		"postgres down":     {Place{Kind: Postgres, Path: dir, User: "u", Name: "d"}, "cannot be reached"},
		"mysql password":    {with(my, func(p *Place) { p.Password = "wrong-word" }), "user or password is wrong"},
		"mysql database":    {with(my, func(p *Place) { p.Name = "nobody" }), "may not read the database"},
		"mysql down":        {Place{Kind: MySQL, Path: filepath.Join(dir, "sock"), User: "u", Name: "d"}, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), test.place)
			if err == nil {
				_, err = s.Read(t.Context(), Options{Now: now}, Nobody{})
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("it says %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "wrong-word") {
				t.Error("the password is in it")
			}
		})
	}
}

// TestServerThatGoesAway ends the connection in the middle.
func TestServerThatGoesAway(t *testing.T) {
	t.Parallel()
	for kind, file := range map[Kind]string{Postgres: "postgres-1.7.sql", MySQL: "mysql-1.7.sql"} {
		p, owner := filled(t, kind, file)
		s, err := Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		kill := map[Kind]string{Postgres: "SELECT pg_backend_pid()", MySQL: "SELECT connection_id()"}[kind]
		id, err := s.number(t.Context(), kill)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Read(t.Context(), Options{Now: now}, &killer{Nobody{}, func() error {
			if kind == Postgres {
				_, err = owner.Exec("SELECT pg_terminate_backend($1, 10000)", id)
			} else {
				_, err = owner.Exec(fmt.Sprintf("KILL %d", id))
			}
			return err
		}})
		if err == nil || !strings.Contains(err.Error(), "nothing was taken over") {
			t.Errorf("%s: it says %v", kind, err)
		}
		s.Close()
	}
}

// killer does something at the first allowlist.
type killer struct {
	Nobody
	kill func() error
}

func (k *killer) Bouncer(context.Context, *Bouncer) error {
	if kill := k.kill; kill != nil {
		k.kill = nil
		return kill()
	}
	return nil
}

// TestWithoutIndexes reads databases of before 1.5, which have no index on the alert of
// a row, by one ordered query: the result is the same.
func TestWithoutIndexes(t *testing.T) {
	t.Parallel()
	for kind, file := range map[Kind]string{Postgres: "postgres-1.7.sql", SQLite: "sqlite-1.7.sql"} {
		p, owner := filled(t, kind, file)
		want, _ := taken(t, p)
		for name, column := range map[string]string{"decisions": "alert_decisions", "events": "alert_events", "meta": "alert_metas"} {
			dropIndexes(t, owner, kind, name, column)
		}
		s, err := Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := s.indexed(t.Context(), "decisions", "alert_decisions"); err != nil || found {
			t.Fatalf("%s: there is an index: %v", kind, err)
		}
		s.Close()
		got, _ := taken(t, p)
		if a, b := fmt.Sprintf("%+v", summary(got)), fmt.Sprintf("%+v", summary(want)); a != b {
			t.Errorf("%s: without indexes\n%s\nwith\n%s", kind, a, b)
		}
	}
}

func summary(k *keeper) (all []Alert) {
	for _, a := range k.alerts {
		all = append(all, *a)
	}
	return all
}

func dropIndexes(t *testing.T, owner *sql.DB, kind Kind, table, column string) {
	t.Helper()
	query := "SELECT l.name FROM pragma_index_list('" + table + "') l JOIN pragma_index_info(l.name) i WHERE i.name = '" + column + "'"
	if kind == Postgres {
		query = "SELECT indexname FROM pg_indexes WHERE tablename = '" + table + "' AND indexdef LIKE '%" + column + "%'"
	}
	rows, err := owner.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	rows.Close()
	for _, name := range names {
		exec1(t, owner, `DROP INDEX "`+name+`"`)
	}
}

// TestManyAlerts has more alerts than fit into memory at a time, with gaps.
func TestManyAlerts(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	const more = 3000
	exec1(t, owner, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO alerts (id, created_at, updated_at, scenario, simulated, machine_alerts) SELECT 1000 + 3 * i, '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', 's', 0, 1 FROM n`, more))
	exec1(t, owner, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO decisions (created_at, updated_at, until, scenario, type, scope, value, origin, simulated, alert_decisions)
		SELECT '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', '2036-01-01 00:00:00+00:00', 's', 'ban', 'Ip', '10.0.' || (i / 250) || '.' || (i %% 250), 'crowdsec', 0, 1000 + 3 * (i %% %d) + 3 FROM n`, 4*more, more))
	k, tally := taken(t, p)
	if n := tally.Table("decisions").Taken; n != 20+4*more {
		t.Errorf("%d decisions were taken over", n)
	}
	if k.largest > 2*alertPage {
		t.Errorf("%d alerts were in memory", k.largest)
	}
	for _, a := range k.alerts {
		if a.Number > 1000 && len(a.Taken) != 4 {
			t.Fatalf("alert %d has %d decisions", a.Number, len(a.Taken))
		}
	}
}

// TestTakerRefuses counts what is not taken.
func TestTakerRefuses(t *testing.T) {
	t.Parallel()
	p, _ := filled(t, SQLite, "sqlite-1.7.sql")
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tally, err := s.Read(t.Context(), Options{Now: now}, refuser{})
	if err != nil || len(tally.Balance()) > 0 {
		t.Fatalf("%v %v", err, tally.Balance())
	}
	for _, name := range []string{"machines", "bouncers", "alerts", "decisions"} {
		if table := tally.Table(name); table.Taken != 0 {
			t.Errorf("%s: %d count as taken", name, table.Taken)
		}
	}
	broken := errors.New("disk full")
	s2, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s2.Close()
	if _, err := s2.Read(t.Context(), Options{Now: now}, &killer{Nobody{}, func() error { return broken }}); !errors.Is(err, broken) {
		t.Errorf("the error of a Taker is %v", err)
	}
}

type refuser struct{ Nobody }

func (refuser) Machine(context.Context, *Machine) error { return Refusal("no") }
func (refuser) Bouncer(context.Context, *Bouncer) error { return Refusal("no") }
func (refuser) Alerts(_ context.Context, list []*Alert) error {
	for _, a := range list {
		a.Refused = "no"
	}
	return nil
}

func TestTimesAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-11-28 20:28:00.30524524+00:00":                "2026-11-28T20:28:00.30524524Z",
		"2026-11-28 20:28:00+00:00":                         "2026-11-28T20:28:00Z",
		"2026-11-28 23:31:07.654321+05:00":                  "2026-11-28T23:31:07.654321+05:00",
		"2026-11-28 20:28:00.305245 +0000 UTC":              "2026-11-28T20:28:00.305245Z",
		"2026-11-28 20:28:00.305245 +0500 +0500":            "2026-11-28T20:28:00.305245+05:00",
		"2026-11-28 20:28:00.305245 +0200 CEST":             "2026-11-28T20:28:00.305245+02:00",
		"2026-11-28 20:28:00.305245 +0200 CEST m=+0.000012": "2026-11-28T20:28:00.305245+02:00",
		"2026-11-28T20:28:00Z":                              "2026-11-28T20:28:00Z",
		"2026-11-28 20:28:00.305245+00":                     "2026-11-28T20:28:00.305245Z",
		"2026-11-28 20:28:00-03:30":                         "2026-11-28T20:28:00-03:30",
		"2026-11-28 20:28:00":                               "2026-11-28T20:28:00Z",
		"2026-11-28 20:28:00.5":                             "2026-11-28T20:28:00.5Z",
		"0001-01-01 00:00:00+00:00":                         "0001-01-01T00:00:00Z",
		"0000-00-00 00:00:00":                               "0001-01-01T00:00:00Z",
		"infinity":                                          "",
		"soon":                                              "",
		"1780000000":                                        "",
		"2026-13-28 20:28:00+00:00":                         "",
	} {
		got, err := parseTime(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q is %v", text, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q is %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestIntegersOfAddresses(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bounds{
		"198.51.100.7":    {-9223372033529519096, -9223372033529519096, -9223372036854775807, -9223372036854775807, 4},
		"2001:db8::7":     {-6917232468739227647, -6917232468739227647, -9223372036854775800, -9223372036854775800, 16},
		"2001:db8:1::/48": {-6917232468739162111, -6917232468739096576, -9223372036854775807, 9223372036854775807, 16},
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": {offset, offset, offset, offset, 16},
		"0.0.0.0/0": {-9223372036854775807, -9223372032559808512, -9223372036854775807, -9223372036854775807, 4},
	} {
		p, err := engine.ParseTarget(value)
		if err != nil || boundsOf(p) != want {
			t.Errorf("%s: %+v, %v, want %+v", value, boundsOf(p), err, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"sqlite:/a/b.db": "sqlite:/a/b.db", "sqlite:///a/b.db": "sqlite:/a/b.db", "postgres://u:pw@h:5433/d": "postgres database d on h:5433",
		"mysql://u:pw@h:3307/d?tls=skip-verify": "mysql database d on h:3307", "mysql://u@/d?socket=/run/s": "mysql database d by the socket /run/s",
		"pgx://u:pw@h:5433/d": "postgres database d on h:5433", "pgx:///d?host=/run/pg": "postgres database d by the socket /run/pg", "postgres://u@h/?dbname=d": "postgres database d on h",
		"postgres://u:p w@h/": "", "pgx://u@h": "", "mysql://u@h/d?socket=/run/s": "",
		"/var/lib/x.db": "", "mysql://u:p w@h/d": "", "mysql://u@h/": "", "oracle://x": "", "sqlite:": "",
	} {
		p, err := ParsePlace(text)
		if want == "" {
			if err == nil {
				t.Errorf("%s is %s", text, p)
			} else if strings.Contains(err.Error(), "p w") {
				t.Errorf("the password is in %v", err)
			}
			continue
		}
		if err != nil || p.String() != want {
			t.Errorf("%s is %s, %v", text, p, err)
		}
	}
}
