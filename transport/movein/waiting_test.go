package movein

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// mute is a server that accepts and says nothing. accepted gets each connection.
func mute(t *testing.T) (at *net.TCPAddr, accepted chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted = make(chan net.Conn, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	return l.Addr().(*net.TCPAddr), accepted
}

// TestSilentServer: one that accepts and says nothing is waited for so long, that is said, and
// who asks may end it at once.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{MySQL, Postgres} {
		at, accepted := mute(t)
		p := Place{Kind: kind, Host: "127.0.0.1", Port: at.Port, User: "u", Password: "p", Name: "d"}
		if kind == Postgres {
			p.SSLMode = "disable"
		}
		p.patience = 200 * time.Millisecond
		said := make(chan string, 16)
		if _, err := OpenTelling(t.Context(), p, func(what string) { said <- what }); err == nil || !strings.Contains(err.Error(), "whether host and port are") {
			t.Errorf("%s: it says %v", kind, err)
		}
		if what := <-said; what != "the database server to answer, at most 200ms" {
			t.Errorf("%s: it waits for %q", kind, what)
		}
		(<-accepted).Close()
		p.patience = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			c := <-accepted
			t.Cleanup(func() { c.Close() })
		}()
		if _, err := Open(ctx, p); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: ended, it says %v", kind, err)
		}
	}
}

// TestLockedTable: a table that another process has locked is waited for so long, that is said,
// and who asks may end it at once.
func TestLockedTable(t *testing.T) {
	t.Parallel()
	for kind, file := range map[Kind]string{SQLite: "sqlite-1.7.sql", Postgres: "postgres-1.7.sql", MySQL: "mysql-1.7.sql"} {
		p, owner := filled(t, kind, file)
		locker, err := owner.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer locker.Close()
		for _, command := range map[Kind][]string{SQLite: {"BEGIN EXCLUSIVE"}, Postgres: {"BEGIN", "LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE"}, MySQL: {"LOCK TABLES decisions WRITE"}}[kind] {
			if _, err := locker.ExecContext(t.Context(), command); err != nil {
				t.Fatal(err)
			}
		}
		p.patience = 200 * time.Millisecond
		said := make(chan string, 16)
		if _, err := OpenTelling(t.Context(), p, func(what string) { said <- what }); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("%s: it says %v", kind, err)
		}
		if what := ""; len(said) == 0 {
			t.Errorf("%s: nothing says what it waits for", kind)
		} else {
			for len(said) > 0 {
				what = <-said
			}
			if !strings.HasPrefix(what, "the lock that another process has on the ") {
				t.Errorf("%s: it waits for %q", kind, what)
			}
		}
		p.patience = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := OpenTelling(ctx, p, func(string) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: ended, it says %v", kind, err)
		}
		cancel()
	}
}

// TestSettingsOfTheServer: what the database or the user is set to does not change what is read.
func TestSettingsOfTheServer(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, Postgres, "postgres-1.7.sql")
	want, _ := taken(t, p)
	for _, setting := range []string{"datestyle = 'German'", "extra_float_digits = -10", "client_encoding = 'LATIN1'", "bytea_output = 'escape'", "standard_conforming_strings = off",
		"timezone = 'America/New_York'", "intervalstyle = 'sql_standard'"} {
		exec1(t, owner, "ALTER ROLE "+p.User+" SET "+setting)
	}
	got, _ := taken(t, p)
	if a, b := fmt.Sprintf("%+v", summary(got)), fmt.Sprintf("%+v", summary(want)); a != b {
		t.Errorf("with other settings\n%s\nwithout\n%s", a, b)
	}
	p, _ = filled(t, MySQL, "mysql-1.7.sql")
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if modes, err := s.strings(t.Context(), "SELECT CONCAT(@@session.sql_mode, ' ', @@session.time_zone)"); err != nil || modes[0] != " +09:00" {
		t.Errorf("the session is %q, %v", modes, err)
	}
}

// TestNamesThatAreTwice: where the index is missing that forbids it, the first is taken over, and
// the others are counted.
func TestNamesThatAreTwice(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	for _, command := range []string{
		"DROP INDEX machines_machine_id_key", "DROP INDEX bouncers_name_key", "DROP INDEX allowlist_name",
		"UPDATE machines SET machine_id = (SELECT machine_id FROM machines WHERE id = 1) WHERE id = 2",
		"UPDATE bouncers SET name = (SELECT name FROM bouncers WHERE id = 1) WHERE id IN (2, 3)",
		"UPDATE allow_lists SET name = (SELECT name FROM allow_lists WHERE id = 1) WHERE id = 2",
	} {
		exec1(t, owner, command)
	}
	h := newHouse(t)
	_, tally, err := h.bring(p)
	if err != nil || tally.Balance() != nil {
		t.Fatal(err, tally.Balance())
	}
	machines, bouncers, lists := tally.Table("machines"), tally.Table("bouncers"), tally.Table("allow_lists")
	m := h.e.Metrics()
	if int(machines.Taken) != m.Machines || int(bouncers.Taken) != m.Bouncers || int(lists.Taken) != len(h.e.View().Allowlists()) {
		t.Errorf("%d machines, %d bouncers, %d lists count as taken over, and there are %d, %d, %d", machines.Taken, bouncers.Taken, lists.Taken, m.Machines, m.Bouncers, len(h.e.View().Allowlists()))
	}
	if !accounts(machines.Left, "another of that name", 1, 2) || !accounts(bouncers.Left, "another of that name", 2, 2) || !accounts(lists.Left, "another of that name", 1, 2) {
		t.Errorf("%+v, %+v, %+v", *machines, *bouncers, *lists)
	}
}

// TestSequencesThatMayNotBeRead says what to grant.
func TestSequencesThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, Postgres, "postgres-1.7.sql")
	exec1(t, owner, "REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM "+p.User)
	_, tally := taken(t, p)
	for _, name := range []string{"alerts", "decisions"} {
		found := false
		for _, r := range tally.Table(name).Remarks {
			found = found || strings.Contains(r.Text, "GRANT SELECT ON ALL SEQUENCES")
		}
		if !found {
			t.Errorf("%s: %+v", name, tally.Table(name).Remarks)
		}
	}
}

// TestErrorsOfNothing: what a driver writes of an error that is none is not shown.
func TestErrorsOfNothing(t *testing.T) {
	t.Parallel()
	none := errors.New("hostname resolving error: %!w(<nil>)")
	if err := explain(Place{Kind: Postgres, Name: "d", Host: "h"}, none); strings.Contains(err.Error(), "%!") || !errors.Is(err, none) {
		t.Errorf("it says %v", err)
	}
}

// TestReceiverThatCloses: what the receiver says counts, though it closed the pipe first.
func TestReceiverThatCloses(t *testing.T) {
	t.Parallel()
	p, _ := filled(t, SQLite, "sqlite-1.7.sql")
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	full := errors.New("no space left")
	if _, err := s.Exchange(t.Context(), Options{Now: now}, true, func(from io.Reader) error {
		from.(io.Closer).Close()
		return full
	}); !errors.Is(err, full) {
		t.Errorf("it says %v", err)
	}
}
