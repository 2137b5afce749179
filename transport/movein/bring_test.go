package movein

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// house is a store that databases are brought into.
type house struct {
	t    *testing.T
	dir  string
	e    *engine.Engine
	stop func()
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, dir: t.TempDir(), stop: func() {}}
	h.open()
	t.Cleanup(func() { h.stop() })
	return h
}

// open starts the engine, anew if it runs.
func (h *house) open() {
	h.t.Helper()
	h.stop()
	e, err := engine.Open(&engine.Options{Dir: h.dir, NoSync: true})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Run(ctx) }()
	h.e, h.stop = e, func() { cancel(); <-ended; e.Close(); h.stop = func() {} }
}

// bring takes a database over.
func (h *house) bring(p Place) (Changes, *Tally, error) {
	h.t.Helper()
	s, err := Open(h.t.Context(), p)
	if err != nil {
		h.t.Fatal(err)
	}
	defer s.Close()
	b, err := NewBringer(h.t.Context(), h.e)
	if err != nil {
		h.t.Fatal(err)
	}
	tally, err := s.Read(h.t.Context(), Options{Now: time.Unix(0, h.e.Now())}, b)
	if err == nil {
		err = b.Finish(h.t.Context(), tally)
	}
	return b.Changes, tally, err
}

func (h *house) must(p Place) Changes {
	h.t.Helper()
	c, tally, err := h.bring(p)
	if err != nil {
		h.t.Fatal(err)
	}
	if wrong := tally.Balance(); wrong != nil || tally.Damaged() > 0 {
		h.t.Fatalf("%v, %d damaged", wrong, tally.Damaged())
	}
	return c
}

// running are the decisions that run.
func (h *house) running() map[engine.DecisionID]string {
	all := map[engine.DecisionID]string{}
	v := h.e.View()
	for _, d := range v.Find(nil, &engine.Query{Now: h.e.Now(), Simulated: true, Limit: -1}) {
		all[d.ID()] = fmt.Sprintf("%s %s %s:%s alert %d", d.Origin().S, d.Type().S, d.Scope().S, d.Value(), d.AlertID())
	}
	return all
}

// TestBroughtIsWhatWasThere brings each fixture into a store and looks at it after a
// start from the snapshot, too.
func TestBroughtIsWhatWasThere(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p Place, kind Kind, old bool) {
		h := newHouse(t)
		if c := h.must(p); c.Renumbered != 0 {
			t.Errorf("%d have other numbers", c.Renumbered)
		}
		want := 18
		if old {
			want = 17
		}
		digest := h.e.Digest()
		for range 2 {
			all := h.running()
			if len(all) != want {
				for id, text := range all {
					t.Log(id, text)
				}
				t.Errorf("%d run, want %d", len(all), want)
			}
			if text := all[25]; !old && text != "console ban Ip:198.51.100.16 alert 16" {
				t.Errorf("decision 25 is %s", text)
			}
			if d, ok := h.e.View().Decision(5); !ok || !old && d.UUID().String() != "10000000-0000-4000-8000-000000000005" {
				t.Error("decision 5 has another UUID")
			}
			if _, ok := h.e.View().Decision(19); ok {
				t.Error("decision 19 is there")
			}
			if err := h.e.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.open()
			if h.e.Digest() != digest {
				t.Error("another state after a start")
			}
		}
		ids, err := h.e.AddAlerts(t.Context(), "lp-main", []*engine.Alert{{Scenario: "new", StopAt: engine.StampOf(time.Now()), Decisions: []engine.NewDecision{
			{Duration: "1h", Origin: "crowdsec", Scenario: "new", Scope: "Ip", Type: "ban", Value: "203.0.113.77"}}}}, h.e.Now())
		if err != nil || len(ids) != 1 || ids[0] != 41 {
			t.Errorf("a new alert is %v, %v", ids, err)
		}
		if text := h.running()[91]; text != "crowdsec ban Ip:203.0.113.77 alert 41" {
			t.Errorf("a new decision: %s", text)
		}
		if c := h.must(p); c != (Changes{}) {
			t.Errorf("taken over a second time: %+v", c)
		}
		if text := h.running()[91]; text == "" {
			t.Error("what was stored here is gone")
		}
	})
}

// TestBroughtAgain changes a source and a store after the first time: the second makes
// what came from there equal to the source, and keeps what is our own.
func TestBroughtAgain(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	h := newHouse(t)
	h.must(p)
	now := h.e.Now()
	if _, err := h.e.AddAlerts(t.Context(), "lp-main", []*engine.Alert{{Scenario: "ours", StopAt: engine.StampOf(time.Now()), Decisions: []engine.NewDecision{
		{Duration: "1h", Origin: "crowdsec", Scenario: "ours", Scope: "Ip", Type: "ban", Value: "203.0.113.77"}}}}, now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.e.AddToAllowlist(t.Context(), "office", []engine.AllowlistItem{item(t, "203.0.113.200")}, h.e.Now()); err != nil {
		t.Fatal(err)
	}
	if err := h.e.EndDecision(t.Context(), 3, h.e.Now()); err != nil {
		t.Fatal(err)
	}
	change(t, owner)
	h.open()
	c := h.must(p)
	// Of the differing ones one was ended here, one by our own item. Decision 18 had an alert
	// of ours, which goes with it.
	if want := (Changes{NewAlerts: 3, NewDecisions: 3, EndedDecisions: 2, RemovedAlerts: 2, Removed: 3, Differing: 2, Renumbered: 3}); c != want {
		t.Errorf("changed are %+v\nwant        %+v", c, want)
	}
	h.open()
	all := h.running()
	for id, want := range map[engine.DecisionID]string{
		1: "", 4: "", 5: "", 18: "", 3: "", 91: "crowdsec ban Ip:203.0.113.77 alert 41",
	} {
		if all[id] != want {
			t.Errorf("decision %d: %q, want %q", id, all[id], want)
		}
	}
	values := map[string]int{}
	for _, text := range all {
		values[text[:len(text)-3]]++
	}
	for _, value := range []string{"192.0.2.150", "192.0.2.151", "192.0.2.152"} {
		found := false
		for text := range values {
			found = found || len(text) > len(value) && strings.Contains(text, value)
		}
		if !found {
			t.Errorf("%s is not banned", value)
		}
	}
	v := h.e.View()
	if v.Bouncer("never-used") != nil || v.Machine("lp-new") == nil || v.Machine("lp-pending") == nil {
		t.Error("people are not those of the source")
	}
	if _, there := v.AllowlistHolds("office", "192.0.2.200", item(t, "192.0.2.200").Prefix); there {
		t.Error("the item that is gone there is here")
	}
	if _, there := v.AllowlistHolds("office", "203.0.113.200", item(t, "203.0.113.200").Prefix); !there {
		t.Error("our own item is gone")
	}
	if v.Allowlist("empty-null") != nil {
		t.Error("the list that is gone there is here")
	}
	if c := h.must(p); c != (Changes{Differing: 2}) {
		t.Errorf("a third time: %+v", c)
	}
}

// change is what a server that goes on may do to its database.
func change(t *testing.T, owner *sql.DB) {
	t.Helper()
	exec1(t, owner, "PRAGMA foreign_keys = on")
	for _, command := range []string{
		"UPDATE decisions SET until = '2026-11-01 10:00:00+00:00' WHERE id IN (1, 18)",
		"DELETE FROM alerts WHERE id = 3", // with decision 4
		"DELETE FROM decisions WHERE id = 5",
		"INSERT INTO alerts (id, created_at, updated_at, scenario, simulated, uuid, machine_alerts) VALUES (41, '2026-11-01 10:00:00+00:00', '2026-11-01 10:00:00+00:00', 'theirs', 0, '00000000-0000-4000-8000-000000000041', 1)",
		decisionRow(91, "192.0.2.150", "41"), decisionRow(92, "192.0.2.151", "2"), decisionRow(93, "192.0.2.152", "NULL"),
		"DELETE FROM bouncers WHERE name = 'never-used'",
		"INSERT INTO machines SELECT 60, created_at, updated_at, NULL, NULL, 'lp-new', password, '', NULL, NULL, 1, 'password', NULL, NULL, NULL, NULL, NULL, NULL FROM machines WHERE id = 1",
		"DELETE FROM allow_list_items WHERE id = 1",
		"DELETE FROM allow_lists WHERE id = 3",
	} {
		exec1(t, owner, command)
	}
}

func decisionRow(id int, value, alert string) string {
	return fmt.Sprintf("INSERT INTO decisions (id, created_at, updated_at, until, scenario, type, scope, value, origin, simulated, uuid, alert_decisions) VALUES "+
		"(%d, '2026-11-01 10:00:00+00:00', '2026-11-01 10:00:00+00:00', '2036-01-01 00:00:00+00:00', 's', 'ban', 'Ip', '%s', 'crowdsec', 0, '10000000-0000-4000-8000-0000000000%d', %s)", id, value, id, alert)
}

func item(t *testing.T, value string) engine.AllowlistItem {
	t.Helper()
	p, err := engine.ParseTarget(value)
	if err != nil {
		t.Fatal(err)
	}
	return engine.AllowlistItem{Value: value, Prefix: p}
}

// TestAnotherSourceIsRefused: what came from one database is not removed because it is
// not in another.
func TestAnotherSourceIsRefused(t *testing.T) {
	t.Parallel()
	p, _ := filled(t, SQLite, "sqlite-1.7.sql")
	h := newHouse(t)
	h.must(p)
	other, owner := filled(t, SQLite, "sqlite-1.7.sql")
	exec1(t, owner, "UPDATE machines SET machine_id = 'x' || machine_id")
	exec1(t, owner, "UPDATE bouncers SET name = 'x' || name")
	if _, _, err := h.bring(other); err == nil || !strings.Contains(err.Error(), "another database") {
		t.Errorf("it says %v", err)
	}
}

// TestHugeAlert has one with more decisions than one commit takes.
func TestHugeAlert(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	const more = mostDecisions + 10
	exec1(t, owner, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO decisions (created_at, updated_at, until, scenario, type, scope, value, origin, simulated, alert_decisions)
		SELECT '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', '2036-01-01 00:00:00+00:00', 's', 'ban', 'Ip', '10.' || (i / 65536) || '.' || ((i / 256) %% 256) || '.' || (i %% 256), 'CAPI', 0, 9 FROM n`, more))
	h := newHouse(t)
	h.must(p)
	if n := len(h.running()); n != 18+more {
		t.Errorf("%d run", n)
	}
	if c := h.must(p); c != (Changes{}) {
		t.Errorf("a second time: %+v", c)
	}
}

// TestBroughtOfTheConsole: lists that the console manages stay its own, and what was known of
// the Central API is kept for the connection to it.
func TestBroughtOfTheConsole(t *testing.T) {
	t.Parallel()
	for _, f := range fixtures[1:] { // before there were none
		p, owner := filled(t, f.kind, f.file)
		h := newHouse(t)
		h.must(p)
		h.must(p)
		managed := 0
		var list *engine.Allowlist
		for _, l := range h.e.View().Allowlists() {
			if l.FromConsole {
				managed++
				list = l
			}
		}
		if managed != 1 || list.ConsoleID == "" || len(list.Items) == 0 || h.e.View().ConsoleAllowlist(list.ConsoleID) != list {
			t.Fatalf("%d lists are the console's: %+v", managed, list)
		}
		var items map[string]string
		if err := json.Unmarshal(h.e.View().Secret("movein.central"), &items); err != nil || len(items) != 3 || items["apic_token"] == "" {
			t.Errorf("of the Central API is known %v, %v", items, err)
		}
		exec1(t, owner, "DELETE FROM allow_lists WHERE name = '"+list.Name+"'")
		if c := h.must(p); c.Removed != 1 || h.e.View().Allowlist(list.Name) != nil {
			t.Errorf("it is gone there and not here: %+v", c)
		}
	}
}
