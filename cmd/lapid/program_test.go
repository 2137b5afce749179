package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lapid/cmd/lapid/config"
)

// TestServer: the program as a value, with verbs beside it.
func TestServer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "-no-cs")
	h.awaitHealth(p)
	h.login()
	h.steps([]step{
		{"decisions add -i 192.0.2.1 -o raw", 0, "", ""},
		{"decisions list -o raw", 0, "~cscli,Ip:192.0.2.1,manual 'ban' from 'm',ban", ""},
		{"bouncers add b2 -k two -o raw", 0, "two", ""},
		{"lapi status", 0, "~You can successfully interact with Local API (LAPI)\n", ""},
	})
	if code, text, err := h.ask("GET", "/v1/decisions?ip=192.0.2.1", ""); code != 200 || !strings.Contains(text, `"value":"192.0.2.1"`) {
		t.Errorf("%d %s %v", code, text, err)
	}
	if _, _, err := h.ask("GET", "/v1/decisions/stream?startup=true", ""); err != nil {
		t.Error(err)
	}
	if r := h.do("", "bouncers", "list"); !strings.Contains(r.out, "Cursor  Behind") || !strings.Contains(r.out, "127.0.0.1") {
		t.Errorf("%+v", r)
	}
	scrape, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", h.metrics))
	if err != nil {
		t.Fatal(err)
	}
	defer scrape.Body.Close()
	if text, _ := io.ReadAll(scrape.Body); !strings.Contains(string(text), "cs_active_decisions{") {
		t.Errorf("metrics: %s", text)
	}
	if r := h.do("", "metrics", "show", "decisions"); r.exit != 0 || !strings.Contains(r.out, "Local API Decisions") {
		t.Errorf("%+v", r)
	}
	if again := start(t, nil, "-c", h.file); again.wait(t) != exitFails || !strings.Contains(again.out.String(), "another server is running") {
		t.Errorf("a second server: %s", again.out)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitGood {
		t.Errorf("SIGTERM ends with %d", code)
	}
	for _, socket := range []string{"lapid/admin.sock", "api.sock"} {
		if _, err := os.Stat(filepath.Join(h.dir, socket)); err == nil {
			t.Errorf("%s is still there", socket)
		}
	}
	h.steps([]step{{"decisions list -o raw", 0, "~Ip:192.0.2.1", ""}}) // from the store itself
	for name, mode := range map[string]os.FileMode{"lapid": 0o750, "lapid/store": 0o700} {
		if info, err := os.Stat(filepath.Join(h.dir, name)); err != nil || info.Mode().Perm()&^mode != 0 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

// TestReload: what can change changes, a file with a mistake changes nothing,
// and both are said.
func TestReload(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	reload := func(says string) {
		t.Helper()
		before := len(p.out.String())
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		await(t, says, func() bool { return strings.Contains(p.out.String()[before:], says) })
	}
	banned := func(kind string) {
		t.Helper()
		alert := strings.Replace(alertText("judged", 0, 0), "203.0.113.9", "203.0.113.10", 1)
		if code, text, err := h.ask("POST", "/v1/alerts", alert); code != 201 {
			t.Fatalf("%d %s %v", code, text, err)
		}
		if _, text, err := h.ask("GET", "/v1/alerts?limit=1", ""); !strings.Contains(text, `"type":"`+kind+`"`) {
			t.Errorf("not judged as %s: %s %v", kind, text, err)
		}
	}
	banned("ban")
	reload("nothing has changed")
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "second", "captcha"))
	reload("profiles (second)")
	banned("captcha")
	write(t, h.dir, "profiles.yaml", "filter: x\n")
	reload("nothing was reloaded")
	banned("captcha")
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "third", "ban"))
	text, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "trusted_ips: [127.0.0.1]", "trusted_ips: [192.0.2.0/24]\n    log_level: error", 1)
	write(t, h.dir, "config.yaml", strings.Replace(changed, "max_items: 1000000", "max_items: 7", 1))
	reload("changed, but in force only after a restart: db_config.flush.max_items")
	banned("ban")
	write(t, h.dir, "config.yaml", "nonsense: [")
	reload("level=error")
	banned("ban")
	if out := p.out.String(); !strings.Contains(out, "config.yaml:1:") {
		t.Errorf("the mistake is not named: %s", out)
	}
}

// TestNotify: the service manager hears of every change of state.
func TestNotify(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	path := filepath.Join(h.dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	hears := func(want string) {
		t.Helper()
		buffer := make([]byte, 4096)
		for {
			if err := manager.SetReadDeadline(time.Now().Add(deadline)); err != nil {
				t.Fatal(err)
			}
			n, err := manager.Read(buffer)
			if err != nil {
				t.Fatalf("never heard %s: %v", want, err)
			}
			if strings.HasPrefix(string(buffer[:n]), want) {
				return
			}
		}
	}
	p := start(t, []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=100000"}, "-c", h.file, "serve")
	hears("READY=1")
	hears("WATCHDOG=1")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hears("RELOADING=1\nMONOTONIC_USEC=")
	hears("READY=1")
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	if code := p.wait(t); code != exitGood {
		t.Errorf("SIGINT ends with %d", code)
	}
}

// TestBadStarts: what cannot start says why in one line, and leaves the store
// as it was.
func TestBadStarts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	text, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		from, to, want string
		env            []string
	}{
		"port": {"listen_uri: 127.0.0.1:", "listen_uri: " + taken.Addr().String() + " #", "local API server stopped with error: listening on " + taken.Addr().String() + ": ", nil},
		"metrics": {"listen_port: ", "listen_port: " + fmt.Sprint(taken.Addr().(*net.TCPAddr).Port) + " } #",
			"metrics listener: ", nil},
		"secret": {"", "", "CS_LAPI_SECRET not strong enough", []string{"CS_LAPI_SECRET=short"}},
		"rules":  {"profiles.yaml", "none.yaml", "none.yaml: no such file or directory", nil},
		"key":    {"trusted_ips", "trusted_ip", "did you mean \\\"trusted_ips\\\"?", nil},
		"folder": {"data_dir: " + h.dir, "data_dir: " + h.file, "making the store's folder: ", nil},
	} {
		file := write(t, h.dir, name+".yaml", strings.Replace(string(text), c.from, c.to, 1))
		p := start(t, c.env, "-c", file, "serve")
		if code := p.wait(t); code != exitFails {
			t.Errorf("%s: exit %d", name, code)
		}
		fatal := 0
		for line := range strings.Lines(p.out.String()) {
			if strings.Contains(line, "level=fatal") {
				fatal++
				if !strings.Contains(line, c.want) {
					t.Errorf("%s: %s, want %s", name, line, c.want)
				}
			}
		}
		if fatal != 1 {
			t.Errorf("%s: %d fatal lines\n%s", name, fatal, p.out)
		}
	}
	h.steps([]step{{"bouncers list -o raw", 0, "~\nb,,validated", ""}})
}

// TestVerbBesideVerb: verbs take turns at the store.
func TestVerbBesideVerb(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if r := s.do("", "bouncers", "add", fmt.Sprint("b", i), "-k", fmt.Sprint("k", i), "-o", "raw"); r.exit != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
	all.Wait()
	if r := s.do("", "bouncers", "list", "-o", "raw"); strings.Count(r.out, "\n") != 9 {
		t.Errorf("%s", r.out)
	}
}

// TestQuickstart: the three lines work when they are pasted, at the first start
// and at the second.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	api, metrics := fmt.Sprint("127.0.0.1:", freePort(t)), fmt.Sprint("127.0.0.1:", freePort(t))
	var first string
	for range 2 {
		p := start(t, nil, "quickstart", "--console", "off", "--dir", dir, "--listen", api, "--metrics", metrics)
		await(t, "the lines are printed", func() bool { return strings.Contains(p.out.String(), "Ctrl-C ends it") })
		var lines []string
		for line := range strings.Lines(p.out.String()) {
			if strings.HasPrefix(line, "curl ") {
				lines = append(lines, line)
			}
		}
		if len(lines) != 3 {
			t.Fatalf("%d lines", len(lines))
		}
		if first != "" && first != strings.Join(lines, "") {
			t.Errorf("other lines at the second start:\n%s\n%s", first, strings.Join(lines, ""))
		}
		first = strings.Join(lines, "")
		for i, want := range []string{`["`, `"value":"192.0.2.7"`, `{"new": [{`} {
			out, err := exec.Command("sh", "-c", lines[i]).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s\nprints %s (%v), want %s", lines[i], out, err, want)
			}
		}
		_, verbs, _ := strings.Cut(p.out.String(), "as an operator does it\n")
		add, rest, _ := strings.Cut(verbs, "\n")
		list, _, _ := strings.Cut(rest, "\n")
		for _, line := range []string{add, list} {
			if verb := start(t, nil, strings.Fields(line)[1:]...); verb.wait(t) != exitGood {
				t.Errorf("%s prints %s", line, verb.out.String())
			}
		}
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code != exitGood {
			t.Errorf("exit %d", code)
		}
	}
	for _, name := range []string{config.QuickConfig, "local_api_credentials.yaml", "bouncer.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
