//go:build linux

package load

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU time in /proc, the same on every Linux.
const tick = 10 * time.Millisecond

// cpuClock makes of a process id, shifted and inverted, the number of the clock that counts its CPU
// time in nanoseconds; the bits are the kernel's.
const cpuClock = 2

// Usage is what a process and its children have spent so far, in all. Memory is
// that of this moment, in bytes.
type Usage struct {
	CPU      time.Duration // user and system
	User     time.Duration // of it what the processes did themselves, to ten milliseconds
	Resident int64         // shared pages shared out when there are several processes
	Peak     int64         // highest Resident of the first process since it started or ResetPeak
	Written  int64         // bytes given to write calls: files and sockets
}

// Process is a running server with the processes it started.
type Process struct {
	PID int
}

// Usage reads /proc. Of a process that has gone all is 0.
func (p *Process) Usage() (u Usage) {
	family := p.family()
	for _, pid := range family {
		u.CPU += cpuOf(pid)
		user, _ := ticksOf(pid)
		u.User += user
		u.Written += fieldOf(pid, "io", "wchar:")
		if len(family) > 1 {
			u.Resident += fieldOf(pid, "smaps_rollup", "Pss:") << 10
		}
	}
	if len(family) == 1 {
		u.Resident = fieldOf(p.PID, "status", "VmRSS:") << 10
	}
	u.Peak = fieldOf(p.PID, "status", "VmHWM:") << 10
	return u
}

// ResetPeak makes Peak count from now.
func (p *Process) ResetPeak() error {
	if err := os.WriteFile(procFile(p.PID, "clear_refs"), []byte("5"), 0); err != nil {
		return fmt.Errorf("resetting the peak of resident memory: %w", err)
	}
	return nil
}

// family gives the process and all that descend from it.
func (p *Process) family() []int {
	family := []int{p.PID}
	for i := 0; i < len(family); i++ {
		lists, _ := filepath.Glob(procFile(family[i], "task/*/children")) // the pattern is good
		for _, list := range lists {
			text, _ := os.ReadFile(list) // gone: no children
			for _, word := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil {
					family = append(family, pid)
				}
			}
		}
	}
	return family
}

// cpuOf reads the process's clock, and where that is refused what /proc tells.
func cpuOf(pid int) time.Duration {
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClock), &spent); err == nil {
		return time.Duration(spent.Nano())
	}
	user, system := ticksOf(pid)
	return user + system
}

// ticksOf reads fields 14 and 15 of stat, counted behind the name, which may
// hold blanks.
func ticksOf(pid int) (user, system time.Duration) {
	text, _ := os.ReadFile(procFile(pid, "stat")) // gone: nothing spent
	_, rest, _ := bytes.Cut(text, []byte(") "))
	field := strings.Fields(string(rest))
	if len(field) < 13 {
		return 0, 0
	}
	u, _ := strconv.ParseInt(field[11], 10, 64)
	s, _ := strconv.ParseInt(field[12], 10, 64)
	return time.Duration(u) * tick, time.Duration(s) * tick
}

// fieldOf reads the number behind a name in one of a process's files; 0 when
// there is none.
func fieldOf(pid int, file, name string) int64 {
	text, _ := os.ReadFile(procFile(pid, file))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return max(number([]byte(rest)), 0)
		}
	}
	return 0
}

func procFile(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }
