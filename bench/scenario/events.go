//go:build linux

package scenario

import (
	"bufio"
	"bytes"
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
	eventStreams = "lapid_event_streams"
	// toldIn is how long it may take until all have a ban before the scenario fails.
	toldIn = time.Minute
	// gathered is how long after an event a stream puts nothing off any more to tell it together
	// with what comes next: alerts in haste are measured with many streams.
	gathered = 25 * time.Millisecond
)

// Events measures event streams as Held measures polls that wait: one alone, and then as
// many as the pace says, each with its key and connection.
func (b *Bench) Events(ctx context.Context, l *peers.LAPI, set *corpus.Set) error {
	b.say("events: %d alerts to one stream", b.Pace.Seen)
	took, syncs, err := b.seen(ctx, l, streaming, Seed+10)
	if err != nil {
		return err
	}
	p99, sync := took.Quantile(0.99), syncs.Quantile(0.99)
	b.Report.Measured(rowEvents, ms(p99-sync), "p99 %.2f ms, p50 %.2f ms, a sync %.2f and %.2f ms",
		ms(p99), ms(took.Quantile(0.5)), ms(sync), ms(syncs.Quantile(0.5)))
	return b.eventCrowd(ctx, l, set)
}

// streaming reads an event stream.
func streaming(ctx context.Context, l *peers.LAPI) (*watcher, error) {
	place, err := l.Place(ctx, peers.Key, streamPath)
	if err != nil {
		return nil, err
	}
	ctx, w := newWatcher(ctx)
	w.rests = gathered
	body, err := l.Events(ctx, streamPath+"?after="+place)
	if err != nil {
		w.stop()
		return nil, err
	}
	go func() {
		defer body.Close()
		for lines := bufio.NewReader(body); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				w.ended <- err
				return
			}
			if data, found := bytes.CutPrefix(line, []byte("data: ")); found {
				w.news <- delta{time.Now(), data} // at most one waits: a post was not answered yet
			}
		}
	}()
	return w, nil
}

// eventCrowd is everything that is measured of many.
func (b *Bench) eventCrowd(ctx context.Context, l *peers.LAPI, set *corpus.Set) error {
	b.say("events: %d streams of %d questions", b.Bouncers, questions)
	c, err := b.regulars(ctx, l, "events")
	if err != nil {
		return err
	}
	before, err := l.Live(ctx)
	if err != nil {
		return err
	}
	listeners, err := c.listen(ctx)
	if err != nil {
		return err
	}
	e := &eventCrowd{regulars: c, listeners: listeners}
	err = e.measured(ctx, set, before)
	_, ended := listeners.Close()
	return errors.Join(err, ended)
}

// regulars are many bouncers who know where they are.
type regulars struct {
	bans
	bench  *Bench
	keys   []string
	places [][]byte
	polls  bool            // every second one polls, and has no event stream
	here   *load.Listeners // who have come back; nil: nobody
}

// regulars adds them.
func (b *Bench) regulars(ctx context.Context, l *peers.LAPI, group string) (*regulars, error) {
	keys, err := l.AddBouncers(ctx, group, b.Bouncers)
	if err != nil {
		return nil, err
	}
	if err := b.primed(ctx, l, keys); err != nil {
		return nil, err
	}
	c := &regulars{bench: b, keys: keys, bans: bans{server: l, fresh: corpus.New(100_000, Seed+11)}}
	for i := range keys {
		if i >= questions { // who asks the same is at the same place
			c.places = append(c.places, c.places[i-questions])
			continue
		}
		place, err := l.Place(ctx, keys[i], question(i))
		if err != nil {
			return nil, err
		}
		c.places = append(c.places, []byte(place))
	}
	return c, nil
}

// ask is what number i of them asks.
func (c *regulars) ask(dst []byte, i int, place []byte) []byte {
	dst = append(fmt.Appendf(dst, "GET %s&after=", question(i)), place...)
	tail := load.Tail(c.keys[i])
	if c.polls && i/questions%2 == 0 {
		return append(append(dst, "&"+unhurried...), tail...)
	}
	return append(append(dst, strings.TrimSuffix(tail, "\r\n")...), "Accept: text/event-stream\r\n\r\n"...)
}

// listen has all connect at once, from where they are.
func (c *regulars) listen(ctx context.Context) (*load.Listeners, error) {
	return load.Listen(c.bench.listening(c.server), len(c.keys), c.places, c.ask)
}

// eventCrowd is all of them, listening.
type eventCrowd struct {
	*regulars
	listeners *load.Listeners
	told      int // how many bans they were told of
}

func (e *eventCrowd) measured(ctx context.Context, set *corpus.Set, before int64) error {
	if err := e.listeners.AwaitBegun(ctx); err != nil {
		return err
	}
	if n, err := e.server.Metric(ctx, eventStreams); err != nil {
		return err
	} else if int(n) != len(e.keys) {
		return fmt.Errorf("events: %.0f streams of %d are open", n, len(e.keys))
	}
	if err := pause(ctx, time.Second); err != nil { // what their beginning took has gone
		return err
	}
	after, err := e.server.Live(ctx)
	if err != nil {
		return err
	}
	e.bench.Report.Measured(rowEventsMem, float64(after-before)/float64(len(e.keys)), "%.1f MB of heap and stacks for %d", mb(after-before), len(e.keys))
	if err := e.rounds(ctx); err != nil {
		return err
	}
	if err := e.idle(ctx); err != nil {
		return err
	}
	return e.beside(ctx, set)
}

// rounds has all of them told of one ban after the other.
func (e *eventCrowd) rounds(ctx context.Context) error {
	var took []time.Duration
	var cpu time.Duration
	for range e.bench.Told {
		spent, begin := e.server.Usage().CPU, time.Now()
		if err := e.ban(ctx); err != nil {
			return err
		}
		at, err := e.await(ctx)
		if err != nil {
			return err
		}
		took = append(took, at.Sub(begin))
		if err := pause(ctx, lookAgain); err != nil { // they look whether it has arrived
			return err
		}
		cpu += e.server.Usage().CPU - spent
	}
	if h := e.listeners.Heard(); h.Bytes < uint64(e.told*len(e.keys)*least) {
		return fmt.Errorf("events: %d events have %d bytes: not all bans are in them", h.Told, h.Bytes)
	}
	slices.Sort(took)
	e.bench.Report.Measured(rowEventsAll, ms(took[len(took)-1]), "worst of %d; in the middle %.1f ms; server CPU %.1f µs for each",
		len(took), ms(took[len(took)/2]), float64(cpu.Microseconds())/float64(len(took)*len(e.keys)))
	return nil
}

// await waits until all have one ban more.
func (e *eventCrowd) await(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, toldIn)
	defer cancel()
	e.told++
	return e.listeners.Await(ctx, e.told)
}

// idle measures them while nothing happens. At the full pace each is sent three comments.
func (e *eventCrowd) idle(ctx context.Context) error {
	e.bench.say("events: nothing happens")
	before, begin, heard := e.server.Usage(), time.Now(), e.listeners.Heard()
	if err := pause(ctx, 9*e.bench.Hold/5); err != nil {
		return err
	}
	spent, took, now := e.server.Usage().CPU-before.CPU, time.Since(begin), e.listeners.Heard()
	if now.Lost > 0 || now.Told > heard.Told {
		return fmt.Errorf("events: nothing happened, and %d were lost (%s), and %d events told", now.Lost, now.First, now.Told-heard.Told)
	}
	e.bench.Report.Measured(rowEventsIdle, 100*spent.Seconds()/took.Seconds(), "%.2f s in %.0f s, %d comments", spent.Seconds(), took.Seconds(), now.Comments-heard.Comments)
	return nil
}

// beside compares live queries among them, with an alert each second, with live queries
// while nothing happens.
func (e *eventCrowd) beside(ctx context.Context, set *corpus.Set) error {
	b := e.bench
	b.say("events: live queries beside them, and alone")
	noise, stop := context.WithCancel(ctx)
	defer stop()
	heard := e.listeners.Heard()
	banned := e.eachSecond(noise)
	among, err := b.sleepy(ctx, e.server, set)
	stop()
	if err := errors.Join(err, <-banned); err != nil {
		return err
	}
	now := e.listeners.Heard()
	if now.Lost > 0 || now.Told-heard.Told < uint64(len(e.keys)) {
		return fmt.Errorf("events: %d events told, %d streams lost (%s)", now.Told-heard.Told, now.Lost, now.First)
	}
	if _, err := e.listeners.Close(); err != nil {
		return err
	}
	if err := e.left(ctx); err != nil {
		return err
	}
	alone, err := b.sleepy(ctx, e.server, set)
	if err != nil {
		return err
	}
	b.Report.Measured(rowEventsLive, float64(among.P99)/float64(alone.P99), "p99 %.2f ms, alone %.2f ms, at %.0f/s; %d events told", ms(among.P99), ms(alone.P99), among.Rate, now.Told-heard.Told)
	b.section(fmt.Sprintf("Live queries beside %d event streams, one alert a second", len(e.keys)),
		[]load.Named{{Name: "alone", Result: alone}, {Name: "beside", Result: among}}, "")
	return nil
}

// left waits until the server has noticed that nobody listens any more.
func (e *eventCrowd) left(ctx context.Context) error {
	for {
		n, err := e.server.Metric(ctx, eventStreams) // dear, with many bouncers
		if err != nil || n == 0 {
			return err
		}
		if err := pause(ctx, lookAgain); err != nil {
			return err
		}
	}
}
