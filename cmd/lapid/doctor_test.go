package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// visited is what doctor says in JSON.
type visited struct {
	State  string
	Checks []struct{ Check, State, Found, Do string }
}

// has reports whether something is found, in a state, of a check.
func (v *visited) has(state, check, found string) bool {
	for _, c := range v.Checks {
		if c.State == state && c.Check == check && strings.Contains(c.Found, found) {
			return true
		}
	}
	return false
}

// TestDoctor: what is wrong is found, with a server and without one, each in its state and with
// what to do; the exit code is that of the worst.
func TestDoctor(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	backups := filepath.Join(h.dir, "backups")
	ask := func(args ...string) (v visited) {
		t.Helper()
		r := h.do("", append([]string{"doctor", "-o", "json", "--backups", backups}, args...)...)
		if err := json.Unmarshal([]byte(r.out), &v); err != nil || r.err != "" || r.exit != map[string]int{"well": exitGood, "advice": exitFails, "broken": exitBroken}[v.State] {
			t.Fatalf("%v %+v", err, r)
		}
		for _, c := range v.Checks {
			if c.State == "broken" && c.Do == "" || c.Found == "" {
				t.Errorf("%+v", c)
			}
		}
		return v
	}
	expect := func(v visited, state, check, found string) {
		t.Helper()
		if !v.has(state, check, found) {
			t.Errorf("there is no %s: %s: %s in\n%+v", state, check, found, v.Checks)
		}
	}
	// Before the first start.
	v := ask()
	expect(v, "unknown", "server", "no server is running")
	expect(v, "well", "store", "there is none yet")
	expect(v, "well", "ports", fmt.Sprintf("127.0.0.1:%d is free", h.port))
	expect(v, "advice", "backups", "there is none in "+backups)
	if _, err := os.Stat(filepath.Join(h.dir, "lapid")); err == nil {
		t.Error("it made a store")
	}
	// A store, and much that is wrong.
	h.steps([]step{{"machines add m -p secret -f @DIR@/credentials.yaml", 0, "", "~added"}, {"backup " + backups, 0, "", "~wrote "}})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	a := newAuthority(t, h.dir)
	if err := os.Chmod(h.dir+"/credentials.yaml", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.dir+"/profiles.yaml", 0o666); err != nil {
		t.Fatal(err)
	}
	old, _ := filepath.Glob(backups + "/*")
	if err := os.Chtimes(old[0], time.Time{}, time.Now().Add(-10*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	write(t, h.dir, "config.yaml.local", fmt.Sprintf("api: {server: {listen_uri: '%s', tls: {cert_file: %s, key_file: %s}}}\n", taken.Addr(), a.soon, a.key))
	v = ask()
	expect(v, "broken", "configuration", "address already in use")
	expect(v, "broken", "ports", fmt.Sprintf("%s is held by process %d", taken.Addr(), os.Getpid()))
	expect(v, "advice", "certificates", a.soon)
	expect(v, "advice", "files", "credentials.yaml (0644)")
	expect(v, "broken", "files", "profiles.yaml (0666)")
	expect(v, "advice", "backups", "10 days old")
	expect(v, "well", "store", "no damage")
	write(t, h.dir, "config.yaml.local", fmt.Sprintf("api: {server: {tls: {cert_file: %s, key_file: %s}}}\n", a.cert, a.otherKey))
	v = ask()
	expect(v, "broken", "certificates", "private key does not match")
	write(t, h.dir, "config.yaml.local", "api: {server: {nonsense: 1}}\n")
	if v = ask(); len(v.Checks) != 1 {
		t.Errorf("%+v", v)
	}
	expect(v, "broken", "configuration", "nonsense")
	// Beside a server.
	write(t, h.dir, "config.yaml.local", "")
	for _, file := range []string{"credentials.yaml", "profiles.yaml"} {
		if err := os.Chmod(filepath.Join(h.dir, file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	v = ask("--deep")
	expect(v, "well", "store", "the whole of it was read")
	expect(v, "well", "server", fmt.Sprintf("process %d", p.cmd.Process.Pid))
	expect(v, "well", "ports", fmt.Sprintf("127.0.0.1:%d is held by the server", h.port))
	expect(v, "advice", "bouncers", "there are none")
	expect(v, "well", "machines", "1, and none")
	expect(v, "well", "central API", "not configured")
	expect(v, "well", "files", "none is for everybody")
	write(t, h.dir, "config.yaml.local", fmt.Sprintf("api: {server: {listen_uri: '127.0.0.1:%d'}}\n", freePort(t)))
	expect(ask(), "advice", "ports", "is free, though a server runs")
	r := h.do("", "doctor")
	if r.exit != exitFails || !strings.Contains(r.out, "\n                        → ") || !strings.Contains(r.out, " with advice, ") {
		t.Errorf("%+v", r)
	}
}
