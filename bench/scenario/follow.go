//go:build linux

package scenario

import (
	"context"
	"fmt"
	"iter"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	// news is how many decisions a delta brings.
	news = 100
	// least is the fewest bytes that one decision takes in a stream.
	least = 100
)

// Follow posts an alert of 100 decisions and has all followers poll once, then as many the ceiling, wave
// after wave. Only the polls are counted.
func (b *Bench) Follow(ctx context.Context, l *peers.LAPI, ceiling *peers.Ceiling) error {
	b.say("follow: %d waves of %d followers", b.Waves, b.Followers)
	keys, err := l.AddBouncers(ctx, "follow", b.Followers)
	if err != nil {
		return err
	}
	p, err := b.dial(l.Address, load.HTTP, len(keys))
	if err != nil {
		return err
	}
	defer p.Close()
	if _, err := p.Run(ctx, &load.Plan{Sources: polls(primePath, keys), Each: 1}); err != nil {
		return err
	}
	constant, err := b.dial(ceiling.Address, load.HTTP, len(keys))
	if err != nil {
		return err
	}
	defer constant.Close()
	fresh := corpus.New(b.Waves*news, Seed+1)
	var ours, limit []*load.Result
	for wave := range b.Waves {
		if err := l.Post(ctx, alertOf(fresh.Part(wave*news, (wave+1)*news), time.Now())); err != nil {
			return err
		}
		r, err := follow(ctx, p, keys, &l.Process)
		if err != nil {
			return err
		}
		if r.Body < uint64(len(keys)*news*least) {
			return fmt.Errorf("follow: the deltas of %d bouncers have %d bytes: not all is in them", len(keys), r.Body)
		}
		if err := ceiling.Set(ctx, peers.Stream, make([]byte, r.Body/r.Requests)); err != nil {
			return err
		}
		same, err := follow(ctx, constant, keys, &ceiling.Process)
		if err != nil {
			return err
		}
		ours, limit = append(ours, r), append(limit, same)
	}
	by := ratio(ours, limit, cpuOf)
	us, them := middleBy(ours, cpuOf), middleBy(limit, cpuOf)
	b.Report.Measured(rowFollow, by.middle, "%v, %.1f µs a poll of %d bytes, constant %.1f µs", by, cpuOf(us)*1e6, us.Body/us.Requests, cpuOf(them)*1e6)
	return nil
}

// follow has all followers poll once.
func follow(ctx context.Context, p *load.Pool, keys []string, server *load.Process) (*load.Result, error) {
	r, err := p.Run(ctx, &load.Plan{Sources: polls(streamPath, keys), Each: 1, Server: server})
	if err != nil {
		return nil, err
	}
	return r, sound("follow", r)
}

// alertOf gives the body of a POST with one alert.
func alertOf(entries iter.Seq[corpus.Entry], stop time.Time) []byte {
	return append(corpus.AppendAlert([]byte{'['}, entries, stop), ']')
}
