//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	// questions are how many different ones those ask who are held.
	questions = 20
	// unhurried is a wait that no round of bans is as long as.
	unhurried = "wait=60s"
	heldPolls = "lapid_held_polls"
	lookAgain = 300 * time.Millisecond
)

// Held measures polls that wait for news: first one alone, as Seen measures one that asks
// all the time, and then as many as the pace says, each with its key and connection.
func (b *Bench) Held(ctx context.Context, l *peers.LAPI, set *corpus.Set) error {
	b.say("held: %d alerts to one bouncer", b.Pace.Seen)
	took, syncs, err := b.seen(ctx, l, polling(streamPath+"?"+unhurried, 0), Seed+8)
	if err != nil {
		return err
	}
	p99, sync := took.Quantile(0.99), syncs.Quantile(0.99)
	b.Report.Measured(rowHeld, ms(p99-sync), "p99 %.2f ms, p50 %.2f ms, a sync %.2f and %.2f ms",
		ms(p99), ms(took.Quantile(0.5)), ms(sync), ms(syncs.Quantile(0.5)))
	return b.heldCrowd(ctx, l, set)
}

// heldCrowd is everything that is measured of many.
func (b *Bench) heldCrowd(ctx context.Context, l *peers.LAPI, set *corpus.Set) error {
	b.say("held: %d bouncers of %d questions", b.Bouncers, questions)
	keys, err := l.AddBouncers(ctx, "held", b.Bouncers)
	if err != nil {
		return err
	}
	if err := b.primed(ctx, l, keys); err != nil {
		return err
	}
	before, err := l.Live(ctx)
	if err != nil {
		return err
	}
	p, err := load.Dial(b.listening(l), len(keys))
	if err != nil {
		return err
	}
	defer p.Close()
	h := &heldCrowd{bench: b, pool: p, keys: keys, bans: bans{server: l, fresh: corpus.New(100_000, Seed+9)}}
	if err := h.rounds(ctx, before); err != nil {
		return err
	}
	b.say("held: nothing happens")
	idle, err := p.Run(ctx, &load.Plan{Sources: heldFor(b.Hold, keys), Warmup: b.Hold / 5, Length: 2 * b.Hold, Server: &l.Process})
	if err != nil {
		return err
	}
	if idle.Bad+idle.Lost > 0 || idle.Requests < uint64(len(keys)) {
		return fmt.Errorf("held: %d polls of %d bouncers were answered, %d otherwise, %d lost (%s)", idle.Requests, len(keys), idle.Bad, idle.Lost, idle.First)
	}
	b.Report.Measured(rowHeldIdle, 100*idle.CPU.Seconds()/idle.Elapsed.Seconds(), "%.2f s in %.0f s, %.0f polls a second",
		idle.CPU.Seconds(), idle.Elapsed.Seconds(), idle.Rate)
	return h.beside(ctx, set)
}

// listening is how those are driven who wait most of the time.
func (b *Bench) listening(l *peers.LAPI) load.Target {
	return load.Target{Address: l.Address, Threads: 1, CPUs: b.LoadCPUs[len(b.LoadCPUs)-1:], Sleeps: true, Last: true}
}

// primed moves the cursors of all to now, over a few connections, so that what the rows
// themselves take is there.
func (b *Bench) primed(ctx context.Context, l *peers.LAPI, keys []string) error {
	const connections = 50
	p, err := load.Dial(load.Target{Address: l.Address, Threads: 1}, connections)
	if err != nil {
		return err
	}
	defer p.Close()
	tail := strings.TrimSuffix(load.Tail("-"), "-\r\n\r\n")
	for _, path := range []string{primePath, streamPath} {
		r, err := p.Run(ctx, &load.Plan{Sources: load.Filled("GET "+path+tail, words(keys), "\r\n\r\n"), Each: (len(keys) + connections - 1) / connections})
		if err == nil {
			err = sound("priming", r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// words are put into requests.
type words []string

func (w words) Len() int        { return len(w) }
func (w words) At(i int) []byte { return []byte(w[i]) }

// heldCrowd is many bouncers whose polls are held.
type heldCrowd struct {
	bans
	bench *Bench
	pool  *load.Pool
	keys  []string
}

// heldFor has each connection ask one of the questions, with a key of its own.
func heldFor(wait time.Duration, keys []string) load.Sources {
	return asking(fmt.Sprintf("wait=%v", wait), keys)
}

func asking(wait string, keys []string) load.Sources {
	return load.PerConnection(len(keys), func(dst []byte, i int) []byte {
		return append(fmt.Appendf(dst, "GET %s&%s", question(i), wait), load.Tail(keys[i])...)
	})
}

// question is what number i asks.
func question(i int) string {
	return fmt.Sprintf("%s?scenarios_not_containing=nothing-like-%d", streamPath, i%questions)
}

// hold has all of them ask, and waits until all are held.
func (h *heldCrowd) hold(ctx context.Context, plan *load.Plan) (<-chan outcome, error) {
	ended := make(chan outcome, 1)
	go func() {
		r, err := h.pool.Run(ctx, plan)
		ended <- outcome{r, err, time.Now()}
	}()
	for pause(ctx, lookAgain) == nil {
		n, err := h.server.Metric(ctx, heldPolls) // dear, with many bouncers
		if err != nil || int(n) == len(h.keys) {
			return ended, err
		}
		select {
		case o := <-ended:
			return nil, fmt.Errorf("held: all were answered before all were held: %w", errors.Join(o.err, sound("held", o.Result)))
		default:
		}
	}
	return nil, ctx.Err()
}

// outcome is a run that has ended.
type outcome struct {
	*load.Result
	err error
	at  time.Time
}

// bans are alerts with one decision each, to be posted one after the other.
type bans struct {
	server *peers.LAPI
	fresh  *corpus.Set // hosts and ranges
	banned int         // of them
}

func (b *bans) ban(ctx context.Context) error {
	at := 100 * b.banned % b.fresh.Len() // the first of every hundred is a host
	b.banned++
	return b.server.Post(ctx, alertOf(b.fresh.Part(at, at+1), time.Now()))
}

// eachSecond bans until ctx ends.
func (b *bans) eachSecond(ctx context.Context) <-chan error {
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil && pause(ctx, time.Second) == nil {
			err = b.ban(context.WithoutCancel(ctx))
		}
		ended <- err
	}()
	return ended
}

// rounds has all of them wait for one ban after the other. before is the server's memory
// without them.
func (h *heldCrowd) rounds(ctx context.Context, before int64) error {
	var took []time.Duration
	var cpu time.Duration
	for round := range h.bench.Told {
		ended, err := h.hold(ctx, &load.Plan{Sources: asking(unhurried, h.keys), Each: 1})
		if err != nil {
			return err
		}
		if round == 0 {
			after, err := h.server.Live(ctx)
			if err != nil {
				return err
			}
			h.bench.Report.Measured(rowHeldMemory, float64(after-before)/float64(len(h.keys)), "%.1f MB of heap and stacks for %d", mb(after-before), len(h.keys))
		}
		spent, begin := h.server.Usage().CPU, time.Now()
		if err := h.ban(ctx); err != nil {
			return err
		}
		o := <-ended
		if err := errors.Join(o.err, sound("held", o.Result)); err != nil {
			return err
		}
		if o.Body < uint64(len(h.keys)*least) {
			return fmt.Errorf("held: %d answers have %d bytes: not all have the ban", o.Requests, o.Body)
		}
		took = append(took, o.at.Sub(begin))
		cpu += h.server.Usage().CPU - spent
	}
	slices.Sort(took)
	h.bench.Report.Measured(rowHeldAll, ms(took[len(took)-1]), "worst of %d; in the middle %.1f ms; server CPU %.1f µs for each",
		len(took), ms(took[len(took)/2]), float64(cpu.Microseconds())/float64(len(took)*len(h.keys)))
	return nil
}

// beside compares live queries among those who are held, with an alert each second, with
// live queries alone.
func (h *heldCrowd) beside(ctx context.Context, set *corpus.Set) error {
	b := h.bench
	b.say("held: live queries alone, and beside them")
	alone, err := b.sleepy(ctx, h.server, set)
	if err != nil {
		return err
	}
	held, stop := context.WithCancel(ctx)
	defer stop()
	ended, err := h.hold(held, &load.Plan{Sources: asking(unhurried, h.keys), Length: time.Hour})
	if err != nil {
		return err
	}
	banned := h.eachSecond(held)
	among, err := b.sleepy(ctx, h.server, set)
	stop()
	o := <-ended
	if err := errors.Join(err, <-banned); err != nil {
		return err
	}
	if o.Bad+o.Lost > 0 || o.Requests < uint64(len(h.keys)) {
		return fmt.Errorf("held: %d polls of %d bouncers were told, %d otherwise, %d lost (%s)", o.Requests, len(h.keys), o.Bad, o.Lost, o.First)
	}
	b.Report.Measured(rowHeldLive, float64(among.P99)/float64(alone.P99), "p99 %.2f ms, alone %.2f ms, at %.0f/s; %d polls told", ms(among.P99), ms(alone.P99), among.Rate, o.Requests)
	b.section(fmt.Sprintf("Live queries beside %d polls that are held, one alert a second", len(h.keys)),
		[]load.Named{{Name: "alone", Result: alone}, {Name: "beside", Result: among}}, "")
	return nil
}

// sleepy asks hits on threads that sleep, as the others do that listen: on one CPU they
// would be in the way of each other.
func (b *Bench) sleepy(ctx context.Context, l *peers.LAPI, set *corpus.Set) (*load.Result, error) {
	p, err := load.Dial(load.Target{Address: l.Address, Threads: 1, CPUs: b.LoadCPUs[:1], Sleeps: true}, b.Connections[0])
	if err != nil {
		return nil, err
	}
	defer p.Close()
	r, err := p.Run(ctx, &load.Plan{
		Sources: hits(set), Rate: b.Busy / 10, Warmup: b.Warmup, Length: b.Pace.Beside, Server: &l.Process,
	})
	if err != nil {
		return nil, err
	}
	return r, sound("live queries", r)
}

// hits asks for hosts of a set.
func hits(set *corpus.Set) load.Sources {
	return load.Filled("GET "+livePath, set.NewTable(corpus.Hit, min(asked, set.Len()), Seed), load.Tail(peers.Key))
}
