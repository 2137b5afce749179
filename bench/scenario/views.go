//go:build linux

package scenario

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Views has a fleet of a thousand bouncers follow what comes, first without views and then
// in five, in one process without connections: what the views cost is all that differs.
func (b *Bench) Views(ctx context.Context) error {
	b.say("views: a fleet without and with, at %d decisions", b.Viewed)
	c := exec.CommandContext(ctx, "go", "test", "-count=1", "-run", "^$", "-bench", "BenchmarkFleetOfViews", "-benchtime", "10x", "lapid/transport/feed", "-decisions", strconv.Itoa(b.Viewed))
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("the fleet of views: %w: %s", err, out[max(0, len(out)-300):])
	}
	without, views := benchmarked(string(out), "/without"), benchmarked(string(out), "/views")
	const cpu, heap = "cpu-µs/poll", "heap-MB"
	if without[cpu] == 0 || views[cpu] == 0 {
		return fmt.Errorf("the fleet of views: no figures: %.300s", out)
	}
	b.Report.Measured(rowViews, views[cpu]/without[cpu], "%.1f µs a poll, without %.1f µs; the first polls, which make the lists, took %.0f ms in all, without %.0f ms",
		views[cpu], without[cpu], views["first-ms"], without["first-ms"])
	b.Report.Measured(rowViewsMemory, views[heap], "the fleet without: %.1f MB", without[heap])
	return nil
}

// benchmarked gives what a benchmark has reported, by unit.
func benchmarked(out, name string) map[string]float64 {
	figures := map[string]float64{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "Benchmark") || !strings.Contains(fields[0], name) {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			figures[fields[i+1]], _ = strconv.ParseFloat(fields[i], 64)
		}
	}
	return figures
}
