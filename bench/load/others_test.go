//go:build linux

package load

import (
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestLedger(t *testing.T) {
	t.Parallel()
	begin := time.Unix(100, 0)
	before := ledger{at: begin, cpus: 2}
	for name, c := range map[string]struct {
		now  ledger
		want time.Duration
	}{
		"nobody else":                       {ledger{idle: 5 * time.Second, ours: 15 * time.Second}, 0},
		"somebody":                          {ledger{idle: 4 * time.Second, ours: 15 * time.Second, theirs: time.Second}, time.Second},
		"another machine":                   {ledger{ours: 18 * time.Second, stole: 2 * time.Second}, 2 * time.Second},
		"somebody on other CPUs":            {ledger{idle: 5 * time.Second, ours: 15 * time.Second, theirs: 9 * time.Second}, rounding},
		"somebody who is not seen":          {ledger{idle: 5 * time.Second, ours: 12 * time.Second}, 3*time.Second - rounding},
		"interrupts that are nobody's":      {ledger{idle: 5 * time.Second, ours: 12 * time.Second, interrupts: 3 * time.Second}, 0},
		"interrupts that are counted twice": {ledger{idle: 4 * time.Second, ours: 15 * time.Second, theirs: time.Second, interrupts: 3 * time.Second}, time.Second},
		"the kernel's own threads":          {ledger{idle: 5 * time.Second, ours: 12 * time.Second, kernel: 3 * time.Second}, 0},
	} {
		c.now.at, c.now.cpus = begin.Add(10*time.Second), 2
		got := c.now.since(&before)
		if got.Time != c.want || got.Share != c.want.Seconds()/20 {
			t.Errorf("%s: lost %+v, want %v", name, got, c.want)
		}
	}
	if got := before.since(&before); got != (Loss{}) {
		t.Errorf("in no time %+v was lost", got)
	}
}

// What a child does is this process's own, while it runs and when it has ended.
func TestOwnChildren(t *testing.T) {
	t.Parallel()
	server, generator, err := Halves()
	if err != nil {
		t.Fatal(err)
	}
	cpus := slices.Compact(append(server, generator...))
	w, err := NewWatch(cpus)
	if err != nil {
		t.Fatal(err)
	}
	spend := exec.Command("sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
	if err := spend.Run(); err != nil {
		t.Fatal(err)
	}
	var now ledger
	if err := now.read(cpus); err != nil {
		t.Fatal(err)
	}
	spent := spend.ProcessState.UserTime() + spend.ProcessState.SystemTime()
	if ours := now.ours - w.before.ours; ours < spent-rounding {
		t.Errorf("of %v that a child had, %v are told as ours", spent, ours)
	}
	if l, err := w.Lost(); err != nil || l.Share < 0 || l.Share > 1 {
		t.Errorf("%+v, %v", l, err)
	}
}

// Whoever is no descendant is somebody else.
func TestDescends(t *testing.T) {
	t.Parallel()
	all := map[int]process{1: {}, 2: {parent: 1}, 3: {parent: 2}, 4: {parent: 1}, 5: {parent: 99}, 6: {parent: 7}, 7: {parent: 6}}
	for pid, want := range map[int]bool{2: true, 3: true, 1: false, 4: false, 5: false, 6: false} {
		if got := descends(all, pid, 2); got != want {
			t.Errorf("%d descends from 2: %v", pid, got)
		}
	}
}

func TestNoSuchCPU(t *testing.T) {
	t.Parallel()
	if _, err := NewWatch([]int{1 << 20}); err == nil {
		t.Error("a CPU that is not there is watched")
	}
}
