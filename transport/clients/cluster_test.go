//go:build clients

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestCluster: Debian's log processor, cscli and firewall bouncer in front of three nodes, behind Debian's haproxy as the page says it. The
// node that writes is killed in the middle, and none of them notices but by a moment.
func TestCluster(t *testing.T) {
	t.Parallel()
	if reference {
		return // it is one
	}
	needs(t, "haproxy")
	inside := newNamespace(t) // where all ports are free
	lapid, err := buildLapid()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	nodes := start(t, "the nodes", append(inside, lapid, "cluster", "quickstart", "--dir", dir, "--port", "9080")...)
	await(t, "three nodes are ready", func() (bool, string) {
		if err := nodes.alive(); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(nodes.output.String(), "Ctrl-C ends all"), nodes.output.String()
	})
	writer := regexp.MustCompile(`(?m)^node ([abc]) writes`).FindStringSubmatch(nodes.output.String())
	if writer == nil {
		t.Fatalf("nobody writes: %s", nodes.output.String())
	}
	other := map[string]string{"a": "b", "b": "c", "c": "a"}[writer[1]]

	const port = 8080
	balancer := start(t, "haproxy", append(inside, "haproxy", "-db", "-f", clusterBalancer(t, dir, port))...)
	await(t, "haproxy listens", func() (bool, string) {
		if err := balancer.alive(); err != nil {
			t.Fatal(err)
		}
		return listens(balancer.cmd.Process.Pid, port), balancer.output.String()
	})
	s := &server{dir: t.TempDir(), port: port, url: fmt.Sprintf("http://127.0.0.1:%d", port), inside: inside, verb: []string{lapid, "-c", filepath.Join(dir, other, "config.yaml")}}
	s.addMachine(t, machineName, s.credentials())
	s.addBouncer(t, "client", bouncerKey)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.20", "-d", "1h")
	bouncer := startFirewallBouncer(t, s, "200ms")
	awaitBlocked(t, bouncer, inside, "192.0.2.20")
	lp := startLogProcessor(t, s.credentials(), inside...)
	lp.attack(t, "203.0.113.77")
	awaitBlocked(t, bouncer, inside, "192.0.2.20", "203.0.113.77")

	var pid int
	text, err := os.ReadFile(filepath.Join(dir, writer[1], "pid"))
	if err == nil {
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.21", "-d", "1h")
	lp.attack(t, "203.0.113.78")
	awaitBlocked(t, bouncer, inside, "192.0.2.20", "192.0.2.21", "203.0.113.77", "203.0.113.78")
	c.expect(t, 0, nil, "decisions", "delete", "-i", "192.0.2.20")
	awaitBlocked(t, bouncer, inside, "192.0.2.21", "203.0.113.77", "203.0.113.78")
}

// clusterBalancer writes haproxy's configuration as the page about several machines has it, for nodes in a folder.
func clusterBalancer(t *testing.T, dir string, port int) (file string) {
	t.Helper()
	page, err := os.ReadFile("../../cmd/lapid/docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "For haproxy:\n\n")
	block, _, ended := strings.Cut(block, "\n\n")
	if !found || !ended {
		t.Fatal("the page has no configuration for haproxy")
	}
	of := map[string]string{"bind :8080": fmt.Sprintf("bind 127.0.0.1:%d", port)}
	for i, node := range []string{"a", "b", "c"} {
		config, err := os.ReadFile(filepath.Join(dir, node, "config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		api, metrics := regexp.MustCompile(`listen_uri: (\S+)`).FindSubmatch(config), regexp.MustCompile(`listen_port: (\d+)`).FindSubmatch(config)
		if api == nil || metrics == nil {
			t.Fatalf("node %s has no addresses: %s", node, config)
		}
		of[fmt.Sprintf("192.0.2.1%d:8080 check port 6060", i+1)] = fmt.Sprintf("%s check port %s", api[1], metrics[1])
	}
	for text, here := range of {
		if !strings.Contains(block, text) {
			t.Fatalf("the page's haproxy has no %q", text)
		}
		block = strings.ReplaceAll(block, text, here)
	}
	file = filepath.Join(dir, "haproxy.cfg")
	mustWrite(t, file, block+"\n")
	return file
}
