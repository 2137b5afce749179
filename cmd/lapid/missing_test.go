package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lapid/engine"
)

// killedHouse is one whose server was killed after some alerts, with no snapshot.
func killedHouse(t *testing.T) (*house, *ledger) {
	t.Helper()
	h := newHouse(t)
	answered := &ledger{alerts: map[string]int{}, asked: map[string]int{}}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	for i := range 20 {
		scenario := fmt.Sprint("s", i)
		if code, text, err := h.ask("POST", "/v1/alerts", alertText(scenario, answered.begin(scenario, 3), 3)); code != 201 {
			t.Fatal(code, text, err)
		}
		answered.alerts[scenario] = 3
	}
	kill(t, p)
	return h, answered
}

// What is missing from the store of a server that was killed, or was put there from
// another, is named by a check and by a start, and neither changes anything: when
// it is put back, all that was answered is there.
func TestMissingIsMissed(t *testing.T) {
	t.Parallel()
	h, answered := killedHouse(t)
	other, _ := killedHouse(t)
	logs := func(h *house) []string { logs := h.files("store/*.log"); slices.Sort(logs); return logs }
	newest := logs(h)[len(logs(h))-1]
	foreign := logs(other)[len(logs(other))-1]
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	aside := filepath.Join(h.dir, "aside")
	away := func(path string) (back func()) {
		must(os.Rename(path, aside))
		return func() { must(os.RemoveAll(path)); must(os.Rename(aside, path)) }
	}
	instead := func(path, with string) (back func()) {
		put := away(path)
		text, err := os.ReadFile(with)
		must(err)
		must(os.WriteFile(path, text, 0o600))
		return put
	}
	add := func(name string) (back func()) {
		must(os.WriteFile(filepath.Join(h.store(), name), nil, 0o600))
		return func() { must(os.Remove(filepath.Join(h.store(), name))) }
	}
	in := func(name string) string { return filepath.Join(h.store(), name) }
	for _, c := range []struct {
		damage func() (back func())
		want   string
	}{
		{func() func() { return away(newest) }, "logs of the journal are missing: " + newest},
		{func() func() { return instead(newest, "/dev/null") }, "and now ends at"},
		{func() func() { return instead(newest, foreign) }, newest + " is from another store"},
		{func() func() { return away(in("store")) }, "there is no journal in " + in("store")},
		{func() func() { back := away(in("store")); must(os.Mkdir(in("store"), 0o700)); return back }, "there is no journal in " + in("store")},
		{func() func() { return away(in("LATEST")) }, in("LATEST")},
		{func() func() { return instead(in("FORMAT"), other.store()+"/FORMAT") }, in("FORMAT") + " is from another store"},
		{func() func() { return add("NEW") }, in("NEW") + " lies in a store that was used"},
	} {
		back := c.damage()
		for range 2 {
			h.expect(h.do("", "check"), exitFails, "~"+c.want, "~the store is damaged")
			p := start(t, nil, "-c", h.file, "serve")
			if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), c.want) {
				t.Errorf("a start ends with %d, not with %q:\n%s", code, c.want, p.out)
			}
		}
		back()
		h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.compare(answered)
}

// nextSteps is what may stand at the end of a refusal.
var nextSteps = regexp.MustCompile(`lapid restore --force FILE|lapid check --accept-loss|remove it: it holds nothing|so this makes it: touch /|a start does without that, and new snapshots take its place`)

// harm does something to a file, or a folder, of a store; false where that is
// nothing.
var harm = map[string]func(t *testing.T, path string, info fs.FileInfo) bool{
	"removed": func(t *testing.T, path string, _ fs.FileInfo) bool { return needs(t, os.RemoveAll(path)) },
	"emptied": func(t *testing.T, path string, info fs.FileInfo) bool {
		if info.IsDir() {
			return needs(t, os.RemoveAll(path), os.Mkdir(path, 0o700))
		}
		return info.Size() > 0 && needs(t, os.Truncate(path, 0))
	},
	"cut in half": func(t *testing.T, path string, info fs.FileInfo) bool {
		return !info.IsDir() && info.Size() > 0 && needs(t, os.Truncate(path, info.Size()/2))
	},
	"of another kind": func(t *testing.T, path string, info fs.FileInfo) bool {
		if info.IsDir() {
			return needs(t, os.RemoveAll(path), os.WriteFile(path, []byte("x"), 0o600))
		}
		return needs(t, os.Remove(path), os.Mkdir(path, 0o700))
	},
	"a pipe": func(t *testing.T, path string, info fs.FileInfo) bool {
		return !info.IsDir() && needs(t, os.Remove(path), syscall.Mkfifo(path, 0o600))
	},
	"a link": func(t *testing.T, path string, _ fs.FileInfo) bool {
		to := filepath.Join(t.TempDir(), "elsewhere")
		return needs(t, os.Rename(path, to), os.Symlink(to, path))
	},
	"a link to nothing": func(t *testing.T, path string, _ fs.FileInfo) bool {
		return needs(t, os.RemoveAll(path), os.Symlink(filepath.Join(t.TempDir(), "nothing"), path))
	},
}

func needs(t *testing.T, errs ...error) bool {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return true
}

// Whatever file of a store is harmed, and however: a check, a backup and a start go
// on as if nothing were, or end soon, name the file and what to do next, and change
// nothing. A restore helps in any case.
func TestEveryFileHarmed(t *testing.T) {
	t.Parallel()
	h, _ := killedHouse(t)
	p := start(t, []string{"LAPID_SNAPSHOT_EVERY=1s"}, "-c", h.file, "serve") // so that there are tables, and old files
	h.awaitHealth(p)
	await(t, "a snapshot is written", func() bool { return len(h.files("snapshots/*.snapshot")) > 0 })
	kill(t, p)
	whole := h.store()
	h.expect(h.do("", "backup", filepath.Join(h.dir, "backups")), exitGood, "", "~wrote ")
	backup, err := filepath.Glob(filepath.Join(h.dir, "backups", "*"+backupEnd))
	if err != nil || len(backup) != 1 {
		t.Fatal(backup, err)
	}
	names := []string{}
	for name := range describe(t, whole) {
		names = append(names, name)
	}
	for _, kind := range []string{"FORMAT", "LATEST", "LOCK", "store", "snapshots", ".snapshot", ".log", ".sst", "MANIFEST-", "OPTIONS-", "marker.manifest.", "marker.format-version."} {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, kind) }) {
			t.Errorf("the store has no %s: %v", kind, names)
		}
	}
	for _, name := range names {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			t.Parallel()
			h := emptyHouse(t)
			for how, do := range harm {
				if err := errors.Join(os.RemoveAll(h.store()), os.RemoveAll(filepath.Join(h.dir, "lapid", madeFileName)), os.CopyFS(h.store(), os.DirFS(whole))); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(h.store(), name)
				info, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				if do(t, path, info) {
					harmed(t, h, name, how, backup[0])
				}
			}
		})
	}
}

func harmed(t *testing.T, h *house, name, how, backup string) {
	t.Helper()
	before := describe(t, h.store())
	refused := 0
	refuses := func(what string, code int, said string) {
		t.Helper()
		if strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
			t.Errorf("%s, %s: %s panics:\n%s", name, how, what, said)
		}
		if code == exitGood {
			return
		}
		refused++
		if !strings.Contains(said, filepath.Base(name)) && !(strings.HasPrefix(filepath.Base(name), "marker.") && strings.Contains(said, "marker.")) {
			t.Errorf("%s, %s: %s does not name it: %s", name, how, what, said)
		}
		if !nextSteps.MatchString(said) {
			t.Errorf("%s, %s: %s does not say what to do next: %s", name, how, what, said)
		}
		if now := describe(t, h.store()); !maps.Equal(now, before) {
			t.Errorf("%s, %s: %s has refused, and changed the store from\n%v\nto\n%v", name, how, what, before, now)
		}
	}
	r := h.do("", "check")
	refuses("a check", r.exit, r.out+r.err)
	code, said := startsOrEnds(t, h)
	refuses("a start", code, said)
	r = h.do("", "backup", t.TempDir())
	refuses("a backup", r.exit, r.out+r.err)
	if refused > 0 {
		h.expect(h.do("", "restore", "--force", backup), exitGood, "", "~restored revision")
		h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	}
}

// startsOrEnds starts a server until it is up, and kills it then.
func startsOrEnds(t *testing.T, h *house) (code int, said string) {
	t.Helper()
	p := start(t, nil, "-c", h.file, "serve")
	up := false
	await(t, "it is up, or has ended", func() bool {
		select {
		case <-p.ended:
			return true
		default:
		}
		code, _, err := h.ask("GET", "/health", "")
		up = err == nil && code == 200
		return up
	})
	if up {
		kill(t, p)
		return exitGood, p.out.String()
	}
	return p.wait(t), p.out.String()
}

// describe is what lies in a folder: kinds, modes, and contents or targets.
func describe(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := []byte{}
		switch {
		case info.Mode().IsRegular():
			content, err = os.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			var to string
			to, err = os.Readlink(path)
			content = []byte(to)
		}
		all[strings.TrimPrefix(path, dir+"/")] = fmt.Sprintf("%v %x", info.Mode(), sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A loss is accepted in words, and by nobody else; then the server starts, and
// what comes later is as safe as ever.
func TestAcceptLoss(t *testing.T) {
	t.Parallel()
	h, _ := killedHouse(t)
	h.steps([]step{
		{"check --accept-loss", exitGood, "~no damage found", "~nothing is missing"},
		{"check --accept-loss x.backup", exitFails, "", "~not for a backup"},
	})
	for _, log := range h.files("store/*.log") {
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
	}
	h.steps([]step{
		{"check", exitFails, "~lapid check --accept-loss", "~the store is damaged"},
		{"machines list -o raw", exitFails, "", "~are missing: "},
		{"check --accept-loss", exitGood, "~no damage found", "~given up: "},
		{"check --accept-loss", exitGood, "~no damage found", "~nothing is missing"},
		{"machines add again -p secret -f @DIR@/again.yaml", 0, "", "~successfully added"},
	})
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	kill(t, p)
	h.steps([]step{{"machines list -o raw", exitGood, "~again,", ""}})
}

// A second server is not admitted when the file LOCK is taken away beside the first.
func TestLockTakenAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	if err := os.Remove(filepath.Join(h.store(), "LOCK")); err != nil {
		t.Fatal(err)
	}
	second := start(t, nil, "-c", h.file, "serve")
	if code := second.wait(t); code != exitFails || !strings.Contains(second.out.String(), "another server is running") {
		t.Errorf("a second server ends with %d:\n%s", code, second.out)
	}
	if code, text, err := h.ask("GET", "/v1/decisions", ""); code != 200 {
		t.Errorf("the first one: %d %s %v", code, text, err)
	}
}

// A store that somebody holds who does not answer is waited for in words, and who
// that is: also when the file LOCK was taken away. In the end it is said what to do.
func TestHeldStoreIsNamed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	held, err := engine.Open(&engine.Options{Dir: h.store()})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := os.Remove(filepath.Join(h.store(), "LOCK")); err != nil {
		t.Fatal(err)
	}
	whom := fmt.Sprintf("folder is in use by process %d (", os.Getpid())
	p := start(t, nil, "-c", h.file, "serve")
	await(t, "it says that it waits", func() bool {
		out := p.out.String()
		return strings.Contains(out, whom) && strings.Contains(out, "): it is waited for, 10s at most")
	})
	h.expect(h.do("", "check"), exitFails, "", "~"+whom)
	h.expect(h.do("", "restore", "--force", h.file), exitFails, "", "~stop what uses it first")
	if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), "stop that process, or give this server a data_dir of its own") {
		t.Errorf("it ends with %d:\n%s", code, p.out)
	}
}

// Whatever is given as a backup and is none, or not a whole one: a check and a
// restore say so, and what to do, and the store stays.
func TestBadBackups(t *testing.T) {
	t.Parallel()
	h, _ := killedHouse(t)
	h.expect(h.do("", "backup", h.dir), exitGood, "", "~wrote ")
	backups, err := filepath.Glob(filepath.Join(h.dir, "*"+backupEnd))
	if err != nil || len(backups) != 1 {
		t.Fatal(backups, err)
	}
	text, err := os.ReadFile(backups[0])
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(text)
	flipped[len(flipped)/2] ^= 1
	newer := slices.Clone(text)
	newer[8] = 99
	binary.LittleEndian.PutUint32(newer[28:], crc32.Checksum(newer[:28], crc32.MakeTable(crc32.Castagnoli)))
	before := describe(t, h.store())
	const another, written = "~take another backup, the one before, or copy it again", "~name a file that 'lapid backup' has written"
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty": {nil, written}, "foreign": {bytes.Repeat([]byte("foreign"), 1000), written}, "header": {text[:20], written},
		"half": {text[:len(text)/2], another}, "no-end": {text[:len(text)-1], another}, "flipped": {flipped, another},
		"newer": {newer, "~with a program that is no older"}, "longer": {append(slices.Clone(text), 'x'), another},
	} {
		path := write(t, h.dir, name, string(c.content))
		h.expect(h.do("", "check", path), exitFails, "", c.want)
		h.expect(h.do("", "restore", "--force", path), exitFails, "", c.want)
		h.expect(h.do("", "restore", "--force", path), exitFails, "", "~nothing was restored, and nothing was changed")
	}
	for _, verb := range [][]string{{"check"}, {"restore", "--force"}} {
		h.expect(h.do("", append(verb, h.dir)...), exitFails, "", written)
		h.expect(h.do("", append(verb, h.dir+"/none")...), exitFails, "", "~no such file")
	}
	if !maps.Equal(describe(t, h.store()), before) {
		t.Error("the store has changed")
	}
	if left, err := filepath.Glob(h.store() + ".*"); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// The journal is gone, a snapshot is there, and the loss is accepted: a check tells
// how many alerts it took the bodies of, and is content; a server is ready; its
// backup holds the same.
func TestAcceptedLossIsSettled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, []string{"LAPID_SNAPSHOT_EVERY=1s"}, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	for i := range 7 {
		if code, text, err := h.ask("POST", "/v1/alerts", alertText(fmt.Sprint("s", i), i*3, 3)); code != 201 {
			t.Fatal(code, text, err)
		}
	}
	await(t, "a snapshot knows all of them", func() bool {
		newest := h.files("snapshots/*.snapshot")
		return len(newest) > 0 && snapshotAlerts(t, h, newest) == 7
	})
	kill(t, p)
	if err := os.RemoveAll(filepath.Join(h.store(), "store")); err != nil {
		t.Fatal(err)
	}
	const settled = "lost, and accepted as such: what only their bodies told of 7 alerts\nno damage found\n"
	h.steps([]step{
		{"check", exitFails, "~lapid check --accept-loss", "~the store is damaged"},
		{"check --accept-loss", exitGood, "~" + settled, "~of 7 alerts"},
		{"check", exitGood, "~" + settled, ""},
		{"check -o json", exitGood, `~"accepted_losses": 7`, ""},
	})
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.steps([]step{
		{"ready", exitGood, "ready\n", ""},
		{"backup @DIR@/backups", exitGood, "", "~wrote "},
		{"alerts list -o raw", exitGood, "~\n", ""},
	})
	kill(t, p)
	backups, err := filepath.Glob(filepath.Join(h.dir, "backups", "*"+backupEnd))
	if err != nil || len(backups) != 1 {
		t.Fatal(backups, err)
	}
	h.expect(h.do("", "restore", "--force", backups[0]), exitGood, "", "~restored revision")
	h.expect(h.do("", "check"), exitGood, "~"+settled, "")
}

// snapshotAlerts is how many alerts a start would know from snapshots alone.
func snapshotAlerts(t *testing.T, h *house, snapshots []string) int {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	for _, path := range append(snapshots, filepath.Join(h.store(), "FORMAT")) {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return 0 // an older one has just gone
		}
		name, err2 := filepath.Rel(h.store(), path)
		if err := errors.Join(err, err2, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	_, bodies, err := engine.AcceptLoss(t.Context(), &engine.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return bodies
}
