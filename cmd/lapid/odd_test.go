package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lapid/cmd/lapid/datadir"
)

// oddities puts something else in the place of a file or folder.
var oddities = map[string]func(path string) error{
	"a pipe":                 func(path string) error { return syscall.Mkfifo(path, 0o600) },
	"a file":                 func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
	"a link to nowhere":      func(path string) error { return os.Symlink(path+".nowhere", path) },
	"a link to itself":       func(path string) error { return os.Symlink(path, path) },
	"a link to a device":     func(path string) error { return os.Symlink("/dev/zero", path) },
	"a link to what is none": func(path string) error { return os.Symlink(filepath.Dir(path)+"/MADE", path) },
}

// TestOddStore: whatever lies in the place of the store, a start and a check end at once
// and say what to do, and a restore keeps it under another name.
func TestOddStore(t *testing.T) {
	t.Parallel()
	h, answered := killedHouse(t)
	backups := filepath.Join(h.dir, "backups")
	h.expect(h.do("", "backup", backups), exitGood, "", "~wrote ")
	backup := newest(t, backups)
	for what, put := range oddities {
		if err := errors.Join(os.RemoveAll(h.store()), put(h.store())); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(h.store())
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"check", "bouncers list", "backup " + backups, "serve"} {
			p := start(t, nil, append([]string{"-c", h.file}, words(verb)...)...)
			if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), "lapid restore --force FILE") || strings.Contains(p.out.String(), "disk failure") {
				t.Errorf("%s, %s: exit %d: %s", what, verb, code, p.out)
			}
		}
		h.expect(h.do("", "restore", backup), exitFails, "", "~give --force")
		h.expect(h.do("", "restore", "--force", backup), exitGood, "", "~restored")
		kept, err := filepath.Glob(h.store() + ".before-*")
		if err != nil || len(kept) != 1 {
			t.Fatal(kept, err)
		}
		if now, err := os.Lstat(kept[0]); err != nil || now.Mode() != before.Mode() {
			t.Errorf("%s is kept as %v (%v)", what, now, err)
		}
		if err := os.Remove(kept[0]); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.compare(answered)
}

// TestOddFiles: what no program has written there keeps nobody waiting: pipes, devices,
// links to themselves and endless files in the place of backups and of a store's files.
func TestOddFiles(t *testing.T) {
	t.Parallel()
	h, _ := killedHouse(t)
	pipe := filepath.Join(h.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"check", "restore --force"} {
		for _, path := range []string{pipe, "/dev/zero"} {
			h.expect(h.do("", words(verb+" "+path)...), exitFails, "", "~"+path+" is no ordinary file")
		}
	}
	aside := filepath.Join(h.dir, "aside")
	ways := regexp.MustCompile(nextSteps.String() + `|accept the loss`)
	for _, pattern := range []string{"FORMAT", "LATEST", "store/*.log", "store/MANIFEST-*", "store/OPTIONS-*"} {
		files := h.files(pattern)
		path := slices.Max(files)
		for _, what := range []string{"a pipe", "a link to itself", "a link to a device", "endless"} {
			if err := os.Rename(path, aside); err != nil {
				t.Fatal(err)
			}
			put := oddities[what]
			if what == "endless" {
				put = func(path string) error {
					text, err := os.ReadFile(aside)
					return errors.Join(err, os.WriteFile(path, text, 0o600), os.Truncate(path, 64<<30))
				}
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			if r := h.do("", "check"); what != "endless" || pattern != "LATEST" { // of that the beginning counts
				said := r.out + r.err
				if r.exit != exitFails || !strings.Contains(said, path) || !ways.MatchString(said) || strings.Contains(said, "disk failure") {
					t.Errorf("%s in place of %s: exit %d: %s", what, path, r.exit, said)
				}
			}
			if err := errors.Join(os.Remove(path), os.Rename(aside, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.expect(h.do("", "check"), exitGood, "~no damage found", "")

	// An empty folder of snapshots is made again, and nothing is lost.
	if err := os.Remove(filepath.Join(h.store(), "snapshots")); err != nil {
		t.Fatal(err)
	}
	h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	h.expect(h.do("", "bouncers", "list"), exitGood, "", "")
	if datadir.Missing(filepath.Join(h.store(), "snapshots")) {
		t.Error("the folder of snapshots is not made again")
	}

	// With nothing but FORMAT left, the ways out are named.
	for _, name := range []string{"store", "snapshots", "LATEST", "LOCK"} {
		if err := os.RemoveAll(filepath.Join(h.store(), name)); err != nil {
			t.Fatal(err)
		}
	}
	if r := h.do("", "check"); r.exit != exitFails || !nextSteps.MatchString(r.out+r.err) {
		t.Errorf("only FORMAT: exit %d: %s%s", r.exit, r.out, r.err)
	}
}
