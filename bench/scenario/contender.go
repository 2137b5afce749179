//go:build linux

package scenario

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"slices"

	"lapid/bench/load"
)

// contender is one of several servers that are asked the same in turn.
type contender struct {
	name     string
	address  string
	protocol load.Protocol
	server   *load.Process
	sources  load.Sources
	wanted   int         // status; 0 is 200
	tls      *tls.Config // nil: plain
}

// measured is what became of a contender.
type measured struct {
	contender
	*load.Result // closed loop: of several rounds the one in the middle
	open         *load.Result
	rounds       []*load.Result // closed loop, in the order they were asked
	paced        []*load.Result // open loop
}

// inTurn asks all contenders over as many connections each, round after round, as
// fast as they answer.
func (b *Bench) inTurn(ctx context.Context, connections int, list []contender) ([]measured, error) {
	return b.inTurns(ctx, b.Rounds, connections, list)
}

// inTurns is inTurn for so many rounds.
func (b *Bench) inTurns(ctx context.Context, rounds, connections int, list []contender) ([]measured, error) {
	done := make([]measured, len(list))
	for range rounds {
		for i, c := range list {
			r, err := b.ask(ctx, connections, c, &load.Plan{Warmup: b.Warmup, Length: b.Length})
			if err != nil {
				return nil, err
			}
			done[i].contender, done[i].rounds = c, append(done[i].rounds, r)
		}
	}
	for i := range done {
		done[i].Result = middle(done[i].rounds)
	}
	return done, nil
}

// ask carries out one plan with one contender.
func (b *Bench) ask(ctx context.Context, connections int, c contender, plan *load.Plan) (*load.Result, error) {
	p, err := b.dialTo(c, connections)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	plan.Sources, plan.Server, plan.Wanted = c.sources, c.server, c.wanted
	r, err := p.Run(ctx, plan)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return r, sound(c.name, r)
}

// middle gives the result whose rate is in the middle.
func middle(rounds []*load.Result) *load.Result {
	return middleBy(rounds, rateOf)
}

// middleBy gives the one whose figure is in the middle; of an even number the larger of the two there.
func middleBy[A any](rounds []A, figure func(A) float64) A {
	sorted := slices.SortedFunc(slices.Values(rounds), func(a, b A) int { return cmp.Compare(figure(a), figure(b)) })
	return sorted[len(sorted)/2]
}

// Figures of a round that are compared.
func rateOf(r *load.Result) float64 { return r.Rate }
func p99Of(r *load.Result) float64  { return float64(r.P99) }

// cpuOf is what the server spent on a request, in seconds.
func cpuOf(r *load.Result) float64 { return r.CPU.Seconds() / float64(r.Requests) }

// span is a figure of several rounds: the one in the middle, the least and the most.
type span struct{ middle, least, most float64 }

// spanOf needs one figure at least.
func spanOf(figures []float64) span {
	return span{
		middle: middleBy(figures, func(f float64) float64 { return f }),
		least:  slices.Min(figures), most: slices.Max(figures),
	}
}

// ratio divides, round by round, a figure of one contender by that of another in the same round: what the
// machine's moods do to both is taken out. Both have as many rounds, one at least.
func ratio[A any](ours, theirs []A, figure func(A) float64) span {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = figure(ours[i]) / figure(theirs[i])
	}
	return spanOf(ratios)
}

// String is the range in which the rounds lie.
func (s span) String() string { return fmt.Sprintf("%.3g–%.3g", s.least, s.most) }

// lower and higher choose the worse of two by what is in the middle.
func lower(a, b span) span {
	if b.middle < a.middle {
		return b
	}
	return a
}

func higher(a, b span) span {
	if b.middle > a.middle {
		return b
	}
	return a
}
