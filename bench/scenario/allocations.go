//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// allocationTests are the packages on the way of a live query and of a delta.
var allocationTests = []string{"lapid/index", "lapid/engine", "lapid/transport", "lapid/transport/auth", "lapid/transport/wire"}

// Allocations runs the tests that count allocations: those with Alloc in their
// names.
func (b *Bench) Allocations(ctx context.Context) error {
	b.say("allocations: the tests")
	c := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-run", "Alloc", "-v"}, allocationTests...)...)
	out, err := c.CombinedOutput()
	passed, failed := strings.Count(string(out), "\n--- PASS"), strings.Count(string(out), "\n--- FAIL")
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && failed == 0, err != nil && !errors.As(err, &exit):
		return fmt.Errorf("tests of allocations: %w: %s", err, out[max(0, len(out)-300):])
	case passed+failed == 0:
		return errors.New("no tests of allocations")
	}
	b.Report.Measured(rowAllocations, float64(failed), "%d tests pass", passed)
	return nil
}
