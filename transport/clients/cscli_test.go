//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// cscli is the stock command with a configuration of its own. It believes in a database of its own too,
// which its HTTP verbs never open.
type cscli struct {
	config string
	inside []string // as in server
}

func newCscli(t *testing.T, s *server, credentials string) *cscli {
	t.Helper()
	needs(t, "cscli", "/var/lib/crowdsec/hub/.index.json")
	dir := t.TempDir()
	c := &cscli{config: filepath.Join(dir, "cscli.yaml"), inside: s.inside}
	mustWrite(t, c.config, fmt.Sprintf(cscliConfig, dir, credentials))
	return c
}

const cscliConfig = `common:
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
  db_path: %[1]s/unused.db
api:
  client:
    credentials_path: %[2]s
`

func (c *cscli) run(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, append(append(c.inside[:len(c.inside):len(c.inside)], "cscli", "-c", c.config), args...)...)
}

// expect runs a verb and checks its exit code and that every one of the patterns is found in what it
// wrote, standard output before standard error.
func (c *cscli) expect(t *testing.T, exit int, patterns []string, args ...string) result {
	t.Helper()
	r := c.run(t, args...)
	if r.exit != exit {
		t.Fatalf("exit %d expected: %s", exit, r)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(r.stdout + r.stderr) {
			t.Errorf("no %q in the output: %s", p, r)
		}
	}
	return r
}

// says is the list of patterns in the reading of expect.
func says(patterns ...string) []string { return patterns }

// almost is the pattern of what is left of a duration of whole minutes within its first minute, with or
// without a fraction of a second.
func almost(d time.Duration) string {
	last, _ := strings.CutSuffix((d - time.Minute).String(), "0s")
	return `(?:` + d.String() + `|` + last + `[1-5]?\d(?:\.\d+)?s)`
}

// alertsOf reads a list of alerts that cscli printed with -o json.
func alertsOf(t *testing.T, r result) []alert {
	t.Helper()
	var as []alert
	if err := json.Unmarshal([]byte(r.stdout), &as); err != nil {
		t.Fatalf("not a list of alerts: %v: %s", err, r)
	}
	return as
}

// alert is one alert as cscli prints it, as far as the tests look.
type alert struct {
	ID        int64      `json:"id"`
	Machine   string     `json:"machine_id"`
	Scenario  string     `json:"scenario"`
	Count     int        `json:"events_count"`
	Decisions []decision `json:"decisions"`
	Source    struct {
		Scope string `json:"scope"`
		Value string `json:"value"`
	} `json:"source"`
}

// expectValues lists decisions with some filter and compares the values, the youngest alert first.
func (c *cscli) expectValues(t *testing.T, want []string, filter ...string) {
	t.Helper()
	r := c.expect(t, 0, nil, append([]string{"decisions", "list", "-o", "json"}, filter...)...)
	var got []string
	for _, a := range alertsOf(t, r) {
		for _, d := range a.Decisions {
			got = append(got, d.Value)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("decisions list %v gives %v, want %v", filter, got, want)
	}
}
