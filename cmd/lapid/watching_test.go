package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// publicPanels are what CrowdSec's public dashboards ask of a LAPI, with their variables.
var publicPanels = []string{
	`count(cs_info)`, `sum(cs_active_decisions)`, `sum(cs_alerts)`, `sum(cs_active_decisions) by (reason)`, `sum(cs_active_decisions) by (action)`,
	`sum(rate(cs_lapi_request_duration_seconds_bucket{endpoint="/v1/watchers/login",instance="$lapi"}[$__rate_interval])) by (le)`,
	`sum(rate(cs_lapi_request_duration_seconds_bucket{endpoint="/v1/heartbeat",instance="$lapi"}[$__rate_interval])) by (le)`,
	`sum(rate(cs_lapi_request_duration_seconds_bucket{endpoint="/v1/decisions",instance="$lapi",method=~"(GET)|(HEAD)"}[$__rate_interval])) by (le)`,
	`sum(rate(cs_lapi_request_duration_seconds_bucket{endpoint="/v1/decisions/stream",instance="$lapi",method=~"(GET)|(HEAD)"}[$__rate_interval])) by (le)`,
	`sum(rate(cs_lapi_request_duration_seconds_bucket{endpoint=~"/v1/decisions.*",instance="$lapi",method="DELETE"}[$__rate_interval])) by (le)`,
	`sum(rate(cs_lapi_request_duration_seconds_bucket{endpoint="/v1/alerts",instance="$lapi",method="POST"}[$__rate_interval])) by (le)`,
	`sum(rate(cs_lapi_request_duration_seconds_bucket{endpoint="/v1/alerts",instance="$lapi",method="GET"}[$__rate_interval])) by (le)`,
	`process_start_time_seconds*1000`, `process_resident_memory_bytes{instance="$lapi"}`, `rate(process_cpu_seconds_total[1m])*100`, `process_open_fds`, `process_max_fds`,
	`cs_alerts{instance="$lapi"}`,
}

// laterSeries have no series after a short load on a server that is well, and why.
var laterSeries = map[string]string{
	`lapid_snapshot_timestamp_seconds`:                                    "the first snapshot of a run is due after ten minutes",
	`lapid_bookmark_lag_revisions`:                                        "nothing reads the history",
	`lapid_responses_total{code=~"5.."}`:                                  "nothing goes wrong",
	`up{job="lapid"}`:                                                     "Prometheus itself makes it",
	`lapid:request_seconds:p99_5m`:                                        "a rule records it",
	`lapid:journal_sync_seconds:p99_10m`:                                  "a rule records it",
	`lapid:request_seconds:p99_5m{endpoint="/v1/decisions",method="GET"}`: "a rule records it",
}

// TestWatching: everything that the dashboards and rules ask for has series on a server that
// was asked a bit of everything, and so has what the public dashboards ask of a LAPI.
func TestWatching(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := newAuthority(t, h.dir)
	write(t, h.dir, "config.yaml.local", "api: {server: {tls: {cert_file: "+a.cert+", key_file: "+a.key+"}}}\n")
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.loadOfEverything()
	text := h.scrape()
	checkMetrics(t, text)
	series := seriesOf(text)
	if strings.Contains(text, "lapid_cluster_") {
		t.Error("a server for itself tells of a cluster")
	}
	findAll(t, series, false)
	for _, line := range []string{
		`cs_machines_last_heartbeat_timestamp{machine="m"}`, `lapid_bouncer_last_pull_timestamp_seconds{bouncer="b"}`, `lapid_machine_last_push_timestamp_seconds{machine="m"}`,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	again := h.scrape() // of a server that nobody has come to
	for _, family := range []string{"cs_machines_last_heartbeat_timestamp", "lapid_bouncer_last_pull_timestamp_seconds", "lapid_machine_last_push_timestamp_seconds"} {
		line := regexp.MustCompile(`(?m)^` + family + `\{.*$`)
		if before := line.FindString(text); before == "" || line.FindString(again) != before {
			t.Errorf("%q before the restart, %q after it", before, line.FindString(again))
		}
	}
}

// findAll looks for what dashboards and rules ask for: of nodes alone, or all else.
func findAll(t *testing.T, series []oneSeries, ofNodes bool) {
	t.Helper()
	exprs := slices.Concat(dashboardExprs(t, "dist/lapid.json"), dashboardExprs(t, "dist/lapid-fleet.json"), ruleExprs(t))
	for _, expr := range append(exprs, publicPanels...) {
		for _, s := range selectors(expr) {
			if strings.HasPrefix(s.name, "lapid_cluster_") == ofNodes && laterSeries[s.text] == "" && !s.finds(series) {
				t.Errorf("%s finds no series for %s", expr, s.text)
			}
		}
	}
}

// loadOfEverything asks for everything that has series of its own.
func (h *house) loadOfEverything() {
	h.t.Helper()
	h.login()
	h.want(200, "GET", "/v1/heartbeat", "")
	h.want(201, "POST", "/v1/alerts", machinesAlert)
	h.want(200, "GET", "/v1/alerts", "")
	for _, path := range []string{"?ip=203.0.113.9", "?ip=192.0.2.99", "/stream?startup=true", "/stream"} {
		h.want(200, "GET", "/v1/decisions"+path, "")
	}
	h.want(200, "DELETE", "/v1/decisions/1", "")
	h.want(201, "POST", "/v1/usage-metrics", `{"remediation_components":[{"type":"x","version":"1","utc_startup_timestamp":1,"metrics":[{"meta":{"window_size_seconds":1,"utc_now_timestamp":2},
		"items":[{"name":"active_decisions","value":1,"unit":"ip","labels":{"origin":"crowdsec"}},{"name":"dropped","value":5,"unit":"packet","labels":{"origin":"crowdsec"}}]}]}]}`)
	h.steps([]step{
		{"decisions add -i 192.0.2.1", exitGood, "", "~added"},
		{"exports add edge --format csv --auth none", exitGood, "", "~is served"},
	})
	h.want(200, "GET", "/exports/edge", "")
	h.header = http.Header{"X-Api-Key": {"wrong"}}
	h.want(403, "GET", "/v1/decisions", "")
	h.header = nil
}

// checkMetrics has promtool read an exposition: every family has its help, and a name as is usual.
func checkMetrics(t *testing.T, text string) {
	t.Helper()
	if out := promtool(t, text, "check", "metrics"); out != "" {
		t.Errorf("promtool check metrics: %s", out)
	}
}

// promtool runs it; it must end well.
func promtool(t *testing.T, in string, args ...string) (out string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(in)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, b)
	}
	return string(b)
}

// oneSeries is a line of an exposition.
type oneSeries struct {
	name   string
	labels map[string]string
}

var labelPair = regexp.MustCompile(`([a-zA-Z_]+)(=~|!=|!~|=)"((?:\\.|[^"\\])*)"`)

func seriesOf(text string) (list []oneSeries) {
	line := regexp.MustCompile(`(?m)^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$`)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		one := oneSeries{m[1], map[string]string{}}
		for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
			one.labels[l[1]] = l[3]
		}
		list = append(list, one)
	}
	return list
}

// selector is what an expression asks for. What Prometheus adds to series (job, instance) and
// what is said by variables is left out.
type selector struct {
	text, name string
	matchers   [][]string // label, operator, value
}

func selectors(expr string) (list []selector) {
	found := regexp.MustCompile(`\b(up|(?:cs|lapid|process|go)[_:][\w:]+)\b(\{[^}]*\})?`)
	for _, m := range found.FindAllStringSubmatch(expr, -1) {
		s := selector{name: m[1]}
		var said []string
		for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
			if !strings.HasPrefix(l[3], "$") {
				s.matchers, said = append(s.matchers, l[1:]), append(said, l[0])
			}
		}
		if s.text = s.name; len(said) > 0 {
			s.text += "{" + strings.Join(said, ",") + "}"
		}
		list = append(list, s)
	}
	return list
}

func (s *selector) finds(series []oneSeries) bool {
	return slices.ContainsFunc(series, func(one oneSeries) bool {
		return one.name == s.name && !slices.ContainsFunc(s.matchers, func(m []string) bool {
			fits := one.labels[m[0]] == m[2]
			if strings.HasSuffix(m[1], "~") {
				fits = regexp.MustCompile("^(?:" + m[2] + ")$").MatchString(one.labels[m[0]])
			}
			return fits == strings.HasPrefix(m[1], "!")
		})
	})
}

// dashboard is what of a Grafana dashboard is looked at.
type dashboard struct {
	ID            any `json:"id"`
	UID           string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type string
			Datasource *datasource
		}
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *datasource
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		RefID, Expr string
		Datasource  *datasource
	}
}

type datasource struct{ Type, UID string }

func readDashboard(t *testing.T, path string) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(fileOf(t, path)), &d); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return d
}

func dashboardExprs(t *testing.T, path string) (list []string) {
	t.Helper()
	d := readDashboard(t, path)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			list = append(list, target.Expr)
		}
	}
	return list
}

// TestDashboards: they load where nothing but Prometheus is known, every panel says what to do,
// none lies on another, and every expression is one.
func TestDashboards(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"dist/lapid.json", "dist/lapid-fleet.json"} {
		d := readDashboard(t, path)
		if d.ID != nil || d.UID == "" || d.SchemaVersion < 39 {
			t.Errorf("%s: id %v, uid %q, schema %d", path, d.ID, d.UID, d.SchemaVersion)
		}
		ids, taken := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: the id of %s is another's", path, p.Title)
			}
			ids[p.ID] = true
			p.place(t, path, taken)
			if p.Type != "row" && (len(p.Description) < 20 || len(p.Targets) == 0 || p.Datasource.fixed()) {
				t.Errorf("%s: %s: description %q, %d targets, %+v", path, p.Title, p.Description, len(p.Targets), p.Datasource)
			}
			for _, target := range p.Targets {
				if target.Datasource.fixed() {
					t.Errorf("%s: %s asks %+v", path, p.Title, target.Datasource)
				}
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" && v.Datasource.fixed() {
				t.Errorf("%s: variable %s asks %+v", path, v.Name, v.Datasource)
			}
		}
		parseExprs(t, dashboardExprs(t, path))
	}
	parseExprs(t, publicPanels)
}

// fixed: not the one that the reader chooses.
func (d *datasource) fixed() bool {
	return d == nil || d.Type != "prometheus" || d.UID != "${datasource}"
}

// place notes what of the grid a panel takes.
func (p *panel) place(t *testing.T, path string, taken map[[2]int]string) {
	t.Helper()
	g := p.GridPos
	if g.X+g.W > 24 || g.W <= 0 || g.H <= 0 {
		t.Errorf("%s: %s lies at %+v", path, p.Title, g)
	}
	for x := g.X; x < g.X+g.W; x++ {
		for y := g.Y; y < g.Y+g.H; y++ {
			if other := taken[[2]int{x, y}]; other != "" {
				t.Fatalf("%s: %s lies on %s", path, p.Title, other)
			}
			taken[[2]int{x, y}] = p.Title
		}
	}
}

// parseExprs has promtool parse expressions, with Grafana's intervals replaced.
func parseExprs(t *testing.T, exprs []string) {
	t.Helper()
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	rules := make([]rule, 0, len(exprs))
	for i, expr := range exprs {
		expr = strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$__range", "6h").Replace(expr)
		rules = append(rules, rule{fmt.Sprintf("panel:%d", i), expr})
	}
	b, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", write(t, t.TempDir(), "panels.yml", string(b)))
}

// ruleFile is the rules that are shipped.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Record, Expr, For string
			Labels, Annotations      map[string]string
		}
	}
}

func readRules(t *testing.T) (f ruleFile) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(fileOf(t, "dist/lapid.rules.yml")), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func ruleExprs(t *testing.T) (list []string) {
	t.Helper()
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			list = append(list, r.Expr)
		}
	}
	return list
}

// TestRules: every alert says what is so, how much, and where to read on; it has unit tests in
// which it is quiet, fires and resolves; and its section of the runbook is there.
func TestRules(t *testing.T) {
	t.Parallel()
	runbook := fileOf(t, "docs/runbook.md")
	type suite struct {
		Tests []struct {
			Cases []struct {
				Alert    string `yaml:"alertname"`
				At       string `yaml:"eval_time"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	suites := []string{"lapid.rules.test.yml", "lapid.rules.days.test.yml"}
	quiet, fires := map[string]int{}, map[string]int{}
	for _, name := range suites {
		var tested suite
		if err := yaml.Unmarshal([]byte(fileOf(t, "dist/"+name)), &tested); err != nil {
			t.Fatal(err)
		}
		for _, test := range tested.Tests {
			for _, c := range test.Cases {
				if len(c.Expected) > 0 {
					fires[c.Alert]++
				} else {
					quiet[c.Alert]++
				}
			}
		}
	}
	alerts := map[string]bool{}
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			alerts[r.Alert] = true
			said := r.Annotations
			if said["summary"] == "" || !strings.Contains(said["description"], "$value") || r.For == "" {
				t.Errorf("%s: %v, for %q", r.Alert, said, r.For)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if said["runbook"] != "runbook.md#"+strings.ToLower(r.Alert) || !strings.Contains(runbook, "\n## "+r.Alert+"\n") {
				t.Errorf("%s: the runbook %q has no such section", r.Alert, said["runbook"])
			}
			if fires[r.Alert] == 0 || quiet[r.Alert] < 2 {
				t.Errorf("%s: it fires in %d tests and is quiet in %d", r.Alert, fires[r.Alert], quiet[r.Alert])
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^## (.*)$|\]\(#([^)]*)\)`).FindAllStringSubmatch(runbook, -1) {
		if m[1] != "" && !alerts[m[1]] {
			t.Errorf("the runbook has a section %s, and there is no such alert", m[1])
		}
		if m[2] != "" && !strings.Contains(strings.ToLower(runbook), "\n## "+m[2]+"\n") {
			t.Errorf("the runbook has a link to nowhere: %s", m[2])
		}
	}
	dir := t.TempDir() // promtool reads what lies beside
	for _, name := range append(suites, "lapid.rules.yml") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fileOf(t, "dist/"+name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, "", "check", "rules", filepath.Join(dir, "lapid.rules.yml"))
	for _, name := range suites {
		promtool(t, "", "test", "rules", filepath.Join(dir, name))
	}
}
