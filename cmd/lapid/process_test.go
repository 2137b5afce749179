package main

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// beLapid makes the test's own program run as lapid: the real thing in a
// process of its own, with the race detector if the test has it.
const beLapid = "LAPID_TEST_IS_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beLapid) != "" {
		main()
		return
	}
	if os.Getenv(beAttacker) != "" {
		attack(os.Args[1:])
		return
	}
	if os.Getenv(beStrangers) != "" {
		strangers(os.Args[1:])
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
	return startCommand(t, exec.Command(os.Args[0], args...), env, args)
}

// startCommand starts a command that is, or becomes, a lapid.
func startCommand(t *testing.T, cmd *exec.Cmd, env, args []string) *process {
	t.Helper()
	p := &process{cmd: cmd, out: &safeBuffer{}, ended: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), beLapid+"=1"), env...)
	return p.begin(t)
}

// startIn starts in a folder of its own.
func startIn(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], args...), out: &safeBuffer{}, ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), beLapid+"=1"), dir
	return p.begin(t)
}

func (p *process) begin(t *testing.T) *process {
	t.Helper()
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	if err := launch(p.cmd); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%v wrote:\n%s", p.cmd.Args[1:], p.out)
		}
	})
	return p
}

// launch starts a command whose process is to die with the tests. The kernel kills it when the
// thread ends that started it, and a test may have one end: so all are started on one thread
// that stays, but for those that are started in a mountRoom and end with it.
func launch(cmd *exec.Cmd) error {
	if mountsHere() != everybodysMounts {
		return cmd.Start()
	}
	begun := make(chan error)
	launches() <- func() { begun <- cmd.Start() }
	return <-begun
}

// everybodysMounts are those of the program's first moment: later even its first thread may have others.
var everybodysMounts = mountsHere()

// mountsHere names the mounts of this thread; "" where that cannot be told.
func mountsHere() string {
	name, _ := os.Readlink("/proc/thread-self/ns/mnt")
	return name
}

var launches = sync.OnceValue(func() chan<- func() {
	all := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range all {
			start()
		}
	}()
	return all
})

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

// freePort is a loopback port that nobody listens on at this moment, and that is
// this test's alone until it ends: every program of tests that looks for one asks for
// a name in the kernel first, which goes with the program that has it. It lies below
// the ports that the system gives out by itself, so that nobody is given it before
// the server has it.
func freePort(t *testing.T) int {
	t.Helper()
	return freePorts(t, 1, 0)
}

// freePorts is the first of so many ports that are apart by so much.
func freePorts(t *testing.T, many, apart int) int {
	t.Helper()
	for range 1000 {
		first := 20000 + rand.IntN(10000)
		var claims []net.Listener
		for i := range many {
			if claim := claimPort(first + i*apart); claim != nil {
				claims = append(claims, claim)
			}
		}
		if len(claims) == many {
			t.Cleanup(func() { closeAll(claims) })
			return first
		}
		closeAll(claims)
	}
	t.Fatal("no free port between 20000 and 30000")
	return 0
}

// claimPort is what holds a port for a test; nil: it is another's.
func claimPort(port int) net.Listener {
	claim, err := net.Listen("unix", fmt.Sprintf("@lapid-test-port-%d", port))
	if err != nil {
		return nil
	}
	if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		l.Close()
		return claim
	}
	claim.Close()
	return nil
}

func closeAll(list []net.Listener) {
	for _, l := range list {
		l.Close()
	}
}

// house is a site with a server in it.
type house struct {
	*site
	port    int // of the API
	metrics int
	web     *http.Client
	token   string
	header  http.Header // goes over what every request has
}

// newHouse furnishes a site with a machine and a bouncer.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := emptyHouse(t)
	h.steps([]step{
		{"machines add m -p secret -f @DIR@/credentials.yaml", 0, "", "~successfully added"},
		{"bouncers add b -k key -o raw", 0, "key", ""},
	})
	return h
}

// emptyHouse is one where nothing was ever stored. The test speaks to the API
// over its socket, which no other test can have.
func emptyHouse(t *testing.T) *house {
	t.Helper()
	h := &house{site: &site{t: t, dir: t.TempDir()}, port: freePort(t), metrics: freePort(t)}
	h.file = write(t, h.dir, "config.yaml", fmt.Sprintf(serverConfig, h.dir, h.port, h.metrics))
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "first", "ban"))
	h.web = overSocket(filepath.Join(h.dir, "api.sock"))
	return h
}

// overSocket is a client of the API behind a socket.
func overSocket(path string) *http.Client {
	return &http.Client{Timeout: deadline, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		MaxIdleConnsPerHost: 32,
	}}
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
	maps.Copy(r.Header, h.header)
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

// What a store and its backups are called on disk.
const (
	backupEnd    = ".backup"
	madeFileName = "MADE"
)

// hashOf is how a key is kept.
func hashOf(key string) []byte {
	h := sha512.Sum512([]byte(key))
	return h[:]
}
