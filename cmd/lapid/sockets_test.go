package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lapid/cmd/lapid/config"
)

// TestListenSocketInTheWay: what listen_socket names is removed if it is the
// socket of a server that has died, and refused if it is anything else.
func TestListenSocketInTheWay(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	path := filepath.Join(h.dir, "api.sock")
	write(t, h.dir, "api.sock", "precious")
	p := start(t, nil, "-c", h.file, "serve")
	if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), path+" is in the way and not a socket") {
		t.Errorf("exit %d:\n%s", code, p.out)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Fatalf("%q, %v", text, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	first := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(first)
	other := emptyHouse(t)
	config, err := os.ReadFile(other.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, other.dir, "config.yaml", strings.ReplaceAll(string(config), filepath.Join(other.dir, "api.sock"), path))
	second := start(t, nil, "-c", other.file, "serve")
	if code := second.wait(t); code != exitFails || !strings.Contains(second.out.String(), "another program is listening on "+path) {
		t.Errorf("exit %d:\n%s", code, second.out)
	}
	h.awaitHealth(first)
	_ = first.cmd.Process.Kill()
	<-first.ended
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
}

// TestListenSocketMode: who may connect is what the configuration says, not the
// umask of whoever has started the server.
func TestListenSocketMode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		umask, setting string
		want           fs.FileMode
	}{{"0", "", 0o660}, {"0077", "", 0o660}, {"0077", "0666", 0o666}, {"0", "0o600", 0o600}} {
		h := emptyHouse(t)
		env := []string{}
		if c.setting != "" {
			env = append(env, "LAPID_LISTEN_SOCKET_MODE="+c.setting)
		}
		p := startUnder(t, c.umask, env, "-c", h.file, "serve")
		h.awaitHealth(p)
		for name, want := range map[string]fs.FileMode{"api.sock": c.want, "lapid/admin.sock": 0o660} {
			if info, err := os.Lstat(filepath.Join(h.dir, name)); err != nil || info.Mode() != want|fs.ModeSocket {
				t.Errorf("%+v: %s has %v, %v", c, name, info, err)
			}
		}
	}
}

// startUnder starts a lapid with a umask of its own.
func startUnder(t *testing.T, umask string, env []string, args ...string) *process {
	t.Helper()
	shell := fmt.Sprintf(`umask %s; exec "$0" "$@"`, umask)
	return startCommand(t, exec.Command("/bin/sh", append([]string{"-c", shell, os.Args[0]}, args...)...), env, args)
}

// TestForwardedWarning: believing everybody is said aloud; naming proxies is
// not.
func TestForwardedWarning(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]bool{"use_forwarded_for_headers: true": true, "use_forwarded_for_headers: true\n    trusted_proxies: [192.0.2.1]": false, "": false} {
		s, err := config.Load(write(t, t.TempDir(), "config.yaml", "config_paths: {data_dir: /d}\napi:\n  server:\n    listen_uri: 127.0.0.1:8080\n    "+more+"\n"), nothing)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Server(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(s.Warnings, "\n"), "every IPv4 client is believed"); got != want {
			t.Errorf("%q: %q", more, s.Warnings)
		}
	}
}
