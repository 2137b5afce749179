package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

	"lapid/transport/admin"
)

// beLapid makes the test's own program run as lapid: the real thing in a
// process of its own, with the race detector if the test has it.
const beLapid = "LAPID_TEST_IS_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beLapid) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// deadline is how long anything may take before a test gives up.
const deadline = time.Minute

// process is a lapid of its own, killed at the latest when the test ends.
type process struct {
	cmd   *exec.Cmd
	out   *safeBuffer
	ended chan struct{}
	err   error // after ended
}

// safeBuffer collects output while it is being read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], args...), out: &safeBuffer{}, ended: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), beLapid+"=1"), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%v wrote:\n%s", args, p.out)
		}
	})
	return p
}

// wait gives the exit code of a process that ends by itself.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(deadline):
		t.Fatalf("it does not end; it wrote:\n%s", p.out)
		return 0
	}
}

// await looks until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	end := time.After(deadline)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("it never happened that %s", what)
		}
	}
}

// serverConfig: 1 the folder, 2 the port.
const serverConfig = `config_paths: {data_dir: %[1]s}
db_config: {flush: {max_items: 1000000}}
api:
  server:
    listen_uri: 127.0.0.1:%[2]d
    listen_socket: %[1]s/api.sock
    profiles_path: %[1]s/profiles.yaml
    trusted_ips: [127.0.0.1]
  client: {credentials_path: %[1]s/credentials.yaml}
prometheus: {enabled: true, listen_port: %[3]d}
`

const rule = "name: %s\nfilters: ['Alert.Remediation == true']\ndecisions: [{type: %s, duration: 1h}]\n"

// freePort is a port that nobody listens on at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// house is a site with a server in it.
type house struct {
	*site
	metrics int
	web     *http.Client
	token   string
}

// newHouse furnishes a site. The test speaks to the API over its socket, which
// no other test can have.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{site: &site{t: t, dir: t.TempDir()}, metrics: freePort(t)}
	h.file = write(t, h.dir, "config.yaml", fmt.Sprintf(serverConfig, h.dir, freePort(t), h.metrics))
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "first", "ban"))
	h.web = &http.Client{Timeout: deadline, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.dir, "api.sock"))
		},
		MaxIdleConnsPerHost: 32,
	}}
	h.steps([]step{
		{"machines add m -p secret -f @DIR@/credentials.yaml", 0, "", "~successfully added"},
		{"bouncers add b -k key -o raw", 0, "key", ""},
	})
	return h
}

// ask sends a request to the API.
func (h *house) ask(method, path, body string) (int, string, error) {
	r, err := http.NewRequestWithContext(h.t.Context(), method, "http://unix"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("X-Api-Key", "key")
	r.Header.Set("User-Agent", "test/1")
	if h.token != "" {
		r.Header.Set("Authorization", "Bearer "+h.token)
	}
	w, err := h.web.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	return w.StatusCode, string(text), err
}

func (h *house) awaitHealth(p *process) {
	h.t.Helper()
	await(h.t, "the server is up", func() bool {
		select {
		case <-p.ended:
			h.t.Fatalf("it has ended: %v\n%s", p.err, p.out)
		default:
		}
		code, _, err := h.ask("GET", "/health", "")
		return err == nil && code == 200
	})
}

func (h *house) login() {
	h.t.Helper()
	code, text, err := h.ask("POST", "/v1/watchers/login", `{"machine_id":"m","password":"secret"}`)
	var said struct{ Token string }
	if err != nil || code != 200 || json.Unmarshal([]byte(text), &said) != nil {
		h.t.Fatalf("login: %d %s %v", code, text, err)
	}
	h.token = said.Token
}

// alertText is an alert with so many decisions of its own, each on an address
// of its own, all with one scenario.
func alertText(scenario string, first, many int) string {
	var ds []string
	for i := range many {
		n := first + i
		ds = append(ds, fmt.Sprintf(`{"type":"ban","scope":"Ip","value":"10.%d.%d.%d","duration":"4h","origin":"test","scenario":%q}`,
			n>>16&255, n>>8&255, n&255, scenario))
	}
	return fmt.Sprintf(`[{"scenario":%q,"scenario_hash":"","scenario_version":"","message":"","capacity":0,"leakspeed":"0","events":[],
		"events_count":1,"simulated":false,"start_at":"now","stop_at":"now","remediation":true,
		"source":{"scope":"Ip","value":"203.0.113.9"},"decisions":[%s]}]`, scenario, strings.Join(ds, ","))
}

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
			if r := s.do("", "bouncers", "add", fmt.Sprint("b", i), "-k", "k", "-o", "raw"); r.exit != 0 {
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
		p := start(t, nil, "quickstart", "--dir", dir, "--listen", api, "--metrics", metrics)
		await(t, "the lines are printed", func() bool { return strings.Contains(p.out.String(), "The operator's verbs") })
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
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code != exitGood {
			t.Errorf("exit %d", code)
		}
	}
	for _, name := range []string{quickConfig, quickCredentials, quickKey} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestKill kills the server again and again in the middle of writes. What was
// answered is there after every restart; an alert is there whole or not at all;
// a token goes on working.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t)
	answered := &ledger{alerts: map[string]int{}, asked: map[string]int{}}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	const kills = 22
	for round := range kills {
		ctx, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for w := range 6 {
			writers.Go(func() { h.writeAlerts(ctx, answered, fmt.Sprintf("r%d-w%d", round, w), 1+w*w) })
		}
		writers.Go(func() { h.writeBouncers(ctx, answered, fmt.Sprintf("r%d", round)) })
		enough := answered.count() + 1 + chance.IntN(400)
		after := time.NewTimer(time.Duration(chance.IntN(int(60 * time.Millisecond))))
		<-after.C
		if chance.IntN(2) == 0 { // by number of answers, instead of by time
			await(t, "writes are answered", func() bool { return answered.count() >= enough })
		}
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.ended
		stop()
		writers.Wait()
		p = start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		h.compare(answered)
		if t.Failed() {
			t.Fatalf("after kill %d", round+1)
		}
	}
	if answered.count() == 0 {
		t.Error("nothing was ever answered")
	}
	t.Logf("%d kills, %d writes answered", kills, answered.count())
}

// ledger is what writers asked for and what they were answered.
type ledger struct {
	mu       sync.Mutex
	alerts   map[string]int // scenario to number of decisions, answered
	asked    map[string]int // the same, asked for
	bouncers []string       // answered
	next     int            // of addresses
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.alerts) + len(l.bouncers)
}

// begin notes a write and gives its first address.
func (l *ledger) begin(scenario string, many int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[scenario] = many
	l.next += many
	return l.next - many
}

func (h *house) writeAlerts(ctx context.Context, l *ledger, name string, many int) {
	for i := 0; ctx.Err() == nil; i++ {
		scenario := fmt.Sprintf("%s-%d", name, i)
		code, _, err := h.ask("POST", "/v1/alerts", alertText(scenario, l.begin(scenario, many), many))
		if err != nil {
			return // killed
		}
		if code != 201 {
			h.t.Errorf("an alert is answered with %d", code)
			return
		}
		l.mu.Lock()
		l.alerts[scenario] = many
		l.mu.Unlock()
	}
}

func (h *house) writeBouncers(ctx context.Context, l *ledger, name string) {
	door, err := admin.Dial(ctx, filepath.Join(h.dir, "lapid/admin.sock"))
	if err != nil {
		return
	}
	defer door.Close()
	for i := 0; ctx.Err() == nil; i++ {
		n := fmt.Sprintf("%s-%d", name, i)
		if err := door.AddBouncer(ctx, &admin.NewBouncer{Name: n, KeyHash: hashKey(n)}); err != nil {
			return
		}
		l.mu.Lock()
		l.bouncers = append(l.bouncers, n)
		l.mu.Unlock()
	}
}

// compare asks the server for everything and holds it against the ledger.
func (h *house) compare(l *ledger) {
	h.t.Helper()
	code, text, err := h.ask("GET", "/v1/decisions/stream?startup=true", "")
	var all struct {
		New []struct{ Scenario, Value string }
	}
	if err := errors.Join(err, json.Unmarshal([]byte(text), &all)); err != nil || code != 200 {
		h.t.Fatalf("the stream: %d %v", code, err)
	}
	found := map[string]int{}
	for _, d := range all.New {
		found[d.Scenario]++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for scenario, many := range l.alerts {
		if found[scenario] != many {
			h.t.Errorf("%s was answered with %d decisions, there are %d", scenario, many, found[scenario])
		}
	}
	for scenario, n := range found {
		if l.asked[scenario] != n {
			h.t.Errorf("%s is half there: %d of %d decisions", scenario, n, l.asked[scenario])
		}
	}
	door, err := admin.Dial(h.t.Context(), filepath.Join(h.dir, "lapid/admin.sock"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer door.Close()
	list, err := door.Bouncers(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	names := map[string]bool{}
	for i := range list.Bouncers {
		names[list.Bouncers[i].Name] = true
	}
	for _, n := range l.bouncers {
		if !names[n] {
			h.t.Errorf("bouncer %s was answered and is gone", n)
		}
	}
	if code, _, err := h.ask("GET", "/v1/heartbeat", ""); code != 200 {
		h.t.Errorf("the token of before the kill: %d %v", code, err)
	}
}
