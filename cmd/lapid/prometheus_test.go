package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
)

// A prometheus is Debian's, which scrapes a server and goes by the rules, both every second.
type prometheus struct {
	t       *testing.T
	mu      sync.Mutex
	said    bytes.Buffer
	address string // once it listens
}

// Write takes what it logs, and waits for where it listens.
func (p *prometheus) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Write(b)
	if m := regexp.MustCompile(`msg="Listening on" address=(\S+)`).FindSubmatch(p.said.Bytes()); m != nil && p.address == "" {
		p.address = string(m[1])
	}
	return len(b), nil
}

// newPrometheus starts one on the metrics of a server. It ends with the test.
func newPrometheus(t *testing.T, metrics int) *prometheus {
	t.Helper()
	p, dir := &prometheus{t: t}, t.TempDir()
	rules, err := filepath.Abs("dist/lapid.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, dir, "prometheus.yml", fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs: [{job_name: lapid, static_configs: [{targets: ["127.0.0.1:%d"]}]}]
`, rules, metrics))
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatalf("prometheus (.ci/run unpacks Debian's): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s", p.said.String())
		}
	})
	await(t, "prometheus listens", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.address != "" })
	return p
}

// ask fills in what it answers; false: it does not yet.
func (p *prometheus) ask(path string, into any) bool {
	r, err := http.Get("http://" + p.address + path)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK && json.NewDecoder(r.Body).Decode(into) == nil
}

// TestPrometheus: Debian's own scrapes a running server, evaluates every rule without an error, and has nothing to say of a server
// that is well.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	h.loadOfEverything()
	p := newPrometheus(t, h.metrics)
	var targets struct {
		Data struct {
			ActiveTargets []struct{ Health, LastError string }
		}
	}
	await(t, "the server is scraped", func() bool {
		return p.ask("/api/v1/targets", &targets) && len(targets.Data.ActiveTargets) == 1 && targets.Data.ActiveTargets[0].Health == "up"
	})
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
	}
	count := 0
	await(t, "every rule is evaluated", func() bool {
		count = 0
		if !p.ask("/api/v1/rules", &rules) {
			return false
		}
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				if count++; r.Health == "unknown" {
					return false
				}
			}
		}
		return count > 0
	})
	for _, g := range rules.Data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" || r.LastError != "" || r.State == "firing" {
				t.Errorf("%+v", r)
			}
		}
	}
	want := 0
	for _, g := range readRules(t).Groups {
		want += len(g.Rules)
	}
	if count != want {
		t.Errorf("%d rules, of %d", count, want)
	}
}
