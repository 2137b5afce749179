//go:build linux

package scenario

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

// FullPace fits all rows into twenty minutes.
func FullPace() Pace {
	return Pace{
		Size: 1_000_000, Warmup: 200 * time.Millisecond, Length: 800 * time.Millisecond, Rounds: 3, Open: 800 * time.Millisecond,
		Connections: []int{64, 256}, Bouncers: 10_000, Followers: 1000, Waves: 30, Crowd: 100,
		Seen: 1000, Busy: 50_000, Ingest: 6 * time.Second, Restless: 500_000, Reference: 100_000,
		Hold: 25 * time.Second, Told: 20, Beside: 20 * time.Second,
		Besiegers: 10_000, Siegetime: 40 * time.Second,
	}
}

// ShortPace fits what needs no peers into a minute and a half on two cores.
func ShortPace() Pace {
	return Pace{
		Size: 100_000, Warmup: 200 * time.Millisecond, Length: 500 * time.Millisecond, Rounds: 1, Open: 500 * time.Millisecond,
		Connections: []int{64}, Bouncers: 1000, Followers: 200, Waves: 5, Crowd: 20,
		Seen: 50, Busy: 5000, Ingest: time.Second, Restless: 50_000,
		Hold: time.Second, Told: 3, Beside: 2 * time.Second,
		Besiegers: 1000, Siegetime: 2 * time.Second,
	}
}

// step is one scenario of a run and the rows it fills; a step without rows is
// always carried out.
type step struct {
	rows []string
	do   func() error
}

// wants tells whether one of these rows is asked for.
func (b *Bench) wants(rows ...string) bool {
	return len(b.Only) == 0 || slices.ContainsFunc(rows, func(row string) bool {
		return slices.ContainsFunc(b.Only, func(word string) bool { return strings.HasPrefix(row, word) })
	})
}

// carry carries out the steps that are asked for. One that fails leaves its rows
// without figures, and the others go on; what went wrong comes back in the end.
func (b *Bench) carry(ctx context.Context, steps ...step) error {
	var all []error
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(s.rows) > 0 && !b.wants(s.rows...) {
			continue
		}
		if err := b.weighed(s.rows, s.do); err != nil {
			b.say("failed: %v", err)
			b.Report.Failed(err, s.rows...)
			if !errors.Is(err, peers.ErrMissing) {
				all = append(all, err)
			}
		}
	}
	return errors.Join(all...)
}

// weighed carries out what fills rows, and enters where that was and what others had of these CPUs meanwhile.
func (b *Bench) weighed(rows []string, do func() error) error {
	if len(rows) == 0 {
		return do()
	}
	all := slices.Sorted(slices.Values(slices.Concat(b.ServerCPUs, b.LoadCPUs)))
	watch, unknown := load.NewWatch(slices.Compact(all))
	err := do()
	share := math.NaN()
	if unknown == nil {
		var lost load.Loss
		if lost, unknown = watch.Lost(); unknown == nil {
			share = lost.Share
		}
	}
	b.Report.Lost("server "+load.List(b.ServerCPUs)+", generator "+load.List(b.LoadCPUs), share, rows...)
	return errors.Join(err, unknown)
}

// Full measures every row. Ten is how many decisions the largest set has: 10 M,
// or 0 for none.
func (b *Bench) Full(ctx context.Context, ten int) error {
	ceiling, err := b.NewCeiling(ctx, b.Programs.Ceiling)
	if err != nil {
		return err
	}
	flat := new(Flatness)
	err = errors.Join(
		b.million(ctx, ceiling, flat),
		b.hundredThousand(ctx, ceiling, flat),
		b.tenMillion(ctx, ceiling, flat, ten),
		b.carry(ctx, step{[]string{rowBack, rowBackMemory}, func() error { return b.Reconnect(ctx) }}),
		b.carry(ctx, step{[]string{rowSiege, rowSiegeMemory}, func() error { return b.Siege(ctx) }}),
		b.carry(ctx, step{[]string{rowAllocations}, func() error { return b.Allocations(ctx) }}),
	)
	flat.Enter(b.Report)
	return err
}

// million is the life of one server: a small set, an import, everything that is
// asked of a million decisions, and in the end what writes many more.
func (b *Bench) million(ctx context.Context, ceiling *peers.Ceiling, flat *Flatness) error {
	small, set := b.sets()
	l, err := b.started(ctx, "lapid-main", small)
	if err != nil {
		b.Report.Failed(err, rowLive, rowLiveP99, rowImport)
		return err
	}
	defer l.Stop()
	beside := &Beside{Ceiling: ceiling}
	return b.carry(ctx,
		step{[]string{rowFlat}, func() error { return b.Flat(ctx, flat, l, small, ceiling) }},
		step{nil, func() error { return b.loaded(ctx, l, small, set) }},
		step{[]string{rowNginx, rowNginxMemory}, func() error { return b.startNginx(ctx, set, beside) }},
		step{[]string{rowMemory}, func() error { return b.Memory(ctx, l, set.Len(), beside, rowMemory) }},
		step{[]string{rowRestart}, func() error { return b.Restart(ctx, l, set, rowRestart) }},
		step{[]string{rowList, rowListMemory}, func() error { return b.List(ctx, l) }},
		step{[]string{rowLive, rowLiveP99, rowNginx}, func() error { return b.Live(ctx, l, set, beside) }},
		step{[]string{rowRedis, rowHAProxy}, func() error { return b.OneCore(ctx, l, set) }},
		step{slices.Concat(tlsBesideNginx, tlsBesidePlain), func() error {
			_ = b.startNginx(ctx, set, beside) // the rows beside it tell
			return b.TLS(ctx, l, set, beside)
		}},
		step{nil, func() error { beside.stop(); return nil }},
		step{[]string{rowAccessLog}, func() error { return b.AccessLog(ctx) }},
		step{[]string{rowFlat}, func() error { return b.Flat(ctx, flat, l, set, ceiling) }},
		step{[]string{rowRender, rowExact, rowRenderKept}, func() error { return b.Render(ctx, l) }},
		step{[]string{rowPolls}, func() error { return b.Polls(ctx) }},
		step{[]string{rowConsole, rowConsoleIn}, func() error { return b.Console(ctx, l, set) }},
		step{[]string{rowEmpty}, func() error { return b.EmptyDelta(ctx, l, ceiling) }},
		step{[]string{rowFollow}, func() error { return b.Follow(ctx, l, ceiling) }},
		step{[]string{rowStartup, rowFirst, rowCrowd, rowCrowdMemory}, func() error { return b.Startup(ctx, l, ceiling, set.Len()) }},
		step{[]string{rowSeen}, func() error { return b.Seen(ctx, l, set) }},
		step{[]string{rowHeld, rowHeldAll, rowHeldMemory, rowHeldIdle, rowHeldLive}, func() error { return b.Held(ctx, l, set) }},
		step{[]string{rowEvents, rowEventsAll, rowEventsMem, rowEventsIdle, rowEventsLive}, func() error { return b.Events(ctx, l, set) }},
		step{[]string{rowPause}, func() error { return b.Pauses(ctx, l, set) }},
		step{[]string{rowViews, rowViewsMemory}, func() error { return b.Views(ctx, l) }},
		step{[]string{rowAudit}, func() error { return b.Audit(ctx) }},
		step{[]string{rowIngest}, func() error { return b.Ingest(ctx, l, ceiling) }},
	)
}

// sets gives a set of the pace's size and a hundredth more, and that hundredth: its
// beginning, which is there before the rest is imported.
func (b *Bench) sets() (small, set *corpus.Set) {
	return corpus.New(b.Size/100, Seed), corpus.New(b.Size+b.Size/100, Seed)
}

// loaded imports the set, with readers if that is asked for.
func (b *Bench) loaded(ctx context.Context, l *peers.LAPI, small, set *corpus.Set) error {
	if !b.wants(rowImport, rowImportP99, rowImportLate) {
		return second(b.fill(ctx, l, set, small.Len()))
	}
	rows := []string{rowImport, rowImportP99, rowImportLate}
	err := b.weighed(rows, func() error { return b.Import(ctx, l, small, set) })
	if err != nil {
		b.Report.Failed(err, rows...)
	}
	return err
}

// stop ends the peers, whose memory is wanted again.
func (s *Beside) stop() {
	if s.Nginx != nil {
		s.Nginx.Stop()
	}
}

// startNginx starts it unless it runs, or is known not to be there.
func (b *Bench) startNginx(ctx context.Context, set *corpus.Set, beside *Beside) error {
	if beside.Nginx == nil && beside.NoNginx == nil {
		beside.Nginx, beside.NoNginx = b.NewNginx(ctx, set)
	}
	return beside.NoNginx
}

// hundredThousand compares with the reference.
func (b *Bench) hundredThousand(ctx context.Context, ceiling *peers.Ceiling, flat *Flatness) error {
	rows := []string{rowRefLive, rowRefStartup, rowRefEmpty, rowRefIngest}
	if b.Pace.Reference == 0 || !b.wants(append(rows, rowFlat)...) {
		return nil
	}
	set := corpus.New(b.Pace.Reference, Seed)
	l, err := b.started(ctx, "lapid-reference", set)
	if err != nil {
		b.Report.Failed(err, rows...)
		return err
	}
	defer l.Stop()
	return b.carry(ctx,
		step{[]string{rowFlat}, func() error { return b.Flat(ctx, flat, l, set, ceiling) }},
		step{rows, func() error { return b.Reference(ctx, l, set) }},
	)
}

// tenMillion looks whether size matters.
func (b *Bench) tenMillion(ctx context.Context, ceiling *peers.Ceiling, flat *Flatness, size int) error {
	if size == 0 || !b.wants(rowFlat, rowMemoryTen, rowRestartTen) {
		return nil
	}
	set := corpus.New(size, Seed)
	l, err := b.started(ctx, "lapid-ten", set)
	if err != nil {
		b.Report.Failed(err, rowMemoryTen, rowRestartTen)
		return err
	}
	defer l.Stop()
	return b.carry(ctx,
		step{[]string{rowMemoryTen}, func() error { return b.Memory(ctx, l, set.Len(), nil, rowMemoryTen) }},
		step{[]string{rowFlat}, func() error { return b.Flat(ctx, flat, l, set, ceiling) }},
		step{[]string{rowRestartTen}, func() error { return b.Restart(ctx, l, set, rowRestartTen) }},
	)
}

// Short measures the rows that need neither peers nor large sets.
func (b *Bench) Short(ctx context.Context) error {
	ceiling, err := b.NewCeiling(ctx, b.Programs.Ceiling)
	if err != nil {
		return err
	}
	small, set := b.sets()
	l, err := b.started(ctx, "lapid-main", small)
	if err != nil {
		return err
	}
	defer l.Stop()
	err = b.carry(ctx,
		step{nil, func() error { return b.loaded(ctx, l, small, set) }},
		step{[]string{rowMemory}, func() error { return b.Memory(ctx, l, set.Len(), nil, rowMemory) }},
		step{[]string{rowRestart}, func() error { return b.Restart(ctx, l, set, rowRestart) }},
		step{[]string{rowList, rowListMemory}, func() error { return b.List(ctx, l) }},
		step{[]string{rowLive, rowLiveP99}, func() error { return b.Live(ctx, l, set, &Beside{Ceiling: ceiling}) }},
		step{slices.Concat(tlsBesideNginx, tlsBesidePlain), func() error { return b.TLS(ctx, l, set, &Beside{Ceiling: ceiling}) }},
		step{[]string{rowAccessLog}, func() error { return b.AccessLog(ctx) }},
		step{[]string{rowRender, rowExact, rowRenderKept}, func() error { return b.Render(ctx, l) }},
		step{[]string{rowPolls}, func() error { return b.Polls(ctx) }},
		step{[]string{rowConsole, rowConsoleIn}, func() error { return b.Console(ctx, l, set) }},
		step{[]string{rowEmpty}, func() error { return b.EmptyDelta(ctx, l, ceiling) }},
		step{[]string{rowFollow}, func() error { return b.Follow(ctx, l, ceiling) }},
		step{[]string{rowStartup, rowFirst, rowCrowd, rowCrowdMemory}, func() error { return b.Startup(ctx, l, ceiling, set.Len()) }},
		step{[]string{rowSeen}, func() error { return b.Seen(ctx, l, set) }},
		step{[]string{rowHeld, rowHeldAll, rowHeldMemory, rowHeldIdle, rowHeldLive}, func() error { return b.Held(ctx, l, set) }},
		step{[]string{rowEvents, rowEventsAll, rowEventsMem, rowEventsIdle, rowEventsLive}, func() error { return b.Events(ctx, l, set) }},
		step{[]string{rowViews, rowViewsMemory}, func() error { return b.Views(ctx, l) }},
		step{[]string{rowAudit}, func() error { return b.Audit(ctx) }},
		step{[]string{rowIngest}, func() error { return b.Ingest(ctx, l, ceiling) }},
		step{[]string{rowBack, rowBackMemory}, func() error { return b.Reconnect(ctx) }},
		step{[]string{rowSiege, rowSiegeMemory}, func() error { return b.Siege(ctx) }},
	)
	b.Report.Keep()
	return err
}

// Peers measures lapid beside the reference, Redis, HAProxy and nginx, all with a set of the
// pace's size.
func (b *Bench) Peers(ctx context.Context) error {
	ceiling, err := b.NewCeiling(ctx, b.Programs.Ceiling)
	if err != nil {
		return err
	}
	set := corpus.New(b.Size, Seed)
	l, err := b.started(ctx, "lapid-main", set)
	if err != nil {
		return err
	}
	defer l.Stop()
	beside := &Beside{Ceiling: ceiling}
	err = b.carry(ctx,
		step{[]string{rowNginx, rowNginxMemory}, func() error { return b.startNginx(ctx, set, beside) }},
		step{[]string{rowMemory}, func() error { return b.Memory(ctx, l, set.Len(), beside, rowMemory) }},
		step{[]string{rowLive, rowLiveP99, rowNginx}, func() error { return b.Live(ctx, l, set, beside) }},
		step{[]string{rowRedis, rowHAProxy}, func() error { return b.OneCore(ctx, l, set) }},
		step{slices.Concat(tlsBesideNginx, tlsBesidePlain), func() error { return b.TLS(ctx, l, set, beside) }},
		step{nil, func() error { beside.stop(); return nil }},
		step{[]string{rowRefLive, rowRefStartup, rowRefEmpty, rowRefIngest}, func() error { return b.Reference(ctx, l, set) }},
	)
	b.Report.Keep()
	return err
}
