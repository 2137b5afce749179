//go:build linux

package scenario

import (
	"context"
	"fmt"

	"lapid/bench/load"
)

// contender is one of several servers that are asked the same in turn.
type contender struct {
	name     string
	address  string
	protocol load.Protocol
	server   *load.Process
	sources  load.Sources
	wanted   int // status; 0 is 200
}

// measured is what became of a contender.
type measured struct {
	contender
	*load.Result // closed loop: of several rounds the one in the middle
	open         *load.Result
}

// inTurn asks all contenders over as many connections each, round after round, as
// fast as they answer.
func (b *Bench) inTurn(ctx context.Context, connections int, list []contender) ([]measured, error) {
	rounds := make([][]*load.Result, len(list))
	for range b.Rounds {
		for i, c := range list {
			r, err := b.ask(ctx, connections, c, &load.Plan{Warmup: b.Warmup, Length: b.Length})
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], r)
		}
	}
	done := make([]measured, len(list))
	for i, c := range list {
		done[i] = measured{contender: c, Result: middle(rounds[i])}
	}
	return done, nil
}

// ask carries out one plan with one contender.
func (b *Bench) ask(ctx context.Context, connections int, c contender, plan *load.Plan) (*load.Result, error) {
	p, err := b.dial(c.address, c.protocol, connections)
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
