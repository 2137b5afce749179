package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

var groups atomic.Int64

// memoryGroup makes a control group, of the first version or the second, that may take
// so many MiB, and gives its folder. It needs root, and goes with the test.
func memoryGroup(t *testing.T, mib int) string {
	t.Helper()
	root, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(filepath.Join(root, limit)); err != nil {
		root, limit = "/sys/fs/cgroup", "memory.max"
	}
	dir := filepath.Join(root, fmt.Sprintf("lapid-%d-%d", os.Getpid(), groups.Add(1)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := os.WriteFile(filepath.Join(dir, limit), []byte(strconv.Itoa(mib<<20)), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

// joinGroup is the line of a script by which it, and what it becomes, enters a group;
// nothing where dir is "".
func joinGroup(dir string) string {
	if dir == "" {
		return ""
	}
	return fmt.Sprintf("echo $$ > %s/cgroup.procs; ", dir)
}

// highWater is the most memory that a process has taken, in bytes.
func highWater(p *process) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			n, _ := strconv.Atoi(f[1])
			return n << 10
		}
	}
	return 0
}
