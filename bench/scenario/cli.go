//go:build linux

package scenario

import (
	"context"
	"fmt"
	"strings"

	"lapid/bench/peers"
)

// List has the operator's program show one decision of all.
func (b *Bench) List(ctx context.Context, l *peers.LAPI) error {
	b.say("command line: decisions list -l 1")
	var costs []*peers.Cost
	for range max(b.Rounds, 3) {
		c, err := l.Cost(ctx, b.Self, "decisions", "list", "-l", "1")
		if err != nil {
			return err
		}
		if !strings.Contains(c.Output, "ban") {
			return fmt.Errorf("decisions list -l 1 shows no decision: %.200q", c.Output)
		}
		costs = append(costs, c)
	}
	wall := func(c *peers.Cost) float64 { return ms(c.Wall) }
	all := make([]float64, len(costs))
	peak := int64(0)
	for i, c := range costs {
		all[i], peak = wall(c), max(peak, c.Peak)
	}
	took := spanOf(all)
	b.Report.Measured(rowList, took.middle, "%v, CPU of the client %.0f ms", took, ms(middleBy(costs, wall).CPU))
	b.Report.Measured(rowListMemory, mb(peak), "most of %d", len(costs))
	return nil
}
