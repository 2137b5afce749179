package transport

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/visible"
)

// scrape reads the metrics of a house.
func (h *house) scrape(path string) string {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.server.MetricsHandler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != 200 {
		h.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// TestMetrics checks every family that dashboards read.
func TestMetrics(t *testing.T) {
	t.Parallel()
	bothWays(t, testMetrics)
}

func testMetrics(t *wireTest) {
	t.Parallel()
	h := newHouse(t, func(b *build) {
		b.server.Version = "v1.2.3"
		b.server.Surroundings = func() Surroundings {
			return Surroundings{Commit: "abc", MemoryLimit: 1 << 30, Certificates: []Certificate{{"/etc/a.pem", time.Unix(1e9, 0)}}, Reloaded: true, ReloadedAt: 7, Operators: Logins{2, 3}}
		}
		b.server.Cluster = func() Cluster {
			return Cluster{ID: "c1", Node: "a", Writes: true, Term: 9, Head: 1 << 40, Confirmed: time.Second / 2, Turns: []Count{{"won", 1}}, Commits: []Count{{"stored", 4}},
				Members: []ClusterMember{{"192.0.2.11:2379", true, true, 3, 2, 4}, {Endpoint: "192.0.2.12:2379"}},
				Nodes:   []ClusterNode{{"b", true, time.Second, 7, -time.Minute}, {Name: "c"}}}
		}
	})
	h.ban("192.0.2.1", "192.0.2.2")
	h.asBouncer("GET", "/v1/decisions?ip=192.0.2.1")
	h.asBouncer("GET", "/v1/decisions?ip=192.0.2.9")
	h.asBouncer("HEAD", "/v1/decisions?ip=192.0.2.9")
	h.asBouncer("GET", "/v1/decisions/stream")
	h.asMachine("GET", "/v1/heartbeat", "")
	h.asMachine("GET", "/v1/alerts/1", "")
	h.asMachine("GET", "/v1/alerts/2", "")
	h.asMachine("POST", "/v1/usage-metrics", "{}")
	h.ask("GET", "/v1/alerts", "")
	h.ask("GET", "/nowhere", "")
	h.ask("GET", "/health", "")
	h.ask("POST", "/v1/watchers/login", "{}")
	h.ask("POST", "/v1/watchers/login", `{"machine_id":"`+testMachine+`","password":"`+testPassword+`"}`)
	if got := h.asMachine("POST", "/v1/alerts", reported); got.status != 201 {
		t.Fatal(got)
	}
	text := h.scrape("/metrics")
	for _, line := range []string{
		`cs_info{version="v1.2.3"} 0`,
		`cs_lapi_route_requests_total{method="GET",route="/v1/decisions"} 2`,
		`cs_lapi_route_requests_total{method="HEAD",route="/v1/decisions"} 1`,
		`cs_lapi_route_requests_total{method="GET",route="/v1/alerts/:alert_id"} 2`,
		`cs_lapi_route_requests_total{method="GET",route="invalid-endpoint"} 1`,
		`cs_lapi_bouncer_requests_total{bouncer="fw",method="GET",route="/v1/decisions"} 2`,
		`cs_lapi_bouncer_requests_total{bouncer="fw",method="HEAD",route="/v1/decisions"} 1`,
		`cs_lapi_bouncer_requests_total{bouncer="fw",method="GET",route="/v1/decisions/stream"} 1`,
		`cs_lapi_machine_requests_total{machine="a-machine",method="GET",route="/v1/alerts/:alert_id"} 2`,
		`cs_lapi_machine_requests_total{machine="a-machine",method="GET",route="/v1/heartbeat"} 1`,
		`lapid_ready 1`,
		`lapid_cluster_writes{cluster="c1",node="a"} 1`,
		`lapid_cluster_term 9`,
		`lapid_cluster_confirmed_seconds 0.5`,
		`lapid_cluster_turns_total{how="won"} 1`,
		`lapid_cluster_commits_total{result="stored"} 4`,
		`lapid_cluster_etcd_in_use_bytes{endpoint="192.0.2.11:2379"} 2`,
		`lapid_cluster_etcd_up{endpoint="192.0.2.12:2379"} 0`,
		`lapid_cluster_node_clock_seconds{node="b"} -60`,
		`lapid_cluster_node_lag_revisions{node="b"} 7`,
		`lapid_cluster_node_up{node="c"} 0`,
		`lapid_trouble{kind="disk"} 0`,
		`cs_lapi_decisions_ok_total{bouncer="fw"} 1`,
		`cs_lapi_decisions_ko_total{bouncer="fw"} 2`,
		`cs_lapi_request_duration_seconds_count{endpoint="/v1/alerts",method="GET"} 1`,
		`cs_lapi_request_duration_seconds_bucket{endpoint="",method="GET",le="+Inf"} 1`,
		`cs_active_decisions{action="ban",origin="cscli",reason="test/scenario"} 2`,
		`cs_alerts{reason="test/scenario"} 1`,
		`cs_papi_invalid_orders_received_total 0`,
		`cs_papi_poll_errors_total 0`,
		`cs_papi_last_pull_timestamp 0`,
		`cs_machines_last_heartbeat_timestamp{machine="a-machine"} 1.7829e+09`,
		`lapid_decisions{origin="cscli",scope="Ip"} 2`,
		`lapid_bouncer_lag_revisions{bouncer="fw"}`,
		`lapid_journal_sync_seconds_count`,
		`lapid_build_info{goversion="` + runtime.Version() + `",revision="abc",version="v1.2.3"} 1`,
		`lapid_memory_limit_bytes 1.073741824e+09`,
		`lapid_disk_free_bytes 0`,
		`lapid_certificate_expiry_timestamp_seconds{file="/etc/a.pem"} 1e+09`,
		`lapid_config_last_reload_successful 1`,
		`lapid_config_last_reload_success_timestamp_seconds 7`,
		`lapid_logins_total{kind="password",outcome="ok"} 1`,
		`lapid_logins_total{kind="password",outcome="failed"} 1`,
		`lapid_logins_total{kind="certificate",outcome="ok"} 0`,
		`lapid_logins_total{kind="operator",outcome="failed"} 3`,
		`lapid_alerts_total{scenario="test/scenario"} 1`,
		`lapid_alerts_total{scenario="test/reported"} 1`,
		`lapid_decisions_added_total{origin="cscli"} 2`,
		`lapid_decisions_ended_total{reason="expiry"} 0`,
		`lapid_machine_alerts_total{machine="a-machine"} 1`,
		`lapid_machine_last_push_timestamp_seconds{machine="a-machine"} 1.7829e+09`,
		`go_goroutines`,
		`process_start_time_seconds`,
		`promhttp_metric_handler_requests_total`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %s", line)
		}
	}
	for _, line := range []string{`route="/health"`, `machine="a-machine",method="POST",route="/v1/usage-metrics"`, `machine="",`} {
		if strings.Contains(text, line) {
			t.Errorf("a line with %s", line)
		}
	}
	sample, err := os.ReadFile("testdata/families.txt")
	h.must(err)
	for _, family := range strings.Fields(string(sample)) {
		if !strings.Contains(text, "# TYPE "+family+" ") {
			t.Errorf("no family %s", family)
		}
	}
	var edges []string
	for _, m := range regexp.MustCompile(`cs_lapi_request_duration_seconds_bucket\{endpoint="/v1/alerts",method="GET",le="([^"]+)"`).FindAllStringSubmatch(text, -1) {
		edges = append(edges, m[1])
	}
	if want := strings.Fields("0.005 0.01 0.025 0.05 0.075 0.1 0.2 0.3 0.4 0.5 0.75 1 +Inf"); !slices.Equal(edges, want) {
		t.Errorf("buckets %v", edges)
	}
	if !strings.Contains(h.scrape("/debug/pprof/goroutine?debug=1"), "goroutine profile") {
		t.Error("no profiles")
	}
}

// reported is what a machine pushes.
const reported = `[{"scenario":"test/reported","scenario_hash":"","scenario_version":"","message":"","capacity":0,"leakspeed":"0","events":[],"events_count":1,"simulated":false,"start_at":"2026-07-01T10:00:00Z","stop_at":"2026-07-01T10:00:00Z","source":{"scope":"Ip","value":"192.0.2.7"}}]`

// TestMetricsOfStrangers has names that a terminal obeys in every label that strangers
// choose: they are shown as what they are, and different ones stay different.
func TestMetricsOfStrangers(t *testing.T) {
	t.Parallel()
	bothWays(t, testMetricsOfStrangers)
}

func testMetricsOfStrangers(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	stamp := engine.StampOf(h.Now())
	for _, name := range []string{"a\n", `a\n`, "\x1b[31mred\x07", "\u202eb", "\r"} {
		_, err := h.AddAlerts(t.Context(), testMachine, []*engine.Alert{{Scenario: name, StartAt: stamp, StopAt: stamp, Decisions: []engine.NewDecision{
			{Scope: "s" + name, Value: "v", Type: "t" + name, Origin: "o" + name, Scenario: name, Duration: "4h"}}}}, h.Now().UnixNano())
		h.must(err)
		h.must(h.AddMachine(t.Context(), &engine.Machine{ID: "m" + name, AuthType: engine.AuthPassword, LastHeartbeat: h.Now().UnixNano()}, true))
	}
	text := h.scrape("/metrics")
	for i, r := range text {
		if r != '\n' && !visible.Shown(r) {
			t.Fatalf("there is a %+q in %+q", r, text[max(i-100, 0):min(i+100, len(text))])
		}
	}
	for _, line := range []string{`cs_alerts{reason="a\\n"} 1`, `cs_alerts{reason="a\\\\n"} 1`, `cs_alerts{reason="\\x1b[31mred\\a"} 1`, `scope="s\\u202eb"} 1`} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %s", line)
		}
	}
}

func TestMetricsLevels(t *testing.T) {
	t.Parallel()
	bothWays(t, testMetricsLevels)
}

func testMetricsLevels(t *wireTest) {
	t.Parallel()
	for _, c := range []struct {
		level           string
		routes, latency bool
	}{{"full", true, true}, {"aggregated", true, false}, {"none", false, false}} {
		h := newHouse(t, func(b *build) { b.server.MetricsLevel = c.level })
		h.asBouncer("GET", "/v1/decisions?ip=192.0.2.1")
		text := h.scrape("/metrics")
		if strings.Contains(text, "cs_lapi_route_requests_total{") != c.routes || strings.Contains(text, "cs_lapi_request_duration") != c.latency || !strings.Contains(text, "go_goroutines") {
			t.Errorf("level %s", c.level)
		}
	}
	if _, err := New(&Options{MetricsLevel: "some"}); err == nil {
		t.Error("a level that does not exist is fine")
	}
}

// TestVisitorsAreForgotten removes those who were counted.
func TestVisitorsAreForgotten(t *testing.T) {
	t.Parallel()
	bothWays(t, testVisitorsAreForgotten)
}

func testVisitorsAreForgotten(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.asBouncer("GET", "/v1/decisions")
	h.asMachine("GET", "/v1/heartbeat", "")
	h.must(h.DeleteBouncer(t.Context(), "fw"))
	h.must(h.DeleteMachine(t.Context(), testMachine))
	if text := h.scrape("/metrics"); strings.Contains(text, `bouncer="fw"`) || strings.Contains(text, `machine="a-machine"`) {
		t.Error("they are still counted")
	}
}

// TestEdges holds that the dashboards' buckets are among ours.
func TestEdges(t *testing.T) {
	t.Parallel()
	var fine []float64
	for _, e := range edges {
		fine = append(fine, float64(e)/1e9)
	}
	for _, e := range dashboardEdges {
		if !slices.Contains(fine, e) {
			t.Errorf("%v", e)
		}
	}
	if !slices.IsSorted(fine) {
		t.Error("not in order")
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	bothWays(t, testAccessLog)
}

func testAccessLog(t *wireTest) {
	t.Parallel()
	var log lockedBuffer
	h := newHouse(t, func(b *build) { b.server.AccessLog = &plainLines{out: &log} })
	h.ask("GET", "/v1/decisions?ip=192.0.2.1&x=%0a", "", "User-Agent: evil\u00e9 \"agent\"", "X-Api-Key: a-secret-key")
	h.ask("GET", "/v1/alerts/", "")
	h.eventually("both lines are there", func() bool { return strings.Count(log.String(), "\n") == 2 })
	lines := strings.Split(log.String(), "\n")
	for i, want := range []string{
		`^127\.0\.0\.1 - \[Wed, 01 Jul 2026 \d\d:00:00 \w+\] "GET /v1/decisions\?ip=192\.0\.2\.1&x=%0a HTTP/1\.1 403 [0-9.]+[nµm]?s "tester/1\.0" access forbidden"$`,
		`^127\.0\.0\.1 - \[.*\] "GET /v1/alerts/ HTTP/1\.1 301 [0-9.]+[nµm]?s "tester/1\.0" "$`,
	} {
		if !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("line %q", lines[i])
		}
	}
	if strings.Contains(log.String(), "a-secret-key") {
		t.Error("a key is in the log")
	}
}

// TestShutdown stops while requests are under way: they are answered, and the
// address is free afterwards.
func TestShutdown(t *testing.T) {
	t.Parallel()
	bothWays(t, testShutdown)
}

func testShutdown(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	other, err := New(&Options{Engine: h.Engine, Gate: h.gate, Listen: "127.0.0.1:0"})
	h.must(err)
	h.must(other.Listen())
	address := other.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	var done, asking sync.WaitGroup
	done.Go(func() { h.must(other.Run(ctx)) })
	begun := make(chan struct{})
	asking.Go(func() {
		r, w := io.Pipe()
		go func() {
			io.WriteString(w, "[")
			close(begun)
			<-ctx.Done()
			io.WriteString(w, "]")
			w.Close()
		}()
		q, _ := http.NewRequest("POST", "http://"+address+"/v1/alerts", r)
		q.Header.Set("Authorization", "Bearer "+h.token())
		got, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Errorf("the request under way: %v", err)
			return
		}
		got.Body.Close()
		if got.StatusCode != 201 {
			t.Errorf("the request under way: %d", got.StatusCode)
		}
	})
	<-begun
	h.eventually("the request is being read", func() bool { return other.front.Counts().Served == 1 })
	cancel()
	asking.Wait()
	done.Wait()
	l, err := net.Listen("tcp", address)
	h.must(err)
	l.Close()
}

// TestUsedPort is an error before anything runs.
func TestUsedPort(t *testing.T) {
	t.Parallel()
	bothWays(t, testUsedPort)
}

func testUsedPort(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	other, err := New(&Options{Engine: h.Engine, Gate: h.gate, Listen: h.server.Addr().String()})
	h.must(err)
	if err := other.Listen(); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []Options{{}, {Engine: h.Engine, Gate: h.gate}} {
		if _, err := New(&bad); err == nil {
			t.Errorf("%+v is fine", bad)
		}
	}
}
