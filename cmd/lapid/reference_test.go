package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// reference is an installation of Debian's crowdsec package, with nothing in it but the
// Local API.
type reference struct {
	t    *testing.T
	dir  string
	file string // its config.yaml
	db   string
	port int
	p    *process
}

const referenceConfig = `common: {daemonize: false, log_media: stdout, log_level: info}
config_paths: {config_dir: %[1]s, data_dir: %[1]s, hub_dir: %[1]s/hub, index_path: %[1]s/hub/.index.json, notification_dir: %[1]s/none, plugin_dir: %[1]s/none}
crowdsec_service: {acquisition_path: %[1]s/acquis.yaml}
cscli: {output: human, color: "no"}
db_config: {type: sqlite, db_path: %[1]s/crowdsec.db, log_level: info, use_wal: false}
api:
  client: {insecure_skip_verify: false, credentials_path: %[1]s/credentials.yaml}
  server: {listen_uri: 127.0.0.1:%[2]d, profiles_path: %[1]s/profiles.yaml, log_level: info}
prometheus: {enabled: false}
`

const referenceProfiles = `name: default
filters: ["Alert.Remediation == true && Alert.GetScope() == 'Ip'"]
decisions: [{type: ban, duration: 4h}]
on_success: break
`

func newReference(t *testing.T) *reference {
	t.Helper()
	r := &reference{t: t, dir: t.TempDir(), port: freePort(t)}
	for _, name := range []string{"hub", "none"} {
		if err := os.Mkdir(filepath.Join(r.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, r.dir, "hub/.index.json", "[]\n")
	write(t, r.dir, "acquis.yaml", "")
	write(t, r.dir, "profiles.yaml", referenceProfiles)
	r.file = write(t, r.dir, "config.yaml", fmt.Sprintf(referenceConfig, r.dir, r.port))
	r.db = filepath.Join(r.dir, "crowdsec.db")
	return r
}

// cscli runs a verb of the reference's own, which must go well.
func (r *reference) cscli(args ...string) string {
	r.t.Helper()
	c := exec.Command("cscli", append([]string{"-c", r.file}, args...)...)
	out, err := c.Output()
	if err != nil {
		said := ""
		if e, ok := err.(*exec.ExitError); ok {
			said = string(e.Stderr)
		}
		r.t.Fatalf("cscli %v: %v\n%s%s", args, err, out, said)
	}
	return string(out)
}

// begin starts the server and waits until it answers.
func (r *reference) begin(more ...string) {
	r.t.Helper()
	r.p = &process{cmd: exec.Command("crowdsec", append([]string{"-c", r.file, "-no-cs"}, more...)...), out: &safeBuffer{}, ended: make(chan struct{})}
	r.p.begin(r.t)
	await(r.t, "the reference is up", func() bool {
		select {
		case <-r.p.ended:
			r.t.Fatalf("it has ended: %v\n%s", r.p.err, r.p.out)
		default:
		}
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (r *reference) end() {
	r.t.Helper()
	if err := r.p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	r.p.wait(r.t)
}

// queried is the answer of a database, by SQLite's own program.
func queried(t *testing.T, db, query string) string {
	t.Helper()
	out, err := exec.Command("sqlite3", "-bail", db, query).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
