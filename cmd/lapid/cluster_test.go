package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapid/persist/stream"
)

// TestClusterPage pastes every block of the page into one shell: three nodes, whatever is done at one is known at all,
// a node is killed and comes back, and all of them end.
func TestClusterPage(t *testing.T) {
	t.Parallel()
	page, dir := fileOf(t, "docs/cluster.md"), t.TempDir()
	runPage(t, "cluster.md", page, dir, fmt.Sprintf(`DIR=%s/nodes
PORT=%d
start_nodes() { lapid cluster quickstart --dir "$DIR" --port "$PORT" > nodes.log 2>&1 & nodes=$!; }
`, dir, freePorts(t, 3, 100)))
	for _, node := range []string{"a", "b", "c"} {
		text, err := os.ReadFile(filepath.Join(dir, "nodes", node, "log"))
		if err != nil || strings.Contains(string(text), "level=error") || strings.Contains(string(text), "panic") {
			t.Errorf("node %s wrote: %v\n%s", node, err, text)
		}
	}
}

// TestClusterStatus: what scripts read of it, where a member is away and where all are.
func TestClusterStatus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nodes := start(t, nil, "cluster", "quickstart", "--dir", dir, "--port", fmt.Sprint(freePorts(t, 3, 100)))
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
	for _, node := range []string{"c", "b"} {
		text, err := os.ReadFile(filepath.Join(dir, node, "pid"))
		pid := 0
		if _, scanned := fmt.Sscan(string(text), &pid); err != nil || scanned != nil {
			t.Fatal(err, scanned)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"c": 1, "b": 2}[node]
		await(t, fmt.Sprintf("with %s away the exit code is %d", node, want), func() bool { _, code := status("a"); return code == want })
	}
	if err := nodes.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := nodes.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
