//go:build clients

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// logProcessor is Debian's crowdsec without its own server, following one log file.
type logProcessor struct {
	*program
	log string // the file it reads
}

// startLogProcessor copies the package's configuration, points it at a server and at a log file of its
// own, and waits until it follows that file. Inside is what stands in front of a command that has to reach the server.
func startLogProcessor(t *testing.T, credentials string, inside ...string) *logProcessor {
	t.Helper()
	needs(t, "crowdsec", "/etc/crowdsec/config.yaml", "/var/lib/crowdsec/hub/.index.json")
	dir := t.TempDir()
	etc, data := filepath.Join(dir, "crowdsec"), filepath.Join(dir, "data")
	mustRun(t, "cp", "-a", "/etc/crowdsec", etc)
	mustRun(t, "cp", "-a", "/var/lib/crowdsec/data", data)
	lp := &logProcessor{log: filepath.Join(dir, "auth.log")}
	before := "Jan  1 00:00:00 gate sshd[1]: Server listening on 0.0.0.0 port 22.\n"
	mustWrite(t, lp.log, before)
	mustWrite(t, filepath.Join(etc, "acquis.yaml"),
		fmt.Sprintf("filenames:\n  - %s\nlabels:\n  type: syslog\n", lp.log))
	config := filepath.Join(etc, "config.yaml")
	mustWrite(t, config, fmt.Sprintf(logProcessorConfig, etc, data, credentials))
	lp.program = start(t, "the log processor", append(inside, "crowdsec", "-c", config, "-no-api")...)
	await(t, "the log processor stands at the end of its log", func() (bool, string) {
		if err := lp.alive(); err != nil {
			t.Fatal(err)
		}
		return stands(lp.cmd.Process.Pid, lp.log, len(before)), tail(lp.output.String(), 1000)
	})
	return lp
}

// stands tells whether a process has the file open and its place in it is at this offset. A log processor
// reads only what comes after the end that it found: what is written before it stands there is lost.
func stands(pid int, file string, offset int) bool {
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range open {
		if target, err := os.Readlink(fd); err != nil || target != file {
			continue
		}
		place, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, filepath.Base(fd)))
		if err == nil && strings.HasPrefix(string(place), fmt.Sprintf("pos:\t%d\n", offset)) {
			return true
		}
	}
	return false
}

const logProcessorConfig = `common:
  daemonize: false
  log_media: stdout
  log_level: info
config_paths:
  config_dir: %[1]s/
  data_dir: %[2]s/
  simulation_path: %[1]s/simulation.yaml
  hub_dir: /var/lib/crowdsec/hub/
  index_path: /var/lib/crowdsec/hub/.index.json
crowdsec_service:
  acquisition_path: %[1]s/acquis.yaml
  parser_routines: 1
db_config:
  type: sqlite
  db_path: %[2]s/unused.db
prometheus:
  enabled: false
api:
  client:
    credentials_path: %[3]s
`

// attack appends a brute-force attack on sshd by each address: eight failed passwords where the stock
// scenario calls six in a row an attack. The lines of the addresses are interleaved.
func (lp *logProcessor) attack(t *testing.T, addresses ...string) {
	t.Helper()
	var lines strings.Builder
	for try := range 8 {
		for i, address := range addresses {
			fmt.Fprintf(&lines, "%s gate sshd[%d]: Failed password for root from %s port %d ssh2\n",
				time.Now().Format(time.Stamp), 4000+i, address, 30000+try)
		}
	}
	f, err := os.OpenFile(lp.log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(lines.String()); err != nil {
		t.Fatal(err)
	}
}

// TestLogProcessor: the stock log processor sees a brute-force attack in an sshd log, reports it, and
// the server's profile bans the attacker.
func TestLogProcessor(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	lp := startLogProcessor(t, s.credentials())
	lp.attack(t, "203.0.113.77")
	ban := s.awaitBan(t, "203.0.113.77")
	if ban.Origin != "crowdsec" || ban.Scope != "Ip" || ban.Scenario != "crowdsecurity/ssh-bf" {
		t.Errorf("the ban is %+v, want one of scope Ip by crowdsec for crowdsecurity/ssh-bf", ban)
	}
	left, err := time.ParseDuration(ban.Duration)
	if err != nil || left <= 3*time.Hour || left > 4*time.Hour {
		t.Errorf("the ban has %q left, want a little under 4h", ban.Duration)
	}
	if ds, err := s.decisions("203.0.113.78"); err != nil || len(ds) != 0 {
		t.Errorf("the neighbour, who attacked nobody, is held too: %v, %v", ds, err)
	}
}
