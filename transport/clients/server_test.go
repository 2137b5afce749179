//go:build clients

package clients

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// server is one Local API: its folder, its address, and the way to its operator's verbs. Machines and
// bouncers are added first, then it is started.
type server struct {
	dir    string
	port   int
	url    string   // http(s)://127.0.0.1:PORT, without a slash at the end
	verb   []string // what stands in front of a verb: "lapid -c FILE" or "cscli -c FILE"
	serve  []string // the command that runs the server
	inside []string // what stands in front of a command that has to reach it: nothing, or "ip netns exec NAME"
}

// reference is true when Debian's crowdsec takes lapid's place.
var reference = os.Getenv("LAPID_CLIENTS_SERVER") == "reference"

const (
	machineName     = "edge-1"
	machinePassword = "a-password-of-a-log-processor"
	bouncerKey      = "a-key-of-a-bouncer-0123456789"
	watchKey        = "a-key-for-the-eyes-of-the-test"
)

// newServer writes the configuration of a server in a folder of its own, and gives it one machine and
// two bouncers: bouncerKey for the client under test, watchKey for the test itself, so that the test
// never moves the client's place in the stream.
func newServer(t *testing.T, inside ...string) *server {
	t.Helper()
	s := writeServer(t, "http", "")
	s.inside = inside
	s.addMachine(t, machineName, s.credentials())
	s.addBouncer(t, "client", bouncerKey)
	s.addBouncer(t, "watch", watchKey)
	return s
}

// writeServer writes the configuration of a server that knows nobody yet. More is a piece of the section
// api.server, indented for it.
func writeServer(t *testing.T, scheme, more string) *server {
	t.Helper()
	dir := t.TempDir()
	port := freePort(t)
	s := &server{dir: dir, port: port, url: fmt.Sprintf("%s://127.0.0.1:%d", scheme, port)}
	config := filepath.Join(dir, "config.yaml")
	if reference {
		needs(t, "crowdsec", "cscli")
		more += "    profiles_path: /etc/crowdsec/profiles.yaml\n"
		s.verb = []string{"cscli", "-c", config}
		s.serve = []string{"crowdsec", "-c", config, "-no-cs", "-no-capi"}
	} else {
		lapid, err := buildLapid()
		if err != nil {
			t.Fatal(err)
		}
		s.verb = []string{lapid, "-c", config, "--init"}
		s.serve = []string{lapid, "-c", config, "serve"}
	}
	mustWrite(t, config, fmt.Sprintf(serverConfig, dir, port, more))
	return s
}

const serverConfig = `common:
  daemonize: false
  log_media: stdout
  log_level: info
config_paths:
  config_dir: %[1]s/
  data_dir: %[1]s/
  simulation_path: /etc/crowdsec/simulation.yaml
  hub_dir: /var/lib/crowdsec/hub/
  index_path: /var/lib/crowdsec/hub/.index.json
cscli:
  output: human
db_config:
  type: sqlite
  db_path: %[1]s/crowdsec.db
  use_wal: true
prometheus:
  enabled: false
api:
  client:
    credentials_path: %[1]s/credentials.yaml
  server:
    log_level: info
    listen_uri: 127.0.0.1:%[2]d
%[3]s    trusted_ips:
      - 127.0.0.1
`

// startServer is newServer followed by start.
func startServer(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.start(t)
	return s
}

// start runs the server until the end of the test and waits until it listens. At the end lapid has to stop
// when it is asked to, with exit code 0.
func (s *server) start(t *testing.T) *program {
	t.Helper()
	p := start(t, "the server", append(s.inside, s.serve...)...)
	t.Cleanup(func() {
		if p.stop(); p.err != nil && !reference {
			t.Errorf("the server ended with %v", p.err)
		}
	})
	await(t, "the server listens", func() (bool, string) {
		if err := p.alive(); err != nil {
			t.Fatal(err)
		}
		return listens(p.cmd.Process.Pid, s.port), p.output.String()
	})
	return p
}

// listens tells whether somebody accepts connections on a loopback port in the network namespace of a
// process: the kernel's table of that namespace is read, so that the question can be asked from outside.
func listens(pid, port int) bool {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	return err == nil && strings.Contains(string(table), fmt.Sprintf(" 0100007F:%04X 00000000:0000 0A ", port))
}

// credentials is the file with url, login and password of the machine that every server has.
func (s *server) credentials() string { return filepath.Join(s.dir, "credentials.yaml") }

// operator runs one of the server's own verbs; it has to succeed.
func (s *server) operator(t *testing.T, verb ...string) result {
	t.Helper()
	return mustRun(t, append(s.verb, verb...)...)
}

// addMachine makes a validated machine and writes its credentials file.
func (s *server) addMachine(t *testing.T, name, file string) {
	t.Helper()
	s.operator(t, "machines", "add", name, "-p", machinePassword, "-f", file, "-u", s.url, "--force")
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("machines add wrote no credentials: %v", err)
	}
}

func (s *server) addBouncer(t *testing.T, name, key string) {
	t.Helper()
	s.operator(t, "bouncers", "add", name, "-k", key)
}

// buildLapid compiles cmd/lapid once for all tests; the binary is removed by TestMain.
var buildLapid = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(workshop, "lapid")
	build := append(append([]string{"build"}, buildFlags...), "-o", binary, "lapid/cmd/lapid")
	out, err := exec.Command("go", build...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build lapid: %w\n%s", err, out)
	}
	return binary, nil
})

// workshop is the folder of what the tests build, there from TestMain's first line to its last.
var workshop string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		workshop, err = os.MkdirTemp("", "lapid-clients-")
		if err != nil {
			fmt.Fprintln(os.Stderr, "cannot make a folder for what the tests build:", err)
			return 1
		}
		defer os.RemoveAll(workshop)
		return m.Run()
	}())
}

// freePort is a loopback port that nobody listens on at this moment, and that is
// this test's alone until it ends: every program of tests that looks for one asks for
// a name in the kernel first. It lies below the ports that the system gives out by
// itself, so that nobody is given it before the server has it.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 20000 + rand.IntN(10000)
		claim, err := net.Listen("unix", fmt.Sprintf("@lapid-test-port-%d", port))
		if err != nil {
			continue // another test's
		}
		if l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			t.Cleanup(func() { claim.Close() })
			return port
		}
		claim.Close()
	}
	t.Fatal("no free port between 20000 and 30000")
	return 0
}

func mustWrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
