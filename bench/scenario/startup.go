//go:build linux

package scenario

import (
	"context"
	"fmt"
	"math"
	"os"
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
	user time.Duration // of it outside the kernel, which sends: the encoding

	client time.Duration // what this process spent on it
}

// fetcher is one of several servers that one client fetches everything from.
type fetcher struct {
	server *load.Process
	before func(round int) error // nil: nothing
	fetch  func() (*load.Fetched, error)
}

// lapidStarts fetches from lapid. Before each round there is something new, so that no body of before can be
// sent again.
func lapidStarts(ctx context.Context, l *peers.LAPI) fetcher {
	return fetcher{
		server: &l.Process,
		before: func(round int) error {
			return l.Post(ctx, alertOf(corpus.New(100, Seed+2).Part(round, round+1), time.Now()))
		},
		fetch: func() (*load.Fetched, error) { return fetchAll(ctx, l.Address, peers.Key) },
	}
}

// Startup has one client fetch all decisions, from lapid and from the ceiling in turn, then a crowd of them
// within one second.
func (b *Bench) Startup(ctx context.Context, l *peers.LAPI, ceiling *peers.Ceiling, decisions int) error {
	b.say("startup: one client")
	body, err := fetchAll(ctx, l.Address, peers.Key)
	if err != nil {
		return err
	}
	if body.Body < int64(decisions*least) {
		return fmt.Errorf("startup: %d bytes for %d decisions: not all is in them", body.Body, decisions)
	}
	if err := ceiling.Set(ctx, peers.Stream, make([]byte, body.Body)); err != nil {
		return err
	}
	rounds, err := startsInTurn(lapidStarts(ctx, l), fetcher{
		server: &ceiling.Process, fetch: func() (*load.Fetched, error) { return fetchAll(ctx, ceiling.Address, peers.Key) },
	})
	if err != nil {
		return err
	}
	by, ours, limit := ratio(rounds[0], rounds[1], (*startup).Rate), middleStart(rounds[0]), middleStart(rounds[1])
	b.Report.Measured(rowStartup, by.middle, "%v, %.0f MB at %.0f of %.0f MB/s", by, mb(ours.Body), ours.Rate()/1e6, limit.Rate()/1e6)
	b.Report.Measured(rowFirst, ms(ours.First), "ceiling %.2f ms", ms(limit.First))
	b.Report.Section(fmt.Sprintf("Startup of everything, %d decisions, one client", decisions), startTable([]string{"lapid", "ceiling"}, ours, limit))
	return b.crowds(ctx, l, ceiling, ours)
}

// startTable shows startups one under the other.
func startTable(names []string, list ...*startup) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%-14s  %6s  %11s  %7s  %10s\n", "", "MB/s", "first byte", "whole", "server CPU")
	for i, s := range list {
		fmt.Fprintf(&t, "%-14s  %6.0f  %8.2f ms  %6.3fs  %9.3fs\n", names[i], s.Rate()/1e6, ms(s.First), s.Whole.Seconds(), s.cpu.Seconds())
	}
	return t.String()
}

// startRounds is how often each is asked for everything.
const startRounds = 3

// startsInTurn fetches everything from one after the other, round after round.
func startsInTurn(list ...fetcher) ([][]*startup, error) {
	rounds := make([][]*startup, len(list))
	for round := range startRounds {
		for i, f := range list {
			if f.before != nil {
				if err := f.before(round); err != nil {
					return nil, err
				}
			}
			self := load.Process{PID: os.Getpid()}
			begin, own := f.server.Usage(), self.Usage().CPU
			got, err := f.fetch()
			if err != nil {
				return nil, err
			}
			spent := f.server.Usage()
			own = self.Usage().CPU - own
			rounds[i] = append(rounds[i], &startup{Fetched: got, cpu: spent.CPU - begin.CPU, user: spent.User - begin.User, client: own})
		}
	}
	return rounds, nil
}

// middleStart gives the round whose rate is in the middle, with the latest first byte of all and what they
// spent outside the kernel on average, which is told in hundredths of a second only.
func middleStart(rounds []*startup) *startup {
	m := *middleBy(rounds, (*startup).Rate)
	fetched := *m.Fetched
	m.Fetched, m.user = &fetched, 0
	for _, s := range rounds {
		m.First = max(m.First, s.First)
		m.user += s.user / time.Duration(len(rounds))
	}
	return &m
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
