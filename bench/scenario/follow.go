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

// Follow posts an alert of 100 decisions and has all followers poll once, wave
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
	fresh := corpus.New(b.Waves*news, Seed+1)
	var spent time.Duration
	var bytes, requests uint64
	for wave := range b.Waves {
		if err := l.Post(ctx, alertOf(fresh.Part(wave*news, (wave+1)*news), time.Now())); err != nil {
			return err
		}
		r, err := p.Run(ctx, &load.Plan{Sources: polls(streamPath, keys), Each: 1, Server: &l.Process})
		if err == nil {
			err = sound("follow", r)
		}
		if err != nil {
			return err
		}
		if r.Body < uint64(len(keys)*news*least) {
			return fmt.Errorf("follow: the deltas of %d bouncers have %d bytes: not all is in them", len(keys), r.Body)
		}
		spent += r.CPU
		bytes += r.Body
		requests += r.Requests
	}
	constant, err := b.followConstant(ctx, ceiling, keys, int(bytes/requests))
	if err != nil {
		return err
	}
	b.Report.Measured(rowFollow, float64(spent)/float64(constant), "%.1f µs a poll of %d bytes, constant %.1f µs",
		float64(spent.Microseconds())/float64(requests), bytes/requests, float64(constant.Microseconds())/float64(requests))
	return nil
}

// followConstant gives what the ceiling spends on the same waves.
func (b *Bench) followConstant(ctx context.Context, ceiling *peers.Ceiling, keys []string, size int) (spent time.Duration, err error) {
	if err := ceiling.Set(ctx, peers.Stream, make([]byte, size)); err != nil {
		return 0, err
	}
	p, err := b.dial(ceiling.Address, load.HTTP, len(keys))
	if err != nil {
		return 0, err
	}
	defer p.Close()
	for range b.Waves {
		r, err := p.Run(ctx, &load.Plan{Sources: polls(streamPath, keys), Each: 1, Server: &ceiling.Process})
		if err == nil {
			err = sound("follow, ceiling", r)
		}
		if err != nil {
			return 0, err
		}
		spent += r.CPU
	}
	return spent, nil
}

// alertOf gives the body of a POST with one alert.
func alertOf(entries iter.Seq[corpus.Entry], stop time.Time) []byte {
	return append(corpus.AppendAlert([]byte{'['}, entries, stop), ']')
}
