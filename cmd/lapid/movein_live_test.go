package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sqlite runs commands on a database with SQLite's own program.
func sqlite(t *testing.T, db, commands string) {
	t.Helper()
	if out, err := exec.Command("sqlite3", "-bail", db, commands).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// sized is a number of rows: fewer under the race detector, with which SQLite's own code, as Go, takes
// twenty times as long.
func sized(rows int) int {
	if underRace {
		return rows / 5
	}
	return rows
}

// largeDatabase is a fixture with so many alerts more, of one running decision each, on
// addresses of 172.16.0.0/12.
func largeDatabase(t *testing.T, alerts int) string {
	t.Helper()
	db := sqliteFixture(t, "1.7")
	sqlite(t, db, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO alerts (id, created_at, updated_at, scenario, simulated, machine_alerts) SELECT 1000 + i, '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', 's', 0, 1 FROM n;
		INSERT INTO decisions (id, created_at, updated_at, until, scenario, type, scope, value, origin, simulated, alert_decisions)
		SELECT id, created_at, created_at, '2036-01-01 00:00:00+00:00', 's', 'ban', 'Ip', printf('172.%%d.%%d.%%d', 16 + (id >> 16), (id >> 8) & 255, id & 255), 'crowdsec', 0, id FROM alerts WHERE id > 1000`, alerts))
	return db
}

// holding is what a bouncer holds by what it was told.
type holding map[string]bool

// poll has it poll, and says how many of a beginning it holds then.
func (b holding) poll(h *house, query, beginning string) (of int) {
	h.t.Helper()
	code, text, err := h.ask("GET", "/v1/decisions/stream"+query, "")
	var said struct {
		New, Deleted []struct{ Type, Scope, Value string }
	}
	if err != nil || code != 200 || json.Unmarshal([]byte(text), &said) != nil {
		h.t.Fatalf("a poll: %d %.300s %v", code, text, err)
	}
	for _, d := range said.Deleted {
		delete(b, d.Type+" "+d.Scope+" "+d.Value)
	}
	for _, d := range said.New {
		b[d.Type+" "+d.Scope+" "+d.Value] = true
	}
	for key := range b {
		if strings.Contains(key, " "+beginning) {
			of++
		}
	}
	return of
}

// TestMoveInBesideServer takes a database over while a server runs and is asked: its bouncers
// are told of all of it as one change, and hold what a full state says; what was stored here
// otherwise stays.
func TestMoveInBesideServer(t *testing.T) {
	t.Parallel()
	many := sized(20_000)
	h, db := newHouse(t), largeDatabase(t, many)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	if code, text, err := h.ask("POST", "/v1/alerts", alertText("test/own", 1, 3)); err != nil || code != 201 {
		t.Fatal(code, text, err)
	}
	told := holding{}
	told.poll(h, "?startup=true", "172.")
	asked := 0
	moving := start(t, nil, "-c", h.file, "movein", "--from", "sqlite:"+db)
	for over := false; !over; {
		select {
		case <-moving.ended:
			over = true
		default:
		}
		if n := told.poll(h, "", "172."); n != 0 && n != many {
			t.Fatalf("the bouncer was told of %d of %d", n, many)
		}
		if code, text, err := h.ask("GET", "/v1/decisions?ip=10.0.0.1", ""); err != nil || code != 200 || !strings.Contains(text, "10.0.0.1") {
			t.Fatal(code, text, err)
		}
		asked++
	}
	if code := moving.wait(t); code != exitGood || !strings.Contains(moving.out.String(), "taken over into the running server: ") {
		t.Fatalf("exit code %d:\n%s", code, moving.out)
	}
	if n := told.poll(h, "", "172."); n != many {
		t.Errorf("the bouncer holds %d of %d", n, many)
	}
	h.header = map[string][]string{"X-Api-Key": {"import-key-2"}}
	fresh := holding{}
	fresh.poll(h, "?startup=true", "")
	h.header = nil
	for _, list := range [][2]holding{{told, fresh}, {fresh, told}} {
		for key := range list[0] {
			if !list[1][key] {
				t.Errorf("one bouncer holds %s alone", key)
			}
		}
	}
	if !told["ban Ip 10.0.0.1"] || asked == 0 {
		t.Error("what was here is gone")
	}
	h.expect(h.do("", "movein", "status"), exitGood, "~| cscli-import ", "")
	sqlite(t, db, "PRAGMA foreign_keys = on; UPDATE decisions SET until = '2026-07-03 10:00:00+00:00' WHERE id > 1000; DELETE FROM alerts WHERE id = 1; DELETE FROM bouncers WHERE name = 'never-used'")
	h.expect(h.do("", "movein", "--from", "sqlite:"+db), exitGood, "~| decisions", fmt.Sprintf("~0 new alerts, 0 new decisions, %d decisions ended, 1 alerts and 1 others removed", many))
	if n := told.poll(h, "", "172."); n != 0 {
		t.Errorf("the bouncer holds %d that have ended", n)
	}
	kill(t, p)
	h.expect(h.do("", "check"), exitGood, "~no damage found", "")
}

// TestMoveInBesideServerIsWholeOrNot kills who sends and who receives, at moments before and
// after all has arrived.
func TestMoveInBesideServerIsWholeOrNot(t *testing.T) {
	t.Parallel()
	const many = 30_000
	db := largeDatabase(t, many)
	for _, c := range []struct {
		at   string // the file that is there at that moment
		kill bool   // the server; else who sends
	}{{"movein.arriving", false}, {"movein.arriving", true}, {"movein.arrived", false}, {"movein.arrived", true}} {
		h := newHouse(t)
		p := start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		file := filepath.Join(filepath.Dir(h.store()), c.at)
		there := func() bool { info, err := os.Stat(file); return err == nil && info.Size() > 0 }
		moving := start(t, nil, "-c", h.file, "movein", "--from", "sqlite:"+db)
		await(t, c.at+" is there", there)
		victim := moving
		if c.kill {
			victim = p
		}
		kill(t, victim)
		if c.kill {
			if code := moving.wait(t); code == exitGood {
				t.Errorf("%+v: it ends well", c)
			}
			if text := moving.out.String(); c.at == "movein.arrived" && (strings.Contains(text, "nothing was taken over") || !strings.Contains(text, "it is not known") || !strings.Contains(text, "'lapid movein status' tells")) {
				t.Errorf("%+v: it claims to know what became of it", c)
			}
			if c.at == "movein.arrived" {
				h.expect(h.do("", "movein", "status"), exitFails, "", "~from its next start on")
			}
			p = start(t, nil, "-c", h.file, "serve")
			h.awaitHealth(p)
		}
		await(t, "no file is left", func() bool { _, err := os.Stat(file); return errors.Is(err, fs.ErrNotExist) })
		told := holding{}
		want := map[string]int{"movein.arriving": 0, "movein.arrived": many}[c.at]
		if n := told.poll(h, "?startup=true", "172."); n != want {
			t.Errorf("%+v: %d of %d are there", c, n, want)
		}
		if c.kill {
			if word := map[string]string{"movein.arriving": "nothing was taken over", "movein.arrived": "taking it over goes on"}[c.at]; !strings.Contains(p.out.String(), word) {
				t.Errorf("%+v: the log does not say %q", c, word)
			}
		}
		h.expect(h.do("", "movein", "--from", "sqlite:"+db), exitGood, "~| decisions", fmt.Sprintf("~ %d new decisions, 0 decisions ended", map[bool]int{true: 0, false: many + 20}[want > 0]))
		kill(t, p)
		h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	}
}

// TestStartNamesOldDatabase: a start names the database that is there, in one line, until it was
// taken over or nobody wants to hear it; a trial of the configuration does too.
func TestStartNamesOldDatabase(t *testing.T) {
	t.Parallel()
	const empty, own = "has 5 and 3, who are refused until it is taken over", "has 1 bouncers and 0 machines of its own, and nothing was taken over from the old server's database, which has 5 and 3"
	for _, c := range []struct {
		before []string
		env    string
		says   string // "": nothing
		good   bool   // old keys are
	}{
		{nil, "", empty, false}, {[]string{"movein"}, "", "", true}, {nil, "never", "", false}, {nil, "auto", "", true},
		{[]string{"bouncers", "add", "x", "--init"}, "", own, false}, {[]string{"bouncers", "add", "x", "--init"}, "auto", own, false}, {[]string{"bouncers", "add", "x", "--init"}, "never", "", false},
	} {
		h := emptyHouse(t)
		write(t, h.dir, "config.yaml.local", "db_config: {type: sqlite, db_path: "+sqliteFixture(t, "1.7")+"}\n")
		if c.before != nil {
			if r := h.do("", c.before...); r.exit != exitGood {
				t.Fatal(r)
			}
		}
		var env []string
		if c.env != "" {
			env = []string{"LAPID_MOVEIN=" + c.env}
		}
		try := start(t, env, "-c", h.file, "serve", "-t")
		try.wait(t)
		if told := strings.Contains(try.out.String(), "which has 5 bouncers and 3 machines"); told != (c.says != "") {
			t.Errorf("%v %v: a trial says it: %v", c.before, c.env, told)
		}
		for range 2 {
			p := start(t, env, "-c", h.file, "serve")
			h.awaitHealth(p)
			await(t, "it is ready", func() bool { return strings.Contains(p.out.String(), "lapid is ready") })
			if text := p.out.String(); strings.Contains(text, "is not taken over by a start") != (c.says != "") || !strings.Contains(text, c.says) || strings.Count(text, "old server's database") > 1 {
				t.Errorf("%v %v: it does not say %q, or more", c.before, c.env, c.says)
			}
			h.header = map[string][]string{"X-Api-Key": {"import-key-1"}}
			code, _, err := h.ask("GET", "/v1/decisions?ip=198.51.100.7", "")
			if err != nil || (code == 200) != c.good {
				t.Errorf("%v %v: the old key gets %d, %v", c.before, c.env, code, err)
			}
			kill(t, p)
		}
	}
}

// TestStartNamesNoDatabase: the file that db_config names has nothing to take over.
func TestStartNamesNoDatabase(t *testing.T) {
	t.Parallel()
	empty, text := write(t, t.TempDir(), "empty.db", ""), write(t, t.TempDir(), "text.db", "text")
	for _, c := range []struct{ db, env, says string }{
		{"/nowhere/x.db", "auto", "level=warning msg=\"movein is auto (LAPID_MOVEIN), but the database that db_config names is missing, /nowhere/x.db: "},
		{empty, "auto", "level=warning msg=\"movein is auto (LAPID_MOVEIN), but the database that db_config names is empty, " + empty},
		{text, "off", "level=warning msg=\"db_config.db_path: " + text + " is no SQLite database"},
	} {
		h := emptyHouse(t)
		write(t, h.dir, "config.yaml.local", "db_config: {type: sqlite, db_path: "+c.db+"}\n")
		p := start(t, []string{"LAPID_MOVEIN=" + c.env}, "-c", h.file, "serve")
		h.awaitHealth(p)
		if strings.Count(p.out.String(), c.says) != 1 {
			t.Errorf("it does not say %q", c.says)
		}
		kill(t, p)
	}
}

// TestStartThatCannotMoveIn fails and says what to do; where there is no old server the
// store begins empty.
func TestStartThatCannotMoveIn(t *testing.T) {
	t.Parallel()
	damaged := sqliteFixture(t, "1.7")
	sqlite(t, damaged, "UPDATE machines SET password = 'plain' WHERE machine_id = 'lp-pending'")
	empty := write(t, t.TempDir(), "empty.db", "")
	other := filepath.Join(t.TempDir(), "other.db")
	sqlite(t, other, "CREATE TABLE x (y)")
	for db, want := range map[string]string{
		damaged: "1 rows are not what they should be", other: "it is no database of CrowdSec", empty: "", "/nowhere/x.db": "",
		write(t, t.TempDir(), "text.db", "text"): "LAPID_MOVEIN",
	} {
		h := emptyHouse(t)
		write(t, h.dir, "config.yaml.local", "db_config: {type: sqlite, db_path: "+db+"}\n")
		p := start(t, []string{"LAPID_MOVEIN=auto"}, "-c", h.file, "serve")
		if want == "" {
			h.awaitHealth(p)
			kill(t, p)
			continue
		}
		if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), want) || !strings.Contains(p.out.String(), "start without LAPID_MOVEIN") {
			t.Errorf("%s: exit code %d", db, code)
		}
		h.expect(h.do("", "machines", "list", "-o", "raw", "--init"), exitGood, "", "")
	}
}
