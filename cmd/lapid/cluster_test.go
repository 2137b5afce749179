package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lapid/persist/stream"
)

// TestClusterPage pastes every block of the page into one shell: three nodes, whatever is done at one is known at all,
// a relay follows them, a node is killed and comes back, and all of them end.
func TestClusterPage(t *testing.T) {
	t.Parallel()
	page, dir := fileOf(t, "docs/cluster.md"), t.TempDir()
	runPage(t, "cluster.md", page, dir, fmt.Sprintf(`DIR=%s/nodes
PORT=%d
start_nodes() { lapid cluster quickstart --dir "$DIR" --port "$PORT" > nodes.log 2>&1 & nodes=$!; }
`, dir, freePorts(t, 4, 100)))
	for _, node := range []string{"a", "b", "c"} {
		text, err := os.ReadFile(filepath.Join(dir, "nodes", node, "log"))
		if err != nil || saysError(string(text)) || strings.Contains(string(text), "panic") {
			t.Errorf("node %s wrote: %v\n%s", node, err, text)
		}
	}
}

// scrapeNode: what dashboards and rules ask for of a cluster has series at a node, and the certificates it shows others are among
// those that are watched.
func scrapeNode(t *testing.T, file string) {
	t.Helper()
	m := regexp.MustCompile(`listen_port: (\d+)`).FindStringSubmatch(fileOf(t, file))
	if m == nil {
		t.Fatalf("%s names no port of the metrics", file)
	}
	port, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	h, text := &house{site: &site{t: t}, metrics: port}, ""
	await(t, "the members of etcd were asked", func() bool {
		text = h.scrape()
		return strings.Count(text, "lapid_cluster_etcd_up{") == 3 && strings.Count(text, "lapid_cluster_node_up{") == 2
	})
	checkMetrics(t, text)
	findAll(t, seriesOf(text), true)
	for _, line := range []string{`lapid_cluster_commits_total{result="stored"}`, `lapid_certificate_expiry_timestamp_seconds{file="` + filepath.Join(filepath.Dir(file), "node.pem")} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
}

func pidOf(t *testing.T, dir, node string) (pid int) {
	t.Helper()
	if _, err := fmt.Sscan(fileOf(t, filepath.Join(dir, node, "pid")), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func aliveNodes(s stream.Status) (n int) {
	for _, node := range s.Nodes {
		if node.Alive {
			n++
		}
	}
	return n
}

// TestClusterStatus: what scripts read of it, where a member is away and where all are; what is asked of nodes besides: figures, the
// log, certificates, comparisons, and what becomes of a node that differs, and of one that leaves. One
// node ends in good order: a bouncer that was there goes on at another from where it was.
func TestClusterStatus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := freePorts(t, 3, 100)
	nodes := start(t, nil, "cluster", "quickstart", "--dir", dir, "--port", fmt.Sprint(port))
	await(t, "all nodes are ready", func() bool { return strings.Contains(nodes.out.String(), "Ctrl-C ends all") })
	status := func(node string) (s stream.Status, code int) {
		r := (&site{t: t, dir: dir, file: filepath.Join(dir, node, "config.yaml")}).do("", "-o", "json", "cluster", "status")
		if err := json.Unmarshal([]byte(r.out), &s); err != nil && r.exit < 2 {
			t.Fatalf("%v: %s", err, r.out)
		}
		return s, r.exit
	}
	if s, code := status("b"); code != 0 || len(s.Nodes) != 3 || len(s.Members) != 3 || s.Writer.Node == "" {
		t.Errorf("exit code %d, %+v", code, s)
	}
	scrapeNode(t, filepath.Join(dir, "b", "config.yaml"))
	at := func(node string, args ...string) result {
		return (&site{t: t, dir: dir, file: filepath.Join(dir, node, "config.yaml")}).do("", args...)
	}
	if at("b", "cluster", "forget", "nobody").exit == 0 {
		t.Error("a node that there is not was forgotten")
	}
	pids := map[string]int{"b": pidOf(t, dir, "b"), "c": pidOf(t, dir, "c")}
	signal := func(node string, s syscall.Signal) {
		if err := syscall.Kill(pids[node], s); err != nil {
			t.Fatal(err)
		}
	}
	signal("b", syscall.SIGHUP)
	await(t, "a node that follows reads its certificate again", func() bool {
		return strings.Contains(fileOf(t, filepath.Join(dir, "b", "log")), "certificate for other nodes read again")
	})
	var entries []stream.Entry
	if r := at("b", "-o", "json", "cluster", "log", "-n", "2"); json.Unmarshal([]byte(r.out), &entries) != nil || len(entries) != 2 || entries[1].Node == "" || len(entries[1].Kinds) == 0 {
		t.Errorf("the log: %s %s", r.out, r.err)
	}

	foreign := write(t, t.TempDir(), "cluster.key", stream.NewSealLine())
	for variable, words := range map[string]string{"": "Configuration test done", "CS_LAPI_SECRET=" + strings.Repeat("another secret, ", 8): "runs with another CS_LAPI_SECRET", "LAPID_CLUSTER_SEAL_FILE=" + foreign: "cluster.seal_file must be the same",
		"LAPID_CLUSTER_NAME=d": "the certificate is that of node"} {
		var env []string
		if variable != "" {
			env = []string{variable}
		}
		p := start(t, env, "serve", "-t", "-c", filepath.Join(dir, "c", "config.yaml"))
		if code := p.wait(t); (code == 0) != (variable == "") || !strings.Contains(p.out.String(), words) {
			t.Errorf("a trial with %.32q: exit code %d, and no %q:\n%s", variable, code, words, p.out)
		}
	}

	importAt(t, at, dir)

	gone := func() { // what a node was ends in good order
		signal("c", syscall.SIGTERM)
		await(t, "c has ended", func() bool { return errors.Is(syscall.Kill(pids["c"], 0), syscall.ESRCH) })
	}
	back := func() *process {
		p := start(t, nil, "serve", "-c", filepath.Join(dir, "c", "config.yaml"))
		pids["c"] = p.cmd.Process.Pid
		return p
	}
	poll := bouncerOf(t, filepath.Join(dir, "a", "bouncer.key"))
	ban := func(ip string) {
		if r := at("a", "decisions", "add", "--ip", ip); r.exit != 0 {
			t.Fatal(r.err)
		}
	}
	ban("192.0.2.1")
	await(t, "the bouncer is told of the ban at c", func() bool { return strings.Contains(poll(port+200, "?startup=true"), "192.0.2.1") })
	if told := poll(port+200, ""); strings.Contains(told, "192.0.2.1") { // it has come back: now it is known to have the ban
		t.Errorf("the bouncer was told twice: %s", told)
	}
	if r := at("c", "cluster", "check"); r.exit != 0 || !strings.Contains(r.out, "hold the same: a, b, c") {
		t.Errorf("a comparison: %+v", r)
	}
	gone()
	ban("192.0.2.2")
	told := ""
	await(t, "the bouncer is told of the next ban at b", func() bool {
		told += poll(port+100, "")
		return strings.Contains(told, `"192.0.2.2"`)
	})
	if strings.Contains(told, `"192.0.2.1"`) {
		t.Errorf("at another node the bouncer is told everything: %s", told)
	}

	alone := write(t, t.TempDir(), "config.yaml", fileOf(t, filepath.Join(dir, "c", "config.yaml"))) // without lapid.yaml
	if r := (&site{t: t, dir: dir, file: alone}).do("", "decisions", "add", "--ip", "203.0.113.66"); r.exit != 0 {
		t.Fatalf("%+v", r)
	}
	ban("192.0.2.3") // the others have gone on from where that node went its own way
	ban("192.0.2.4")
	p := back()
	await(t, "c is heard of", func() bool { s, _ := status("a"); return aliveNodes(s) == 3 })
	at("b", "cluster", "check")
	await(t, "c says that it differs", func() bool { return strings.Contains(at("c", "ready").out, "differs from what most nodes hold") })
	gone()
	p.wait(t)
	p = back()
	await(t, "c has joined anew, and all hold the same", func() bool {
		r := at("b", "cluster", "check")
		return r.exit == 0 && strings.Contains(r.out, "hold the same: a, b, c")
	})
	if r := at("c", "cluster", "alone"); r.exit == 0 {
		t.Error("a node left its cluster while its server ran")
	}
	gone()
	p.wait(t)
	if r := at("c", "cluster", "alone"); r.exit != 0 || at("c", "cluster", "alone").exit == 0 {
		t.Errorf("c leaves: %+v", r)
	}
	if s, code := status("a"); code != 1 || len(s.Nodes) != 2 {
		t.Errorf("with the member of c away: %d, %+v", code, s.Nodes)
	}
	if r := at("a", "cluster", "check"); r.exit != 0 || !strings.Contains(r.out, "hold the same: a, b\n") {
		t.Errorf("a comparison without the node that left: %+v", r)
	}
	signal("b", syscall.SIGKILL)
	await(t, "with b away too the exit code is 2", func() bool { _, code := status("a"); return code == 2 })
	if err := nodes.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := nodes.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// importAt imports at a node that follows: several chunks, a named list twice, and what is refused. The others know it when it returns.
func importAt(t *testing.T, at func(node string, args ...string) result, dir string) {
	t.Helper()
	var lines strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&lines, "10.9.%d.%d\n", i>>8, i&255)
	}
	many, few := write(t, dir, "many.txt", lines.String()), write(t, dir, "few.txt", "198.51.100.1\n198.51.100.2\n")
	if r := at("c", "decisions", "import", "-i", many, "--format", "values", "--batch-name", "many", "--batch", "10000"); r.exit != 0 || !strings.Contains(r.out+r.err, "25000") {
		t.Errorf("an import at a node that follows: %+v", r)
	}
	if r := at("b", "decisions", "import", "-i", few, "--format", "values", "--batch-name", "many"); r.exit == 0 || !strings.Contains(r.err, "there is a batch") {
		t.Errorf("an import that the node that writes refuses: %+v", r)
	}
	for _, file := range []string{many, few} {
		if r := at("b", "decisions", "import", "-i", file, "--format", "values", "--name", "drop", "--replace", "--allow-shrink"); r.exit != 0 {
			t.Errorf("a named list at a node that follows: %+v", r)
		}
	}
	for _, node := range []string{"a", "b", "c"} {
		if r := at(node, "decisions", "list", "-o", "raw", "--origin", "lists"); strings.Count(r.out, "198.51.100.") != 2 || strings.Contains(r.out, "10.9.") {
			t.Errorf("node %s has of the list: %+v", node, r)
		}
	}
	if r := at("a", "decisions", "delete", "--batch-name", "many"); r.exit != 0 || !strings.Contains(r.out+r.err, "25000") {
		t.Errorf("the import is taken back at another node: %+v", r)
	}
}

// bouncerOf polls the stream of a node as the bouncer whose key is in a file.
func bouncerOf(t *testing.T, file string) func(port int, query string) string {
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return func(port int, query string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/v1/decisions/stream%s", port, query), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Api-Key", strings.TrimSpace(string(key)))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v: %s", answer.Status, err, text)
		}
		return string(text)
	}
}

// saysError reports whether a log of a node has an error of lapid's own: a member of etcd that starts beside others has some that end by
// themselves.
func saysError(log string) bool {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=error") && !strings.Contains(line, "from=etcd") {
			return true
		}
	}
	return false
}
