package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	verbTime   = time.Minute      // bounds one of the operator's verbs
	startTime  = time.Minute      // from the start to the first answer
	stopTime   = 30 * time.Second // from SIGTERM to the end
	pollEvery  = 20 * time.Millisecond
	maxLogTail = 16 << 10 // bytes of the log shown after a failure
)

// process is a lapid of our own, in a folder of its own that goes when the test ends.
type process struct {
	binary, dir string
	target      Target
	cmd         *exec.Cmd
	exited      chan struct{} // closed once the exit status is known
}

// fixtureOf names the fixture of a configuration: socket is the main server, reached another way.
func fixtureOf(config string) string {
	if config == "socket" {
		return "main"
	}
	return config
}

// lapidBinary gives the program of -binary, or builds it.
func lapidBinary(t *testing.T) string {
	if *binaryFlag != "" {
		path, err := filepath.Abs(*binaryFlag)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	dependOnSources(t)
	path := filepath.Join(t.TempDir(), "lapid")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "lapid/cmd/lapid")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build lapid: %v\n%s", err, out)
	}
	return path
}

// dependOnSources looks at every source file of the module. The go command remembers what a test looked at, so
// that it does not take a remembered result for a server that has changed since.
func dependOnSources(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if strings.HasPrefix(name, ".") && name != ".." {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") || name == "go.mod" || name == "go.sum" {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// startLapid writes the configuration, seeds the store before the first start, starts the server and
// returns once it answers.
func startLapid(t *testing.T, binary, config, loops string, s *seed) *process {
	dir, err := os.MkdirTemp("", "lapid-") // short: the path of a socket has little room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &process{binary: binary, dir: dir, exited: make(chan struct{})}
	port, release := holdPort(t)
	p.writeFixture(t, config, port)
	p.target = s.target(p.url(config, port))
	p.target.TLSDir = filepath.Join(dir, "tls")
	expired := p.plant(t, config, s, port)
	release()
	p.start(t, s.JWTSecret, loops)
	if err := wait(t.Context(), time.Until(expired).Seconds()); err != nil {
		t.Fatal(err)
	}
	return p
}

// holdPort finds a free port and keeps it until release. It lies below the ports that the system gives out by
// itself, so that between release and the start of the server nobody else is given it.
func holdPort(t *testing.T) (port string, release func()) {
	for range 1000 {
		port = strconv.Itoa(20000 + rand.IntN(10000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, func() { l.Close() }
		}
	}
	t.Fatal("no free port between 20000 and 30000")
	return "", nil
}

func (p *process) url(config, port string) string {
	switch config {
	case "socket":
		return "unix:" + filepath.Join(p.dir, "lapi.sock")
	case "tls":
		return "https://127.0.0.1:" + port
	}
	return "http://127.0.0.1:" + port
}

// writeFixture lays out what an operator's configuration folder holds.
func (p *process) writeFixture(t *testing.T, config, port string) {
	from := filepath.Join("testdata/fixture", fixtureOf(config))
	text, err := os.ReadFile(filepath.Join(from, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	profiles, err := os.ReadFile(filepath.Join(from, "profiles.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"config.yaml":         strings.NewReplacer("@DIR@", p.dir, "@PORT@", port).Replace(string(text)),
		"etc/profiles.yaml":   string(profiles),
		"etc/simulation.yaml": "",
		"etc/console.yaml":    "",
		"etc/acquis.yaml":     "",
		"etc/hub/.index.json": "{}\n",
	}
	for _, sub := range []string{"etc/hub", "data", "tls"} {
		if err := os.MkdirAll(filepath.Join(p.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if config == "tls" {
		writeCertificates(t, filepath.Join(p.dir, "tls"))
	}
}

// plant fills the store through the operator's verbs while no server runs. It gives the moment at which the short-lived
// items of the seed have expired.
func (p *process) plant(t *testing.T, config string, s *seed, port string) (expired time.Time) {
	for i, m := range s.Machines {
		args := []string{"machines", "add", m.ID, "-p", m.Password, "-f"}
		if i == 0 {
			args = append(args, filepath.Join(p.dir, "etc/local_api_credentials.yaml"), "-u", "http://127.0.0.1:"+port)
		} else {
			args = append(args, filepath.Join(p.dir, "etc/unused.yaml"))
		}
		p.verb(t, append(args, "--force")...)
	}
	for _, b := range s.Bouncers {
		p.verb(t, "bouncers", "add", b.Name, "-k", b.Key)
	}
	if fixtureOf(config) != "main" {
		return time.Time{}
	}
	for _, list := range s.Allowlists {
		p.verb(t, "allowlists", "create", list.Name, "-d", list.Description)
		for _, item := range list.Items {
			args := []string{"allowlists", "add", list.Name, item.Value}
			if item.Description != "" {
				args = append(args, "-d", item.Description)
			}
			if item.Expiration != "" {
				args = append(args, "-e", item.Expiration)
			}
			p.verb(t, args...)
			if lives, err := time.ParseDuration(item.Expiration); err == nil && lives < time.Minute {
				expired = time.Now().Add(lives + 100*time.Millisecond)
			}
		}
	}
	for name, args := range map[string][]string{
		"contract-open": {"--auth", "none"}, "contract-secret": {"--auth", "token"}, "contract-far": {"--auth", "ip", "--allow-from", "192.0.2.1"},
	} {
		p.verb(t, append([]string{"exports", "add", name, "--format", "plain_text"}, args...)...)
	}
	return expired
}

// verb runs one of the operator's verbs, which must succeed.
func (p *process) verb(t *testing.T, args ...string) {
	ctx, cancel := context.WithTimeout(t.Context(), verbTime)
	defer cancel()
	args = append([]string{"-c", filepath.Join(p.dir, "config.yaml"), "--init"}, args...)
	out, err := exec.CommandContext(ctx, p.binary, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("lapid %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// start runs the server and waits until it answers /health.
func (p *process) start(t *testing.T, secret, loops string) {
	log, err := os.Create(filepath.Join(p.dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(p.binary, "-c", filepath.Join(p.dir, "config.yaml"), "serve")
	p.cmd.Env = append(os.Environ(), "CS_LAPI_SECRET="+secret, "LAPID_LOOPS="+loops)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start lapid: %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // what it found is in cmd.ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // long gone, unless the test ended early
		<-p.exited
	})
	if err := p.awaitHealth(t.Context()); err != nil {
		t.Fatalf("lapid does not answer: %v; its log:\n%s", err, p.logTail())
	}
}

func (p *process) awaitHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		a, err := p.target.send(ctx, &message{method: http.MethodGet, path: "/health"})
		if err == nil && a.status == http.StatusOK {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("it ended: %s", p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %v", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// stop asks the server to end, which it must do in time and with status 0.
func (p *process) stop(t *testing.T) {
	select {
	case <-p.exited:
		t.Errorf("lapid ended by itself: %s", p.cmd.ProcessState)
		return
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop lapid: %v", err)
		return
	}
	deadline := time.NewTimer(stopTime)
	defer deadline.Stop()
	select {
	case <-p.exited:
		if !p.cmd.ProcessState.Success() {
			t.Errorf("lapid ended after SIGTERM with %s", p.cmd.ProcessState)
		}
	case <-deadline.C:
		t.Errorf("lapid did not end within %s of SIGTERM", stopTime)
	}
}

func (p *process) logTail() []byte {
	log, err := os.ReadFile(filepath.Join(p.dir, "serve.log"))
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(log[max(0, len(log)-maxLogTail):])
}
