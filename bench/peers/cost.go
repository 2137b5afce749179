//go:build linux

package peers

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Cost is what a command took.
type Cost struct {
	Wall   time.Duration
	CPU    time.Duration
	Peak   int64  // bytes resident; never below what the process had that started it
	Output string // the beginning of what it wrote
}

// outputKept is how much of a command's output a Cost has.
const outputKept = 4 << 10

// CostOf runs a command. The kernel counts as its peak also what its parent had when it started it, so
// the process that calls this should be a small one.
func CostOf(argv []string) (*Cost, error) {
	c := exec.Command(argv[0], argv[1:]...)
	begin := time.Now()
	out, err := c.Output()
	took := time.Since(begin)
	if err != nil {
		if exit, ok := err.(*exec.ExitError); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	cost := &Cost{Wall: took, CPU: c.ProcessState.UserTime() + c.ProcessState.SystemTime(), Output: string(out[:min(len(out), outputKept)])}
	if usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		cost.Peak = usage.Maxrss << 10
	}
	return cost, nil
}
