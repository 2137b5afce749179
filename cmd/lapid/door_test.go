package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapid/cmd/lapid/datadir"
	"lapid/cmd/lapid/verbs"
)

// TestNoServer: a verb without a server says so; without a store it fails, says
// where it looked and what to do, and makes nothing.
func TestNoServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, `config_paths: {data_dir: @DIR@/data}
api: {client: {credentials_path: @DIR@/credentials.yaml}}
`)
	for _, line := range []string{"decisions list", "decisions add -i 192.0.2.1", "bouncers add b -k k", "machines add m -p x -f -",
		"allowlists create a -d x", "alerts list", "alerts flush"} {
		r := s.in(&verbs.Terminal{}, words(line)...)
		says := fmt.Sprintf("no server is running and there is no store in %s/data/lapid/store (configuration %s (-c)): start the server first, "+
			"name another configuration with -c, or make an empty store before the first start with --init", s.dir, s.file)
		if !strings.Contains(r.err, says) || strings.Contains(r.out+r.err, "success") || r.exit != exitFails {
			t.Errorf("%s: %+v", line, r)
		}
		if _, err := os.Stat(filepath.Join(s.dir, "data")); err == nil {
			t.Fatalf("%s has made a folder", line)
		}
	}
	note := fmt.Sprintf("level=warning msg=\"no server is running (nobody listens on %[1]s/data/lapid/admin.sock): this is the store itself, "+
		"in %[1]s/data/lapid/store; configuration %[2]s (-c)\"\n", s.dir, s.file)
	for _, c := range []struct{ line, out, err string }{
		{"--init bouncers add b -k k -o raw", "k", note},
		{"decisions list", "No active decisions\n", note},
		{"decisions add -i 192.0.2.1", "", note + "level=info msg=\"Decision successfully added\"\n"},
	} {
		if r := s.in(&verbs.Terminal{}, words(c.line)...); r != (result{exitGood, c.out, c.err}) {
			t.Errorf("%s: %+v", c.line, r)
		}
	}
}

// TestServerAnswers: beside a running server nothing is said.
func TestServerAnswers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	start(t, nil, "-c", h.file, "serve")
	await(t, "the server answers", func() bool {
		r := h.in(&verbs.Terminal{}, "decisions", "list")
		return r == result{exitGood, "No active decisions\n", ""}
	})
}

// TestConfigurationIsNamed: a configuration that was looked for is named.
func TestConfigurationIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t, "config_paths: {data_dir: data}\n")
	p := startIn(t, s.dir, "--init", "bouncers", "add", "b")
	if code := p.wait(t); code != exitGood || !strings.Contains(p.out.String(), "level=info msg=\"configuration config.yaml\"") {
		t.Errorf("exit %d: %s", code, p.out)
	}
	if p := startIn(t, s.dir, "bouncers", "list", "-o", "raw"); p.wait(t) != exitGood || !strings.Contains(p.out.String(), "; configuration config.yaml\"") {
		t.Errorf("%s", p.out)
	}
}

// TestNotPermitted: who may not open something is told who may.
func TestNotPermitted(t *testing.T) {
	t.Parallel()
	denied := &os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}
	dir := t.TempDir()
	if err := datadir.Permitted(denied, filepath.Join(dir, "none", "admin.sock")); !strings.HasPrefix(err.Error(), "permission denied: "+dir+"/none/admin.sock: run as root") {
		t.Error(err)
	}
	if other := errors.New("other"); datadir.Permitted(other, dir) != other {
		t.Error("another error has changed")
	}
	if !asRoot(t) {
		return
	}
	for mode, want := range map[os.FileMode]string{0o770: "run as root or join the group 4712", 0o700: "run as root or as user 4711"} {
		if err := errors.Join(os.Chown(dir, 4711, 4712), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		if err := datadir.Permitted(denied, dir); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}
