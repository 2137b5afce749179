package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tablesOf is what a database says of its tables: columns, indexes and foreign keys.
func tablesOf(t *testing.T, db string) string {
	t.Helper()
	return queried(t, db, `SELECT m.name, c.cid, c.name, c.type, c."notnull", c.dflt_value, c.pk, m.sql LIKE '%AUTOINCREMENT%' FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1, 2;
		SELECT m.name, l.name, l."unique", l.origin, i.seqno, i.name FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) i WHERE m.type = 'table' ORDER BY 1, 2, 5;
		SELECT m.name, k."table", k."from", k."to", k.on_update, k.on_delete FROM sqlite_master m, pragma_foreign_key_list(m.name) k WHERE m.type = 'table' ORDER BY 1, 2, 3;`)
}

// shownBy is what the reference's own verbs show that must be the same before and after,
// without the time that decisions have left.
func (r *reference) shownBy(alert int) string {
	r.t.Helper()
	var alerts []struct {
		ID        int
		Decisions []map[string]any
	}
	if err := json.Unmarshal([]byte(r.cscli("decisions", "list", "-a", "-o", "json")), &alerts); err != nil {
		r.t.Fatal(err)
	}
	var lines []string
	for _, a := range alerts {
		for _, d := range a.Decisions {
			delete(d, "duration")
			lines = append(lines, fmt.Sprint(a.ID, d))
		}
	}
	inspected := r.cscli("alerts", "inspect", "-d", fmt.Sprint(alert))
	for line := range strings.Lines(inspected) {
		if !strings.Contains(line, "expiration") && !strings.Contains(line, "h0m") && !strings.Contains(line, "h59m") && !strings.HasPrefix(line, "+-") {
			lines = append(lines, line)
		}
	}
	for line := range strings.Lines(r.cscli("bouncers", "list", "-o", "json")) {
		if !strings.Contains(line, `"until"`) { // which means nothing, and is the first created_at, which moves
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// asBouncer asks for everything with a key.
func (r *reference) asBouncer(key string) string {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), "GET", fmt.Sprintf("http://127.0.0.1:%d/v1/decisions/stream?startup=true", r.port), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("X-Api-Key", key)
	w, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode != 200 {
		r.t.Fatalf("a bouncer is answered with %d %s %v", w.StatusCode, text, err)
	}
	return string(text)
}

// TestMoveBackToTheReference moves from Debian's crowdsec to lapid and back: everything is
// as it was there, with what came meanwhile, and new numbers follow.
func TestMoveBackToTheReference(t *testing.T) {
	t.Parallel()
	old := newReference(t)
	old.cscli("machines", "add", "lp", "-p", "old-password", "-f", filepath.Join(old.dir, "credentials.yaml"), "-u", fmt.Sprintf("http://127.0.0.1:%d", old.port))
	for _, key := range []string{"key-1", "key-2"} {
		old.cscli("bouncers", "add", "b-"+key, "-k", key)
	}
	old.begin()
	for i := range 5 {
		old.cscli("decisions", "add", "-i", fmt.Sprintf("192.0.2.%d", i), "-d", "4h", "-R", "why")
	}
	old.cscli("decisions", "add", "-r", "2001:db8::/40", "-d", "4h")
	old.cscli("decisions", "delete", "-i", "192.0.2.3")
	old.asBouncer("key-1")
	old.end()
	tables, before := tablesOf(t, old.db), queried(t, old.db, "SELECT seq FROM sqlite_sequence WHERE name IN ('alerts', 'decisions') ORDER BY name")

	h := emptyHouse(t)
	h.expect(h.do("", "movein", "--from", "sqlite:"+old.db), exitGood, "", "~taken over into")
	stopped := filepath.Join(h.dir, "stopped")
	h.expect(h.do("", "movein", "--back", stopped), exitGood, "~| decisions ", "~for a server of version 1.4.0 (as the database that was taken over; --schema names another)")
	if got := tablesOf(t, filepath.Join(stopped, "crowdsec.db")); got != tables {
		t.Errorf("the tables are not the reference's:\n%s\nbut\n%s", got, tables)
	}
	if got := queried(t, filepath.Join(stopped, "crowdsec.db"), "SELECT seq FROM sqlite_sequence WHERE name IN ('alerts', 'decisions') ORDER BY name"); got != before {
		t.Errorf("the counters are %s, and were %s", got, before)
	}

	again := newReference(t)
	again.take(stopped, old)
	again.begin()
	moved := newReference(t) // the old one, as it was
	moved.take(old.dir, old)
	moved.begin()
	got, want := strings.Split(again.shownBy(1), "\n"), strings.Split(moved.shownBy(1), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("it shows\n%q\nand the old one showed\n%q", got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
	moved.end()
	again.end()

	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.expect(h.do("", "decisions", "add", "-i", "198.51.100.9", "-d", "4h"), exitGood, "", "~Decision successfully added")
	h.expect(h.do("", "decisions", "delete", "-i", "192.0.2.1"), exitGood, "", "~1 decision(s) deleted")
	later := filepath.Join(h.dir, "later")
	h.expect(h.do("", "movein", "--back", later, "-o", "json"), exitGood, "~\"counters\": {", "")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait(t)

	last := newReference(t)
	last.take(later, old)
	last.begin()
	text := last.asBouncer("key-2")
	for value, want := range map[string]bool{"192.0.2.0": true, "192.0.2.1": false, "192.0.2.3": false, "198.51.100.9": true, "2001:db8::/40": true} {
		_, running, _ := strings.Cut(text, `"new":`)
		if got := strings.Contains(running, `"value":"`+value+`"`); got != want {
			t.Errorf("%s is banned: %v, want %v\n%s", value, got, want, text)
		}
	}
	last.cscli("decisions", "add", "-i", "203.0.113.5")
	if ids := queried(t, last.db, "SELECT max(id) FROM alerts; SELECT max(id) FROM decisions"); ids != "8\n8" {
		t.Errorf("what is new has the numbers %q", ids)
	}
	last.end()
}

// take gives an installation a database and the other's credentials: the machine logs in
// with its old password.
func (r *reference) take(folder string, from *reference) {
	r.t.Helper()
	for name, path := range map[string]string{"crowdsec.db": filepath.Join(folder, "crowdsec.db"), "credentials.yaml": filepath.Join(from.dir, "credentials.yaml")} {
		text, err := os.ReadFile(path)
		if err != nil {
			r.t.Fatal(err)
		}
		write(r.t, r.dir, name, strings.ReplaceAll(string(text), fmt.Sprintf("127.0.0.1:%d", from.port), fmt.Sprintf("127.0.0.1:%d", r.port)))
	}
}

// TestMoveBackIsWholeOrNot: nothing is written over, and what is interrupted leaves
// nothing that looks like a database.
func TestMoveBackIsWholeOrNot(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	dir := filepath.Join(h.dir, "back")
	h.expect(h.do("", "movein", "--back", dir), exitFails, "", "~no store")
	h.expect(h.do("", "movein", "--back", dir, "--schema", "1.6"), exitFails, "", "~write 1.4, 1.7, or what crowdsec -version says, such as 1.6.4")
	h.expect(h.do("", "movein", "--schema", "1.7"), exitFails, "", "~--schema is for --back")
	h.expect(h.do("", "movein", "--from", "sqlite:"+sqliteFixture(t, "1.7")), exitGood, "", "~taken over into")
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	var more strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&more, "10.1.%d.%d\n", i>>8, i&255)
	}
	h.expect(h.do(more.String(), "decisions", "import", "-i", "-", "--format", "values"), exitGood, "~Imported 20000 decisions", "")

	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"crowdsec.db", "crowdsec.db-wal", "crowdsec.db-journal"} {
		path := write(t, dir, name, "something")
		h.expect(h.do("", "movein", "--back", dir), exitFails, "", "~"+path+" is there")
		if fileOf(t, path) != "something" {
			t.Errorf("%s was written over", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "crowdsec.db", "") // an empty one is none
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL} {
		for _, at := range []string{"store", "crowdsec.db"} {
			b := start(t, nil, "-c", h.file, "movein", "--back", dir)
			await(t, "it has begun, or is through", func() bool {
				_, err := os.Stat(filepath.Join(dir, ".lapid-movein-back", at))
				return err == nil || !running(b)
			})
			_ = b.cmd.Process.Signal(signal)
			code := b.wait(t)
			path := filepath.Join(dir, "crowdsec.db")
			info, err := os.Stat(path)
			if code == exitGood {
				t.Logf("it was through before %v", signal)
			} else if err == nil && info.Size() > 0 && queried(t, path, "PRAGMA integrity_check; SELECT count(*) FROM decisions WHERE value LIKE '10.1.%'") != "ok\n20000" {
				t.Errorf("%v in the middle leaves a half database", signal)
			}
			write(t, dir, "crowdsec.db", "")
		}
	}
	h.expect(h.do("", "movein", "--back", dir), exitGood, "", "~for a server of version 1.7.8")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the database are %v, %v", entries, err)
	}
	if got := queried(t, filepath.Join(dir, "crowdsec.db"), "SELECT count(*) FROM decisions WHERE value LIKE '10.1.%'; PRAGMA integrity_check; PRAGMA foreign_key_check"); got != "20000\nok" {
		t.Errorf("in it are %s", got)
	}
	if got := queried(t, filepath.Join(dir, "crowdsec.db"), "SELECT name FROM config_items ORDER BY name"); got != "apic_token\nblocklist:example_list:last_pull\npapi:last_pull" {
		t.Errorf("of the Central API it has %s", got)
	}
	kill(t, p)
}

// running tells whether a process has not ended.
func running(p *process) bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// TestMoveBackOnAFullDisk needs root, for a small disk of its own.
func TestMoveBackOnAFullDisk(t *testing.T) {
	t.Parallel()
	room := newMountRoom(t)
	h := emptyHouse(t)
	h.expect(h.do("", "movein", "--from", "sqlite:"+sqliteFixture(t, "1.7")), exitGood, "", "~taken over into")
	dir := filepath.Join(h.dir, "back")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	room.do(t, "a small disk", func() error { return syscall.Mount("lapid-test", dir, "tmpfs", 0, "size=96k,mode=0700") })
	try := func() (code int, said string) {
		var p *process
		room.do(t, "the verb", func() error {
			p = start(t, nil, "-c", h.file, "movein", "--back", dir)
			return nil
		})
		code = p.wait(t)
		return code, p.out.String()
	}
	if code, said := try(); code != exitFails || !strings.Contains(said, "make room, or name a folder on another disk") {
		t.Errorf("on a full disk it ends with %d: %s", code, said)
	}
	room.do(t, "a look", func() error {
		entries, err := os.ReadDir(dir)
		if len(entries) > 0 {
			t.Errorf("it leaves %v", entries)
		}
		return err
	})
	room.do(t, "a larger disk", func() error { return syscall.Mount("lapid-test", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m") })
	if code, said := try(); code != exitGood {
		t.Errorf("with room it ends with %d: %s", code, said)
	}
}
