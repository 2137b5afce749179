//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
)

// Reconnect has a crowd come back, half of them polls that are held and half of them event
// streams: all in the same moment, though event streams are told to wait for a random while,
// and all are owed a ban. First their server was killed and started again, then they are all
// cut off. Live queries go on meanwhile, and while they are cut off.
func (b *Bench) Reconnect(ctx context.Context) error {
	l, set, err := b.talkative(ctx, "lapid-reconnect")
	if err != nil {
		return err
	}
	defer func() { l.Stop() }()
	bound, err := b.boundOf(l)
	if err != nil {
		return err
	}
	b.say("reconnect: %d bouncers", b.Bouncers)
	c, err := b.regulars(ctx, l, "back")
	if err != nil {
		return err
	}
	c.polls = true
	calm, err := b.sleepy(ctx, l, set)
	if err != nil {
		return err
	}
	if err := c.first(ctx); err != nil {
		return err
	}
	b.say("reconnect: killed")
	l.Kill()
	again, err := l.Start(ctx)
	if err != nil {
		return err
	}
	killed, err := c.back(ctx, set)
	if err != nil {
		return fmt.Errorf("after a kill: %w", err)
	}
	b.say("reconnect: cut off")
	cut, err := c.back(ctx, set)
	if err != nil {
		return fmt.Errorf("cut off: %w", err)
	}
	if err := c.leave(); err != nil {
		return err
	}
	worst := max(killed.live.P99, cut.live.P99)
	growth := max(killed.growth, cut.growth)
	b.Report.Measured(rowBack, float64(worst)/float64(calm.P99), "p99 %.2f ms, calm %.2f ms; all were told in %.0f ms, cut off in %.0f ms; ready after %.0f ms; event streams are asked to wait %s",
		ms(worst), ms(calm.P99), ms(killed.took), ms(cut.took), ms(again), killed.retry)
	b.Report.Measured(rowBackMemory, float64(growth)/float64(bound), "%.0f MB of %.0f MB", mb(growth), mb(bound))
	b.section(fmt.Sprintf("Live queries while %d come back", len(c.keys)),
		[]load.Named{{Name: "calm", Result: calm}, {Name: "after a kill", Result: killed.live}, {Name: "cut off", Result: cut.live}}, "")
	return nil
}

// first has all listen once and leave again, so that all have places.
func (c *regulars) first(ctx context.Context) error {
	l, err := c.listen(ctx)
	if err != nil {
		return err
	}
	c.here = l
	err = c.ban(ctx)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, toldIn)
		defer cancel()
		_, err = l.Await(ctx, 1)
	}
	return errors.Join(err, c.leave())
}

// leave cuts those off who are there, and notes what they were told last.
func (c *regulars) leave() (err error) {
	if c.here == nil {
		return nil
	}
	c.places, err = c.here.Close()
	c.here = nil
	return err
}

// inFlow is for how long live queries are asked before anybody comes back: their connections are open
// by then.
const inFlow = 200 * time.Millisecond

// comeback is what it was like when all came back.
type comeback struct {
	live   *load.Result
	took   time.Duration // from the moment in which all connect until all have the ban
	growth int64         // of memory
	retry  string
}

// back has all leave who are there, and come back at once, after a ban.
func (c *regulars) back(ctx context.Context, set *corpus.Set) (*comeback, error) {
	before := c.server.Usage()
	if err := c.server.ResetPeak(); err != nil {
		return nil, err
	}
	noise, err := c.bench.noiseOn(ctx, true, c.server, set, c.bench.Busy/10)
	if err != nil {
		return nil, err
	}
	took, err := c.beAway(ctx)
	live, failed := noise()
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	return &comeback{live: live, took: took, growth: max(c.server.Usage().Peak-before.Resident, 0), retry: spread(c.here.Heard().Retry)}, nil
}

// beAway does it once live queries are asked, and says how long it took until all were told.
func (c *regulars) beAway(ctx context.Context) (took time.Duration, err error) {
	if err := pause(ctx, inFlow); err != nil {
		return 0, err
	}
	if err := errors.Join(c.leave(), c.ban(ctx)); err != nil {
		return 0, err
	}
	begin := time.Now()
	if c.here, err = c.listen(ctx); err != nil {
		return 0, err
	}
	limit, cancel := context.WithTimeout(ctx, toldIn)
	defer cancel()
	at, err := c.here.Await(limit, 1)
	return at.Sub(begin), err
}

// spread tells how far apart moments are.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "not at all"
	}
	slices.Sort(all)
	return fmt.Sprintf("%.1f to %.1f s, in the middle %.1f s", all[0].Seconds(), all[len(all)-1].Seconds(), all[len(all)/2].Seconds())
}
