package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sqliteFixture is a database of the reference's, of that version, made by SQLite's own
// program.
func sqliteFixture(t *testing.T, version string) string {
	t.Helper()
	script, err := os.Open("../../transport/movein/testdata/sqlite-" + version + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	defer script.Close()
	path := filepath.Join(t.TempDir(), "crowdsec.db")
	c := exec.Command("sqlite3", "-bail", path)
	c.Stdin = script
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// TestMoveIn takes a database over and starts a server on it: old passwords and keys
// work, decisions run, and new numbers begin behind the old server's counters.
func TestMoveIn(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.4", "1.7"} {
		h := emptyHouse(t)
		write(t, h.dir, "config.yaml.local", "db_config: {type: sqlite, db_path: "+sqliteFixture(t, version)+"}\n")
		h.expect(h.do("", "movein", "--dry-run"), exitGood, "~| decisions ", "")
		if _, err := os.Stat(h.store()); err == nil {
			t.Fatal("--dry-run has made a store")
		}
		h.expect(h.do("", "movein"), exitGood, "~| cscli-import ", "~taken over into")
		h.expect(h.do("", "movein", "status"), exitGood, "~| cscli-import ", "")
		h.expect(h.do("", "movein"), exitGood, "", "~0 new alerts, 0 new decisions, 0 decisions ended, 0 alerts and 0 others removed")
		h.expect(h.do("", "check"), exitGood, "~no damage found", "")
		p := start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		h.expect(h.do("", "movein"), exitGood, "~| cscli-import ", "~taken over into the running server: 0 new alerts, 0 new decisions, 0 decisions ended, 0 alerts and 0 others removed")
		if code, text, err := h.ask("POST", "/v1/watchers/login", `{"machine_id":"lp-pending","password":"import-pw-2","scenarios":[]}`); err != nil || code == 200 {
			t.Errorf("a machine that was not validated logs in: %d %s %v", code, text, err)
		}
		code, text, err := h.ask("POST", "/v1/watchers/login", `{"machine_id":"lp-main","password":"import-pw-1","scenarios":[]}`)
		if err != nil || code != 200 {
			t.Fatalf("the old password: %d %s %v", code, text, err)
		}
		_, token, _ := strings.Cut(text, `"token":"`)
		h.token, _, _ = strings.Cut(token, `"`)
		for _, key := range []string{"import-key-1", "import-key-2", "import-key-3"} {
			h.header = map[string][]string{"X-Api-Key": {key}}
			if code, text, err := h.ask("GET", "/v1/decisions?ip=198.51.100.7", ""); err != nil || code != 200 || strings.Count(text, `"id":`) != 2+1 {
				t.Errorf("the old key %s: %d %s %v", key, code, text, err)
			}
		}
		code, text, err = h.ask("GET", "/v1/decisions/stream?startup=true", "")
		if err != nil || code != 200 || strings.Contains(text, "198.51.100.9\"") {
			t.Errorf("the stream: %d %s %v", code, text, err)
		}
		code, text, err = h.ask("GET", "/v1/alerts/1", "")
		if err != nil || code != 200 || !strings.Contains(text, `"value":"root"`) || version == "1.7" && !strings.Contains(text, "00000000-0000-4000-8000-000000000001") {
			t.Errorf("alert 1: %d %s %v", code, text, err)
		}
		if code, text, err = h.ask("POST", "/v1/alerts", alertText("test/new", 1, 0)); err != nil || code != 201 || !strings.Contains(text, "41") {
			t.Errorf("a new alert: %d %s %v", code, text, err)
		}
		kill(t, p)
	}
}

// TestMoveInIsWholeOrNot interrupts and spoils it: no store is there then, and the next
// one begins anew.
func TestMoveInIsWholeOrNot(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	db := sqliteFixture(t, "1.7")
	more := exec.Command("sqlite3", db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
		INSERT INTO alerts (id, created_at, updated_at, scenario, simulated, machine_alerts) SELECT 1000 + i, '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', 's', 0, 1 FROM n;
		UPDATE machines SET password = 'plain' WHERE machine_id = 'lp-pending'`)
	if out, err := more.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		p := start(t, nil, "-c", h.file, "movein", "--from", "sqlite:"+db)
		await(t, "it has begun", func() bool { _, err := os.Stat(h.store() + ".movingin"); return err == nil })
		if err := p.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code == exitGood {
			t.Errorf("it ends well after %v", signal)
		}
		if _, err := os.Stat(h.store()); err == nil {
			t.Fatal("there is a store")
		}
	}
	h.expect(h.do("", "movein", "--from", "sqlite:"+db), exitFails, "~NOT WHAT IT SHOULD BE", "~nothing was taken over: 1 rows are not what they should be")
	if _, err := os.Stat(h.store()); err == nil {
		t.Fatal("there is a store")
	}
	h.expect(h.do("", "movein", "--from", "sqlite:"+db, "--keep-going"), exitGood, "~NOT WHAT IT SHOULD BE", "~taken over into")
	if _, err := os.Stat(h.store() + ".movingin"); err == nil {
		t.Error("what was interrupted is still there")
	}
	h.expect(h.do("", "machines", "list", "-o", "raw"), exitGood, "~lp-main", "")
}

// TestMoveInSaysWhatToDo has the verb's own errors.
func TestMoveInSaysWhatToDo(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	h.expect(h.do("", "movein", "status"), exitFails, "", "~nothing was taken over into")
	for _, words := range [][]string{{"movein", "--back", ""}, {"movein", "--back", h.dir, "--schema", ""}, {"movein", "--from", " "}, {"movein", "--dry-run", "--from="},
		{"machines", "add", "x", "-a", "-f", "", "--init"}, {"movein", "status", "-c", ""}} {
		h.expect(h.do("", words...), exitFails, "", "~is given with nothing in it: give it a value, or leave it out")
	}
	h.expect(h.do("", "movein", "--dry-run", "--back", h.dir), exitFails, "", "~--back changes nothing that there is")
	h.expect(h.do("", "movein"), exitFails, "", "~name the old server's config.yaml with -c, or its database with --from")
	h.expect(h.do("", "movein", "--from", "/var/lib/x.db"), exitFails, "", "~write sqlite:PATH")
	h.expect(h.do("", "movein", "--from", "mysql://u:hunter2@h:x/"), exitFails, "", "~is no URL")
	write(t, h.dir, "config.yaml.local", "db_config: {type: oracle, db_path: x}\n")
	h.expect(h.do("", "movein"), exitFails, "", "~must be sqlite, mysql, postgres, postgresql or pgx")
	if r := h.do("", "movein", "--from", "mysql://u:hunter2@h:x/"); strings.Contains(r.out+r.err, "hunter2") {
		t.Error("the password is shown")
	}
}

// TestMoveInAgain has a bouncer pull between two takings over: it is told what changed, and
// the store of before is kept.
func TestMoveInAgain(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	db := sqliteFixture(t, "1.7")
	h.expect(h.do("", "movein", "--from", "sqlite:"+db), exitGood, "", "~taken over into")
	h.header = map[string][]string{"X-Api-Key": {"import-key-2"}}
	poll := func(path string) string {
		p := start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		code, text, err := h.ask("GET", path, "")
		if err != nil || code != 200 {
			t.Fatal(code, text, err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.wait(t)
		return text
	}
	if text := poll("/v1/decisions/stream?startup=true"); !strings.Contains(text, `"value":"192.0.2.90"`) {
		t.Errorf("the first pull: %s", text)
	}
	change := exec.Command("sqlite3", db, "UPDATE decisions SET until = '2026-07-03 10:00:00+00:00' WHERE id = 21")
	if out, err := change.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.expect(h.do("", "movein", "--from", "sqlite:"+db), exitGood, "", "~0 new alerts, 0 new decisions, 1 decisions ended")
	kept, err := filepath.Glob(h.store() + ".before-*")
	if err != nil || len(kept) != 1 {
		t.Errorf("kept are %v, %v", kept, err)
	}
	h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	text := poll("/v1/decisions/stream")
	if strings.Count(text, `"value"`) != 1 || !strings.Contains(text, `"value":"192.0.2.93"`) {
		t.Errorf("the next pull: %s", text)
	}
}
