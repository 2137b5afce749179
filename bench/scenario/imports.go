//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/peers"
	"lapid/bench/report"
)

// readers ask so many live queries a second while an import goes on.
const readers = 10_000

// Import loads a set through the operator's program while readers ask, and
// compares how long they wait with how long they do when nothing else goes on. The server
// holds the beginning of the set, small, that the readers ask for.
func (b *Bench) Import(ctx context.Context, l *peers.LAPI, small, set *corpus.Set) error {
	file, err := b.file(set, small.Len(), "set")
	if err != nil {
		return err
	}
	b.say("import: readers alone")
	noise, err := b.noiseOn(ctx, true, l, small, readers)
	if err != nil {
		return err
	}
	if err := pause(ctx, b.Open); err != nil {
		return errors.Join(err, second(noise()))
	}
	still, err := noise()
	if err != nil {
		return err
	}
	fresh := set.Len() - small.Len()
	b.say("import: %d decisions", fresh)
	if noise, err = b.noiseOn(ctx, true, l, small, readers); err != nil {
		return err
	}
	took, err := l.Import(ctx, file)
	meanwhile, failed := noise()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	b.say("import: took %.1f s", took.Seconds())
	b.Report.Measured(rowImport, took.Seconds(), "%.0f k/s, server CPU %.2f s",
		float64(fresh)/1000/took.Seconds(), meanwhile.CPU.Seconds())
	b.Report.Measured(rowImportP99, float64(meanwhile.P99)/float64(still.P99), "p99 %.2f ms, calm %.2f ms, longest %.2f ms",
		ms(meanwhile.P99), ms(still.P99), ms(meanwhile.Max))
	b.Report.Measured(rowImportLate, ms(meanwhile.P99), "p99.9 %.2f ms, longest %.2f ms of %d", ms(meanwhile.P999), ms(meanwhile.Max), meanwhile.Requests)
	return nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func second[A any](_ A, err error) error { return err }

// Memory enters what the server holds per decision once it has come to rest, and
// compares it with nginx where that runs.
func (b *Bench) Memory(ctx context.Context, l *peers.LAPI, decisions int, beside *Beside, row string) error {
	atOnce := l.Usage()
	calm, err := b.rest(ctx, l)
	if err != nil {
		return err
	}
	b.Report.Measured(row, float64(calm)/float64(decisions), "%.0f MB; at once after the load %.0f MB, at most %.0f MB",
		mb(calm), mb(atOnce.Resident), mb(atOnce.Peak))
	bars := []report.Bar{{Name: "lapid", Value: float64(calm) / float64(decisions)}}
	if beside != nil && beside.Nginx != nil {
		theirs := beside.Nginx.Usage().Resident
		b.Report.Measured(rowNginxMemory, float64(calm)/float64(theirs), "%.0f of %.0f MB", mb(calm), mb(theirs))
		bars = append(bars, report.Bar{Name: "nginx", Value: float64(theirs) / float64(decisions)})
	}
	if len(bars) > 1 {
		b.Report.Plot("memory", report.Bars(fmt.Sprintf("resident memory at %d decisions", decisions), "bytes each",
			[]report.Group{{Name: "", Bars: bars}}))
	}
	return nil
}

// rest waits until resident memory falls no more, a hundredth within three
// seconds, half a minute at most.
func (b *Bench) rest(ctx context.Context, l *peers.LAPI) (int64, error) {
	lowest := l.Usage().Resident
	for quiet, all := 0, 0; quiet < 3 && all < 30; all++ {
		if err := pause(ctx, time.Second); err != nil {
			return 0, err
		}
		now := l.Usage().Resident
		quiet++
		if now < lowest-lowest/100 {
			quiet = 0
		}
		lowest = min(lowest, now)
	}
	return lowest, nil
}

// Restart stops the server as an operator does and starts it again.
func (b *Bench) Restart(ctx context.Context, l *peers.LAPI, set *corpus.Set, row string) error {
	begin := time.Now()
	l.Stop()
	stopped := time.Since(begin)
	took, err := l.Start(ctx)
	if err != nil {
		return err
	}
	e := set.At(0)
	body, err := l.Get(ctx, livePath+string(e.AppendValue(nil)))
	if err != nil {
		return err
	}
	if len(body) <= len("null") {
		return fmt.Errorf("restart: %s was forgotten", e.Prefix.Addr())
	}
	b.say("restart: %.2f s", took.Seconds())
	b.Report.Measured(row, took.Seconds(), "stopping took %.2f s", stopped.Seconds())
	return nil
}
