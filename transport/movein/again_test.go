package movein

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// bouncerNames are the names of the bouncers here, sorted.
func (h *house) bouncerNames() (names []string) {
	for _, row := range h.e.View().Bouncers() {
		names = append(names, row.Load().Name)
	}
	slices.Sort(names)
	return names
}

// TestPeopleGoInAnyOrder removes and renames bouncers and others at the source, among them
// such as a key has made by itself: what is there is here, also a third time.
func TestPeopleGoInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"DELETE FROM bouncers WHERE name = 'fw-edge@192.0.2.21'",
		"DELETE FROM bouncers WHERE name LIKE 'fw-edge%'",
		"DELETE FROM bouncers WHERE name = 'fw-edge'",
		"UPDATE bouncers SET name = 'fw-new' WHERE name = 'fw-edge'",
		"UPDATE bouncers SET name = 'fw-edge@192.0.2.99', ip_address = '192.0.2.99' WHERE name = 'fw-edge@192.0.2.21'",
		"DELETE FROM bouncers WHERE auth_type = 'tls'",
	} {
		for _, framed := range []bool{false, true} {
			p, owner := filled(t, SQLite, "sqlite-1.7.sql")
			h := newHouse(t)
			h.must(p)
			exec1(t, owner, command)
			var want []string
			rows, err := owner.Query("SELECT name FROM bouncers ORDER BY name")
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var name string
				if err := rows.Scan(&name); err != nil {
					t.Fatal(err)
				}
				want = append(want, name)
			}
			rows.Close()
			for range 2 {
				if !framed {
					h.must(p)
				} else if _, err := h.receive(t, p); err != nil {
					t.Fatalf("%s: %v", command, err)
				}
				if got := h.bouncerNames(); !slices.Equal(got, want) {
					t.Errorf("%s, framed %v: here are %v, and there %v", command, framed, got, want)
				}
			}
		}
	}
}

// TestOneKeyOfTwo goes on with both, and is told.
func TestOneKeyOfTwo(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	h := newHouse(t)
	exec1(t, owner, "INSERT INTO bouncers (created_at, updated_at, name, api_key, revoked, auth_type, auto_created) "+
		"SELECT created_at, updated_at, 'second', api_key, 0, auth_type, 0 FROM bouncers WHERE name = 'fw-edge'")
	_, tally, err := h.bring(p)
	if err != nil {
		t.Fatal(err)
	}
	told := slices.DeleteFunc(tally.Table("bouncers").Remarks, func(r Reason) bool { return !strings.Contains(r.Text, "has the key of another") })
	if len(told) != 1 || told[0].Rows != 1 {
		t.Errorf("told is %+v", tally.Table("bouncers").Remarks)
	}
	v := h.e.View()
	if b := v.Bouncer("second"); b == nil || v.SharesKeyWith(b.Load()) != "fw-edge" {
		t.Error("the second has not come with its key")
	}
}

// TestKeyOfOneThatIsGone does not go on by a row that it made here.
func TestKeyOfOneThatIsGone(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	h := newHouse(t)
	h.must(p)
	made := *h.e.View().Bouncer("fw-edge").Load()
	made.Name, made.AutoCreated = "fw-edge@203.0.113.9", true
	if _, err := h.e.AddBouncer(t.Context(), &made); err != nil {
		t.Fatal(err)
	}
	exec1(t, owner, "DELETE FROM bouncers WHERE name = 'fw-edge'")
	h.must(p)
	if h.e.View().Bouncer(made.Name) != nil {
		t.Error("the key goes on")
	}
}

// TestArrivedIsPutAside: what has arrived and cannot be taken over does not keep others from
// being taken over, and is told of until one is.
func TestArrivedIsPutAside(t *testing.T) {
	t.Parallel()
	p, _ := filled(t, SQLite, "sqlite-1.7.sql")
	h := newHouse(t)
	dir := t.TempDir()
	a := NewArrival(h.e, dir, slog.New(slog.DiscardHandler))
	first := sent(t, p)
	if _, err := a.Receive(t.Context(), bytes.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	// A file of another store's, as an earlier program left it.
	write(t, a.arrived(), first)
	if err := a.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if UnderWay(dir) || !strings.Contains(Failed(dir), "movein.arrived.unusable") || a.Trouble() == nil || !a.Trouble().Kind.Aside() {
		t.Errorf("under way %v, told %q, trouble %v", UnderWay(dir), Failed(dir), a.Trouble())
	}
	if again := NewArrival(h.e, dir, slog.New(slog.DiscardHandler)); again.Trouble() == nil {
		t.Error("it is forgotten at a start")
	}
	if _, err := a.Receive(t.Context(), bytes.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "movein.*"))
	if Failed(dir) != "" || a.Trouble() != nil || len(left) != 1 {
		t.Errorf("after one that was taken over: %q, %v, %v", Failed(dir), a.Trouble(), left)
	}
	// A disk that refuses is tried again, though not for ever.
	write(t, a.arrived(), first)
	for n := range mostAttempts {
		err := a.failed(t.Context(), &engine.Error{Kind: engine.ErrDisk, Text: "no space left"})
		if aside := errors.Is(err, ErrPutAside); aside != (n == mostAttempts-1) || aside == UnderWay(dir) {
			t.Fatalf("attempt %d: %v", n, err)
		}
	}
	write(t, a.arrived(), first)
	ended, end := context.WithCancel(t.Context())
	if end(); errors.Is(a.failed(ended, engine.ErrNotFound), ErrPutAside) {
		t.Error("an end puts it aside")
	}
	if err := a.failed(t.Context(), &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounBouncer, Name: "x"}); !errors.Is(err, ErrPutAside) {
		t.Errorf("what no attempt mends: %v", err)
	}
}

// sent is a source as frames.
func sent(t *testing.T, p Place) []byte {
	t.Helper()
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var to bytes.Buffer
	if _, err := s.Send(t.Context(), Options{}, false, io.Writer(&to)); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// receiveOdd takes over as with --keep-going.
func (h *house) receiveOdd(t *testing.T, p Place) *Account {
	t.Helper()
	s, err := Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a := NewArrival(h.e, h.dir, slog.New(slog.DiscardHandler))
	account, _, err := a.TakeOver(t.Context(), s, Options{Now: time.Unix(0, h.e.Now())}, true)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// TestUnreadableStays: a row that cannot be read the second time is no reason to remove or
// end what was taken over of it, and neither is one of which it cannot be read what it is.
func TestUnreadableStays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		commands []string
		said     *relation // which says that nothing of it is removed
	}{
		{[]string{"UPDATE bouncers SET last_pull = 'rubbish' WHERE name = 'fw-edge'"}, nil},
		{[]string{"UPDATE bouncers SET name = '' WHERE name = 'fw-edge'"}, bouncersTable},
		{[]string{"UPDATE machines SET last_heartbeat = 'rubbish' WHERE machine_id = 'lp-main'"}, nil},
		{[]string{"UPDATE machines SET machine_id = '' WHERE machine_id = 'lp-main'"}, machinesTable},
		{[]string{"UPDATE alerts SET started_at = 'rubbish'"}, nil},
		{[]string{"UPDATE alerts SET started_at = 'rubbish', uuid = NULL WHERE id = 1"}, alertsTable},
		{[]string{"UPDATE decisions SET created_at = 'rubbish'"}, nil},
		{[]string{"UPDATE allow_lists SET created_at = 'rubbish' WHERE id = 1"}, nil},
		{[]string{"UPDATE allow_list_items SET created_at = 'rubbish'"}, nil},
	} {
		for _, framed := range []bool{false, true} {
			p, owner := filled(t, SQLite, "sqlite-1.7.sql")
			h := newHouse(t)
			h.must(p)
			bans, people, machines, lists := h.running(), h.bouncerNames(), len(h.e.View().Machines()), h.listed()
			for _, command := range c.commands {
				exec1(t, owner, command)
			}
			for range 2 {
				var tally *Tally
				if framed {
					tally = h.receiveOdd(t, p).Tally
				} else {
					_, one, err := h.bring(p)
					if err != nil {
						t.Fatal(err)
					}
					tally = one
				}
				if tally.Damaged() == 0 {
					t.Fatalf("%v harms nothing", c.commands)
				}
				if got := h.running(); !maps.Equal(got, bans) {
					t.Errorf("%v, framed %v: %d run, and %d ran: %v", c.commands, framed, len(got), len(bans), got)
				}
				if got := h.bouncerNames(); !slices.Equal(got, people) || len(h.e.View().Machines()) != machines || h.listed() != lists {
					t.Errorf("%v, framed %v: %v, %d machines, %s\nwere %v, %d, %s", c.commands, framed, got, len(h.e.View().Machines()), h.listed(), people, machines, lists)
				}
				if c.said != nil && !slices.ContainsFunc(tally.table(c.said).Remarks, func(r Reason) bool { return strings.Contains(r.Text, "is removed this time") }) {
					t.Errorf("%v: it is not said: %v", c.commands, tally.table(c.said).Remarks)
				}
			}
		}
	}
}

// listed is what is on the lists.
func (h *house) listed() string {
	var text strings.Builder
	for _, l := range h.e.View().Allowlists() {
		var values []string
		for i := range l.Items {
			values = append(values, l.Items[i].Value)
		}
		slices.Sort(values)
		fmt.Fprintln(&text, l.Name, values)
	}
	return text.String()
}

// TestChangedHereStays: what was changed or removed here since it was taken over stays as it
// is here, and is counted; also when it is gone there.
func TestChangedHereStays(t *testing.T) {
	t.Parallel()
	for _, framed := range []bool{false, true} {
		p, owner := filled(t, SQLite, "sqlite-1.7.sql")
		h := newHouse(t)
		h.must(p)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		ctx := t.Context()
		must(h.e.DeleteBouncer(ctx, "never-used"))
		must(h.e.DeleteBouncer(ctx, "fw-edge"))
		rotated := &engine.Bouncer{Name: "fw-edge", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}, Software: &engine.Software{}}
		_, err := h.e.AddBouncer(ctx, rotated)
		must(err)
		must(h.e.DeleteMachine(ctx, "lp-main"))
		must(h.e.ChangeMachine(ctx, "lp-pending", func(m *engine.Machine) { m.Validated = true }))
		must(h.e.DeleteAllowlist(ctx, "empty-null", false))
		_, err = h.e.RemoveFromAllowlist(ctx, "office", []string{"192.0.2.200"}, h.e.Now())
		must(err)
		must(h.e.DeleteAlert(ctx, 2, h.e.Now()))
		must(h.e.CreateAllowlist(ctx, "mine", "ours", h.e.Now()))
		exec1(t, owner, "INSERT INTO allow_lists (id, created_at, updated_at, name, from_console, description) VALUES (30, '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', 'mine', 0, 'theirs')")
		want := h.bouncerNames()
		look := func(when string, c Changes) {
			t.Helper()
			v := h.e.View()
			if got := h.bouncerNames(); !slices.Equal(got, want) || v.Bouncer("fw-edge").Load().KeyHash != rotated.KeyHash {
				t.Errorf("%s: the bouncers are %v, want %v; or the key is another", when, got, want)
			}
			if m := v.Machine("lp-pending"); v.Machine("lp-main") != nil || m == nil || !m.Validated {
				t.Errorf("%s: machines are as they are there", when)
			}
			if _, there := v.AllowlistHolds("office", "192.0.2.200", item(t, "192.0.2.200").Prefix); there || v.Allowlist("empty-null") != nil {
				t.Errorf("%s: allowlists are as they are there", when)
			}
			if _, _, err := h.e.Alert(v, 2); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("%s: the alert is back: %v", when, err)
			}
			if c.Replaced != 0 || c.NewAlerts != 0 {
				t.Errorf("%s: %+v", when, c)
			}
		}
		again := func() Changes {
			if framed {
				return h.receiveOdd(t, p).Changes
			}
			return h.must(p)
		}
		for _, when := range []string{"a second time", "a third time"} {
			c := again()
			look(when, c)
			if s := c.Stays; s == nil || s.Bouncers.N != 3 || s.Machines.N != 2 || s.Allowlists.N != 1 || s.Items.N != 1 || s.Alerts.N != 1 || !slices.Contains(s.Bouncers.First, "fw-edge") {
				t.Errorf("%s it says %+v", when, s)
			}
		}
		exec1(t, owner, "DELETE FROM bouncers WHERE name LIKE 'fw-edge%'")
		exec1(t, owner, "DELETE FROM machines WHERE machine_id = 'lp-pending'")
		exec1(t, owner, "DELETE FROM allow_lists WHERE name = 'mine'")
		if c := again(); c.Removed != 0 || h.e.View().Bouncer("fw-edge") == nil || h.e.View().Machine("lp-pending") == nil || h.e.View().Allowlist("mine") == nil {
			t.Errorf("gone there: %+v", c)
		}
		look("gone there", Changes{})
		// What was left as it was follows the source.
		exec1(t, owner, "UPDATE bouncers SET api_key = '"+strings.Repeat("ab", 64)+"' WHERE name = 'all-null'")
		if c := again(); c.Replaced != 0 || h.e.View().Bouncer("all-null").Load().KeyHash[0] != 0xab {
			t.Errorf("a key from there: %+v", c)
		}
	}
}

// TestDecisionsThatChangeThere have the end, value and type here that they have there, each
// time anew, unless they were ended here.
func TestDecisionsThatChangeThere(t *testing.T) {
	t.Parallel()
	for _, framed := range []bool{false, true} {
		p, owner := filled(t, SQLite, "sqlite-1.7.sql")
		h := newHouse(t)
		h.must(p)
		n := len(h.running())
		again := func(command string) Changes {
			t.Helper()
			exec1(t, owner, command)
			if framed {
				return h.receiveOdd(t, p).Changes
			}
			return h.must(p)
		}
		ends := func() (list []string) {
			for _, d := range h.e.View().Find(nil, &engine.Query{Now: h.e.Now(), Simulated: true, Limit: -1}) {
				if d.Value() == "198.51.100.0/24" || d.Value() == "198.51.101.0/24" {
					list = append(list, fmt.Sprint(d.Value(), " ", d.Type().S, " ", time.Unix(0, d.Until()).UTC().Year()))
				}
			}
			return list
		}
		for _, c := range []struct{ command, want string }{
			{"UPDATE decisions SET until = '2037-06-01 00:00:00+00:00' WHERE id = 4", "198.51.100.0/24 ban 2037"},
			{"UPDATE decisions SET until = '2030-06-01 00:00:00+00:00' WHERE id = 4", "198.51.100.0/24 ban 2030"},
			{"UPDATE decisions SET value = '198.51.101.0/24' WHERE id = 4", "198.51.101.0/24 ban 2030"},
			{"UPDATE decisions SET type = 'captcha' WHERE id = 4", "198.51.101.0/24 captcha 2030"},
		} {
			if got := again(c.command); got.Revised != 1 || got.Differing != 0 || got.EndedDecisions != 0 || got.RemovedAlerts != 0 {
				t.Errorf("%s: %+v", c.command, got)
			}
			if got := ends(); len(got) != 1 || got[0] != c.want || len(h.running()) != n {
				t.Errorf("%s: %v, %d run of %d", c.command, got, len(h.running()), n)
			}
			if got := again("SELECT 1"); got != (Changes{NewAlerts: 0}) {
				t.Errorf("%s, once more: %+v", c.command, got)
			}
		}
		for _, d := range h.e.View().Find(nil, &engine.Query{Now: h.e.Now(), Simulated: true, Limit: -1}) {
			if d.Value() == "198.51.101.0/24" {
				if err := h.e.EndDecision(t.Context(), d.ID(), h.e.Now()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := again("UPDATE decisions SET until = '2038-06-01 00:00:00+00:00' WHERE id = 4"); got.Differing != 1 || len(ends()) != 0 {
			t.Errorf("ended here: %+v, %v", got, ends())
		}
	}
}

// TestRotatedHereStays: a key that was rotated here since it was taken over stays with those that are good
// beside it, whatever becomes of it there, and is counted; a way back has the newest, names who may show an
// older one, and what comes from there again is the same bouncer.
func TestRotatedHereStays(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"UPDATE bouncers SET last_pull = last_pull WHERE name = 'fw-edge'",
		"UPDATE bouncers SET api_key = '" + strings.Repeat("ab", 64) + "' WHERE name = 'fw-edge'",
		"DELETE FROM bouncers WHERE name = 'fw-edge'",
	} {
		p, owner := filled(t, SQLite, "sqlite-1.7.sql")
		h := newHouse(t)
		h.must(p)
		first, rotated := h.e.View().Bouncer("fw-edge").Load().KeyHash, engine.KeyHash{7}
		if err := h.e.RotateBouncer(t.Context(), "fw-edge", rotated, time.Hour); err != nil {
			t.Fatal(err)
		}
		exec1(t, owner, command)
		look := func(when string) {
			t.Helper()
			v := h.e.View()
			for _, key := range []engine.KeyHash{first, rotated} {
				hash := key
				_, good := v.ResolveKey(&hash, h.e.Now())
				if row, _ := v.OldestBouncer(&hash); !good || row == nil || engine.BaseName(row.Load().Name) != "fw-edge" {
					t.Errorf("%s, %s: a key is not good any more", command, when)
				}
			}
		}
		for _, when := range []string{"a second time", "a third time"} {
			if c := h.must(p); c.Stays == nil || c.Stays.Bouncers.N == 0 {
				t.Errorf("%s, %s: it is not said that it stays: %+v", command, when, c)
			}
			look(when)
		}
		back, tally := h.back(Newest)
		if !slices.Equal(tally.OlderKeys, []string{"fw-edge"}) || !slices.ContainsFunc(tally.Table("bouncers").Remarks, func(r Reason) bool { return strings.Contains(r.Text, "an older key") }) {
			t.Errorf("%s: the way back does not name it: %v", command, tally.OlderKeys)
		}
		other := newHouse(t)
		other.must(back)
		if row := other.e.View().Bouncer("fw-edge"); row == nil || row.Load().KeyHash != rotated {
			t.Errorf("%s: the way back has another key", command)
		}
		h.must(back)
		look("from the way back")
	}
}
