//go:build packages

package packages

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a running systemd over the files of this machine, to which nothing is written: what is
// installed there is gone with it. It has a network of its own, with loopback alone.
type machine struct {
	t   *testing.T
	pid string // of its systemd
}

// newMachine starts one, which ends with the test. It wants root.
func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("packages are installed by root: sudo make packages-test")
	}
	group := controlGroup(t)
	var said bytes.Buffer
	boot := exec.Command("sh", "-c", `echo $$ >"$1/cgroup.procs" && exec unshare -m -p -f -u -C -n sh testdata/boot.sh "$2"`, "sh", group, t.TempDir())
	boot.Stdout, boot.Stderr = &said, &said
	if err := boot.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = boot.Wait(); close(ended) }()
	m := &machine{t: t}
	t.Cleanup(func() {
		if pid, err := strconv.Atoi(m.pid); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // and with it all of its processes
		}
		<-ended
	})
	m.await("systemd to run", func() bool {
		select {
		case <-ended:
			t.Fatalf("no machine: %s", said.String())
		default:
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", boot.Process.Pid))
		if m.pid = strings.TrimSpace(string(children)); m.pid == "" {
			return false
		}
		state, _ := m.try("systemctl", "is-system-running")
		return strings.HasPrefix(state, "running") || strings.HasPrefix(state, "degraded")
	})
	return m
}

// controlGroup makes a group that systemd takes for the whole, as a container's; it goes with the test.
func controlGroup(t *testing.T) string {
	t.Helper()
	group := fmt.Sprintf("/sys/fs/cgroup/systemd/lapid-%d", os.Getpid())
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		group = fmt.Sprintf("/sys/fs/cgroup/lapid-%d", os.Getpid())
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var folders []string
		_ = filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		for _, folder := range slices.Backward(folders) {
			_ = os.Remove(folder)
		}
	})
	return group
}

// await waits until something is so.
func (m *machine) await(what string, so func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// try runs a program on the machine, as root, and gives what it said.
func (m *machine) try(words ...string) (string, error) {
	c := exec.Command("nsenter", append([]string{"-t", m.pid, "-m", "-p", "-u", "-C", "-n", "-r", "-w", "--"}, words...)...)
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	out, err := c.CombinedOutput()
	return string(out), err
}

// run is try of what must not fail.
func (m *machine) run(words ...string) string {
	m.t.Helper()
	out, err := m.try(words...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return out
}

// sh runs a line of shell, which must not fail.
func (m *machine) sh(line string) string {
	m.t.Helper()
	return m.run("sh", "-e", "-c", line)
}

// shows runs a line of shell, and wants each of some texts in what it says.
func (m *machine) shows(line string, texts ...string) string {
	m.t.Helper()
	out, err := m.try("sh", "-c", line)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			m.t.Fatalf("%s says (%v)\n%s\nwithout %q", line, err, out, text)
		}
	}
	return strings.TrimSpace(out)
}

// put lays a file of this machine there, into a folder that is made; /tmp is the machine's own.
func (m *machine) put(file, folder string) {
	m.t.Helper()
	from, err := os.Open(file)
	if err != nil {
		m.t.Fatal(err)
	}
	defer from.Close()
	c := exec.Command("nsenter", "-t", m.pid, "-m", "-r", "-w", "--", "sh", "-c", `mkdir -p "$2" && cat >"$2/$1"`, "sh", filepath.Base(file), folder)
	c.Stdin = from
	if out, err := c.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v\n%s", file, err, out)
	}
}
