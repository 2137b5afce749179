package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lapid/engine"
	"lapid/persist"
)

// TestBackupVerbs takes backups of a real server while others write, and starts
// servers on what is restored from them: all that was answered before the backup
// is there, everything is whole, and a token of before goes on working.
func TestBackupVerbs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	ledger := &ledger{alerts: map[string]int{}, asked: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { h.writeAlerts(ctx, ledger, fmt.Sprintf("w%d", w), 1+w*w*w) })
	}
	writers.Go(func() { h.writeBouncers(ctx, ledger, "b") })
	folder := filepath.Join(h.dir, "backups")
	for i := range 3 {
		more := ledger.count() + 40
		await(t, "writes are answered", func() bool { return ledger.count() > more })
		before := ledger.answered()
		other := emptyHouse(t)
		if i == 0 { // through a pipe, to a folder where nothing is
			taken := h.do("", "backup", "-")
			h.expect(taken, exitGood, "", "")
			h.expect(other.do(taken.out, "restore", "-"), exitGood, "", "~restored revision")
		} else { // by a file, over another store
			other = newHouse(t)
			h.expect(h.do("", "backup", folder), exitGood, "", "~wrote "+folder+"/lapid-")
			other.restoreOver(newest(t, folder))
		}
		q := start(t, nil, "-c", other.file, "serve")
		other.awaitHealth(q)
		other.token = h.token
		before.asked = ledger.answered().asked
		other.compare(before)
		kill(t, q)
	}
	stop()
	writers.Wait()
	h.expect(h.do("", "restore", newest(t, folder), "--force"), exitFails, "", "~a server is running: stop it first")
	h.expect(h.do("", "check"), exitFails, "", "~a server is running")
	h.compare(ledger)
	private(t, folder)
}

// TestRestoreReachesBouncers has bouncers poll a real server, which is then put back
// to a backup: at its next poll, that asks for no full state, each is told what runs
// by the backup and what is over by it, wherever it was before; then deltas go on.
func TestRestoreReachesBouncers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.steps([]step{{"bouncers add late -k late -o raw", 0, "late", ""}})
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	holds := map[string]map[string]bool{"key": {}, "late": {}}
	poll := func(key string) (told, ended int) {
		t.Helper()
		h.header = http.Header{"X-Api-Key": {key}}
		defer func() { h.header = nil }()
		code, text, err := h.ask("GET", "/v1/decisions/stream", "")
		var d struct{ New, Deleted []struct{ Value string } }
		if err != nil || code != 200 || json.Unmarshal([]byte(text), &d) != nil {
			t.Fatalf("polling: %d %s %v", code, text, err)
		}
		for _, one := range d.Deleted {
			delete(holds[key], one.Value)
		}
		for _, one := range d.New {
			holds[key][one.Value] = true
		}
		return len(d.New), len(d.Deleted)
	}
	post := func(first, many int) {
		t.Helper()
		if code, text, err := h.ask("POST", "/v1/alerts", alertText("s", first, many)); err != nil || code != 201 {
			t.Fatalf("alert: %d %s %v", code, text, err)
		}
	}
	post(1, 3)
	poll("key")
	poll("late")
	post(4, 1)
	h.expect(h.do("", "decisions", "delete", "--ip", "10.0.0.2"), exitGood, "", "~1 decision(s) deleted")
	poll("key") // late still holds 10.0.0.2
	folder := filepath.Join(h.dir, "backups")
	h.expect(h.do("", "backup", folder), exitGood, "", "~wrote")
	h.expect(h.do("", "decisions", "delete", "--ip", "10.0.0.1"), exitGood, "", "~1 decision(s) deleted")
	h.expect(h.do("", "decisions", "delete", "--ip", "10.0.0.4"), exitGood, "", "~1 decision(s) deleted")
	post(9, 1)
	poll("key")   // and holds what is not in the backup
	for range 2 { // it is ahead of the backup, and goes on to be
		kill(t, p)
		h.expect(h.do("", "restore", newest(t, folder), "--force"), exitGood, "", "~restored revision")
		kept, err := filepath.Glob(h.store() + ".before-*")
		if err != nil || len(kept) != 1 {
			t.Fatal(kept, err)
		}
		if err := os.RemoveAll(kept[0]); err != nil {
			t.Fatal(err)
		}
		p = start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		for key := range holds {
			if told, ended := poll(key); told != 3 || ended != 2 || !maps.Equal(holds[key], map[string]bool{"10.0.0.1": true, "10.0.0.3": true, "10.0.0.4": true}) {
				t.Errorf("%s: told %d new and %d over, and holds %v", key, told, ended, holds[key])
			}
			if told, ended := poll(key); told+ended != 0 {
				t.Errorf("%s: told %d new and %d over again", key, told, ended)
			}
		}
	}
	post(20, 2)
	if told, ended := poll("late"); told != 2 || ended != 0 {
		t.Errorf("told %d new and %d over after that", told, ended)
	}
}

// answered is what is answered by now.
func (l *ledger) answered() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &ledger{alerts: maps.Clone(l.alerts), asked: maps.Clone(l.asked), bouncers: append([]string{}, l.bouncers...)}
}

// restoreOver restores where a store is: only by force, and the store that was
// there is kept.
func (h *house) restoreOver(backup string) {
	h.t.Helper()
	was := h.digest(h.store())
	h.expect(h.do("", "restore", backup), exitFails, "", "~give --force to put the backup in its place")
	if h.digest(h.store()) != was {
		h.t.Error("a restore that was refused has changed the store")
	}
	h.expect(h.do("", "restore", backup, "--force"), exitGood, "", "~the store that was there is now "+h.store()+".before-")
	kept, err := filepath.Glob(h.store() + ".before-*")
	if err != nil || len(kept) != 1 || h.digest(kept[0]) != was {
		h.t.Errorf("what was there is not in %q, %v", kept, err)
	}
	if h.digest(h.store()) != noted(h.t, backup) {
		h.t.Error("what was restored is not what was backed up")
	}
	// A backup of what was restored holds the same.
	again := filepath.Join(h.dir, "again")
	h.expect(h.do("", "backup", again), exitGood, "", "~wrote "+again)
	if noted(h.t, newest(h.t, again)) != noted(h.t, backup) {
		h.t.Error("a backup of what was restored is another")
	}
	private(h.t, h.store())
}

func (s *site) store() string { return filepath.Join(s.dir, "lapid/store") }

// expect holds a result against what must come of it, as steps does.
func (s *site) expect(r result, exit int, out, err string) {
	s.t.Helper()
	if r.exit != exit || (out != "" && !fits(r.out, out, s.dir)) || !fits(r.err, err, s.dir) {
		s.t.Errorf("exit %d, want %d\nstdout %.300q, want %q\nstderr %q, want %q", r.exit, exit, r.out, out, r.err, err)
	}
}

// digest is the state in a store that nobody has open.
func (s *site) digest(store string) [32]byte {
	s.t.Helper()
	e, err := engine.Open(&engine.Options{Dir: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer e.Close()
	return e.Digest()
}

// noted is the digest that a backup carries.
func noted(t *testing.T, path string) (digest [32]byte) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = persist.Restore(&persist.Options{Dir: "store", FS: persist.NewMemFS()}, file, func(kind uint16, body []byte) error {
		if kind == 1 {
			digest = [32]byte(body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// newest is the backup in a folder that was taken last.
func newest(t *testing.T, folder string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(folder, "lapid-*"+backupEnd))
	if err != nil || len(all) == 0 {
		t.Fatalf("no backup in %s: %v", folder, err)
	}
	return slices.MaxFunc(all, func(a, b string) int {
		x, errX := os.Stat(a)
		y, errY := os.Stat(b)
		if err := errors.Join(errX, errY); err != nil {
			t.Fatal(err)
		}
		return x.ModTime().Compare(y.ModTime())
	})
}

// private makes sure that nobody else can read what is in a folder.
func private(t *testing.T, folder string) {
	t.Helper()
	info, err := os.Stat(folder)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s has mode %v, %v", folder, info.Mode(), err)
	}
	all, err := filepath.Glob(filepath.Join(folder, "*"+backupEnd))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
}

// A backup that is cut or changed is refused, and the store stays as it was.
func TestCutBackup(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	folder := filepath.Join(h.dir, "backups")
	h.expect(h.do("", "backup", folder), exitGood, "", "~wrote")
	path := newest(t, folder)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h.steps([]step{{"check " + path, exitGood, "~no damage found", ""}})
	was := h.digest(h.store())
	for name, text := range map[string][]byte{
		"cut":     whole[:len(whole)-1],
		"half":    whole[:len(whole)/2],
		"changed": append(append(bytes.Clone(whole[:60]), whole[60]^1), whole[61:]...),
		"more":    append(bytes.Clone(whole), 0),
		"none":    nil,
	} {
		bad := write(t, h.dir, name+backupEnd, string(text))
		h.expect(h.do("", "check", bad), exitFails, "", "~"+bad)
		h.expect(h.do("", "restore", bad, "--force"), exitFails, "", "~nothing was restored")
		h.expect(h.do(string(text), "restore", "-", "--force"), exitFails, "", "~nothing was restored")
	}
	if h.digest(h.store()) != was {
		t.Error("a backup that was refused has changed the store")
	}
	h.alone()
	h.steps([]step{
		{"restore @DIR@/nowhere", exitFails, "", "~no such file"},
		{"check @DIR@/nowhere", exitFails, "", "~no such file"},
		{"backup", exitFails, "", "Error: lapid backup: expected is DIR|-, but none was given; see \"lapid backup --help\"\n"},
	})
	empty := emptyHouse(t)
	empty.steps([]step{
		{"backup -", exitFails, "", "~there is no store in @DIR@/lapid/store"},
		{"check", exitFails, "", "~there is no store"},
	})
}

// alone makes sure that nothing lies beside the store.
func (s *site) alone() {
	s.t.Helper()
	all, err := filepath.Glob(s.store() + "*")
	if err != nil || len(all) != 1 {
		s.t.Errorf("beside the store: %q, %v", all, err)
	}
}

// A restore that is killed half way leaves the store as it was; the next one
// clears away what it left.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	taken := h.do("", "backup", "-")
	h.expect(taken, exitGood, "", "")
	h.steps([]step{{"bouncers add later -k other -o raw", 0, "other", ""}})
	was := h.digest(h.store())
	cmd := exec.Command(os.Args[0], "-c", h.file, "restore", "-", "--force")
	cmd.Env = append(os.Environ(), beLapid+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := launch(cmd); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte(taken.out[:len(taken.out)-1])); err != nil {
		t.Fatal(err)
	}
	await(t, "the new store is begun", func() bool {
		_, err := os.Stat(h.store() + ".restoring/FORMAT")
		return err == nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if h.digest(h.store()) != was {
		t.Error("a restore that was killed has changed the store")
	}
	h.expect(h.do(taken.out, "restore", "-", "--force"), exitGood, "", "~restored revision")
	if _, err := os.Stat(h.store() + ".restoring"); err == nil {
		t.Error("what the killed restore left is still there")
	}
	if h.digest(h.store()) == was {
		t.Error("nothing was restored")
	}
}

// A check changes nothing, finds nothing in a sound store, and names what is
// damaged in another, for people and for programs.
func TestCheckVerb(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, []string{"LAPID_SNAPSHOT_EVERY=30d"}, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	for i := range 20 {
		if code, text, err := h.ask("POST", "/v1/alerts", alertText(fmt.Sprint("s", i), i*50, 50)); code != 201 {
			t.Fatal(code, text, err)
		}
	}
	kill(t, p)
	// One snapshot, of all there is: with another before it a start would not need what is damaged below.
	p = start(t, []string{"LAPID_SNAPSHOT_EVERY=1s"}, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "a snapshot is written", func() bool { return len(h.files("snapshots/*.snapshot")) > 0 })
	kill(t, p)
	was := h.digest(h.store())
	before := contents(t, h.store())
	h.steps([]step{
		{"check", exitGood, "~20 alerts, 1000 decisions", ""},
		{"check", exitGood, "~no damage found\n", ""},
		{"check -o json", exitGood, "~\"damage\": []", ""},
		{"check -o raw", exitGood, "damage\n", ""},
	})
	if !maps.Equal(before, contents(t, h.store())) || h.digest(h.store()) != was {
		t.Error("a check has changed the store")
	}
	snapshots := h.files("snapshots/*.snapshot")
	h.flip(snapshots[len(snapshots)-1])
	h.steps([]step{
		{"check", exitFails, "~damaged: " + snapshots[len(snapshots)-1], "Error: lapid check: the store is damaged (findings: 1): a start does without that, and new snapshots take its place\n"},
		{"check -o raw", exitFails, "~" + snapshots[len(snapshots)-1], "~the store is damaged"},
	})
	journal := slices.MaxFunc(h.files("store/*.sst"), func(a, b string) int { return len(before[a]) - len(before[b]) })
	h.flip(journal)
	h.steps([]step{
		{"check", exitFails, "~damaged: journal after record", "~(findings: 4): restore a backup with: lapid restore --force FILE"},
		{"check", exitFails, "~file " + strings.TrimSuffix(filepath.Base(journal), ".sst"), "~(findings: 4)"},
		{"serve", exitFails, "~store: damaged table", ""},
	})
}

// files lists files of the store, by name.
func (s *site) files(pattern string) []string {
	s.t.Helper()
	all, err := filepath.Glob(filepath.Join(s.store(), pattern))
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// flip changes one bit in the middle of a file.
func (s *site) flip(path string) {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		s.t.Fatal(path, len(text), err)
	}
	text[len(text)/2] ^= 4
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// contents is every file below a folder, but for locks.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "LOCK" {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
