//go:build linux

package scenario

import (
	"context"
	"fmt"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	// patience is how long the reference is asked: it may take seconds for one
	// answer.
	patience = 4 * time.Second
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
		pair, err := b.pair(ctx, l, theirs, part.contend, part.many)
		if err != nil {
			return fmt.Errorf("%s: %w", part.row, err)
		}
		b.Report.Measured(part.row, pair[0].Rate/pair[1].Rate, "%.0f beside %.3g/s at %d decisions", pair[0].Rate, pair[1].Rate, set.Len())
		lines = append(lines, load.Named{Name: part.row + ": lapid", Result: pair[0]}, load.Named{Name: part.row, Result: pair[1]})
	}
	b.section(fmt.Sprintf("Beside the reference, %d decisions", set.Len()), lines, "")
	return b.referenceStartup(ctx, l, theirs, set)
}

// pair measures lapid and the reference. Of the reference good answers count alone:
// many writers at once find its database locked.
func (b *Bench) pair(ctx context.Context, l, theirs *peers.LAPI, contend contending, many int) (pair [2]*load.Result, err error) {
	us, err := contend(ctx, "lapid", l)
	if err != nil {
		return pair, err
	}
	them, err := contend(ctx, "reference", theirs)
	if err != nil {
		return pair, err
	}
	if pair[0], err = b.ask(ctx, many, us, &load.Plan{Warmup: b.Warmup, Length: b.Length}); err != nil {
		return pair, err
	}
	for _, connections := range []int{few, many} { // whatever suits it better
		p, err := b.dial(them.address, load.HTTP, connections)
		if err != nil {
			return pair, err
		}
		r, err := p.Run(ctx, &load.Plan{Sources: them.sources, Length: patience, Server: them.server, Wanted: them.wanted})
		p.Close()
		if err != nil {
			return pair, err
		}
		r.Rate = float64(r.Requests-r.Bad) / r.Elapsed.Seconds()
		if pair[1] == nil || pair[1].Rate < r.Rate {
			pair[1] = r
		}
	}
	if pair[1].Rate == 0 {
		err = fmt.Errorf("the reference answered nothing (%s)", pair[1].First)
	}
	return pair, err
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
	ours, err := b.startups(ctx, &l.Process, l.Address, func(round int) error {
		return l.Post(ctx, alertOf(corpus.New(100, Seed+2).Part(round, round+1), time.Now()))
	})
	if err != nil {
		return err
	}
	slow, err := fetchAll(ctx, theirs.Address, peers.Key)
	if err != nil {
		return err
	}
	b.Report.Measured(rowRefStartup, slow.Whole.Seconds()/ours.Whole.Seconds(), "%.0f ms beside %.2f s at %d decisions",
		ms(ours.Whole), slow.Whole.Seconds(), set.Len())
	return nil
}
