//go:build linux

package scenario

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

// writers push alerts at the same time.
const writers = 64

// Ingest pushes alerts of one decision, then has Pebble alone commit records as
// large as what was written for each, with as many writers.
func (b *Bench) Ingest(ctx context.Context, l *peers.LAPI, ceiling *peers.Ceiling) error {
	b.say("ingest: %d writers", writers)
	us, err := b.writer(ctx, "lapid", l, Seed+5)
	if err != nil {
		return err
	}
	size, err := b.recordSize(ctx, us)
	if err != nil {
		return err
	}
	ours, alone, err := b.besidePebble(ctx, us, size)
	if err != nil {
		return err
	}
	us.name, us.address, us.server = "ceiling", ceiling.Address, &ceiling.Process
	limit, err := b.ask(ctx, writers, us, &load.Plan{Warmup: b.Warmup, Length: b.Length})
	if err != nil {
		return err
	}
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i].Rate / alone[i].Rate
	}
	by, lapid, pebble := spanOf(ratios), middle(ours), middleBy(alone, func(p *peers.PebbleDone) float64 { return p.Rate })
	b.Report.Measured(rowIngest, by.middle, "%v, %.0f/s beside %.0f/s of %d bytes; server CPU %.1f µs an alert", by, lapid.Rate, pebble.Rate, size, 1e6*cpuOf(lapid))
	b.section(fmt.Sprintf("Ingest, %d writers, one decision each, synced", writers),
		[]load.Named{{Name: "lapid", Result: lapid}, {Name: "ceiling, nothing kept", Result: limit}},
		fmt.Sprintf("Pebble alone, records of %d bytes: %.0f/s, p50 %v, p99 %v\n", size, pebble.Rate, pebble.P50, pebble.P99))
	return nil
}

// besidePebble has lapid and Pebble alone write in turn, for the pace's time in all.
func (b *Bench) besidePebble(ctx context.Context, us contender, size int) (ours []*load.Result, alone []*peers.PebbleDone, err error) {
	dir, length := filepath.Join(b.Dir, "pebble"), b.Pace.Ingest/time.Duration(b.Rounds)
	for range b.Rounds {
		r, err := b.ask(ctx, writers, us, &load.Plan{Warmup: b.Warmup, Length: length})
		if err != nil {
			return nil, nil, err
		}
		p, err := b.Pebble(ctx, b.Self, &peers.PebbleWork{Dir: dir, Writers: writers, Size: size, Length: length})
		if err == nil {
			err = os.RemoveAll(dir)
		}
		if err != nil {
			return nil, nil, err
		}
		ours, alone = append(ours, r), append(alone, p)
	}
	return ours, alone, nil
}

// writer pushes alerts for hosts and ranges of a set of its own.
func (b *Bench) writer(ctx context.Context, name string, l *peers.LAPI, seed uint64) (contender, error) {
	token, err := l.Token(ctx)
	return contender{
		name: name, address: l.Address, server: &l.Process, wanted: 201,
		sources: load.Alerts(token, corpus.New(corpus.MaxSize, seed), 1000),
	}, err
}

// recordSize gives the bytes that are written for one alert, without its answer. A
// snapshot or a merge of tables may fall into a round, so the smallest of some counts.
func (b *Bench) recordSize(ctx context.Context, c contender) (int, error) {
	head, err := answerSize(ctx, c)
	if err != nil {
		return 0, err
	}
	size := int64(math.MaxInt32)
	for range 5 {
		r, err := b.ask(ctx, writers, c, &load.Plan{Each: 20})
		if err != nil {
			return 0, err
		}
		size = min(size, r.Written/int64(r.Requests)-head)
	}
	return int(max(size, 1)), nil
}

// answerSize gives the bytes of one answer, head and all.
func answerSize(ctx context.Context, c contender) (int64, error) {
	var n counter
	f, err := load.Fetch(ctx, c.address, c.sources(0, 1).Next(nil, 0), &n)
	if err == nil && f.Status != c.wanted {
		err = fmt.Errorf("%s: alert answered with status %d", c.name, f.Status)
	}
	return int64(n), err
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
