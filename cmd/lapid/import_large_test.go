package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLargeNamedList: a large list is set, and set again with a hundred changes, beside a running
// server; a bouncer is told of a hundred. With -refresh 1000000 -v it measures memory, which
// bounds hold for that too.
func TestLargeNamedList(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.news("?startup=true")
	lines := func(from int) string {
		var b strings.Builder
		for i := from; i < from+*refreshOf; i++ {
			fmt.Fprintf(&b, "10.%d.%d.%d\n", i>>16&255, i>>8&255, i&255)
		}
		return write(t, h.dir, fmt.Sprintf("list%d.txt", from), b.String())
	}
	set := func(file string) {
		t.Helper()
		h.beside(filepath.Base(file), func() {
			q := start(t, nil, "-c", h.file, "decisions", "import", "-i", file, "--name", "big", "--replace", "-d", "24h")
			used := int64(0) // seen while it runs: what its end tells counts the memory of who started it
			await(t, "it has ended", func() bool {
				if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", q.cmd.Process.Pid)); err == nil {
					if _, text, found := strings.Cut(string(status), "VmHWM:"); found {
						var kib int64
						_, _ = fmt.Sscan(text, &kib)
						used = max(used, kib>>10)
					}
				}
				select {
				case <-q.ended:
					return true
				default:
					return false
				}
			})
			if code := q.wait(t); code != 0 {
				t.Fatalf("exit %d: %s", code, q.out)
			}
			t.Logf("%d lines: the verb took %d MiB, the server %d MiB at most", *refreshOf, used, memory(t, p.cmd.Process.Pid, "VmHWM")>>10)
			if used > 256 && !underRace {
				t.Errorf("the verb took %d MiB", used)
			}
		})
	}
	set(lines(0))
	if begun, ended := h.news(""); len(begun) != *refreshOf || len(ended) != 0 {
		t.Errorf("told of %d and %d", len(begun), len(ended))
	}
	set(lines(100))
	if begun, ended := h.news(""); len(begun) != 100 || len(ended) != 100 {
		t.Errorf("told of %d and %d", len(begun), len(ended))
	}
	if most := 250 + *refreshOf/2000; memory(t, p.cmd.Process.Pid, "VmHWM")>>10 > most && !underRace {
		t.Errorf("the server took %d MiB, more than %d", memory(t, p.cmd.Process.Pid, "VmHWM")>>10, most)
	}
}
