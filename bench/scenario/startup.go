//go:build linux

package scenario

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const startupPath = streamPath + "?startup=true"

// startup is what one client's fetch of everything cost.
type startup struct {
	*load.Fetched
	cpu  time.Duration
	user time.Duration // of it outside the kernel, which sends: the encoding, on average
}

// Startup has one client fetch all decisions, then a crowd of them within one
// second.
func (b *Bench) Startup(ctx context.Context, l *peers.LAPI, ceiling *peers.Ceiling, decisions int) error {
	b.say("startup: one client")
	ours, err := b.startups(ctx, &l.Process, l.Address, func(round int) error {
		// Something new, so that no body of before can be sent again.
		return l.Post(ctx, alertOf(corpus.New(100, Seed+2).Part(round, round+1), time.Now()))
	})
	if err != nil {
		return err
	}
	if ours.Body < int64(decisions*least) {
		return fmt.Errorf("startup: %d bytes for %d decisions: not all is in them", ours.Body, decisions)
	}
	if err := ceiling.Set(ctx, peers.Stream, make([]byte, ours.Body)); err != nil {
		return err
	}
	limit, err := b.startups(ctx, &ceiling.Process, ceiling.Address, func(int) error { return nil })
	if err != nil {
		return err
	}
	b.Report.Measured(rowStartup, ours.Rate()/limit.Rate(), "%.0f MB at %.0f of %.0f MB/s", mb(ours.Body), ours.Rate()/1e6, limit.Rate()/1e6)
	b.Report.Measured(rowFirst, ms(ours.First), "ceiling %.2f ms", ms(limit.First))
	b.Report.Section(fmt.Sprintf("Startup of everything, %d decisions, one client", decisions), fmt.Sprintf(
		"           MB/s   first byte   whole    server CPU\nlapid    %6.0f  %8.2f ms  %6.3fs  %6.3fs\nceiling  %6.0f  %8.2f ms  %6.3fs  %6.3fs\n",
		ours.Rate()/1e6, ms(ours.First), ours.Whole.Seconds(), ours.cpu.Seconds(),
		limit.Rate()/1e6, ms(limit.First), limit.Whole.Seconds(), limit.cpu.Seconds()))
	return b.crowds(ctx, l, ceiling, ours)
}

// startups fetches everything a few times and gives the round whose rate is in
// the middle, with the latest first byte of all.
func (b *Bench) startups(ctx context.Context, server *load.Process, address string, before func(round int) error) (*startup, error) {
	var list []*startup
	late, user := time.Duration(0), time.Duration(0)
	for round := range 3 {
		if err := before(round); err != nil {
			return nil, err
		}
		begin := server.Usage()
		f, err := fetchAll(ctx, address, peers.Key)
		if err != nil {
			return nil, err
		}
		late = max(late, f.First)
		spent := server.Usage()
		user += spent.User - begin.User
		list = append(list, &startup{Fetched: f, cpu: spent.CPU - begin.CPU})
	}
	slices.SortFunc(list, func(a, b *startup) int { return int(a.Rate() - b.Rate()) })
	list[1].First, list[1].user = late, user/time.Duration(len(list))
	return list[1], nil
}

func fetchAll(ctx context.Context, address, key string) (*load.Fetched, error) {
	f, err := load.Fetch(ctx, address, []byte("GET "+startupPath+load.Tail(key)), nil)
	if err == nil && f.Status != 200 {
		err = fmt.Errorf("startup: status %d", f.Status)
	}
	return f, err
}

// crowds has as many bouncers as the pace says start within one second, at lapid and
// at the ceiling.
func (b *Bench) crowds(ctx context.Context, l *peers.LAPI, ceiling *peers.Ceiling, one *startup) error {
	b.say("startup: %d clients in a second", b.Crowd)
	keys, err := l.AddBouncers(ctx, "crowd", b.Crowd)
	if err != nil {
		return err
	}
	if err := l.Post(ctx, alertOf(corpus.New(100, Seed+2).Part(50, 51), time.Now())); err != nil {
		return err
	}
	ours, err := crowd(ctx, &l.Process, l.Address, keys)
	if err != nil {
		return err
	}
	limit, err := crowd(ctx, &ceiling.Process, ceiling.Address, keys)
	if err != nil {
		return err
	}
	// What is beyond the sends of constant bytes, in the time that one startup takes
	// outside the kernel, which is its encoding. Below 0: the sends cost less here.
	ratio := math.NaN() // of so small a set that encoding it takes no measurable time
	if one.user > 0 {
		ratio = (ours.cpu - limit.cpu).Seconds() / one.user.Seconds()
	}
	b.Report.Measured(rowCrowd, ratio, "%.2f s beside %.2f s of constant bytes; outside the kernel %.2f s beside %.2f s, one startup %.3f s",
		ours.cpu.Seconds(), limit.cpu.Seconds(), ours.user.Seconds(), limit.user.Seconds(), one.user.Seconds())
	b.Report.Measured(rowCrowdMemory, float64(ours.growth)/float64(one.Body), "%.0f MB, a body has %.0f", mb(ours.growth), mb(one.Body))
	b.Report.Section(fmt.Sprintf("Startup of everything, %d clients in one second", len(keys)), strings.Join([]string{
		ours.line("lapid"), limit.line("ceiling")}, "\n"))
	return nil
}

// crowdCost is what many startups at once cost.
type crowdCost struct {
	cpu, user, whole, first time.Duration // user: outside the kernel; first: the latest first byte
	growth                  int64         // bytes of resident memory, at the peak
}

func (c *crowdCost) line(name string) string {
	return fmt.Sprintf("%-8s all served in %.2f s, latest first byte after %.2f ms, server CPU %.2f s, memory + %.0f MB",
		name, c.whole.Seconds(), ms(c.first), c.cpu.Seconds(), mb(c.growth))
}

// crowd spreads the starts evenly over a second.
func crowd(ctx context.Context, server *load.Process, address string, keys []string) (*crowdCost, error) {
	if err := server.ResetPeak(); err != nil {
		return nil, err
	}
	before := server.Usage()
	begin := time.Now()
	work, ctx := errgroup.WithContext(ctx)
	first := make([]time.Duration, len(keys))
	for i, key := range keys {
		work.Go(func() error {
			select {
			case <-time.After(time.Second / time.Duration(len(keys)) * time.Duration(i)):
			case <-ctx.Done():
				return ctx.Err()
			}
			f, err := fetchAll(ctx, address, key)
			if err == nil {
				first[i] = f.First
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	after := server.Usage()
	return &crowdCost{
		cpu: after.CPU - before.CPU, user: after.User - before.User, whole: time.Since(begin), first: slices.Max(first), growth: max(after.Peak-before.Resident, 0),
	}, nil
}
