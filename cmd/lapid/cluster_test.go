package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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

// TestClusterStatus: what scripts read of it, where a member is away and where all are. One node ends in good order: a bouncer
// that was there goes on at another from where it was.
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
	forget := func(node string) int {
		return (&site{t: t, dir: dir, file: filepath.Join(dir, "b", "config.yaml")}).do("", "cluster", "forget", node).exit
	}
	if forget("nobody") == 0 {
		t.Error("a node that there is not was forgotten")
	}
	poll := bouncerOf(t, filepath.Join(dir, "a", "bouncer.key"))
	ban := func(ip string) {
		r := (&site{t: t, dir: dir, file: filepath.Join(dir, "a", "config.yaml")}).do("", "decisions", "add", "--ip", ip)
		if r.exit != 0 {
			t.Fatal(r.err)
		}
	}
	ban("192.0.2.1")
	await(t, "the bouncer is told of the ban at c", func() bool { return strings.Contains(poll(port+200, "?startup=true"), "192.0.2.1") })
	if told := poll(port+200, ""); strings.Contains(told, "192.0.2.1") { // it has come back: now it is known to have the ban
		t.Errorf("the bouncer was told twice: %s", told)
	}
	for _, node := range []string{"c", "b"} {
		text, err := os.ReadFile(filepath.Join(dir, node, "pid"))
		pid := 0
		if _, scanned := fmt.Sscan(string(text), &pid); err != nil || scanned != nil {
			t.Fatal(err, scanned)
		}
		how := map[string]syscall.Signal{"c": syscall.SIGTERM, "b": syscall.SIGKILL}[node]
		if err := syscall.Kill(pid, how); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"c": 1, "b": 2}[node]
		await(t, fmt.Sprintf("with %s away the exit code is %d", node, want), func() bool { _, code := status("a"); return code == want })
		if node == "c" {
			await(t, "c has ended", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
			ban("192.0.2.2")
			told := ""
			await(t, "the bouncer is told of the next ban at b", func() bool {
				told += poll(port+100, "")
				return strings.Contains(told, `"192.0.2.2"`)
			})
			if strings.Contains(told, `"192.0.2.1"`) {
				t.Errorf("at another node the bouncer is told everything: %s", told)
			}
		}
	}
	if err := nodes.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := nodes.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
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
