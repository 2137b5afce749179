package feed

import (
	"flag"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
)

var viewedDecisions = flag.Int("decisions", 20_000, "how many BenchmarkFleetOfViews has in the state")

// viewedFleet is how many bouncers poll, and viewedNews how many decisions come each time.
const viewedFleet, viewedNews = 1000, 50

// BenchmarkFleetOfViews has a thousand bouncers poll after every fifty decisions, first
// without views, then in five, four of which have a bound and are full: everything that
// comes goes to all of them, and as much must go. It reports the processor time of a poll
// and what the fleet takes of the heap besides its rows.
func BenchmarkFleetOfViews(b *testing.B) {
	h := newHouse(b)
	h.banMany(*viewedDecisions)
	bounded := []*engine.Sight{
		{MaxEntries: 1000}, {MaxEntries: 10_000, Priority: engine.Longest}, {MaxEntries: 1000, Priority: engine.Newest},
		{MaxEntries: 5000, Origins: []string{engine.OriginManual}, NotContaining: []string{"http"}}, {Types: []string{"ban"}},
	}
	came := 0
	b.Run("without", func(b *testing.B) { h.follows(b, h.viewed(b.Name(), []*engine.Sight{nil}), &came) })
	b.Run("views", func(b *testing.B) { h.follows(b, h.viewed(b.Name(), bounded), &came) })
}

// viewed adds the fleet, each bouncer with one of the sights, and has all poll once.
func (h *house) viewed(name string, sights []*engine.Sight) (rows []*engine.BouncerRow) {
	h.t.Helper()
	for i := range viewedFleet {
		bouncer := &engine.Bouncer{Name: fmt.Sprintf("%s-%d", name, i), AuthType: engine.AuthAPIKey, Sight: sights[i%len(sights)]}
		copy(bouncer.KeyHash[:], bouncer.Name)
		_, err := h.AddBouncer(h.t.Context(), bouncer)
		h.must(err)
		row := h.View().Bouncer(bouncer.Name)
		d := engine.Delivery{Row: row, All: true, To: h.View().Revision()}
		d.Offer(nil, h.Engine.Now())
		d.Heard()
		rows = append(rows, row)
	}
	return rows
}

// follows has decisions come, each address once, and all poll after each wave.
func (h *house) follows(b *testing.B, rows []*engine.BouncerRow, came *int) {
	before := heapNow()
	wave := func() (spent time.Duration) {
		values := make([]string, viewedNews)
		for i := range values {
			values[i] = fmt.Sprintf("172.%d.%d.%d", 16+*came>>16&15, *came>>8&255, *came&255)
			*came++
		}
		h.ban(values...)
		began := processorTime()
		for _, row := range rows {
			p := h.asks(row, "")
			p.Query.Sight = row.Load().Sight
			if all := h.hear(p); len(all) < viewedNews*100 {
				b.Fatalf("%s is told %d bytes: not all that came is in them", row.Load().Name, len(all))
			}
		}
		return processorTime() - began
	}
	first, spent := wave(), time.Duration(0) // makes what the views keep
	for b.Loop() {
		spent += wave()
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N*len(rows)), "cpu-µs/poll")
	b.ReportMetric(float64(first.Microseconds())/1e3, "first-ms")
	b.ReportMetric(max(float64(heapNow()-before), 0)/1e6, "heap-MB")
}

func heapNow() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
