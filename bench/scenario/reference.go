//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	// patience is how long the reference is asked, over few and over many connections in each round: it may
	// take seconds for one answer.
	patience = 3 * time.Second
	// few connections keep all its cores busy, and are enough where its answers take
	// seconds.
	few = 4
	// overlap is how long the reference repeats what is new.
	overlap = 3 * time.Second
)

// contending makes a contender of a Local API.
type contending func(ctx context.Context, name string, l *peers.LAPI) (contender, error)

// Reference does the same with lapid and with the reference, loaded with the same
// set: live queries, a startup, empty deltas, alerts.
func (b *Bench) Reference(ctx context.Context, l *peers.LAPI, set *corpus.Set) error {
	theirs, err := b.NewReference(ctx, "reference")
	if err != nil {
		return err
	}
	if _, err := theirs.Start(ctx); err != nil {
		return err
	}
	defer theirs.Stop()
	if _, err := b.fill(ctx, theirs, set, 0); err != nil {
		return err
	}
	var lines []load.Named
	for _, part := range []struct {
		row     string
		contend contending
		many    int // connections
	}{
		{rowRefLive, b.referenceLive(set), b.Connections[0]},
		{rowRefEmpty, referenceEmpty, b.Connections[0]},
		{rowRefIngest, func(ctx context.Context, name string, l *peers.LAPI) (contender, error) {
			return b.writer(ctx, name, l, Seed+8)
		}, writers},
	} {
		b.say("%s", part.row)
		ours, them, err := b.pair(ctx, l, theirs, part.contend, part.many)
		if err != nil {
			return fmt.Errorf("%s: %w", part.row, err)
		}
		by, us, other := ratio(ours, them, rateOf), middle(ours), middle(them)
		b.Report.Measured(part.row, by.middle, "%v, %.0f beside %.3g/s at %d decisions", by, us.Rate, other.Rate, set.Len())
		lines = append(lines, load.Named{Name: part.row + ": lapid", Result: us}, load.Named{Name: part.row, Result: other})
	}
	b.section(fmt.Sprintf("Beside the reference, %d decisions", set.Len()), lines, "")
	return b.referenceStartup(ctx, l, theirs, set)
}

// pair measures lapid and the reference in turn. Of the reference good answers count alone: many writers at
// once find its database locked.
func (b *Bench) pair(ctx context.Context, l, theirs *peers.LAPI, contend contending, many int) (ours, them []*load.Result, err error) {
	us, err := contend(ctx, "lapid", l)
	if err != nil {
		return nil, nil, err
	}
	other, err := contend(ctx, "reference", theirs)
	if err != nil {
		return nil, nil, err
	}
	for round := range b.Rounds {
		if err := atRest(ctx, theirs); err != nil {
			return nil, nil, err
		}
		r, err := b.ask(ctx, many, us, &load.Plan{Warmup: b.Warmup, Length: b.Length})
		if err != nil {
			return nil, nil, err
		}
		best, err := b.askReference(ctx, other, many)
		if err == nil && best.Rate == 0 {
			err = fmt.Errorf("the reference answered nothing in round %d (%s)", round+1, best.First)
		}
		if err != nil {
			return nil, nil, err
		}
		ours, them = append(ours, r), append(them, best)
	}
	return ours, them, nil
}

// atRest waits until a server does nothing any more: the reference goes on with requests that nobody waits
// for, for many seconds, on the processor that is lapid's in the next round.
func atRest(ctx context.Context, l *peers.LAPI) error {
	const look, still, limit = 500 * time.Millisecond, 20 * time.Millisecond, 2 * time.Minute
	for began := time.Now(); time.Since(began) < limit; {
		before := l.Usage().CPU
		if err := pause(ctx, look); err != nil {
			return err
		}
		if l.Usage().CPU-before <= still {
			return nil
		}
	}
	return fmt.Errorf("the reference still computes after %v without a request", limit)
}

// askReference asks over few and over many connections and gives what suits it better. Where nothing was answered
// well within a round it asks once more, for longer: some answers take it seconds.
func (b *Bench) askReference(ctx context.Context, c contender, many int) (best *load.Result, err error) {
	for _, length := range []time.Duration{patience, 5 * patience} {
		for _, connections := range []int{few, many} {
			r, err := b.askFor(ctx, c, connections, length)
			if err != nil {
				return nil, err
			}
			if best == nil || best.Rate < r.Rate {
				best = r
			}
		}
		if best.Rate > 0 {
			break
		}
	}
	return best, nil
}

// askFor asks for so long. Its rate is that of good answers.
func (b *Bench) askFor(ctx context.Context, c contender, connections int, length time.Duration) (*load.Result, error) {
	p, err := b.dial(c.address, load.HTTP, connections)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	r, err := p.Run(ctx, &load.Plan{Sources: c.sources, Length: length, Server: c.server, Wanted: c.wanted})
	if err != nil {
		return nil, err
	}
	r.Rate = float64(r.Requests-r.Bad) / r.Elapsed.Seconds()
	return r, nil
}

func (b *Bench) referenceLive(set *corpus.Set) contending {
	words := set.NewTable(corpus.Hit, min(asked, set.Len()), Seed)
	return func(_ context.Context, name string, l *peers.LAPI) (contender, error) {
		return contender{name: name, address: l.Address, server: &l.Process, sources: load.Filled("GET "+livePath, words, load.Tail(peers.Key))}, nil
	}
}

// referenceEmpty moves the cursor first and waits until the reference has nothing
// more to repeat.
func referenceEmpty(ctx context.Context, name string, l *peers.LAPI) (contender, error) {
	c := contender{name: name, address: l.Address, server: &l.Process, sources: load.Fixed([]byte("GET " + streamPath + load.Tail(peers.Key)))}
	if _, err := l.Get(ctx, startupPath); err != nil {
		return c, err
	}
	if err := pause(ctx, overlap); err != nil {
		return c, err
	}
	if _, err := l.Get(ctx, streamPath); err != nil {
		return c, err
	}
	return c, nil
}

// referenceStartup compares how long one client waits for everything.
func (b *Bench) referenceStartup(ctx context.Context, l, theirs *peers.LAPI, set *corpus.Set) error {
	b.say("%s", rowRefStartup)
	ours := lapidStarts(ctx, l)
	news := ours.before
	ours.before = func(round int) error { return errors.Join(atRest(ctx, theirs), news(round)) }
	rounds, err := startsInTurn(ours, fetcher{
		server: &theirs.Process, fetch: func() (*load.Fetched, error) { return fetchAll(ctx, theirs.Address, peers.Key) },
	})
	if err != nil {
		return err
	}
	seconds := func(s *startup) float64 { return s.Whole.Seconds() }
	by := ratio(rounds[1], rounds[0], seconds)
	b.Report.Measured(rowRefStartup, by.middle, "%v, %.0f ms beside %.2f s at %d decisions",
		by, 1000*seconds(middleBy(rounds[0], seconds)), seconds(middleBy(rounds[1], seconds)), set.Len())
	return nil
}
