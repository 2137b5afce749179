//go:build linux

package scenario

import (
	"context"
	"fmt"
	"strings"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
	"lapid/bench/report"
)

// Flatness gathers the rate of hits at several sizes.
type Flatness struct{ points []flatPoint }

type flatPoint struct {
	size, ours, ceiling float64
	ratio               span
}

// Flat adds a size: hits over the fewest connections, beside the ceiling in
// the same minute, by which the machine's moods are taken out.
func (b *Bench) Flat(ctx context.Context, f *Flatness, l *peers.LAPI, set *corpus.Set, ceiling *peers.Ceiling) error {
	b.say("flat: %d decisions", set.Len())
	sources := load.Filled("GET "+livePath, set.NewTable(corpus.Hit, min(asked, set.Len()), Seed), load.Tail(peers.Key))
	// A body of the size that hits have, whatever was measured before.
	e := set.At(0)
	if err := ceiling.Set(ctx, peers.Live, corpus.AppendAnswer(nil, &e, set.Len())); err != nil {
		return err
	}
	done, err := b.inTurn(ctx, b.Connections[0], []contender{
		{name: "lapid", address: l.Address, server: &l.Process, sources: sources},
		{name: "ceiling", address: ceiling.Address, server: &ceiling.Process, sources: sources},
	})
	if err != nil {
		return err
	}
	if err := right(corpus.Hit, done[0].Result); err != nil {
		return err
	}
	f.points = append(f.points, flatPoint{float64(set.Len()), done[0].Rate, done[1].Rate, ratio(done[0].rounds, done[1].rounds, rateOf)})
	return nil
}

// Enter fills the row, from two sizes on.
func (f *Flatness) Enter(r *report.Report) {
	if len(f.points) < 2 {
		return
	}
	low, high := 1e9, 0.0
	var words []string
	var groups []report.Group
	for _, p := range f.points {
		low, high = min(low, p.ratio.middle), max(high, p.ratio.middle)
		words = append(words, fmt.Sprintf("%.0f k: %.0f/s, %.2f of the ceiling, %v", p.size/1000, p.ours, p.ratio.middle, p.ratio))
		groups = append(groups, report.Group{Name: fmt.Sprintf("%.0f k", p.size/1000),
			Bars: []report.Bar{{Name: "lapid", Value: p.ours}, {Name: "ceiling", Value: p.ceiling}}})
	}
	r.Measured(rowFlat, low/high, "%s", strings.Join(words, "; "))
	r.Plot("flat", report.Bars("hits by number of decisions", "/s", groups))
}
