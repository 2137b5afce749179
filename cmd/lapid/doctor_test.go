package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/verbs"
	"lapid/transport/admin"
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
	// Where the settings say: once a day, of which the one of before has missed ten.
	write(t, h.dir, "lapid.yaml", "backup: {dir: '"+backups+"', every: 24h}\n")
	r := h.do("", "doctor", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatal(err, r)
	}
	expect(v, "advice", "backups", "the newest in "+backups+" is 10 days old")
	if !strings.Contains(r.out, "the server makes them by itself") || strings.Contains(r.out, "/var/backups") {
		t.Error(r.out)
	}
	if err := os.Remove(h.dir + "/lapid.yaml"); err != nil {
		t.Fatal(err)
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
	r = h.do("", "doctor")
	if r.exit != exitFails || !strings.Contains(r.out, "\n                        → ") || !strings.Contains(r.out, " with advice, ") {
		t.Errorf("%+v", r)
	}
}

// TestDoctorDoesNotWait: a server that listens and does not answer, or not any more, is named as that, and what is
// to be done is not what is to be done about rights.
func TestDoctorDoesNotWait(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig+"common: {log_level: info}\n")
	setup, err := config.Load(s.file, nothing)
	if err != nil {
		t.Fatal(err)
	}
	path := setup.Socket()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf(`{"Version":%d,"Program":%q,"PID":1}`, admin.Version, version)
	for name, c := range map[string]struct {
		answers  map[string]string // by verb; what is not there is not answered
		text, do string
	}{
		"hangs":             {nil, "though a server listens there: it hangs", "kill -QUIT"},
		"hangs later":       {map[string]string{"/status": status}, "though a server listens there: it hangs", "kill -QUIT"},
		"another version":   {map[string]string{"/status": `{"Version":1,"Program":"old","PID":1}`}, "speaks version 1", "restart the server"},
		"backup that ends":  {map[string]string{"/status": status, "/ready": `{}`, "/backup": "not one"}, "cannot be read to its end", "lapid check"},
		"backup that hangs": {map[string]string{"/status": status, "/ready": `{}`, "/backup": ""}, "nothing came of a backup of it", "dmesg"},
	} {
		// One that is slow for want of a processor is told as one that hangs: then it gets more time.
		var r result
		found := false
		for patience := 300 * time.Millisecond; !found && patience < 2*deadline; patience *= 2 {
			r = visitTo(s, path, c.answers, patience)
			var v visited
			if err := json.Unmarshal([]byte(r.out), &v); err != nil {
				t.Fatal(name, err, r)
			}
			for _, one := range v.Checks {
				if strings.Contains(one.Found, c.text) {
					found = one.State == "broken" && strings.Contains(one.Do, c.do) && !strings.Contains(one.Do, "as root")
				}
			}
		}
		if !found || r.exit != exitBroken {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// visitTo is what doctor says of a server that answers some verbs, others not, and an empty answer never to its end.
func visitTo(s *site, path string, answers map[string]string, patience time.Duration) result {
	s.t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, known := answers[r.URL.Path]
		if known && text != "" {
			_, _ = io.WriteString(w, text)
			return
		}
		if known { // it has begun
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done() // when the connection ends
	})}
	over := make(chan struct{})
	go func() { defer close(over); _ = server.Serve(l) }()
	r := s.in(&verbs.Terminal{In: strings.NewReader(""), Patience: patience}, "doctor", "--deep", "-o", "json", "--backups", "none")
	_ = server.Close()
	<-over
	return r
}
