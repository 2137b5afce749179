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
	"lapid/transport/admin"
)

const (
	// viewers are how many bouncers follow, with views and without.
	viewers = 1000
	// viewedNews is how many decisions come before each of their polls.
	viewedNews = 50
)

// views are what the fleet may see: four hold so many entries at most and are full, and
// everything that comes goes to all of them.
var views = func() []admin.BouncerEdit {
	few, some, many := 1000, 5000, 10_000
	longest, newest := "longest", "newest"
	return []admin.BouncerEdit{
		{MaxEntries: &few}, {MaxEntries: &many, Priority: &longest}, {MaxEntries: &few, Priority: &newest},
		{MaxEntries: &some, Words: map[string][]string{"origins": {localOrigin}, "not-containing": {"http"}}},
		{Words: map[string][]string{"types": {"ban"}}},
	}
}()

// localOrigin is decided here: before all others by the usual priority.
const localOrigin = "cscli"

// Views has a fleet of a thousand bouncers follow what comes, each over its own connection,
// and as many without views beside it, wave for wave.
func (b *Bench) Views(ctx context.Context, l *peers.LAPI) error {
	b.say("views: %d bouncers without and with, %d waves", viewers, b.Waves)
	without, err := b.fleet(ctx, l, "unviewed")
	if err != nil {
		return err
	}
	defer without.pool.Close()
	with, err := b.fleet(ctx, l, "viewed", views...)
	if err != nil {
		return err
	}
	defer with.pool.Close()
	fresh := corpus.New((b.Waves+1)*viewedNews, Seed+12)
	wave := func(i int, fleets ...*fleet) error {
		if err := l.Post(ctx, alertOf(local(fresh.Part(i*viewedNews, (i+1)*viewedNews), i), time.Now())); err != nil {
			return err
		}
		for _, f := range fleets {
			if err := f.poll(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	if err := wave(0, without); err != nil {
		return err
	}
	before, err := l.Live(ctx)
	if err != nil {
		return err
	}
	if err := with.poll(ctx); err != nil { // makes the lists
		return err
	}
	after, err := l.Live(ctx)
	if err != nil {
		return err
	}
	first, plain := with.spent, without.spent
	with.reset()
	without.reset()
	for i := range b.Waves {
		if i%2 == 0 {
			err = wave(i+1, without, with)
		} else {
			err = wave(i+1, with, without)
		}
		if err != nil {
			return err
		}
	}
	b.Report.Measured(rowViews, float64(with.spent)/float64(without.spent), "%.1f µs a poll of %d bytes, without %.1f µs of %d; the first polls, which make the lists, took %.0f ms in all, without %.0f ms",
		with.each(), with.bytes/with.polls, without.each(), without.bytes/without.polls, ms(first), ms(plain))
	b.Report.Measured(rowViewsMemory, mb(after-before), "%.1f MB beside it", mb(before))
	return nil
}

// local gives decisions to all views: made here, and lasting longer than what came before.
func local(entries iter.Seq[corpus.Entry], wave int) iter.Seq[corpus.Entry] {
	return func(yield func(corpus.Entry) bool) {
		for e := range entries {
			e.Origin, e.Scenario, e.Type = localOrigin, "bench/views", "ban"
			e.Duration = 1000*time.Hour + time.Duration(wave)*time.Minute
			if !yield(e) {
				return
			}
		}
	}
}

// fleet is bouncers that follow, each over its connection.
type fleet struct {
	name   string
	server *peers.LAPI
	pool   *load.Pool
	keys   []string

	spent        time.Duration
	polls, bytes uint64
}

func (b *Bench) fleet(ctx context.Context, l *peers.LAPI, name string, edits ...admin.BouncerEdit) (*fleet, error) {
	keys, err := l.AddBouncers(ctx, name, viewers, edits...)
	if err != nil {
		return nil, err
	}
	if err := b.primed(ctx, l, keys); err != nil {
		return nil, err
	}
	p, err := b.dial(l.Address, load.HTTP, len(keys))
	return &fleet{name: name, server: l, pool: p, keys: keys}, err
}

// poll has all of them poll once, and be told everything that has come.
func (f *fleet) poll(ctx context.Context) error {
	r, err := f.pool.Run(ctx, &load.Plan{Sources: polls(streamPath, f.keys), Each: 1, Server: &f.server.Process})
	if err == nil {
		err = sound(f.name, r)
	}
	if err != nil {
		return err
	}
	if r.Body < uint64(len(f.keys)*viewedNews*least) {
		return fmt.Errorf("%s: the deltas of %d bouncers have %d bytes: not all is in them", f.name, len(f.keys), r.Body)
	}
	f.spent += r.CPU
	f.polls += r.Requests
	f.bytes += r.Body
	return nil
}

func (f *fleet) reset() { f.spent, f.polls, f.bytes = 0, 0, 0 }

// each is the processor time of a poll, in microseconds.
func (f *fleet) each() float64 { return float64(f.spent.Nanoseconds()) / 1e3 / float64(f.polls) }
