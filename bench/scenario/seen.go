//go:build linux

package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	// poll is the pause of the bouncer that polls all the time.
	poll = 100 * time.Microsecond
	// seenIn is how long an alert may take to be seen before the scenario fails.
	seenIn = 10 * time.Second
)

// Seen posts alerts one by one and takes the time until a bouncer that polls
// all the time has each, while others ask live queries. Between two alerts it
// syncs a file on the same disk: what no journal can be faster than.
func (b *Bench) Seen(ctx context.Context, l *peers.LAPI, set *corpus.Set) error {
	b.say("seen: %d alerts under %.0f live queries/s", b.Pace.Seen, b.Busy)
	noise, err := b.noise(ctx, l, set, b.Busy)
	if err != nil {
		return err
	}
	took, syncs, err := b.seen(ctx, l, polling(streamPath, poll), Seed+4)
	live, failed := noise()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	p99, sync := took.Quantile(0.99), syncs.Quantile(0.99)
	b.Report.Measured(rowSeen, ms(p99-sync), "p99 %.2f ms, p50 %.2f ms, a sync %.2f and %.2f ms, meanwhile %.0f live queries/s",
		ms(p99), ms(took.Quantile(0.5)), ms(sync), ms(syncs.Quantile(0.5)), live.Rate)
	return nil
}

// noise asks hits at a rate from one CPU of the generator until it is called.
func (b *Bench) noise(ctx context.Context, l *peers.LAPI, set *corpus.Set, rate float64) (func() (*load.Result, error), error) {
	return b.noiseOn(ctx, false, l, set, rate)
}

// noiseOn asks on a thread that sleeps when there is nothing to do, if that is wanted.
func (b *Bench) noiseOn(ctx context.Context, sleeps bool, l *peers.LAPI, set *corpus.Set, rate float64) (func() (*load.Result, error), error) {
	p, err := load.Dial(load.Target{Address: l.Address, Threads: 1, CPUs: b.LoadCPUs[:1], Sleeps: sleeps}, b.Connections[0])
	if err != nil {
		return nil, err
	}
	plan := &load.Plan{Sources: hits(set), Rate: rate, Length: time.Hour, Server: &l.Process}
	ctx, cancel := context.WithCancel(ctx)
	var result *load.Result
	ended := make(chan error, 1)
	go func() {
		var err error
		result, err = p.Run(ctx, plan)
		ended <- err
	}()
	return func() (*load.Result, error) {
		cancel()
		err := <-ended
		p.Close()
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		if err == nil && result.Bad+result.Lost > 0 {
			err = fmt.Errorf("live queries meanwhile: %d other answers, %d lost (%s)", result.Bad, result.Lost, result.First)
		}
		return result, err
	}, nil
}

// seen posts and waits for a bouncer that watches.
func (b *Bench) seen(ctx context.Context, l *peers.LAPI, watch watching, seed uint64) (took, syncs load.Histogram, err error) {
	f, err := os.Create(filepath.Join(b.Dir, "sync"))
	if err != nil {
		return took, syncs, err
	}
	defer f.Close()
	fresh := corpus.New(100*b.Pace.Seen, seed)
	if _, err := l.Get(ctx, primePath); err != nil { // nothing posted afterwards is missed
		return took, syncs, fmt.Errorf("moving the cursor: %w", err)
	}
	w, err := watch(ctx, l)
	if err != nil {
		return took, syncs, err
	}
	defer w.stop()
	for i := range b.Pace.Seen {
		e := fresh.At(100 * i) // the first of every hundred is a host
		if err := pause(ctx, w.rests); err != nil {
			return took, syncs, err
		}
		begin := time.Now()
		if err := l.Post(ctx, alertOf(fresh.Part(100*i, 100*i+1), begin)); err != nil {
			return took, syncs, err
		}
		at, err := w.find(e.AppendValue(nil))
		if err != nil {
			return took, syncs, err
		}
		took.Record(at.Sub(begin))
		begin = time.Now()
		if _, err := f.Write(make([]byte, 512)); err != nil {
			return took, syncs, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return took, syncs, err
		}
		syncs.Record(time.Since(begin))
	}
	return took, syncs, nil
}

// watching begins to watch, as the bouncer with peers.Key, from its cursor on.
type watching func(context.Context, *peers.LAPI) (*watcher, error)

// watcher is a bouncer that is told what changes.
type watcher struct {
	stop  context.CancelFunc
	news  chan delta
	ended chan error
	rests time.Duration // before each alert
}

func newWatcher(ctx context.Context) (context.Context, *watcher) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &watcher{stop: cancel, news: make(chan delta, 1), ended: make(chan error, 1)}
}

type delta struct {
	at   time.Time
	body []byte
}

// polling asks for a path all the time, with pauses.
func polling(path string, pause time.Duration) watching {
	return func(ctx context.Context, l *peers.LAPI) (*watcher, error) {
		ctx, w := newWatcher(ctx)
		go func() {
			for {
				body, err := l.Get(ctx, path)
				if err != nil {
					w.ended <- err
					return
				}
				if len(body) > len(emptyDelta) {
					w.news <- delta{time.Now(), body} // at most one waits: a post was not answered yet
				}
				select {
				case <-time.After(pause):
				case <-ctx.Done():
					w.ended <- ctx.Err()
					return
				}
			}
		}()
		return w, nil
	}
}

// find waits for a delta that names a value and gives the moment it came.
func (w *watcher) find(value []byte) (time.Time, error) {
	limit := time.After(seenIn)
	for {
		select {
		case d := <-w.news:
			if bytes.Contains(d.body, value) {
				return d.at, nil
			}
		case err := <-w.ended:
			return time.Time{}, fmt.Errorf("polling: %w", err)
		case <-limit:
			return time.Time{}, fmt.Errorf("%s was not seen within %v", value, seenIn)
		}
	}
}
