package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// processor is the time this process has taken, in seconds.
func processor() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// BenchmarkManyRows measures what a million rows cost: to make, in a start from the
// journal alone and in one from a snapshot, in memory, and one row more.
//
//	go test ./engine -run "^$" -bench ManyRows -benchtime 1x
func BenchmarkManyRows(b *testing.B) {
	for name, c := range map[string]struct{ keys, each int }{"one key": {1, 1_000_000}, "a million keys": {1_000_000, 0}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				manyRows(b, c.keys, c.each)
			}
		})
	}
}

func manyRows(b *testing.B, keys, each int) {
	r := enginetest.NewRig(b, func(o *engine.Options) {
		o.Dir, o.FS, o.NoSync, o.BouncersPerKey, o.SnapshotBytes = b.TempDir(), nil, true, 1<<30, 1<<40
	})
	at := processor()
	took := func(what string, n float64) {
		b.ReportMetric((processor()-at)/n*1e6, what)
		at = processor()
	}
	flood(b, r, keys, each)
	rows := float64(r.View().BouncerCount())
	took("µs/row-made", rows)
	for i := range 1000 {
		admit(b, r, "bouncer-0", keyOf(0), from(1<<21+i))
	}
	took("µs/row-more", 1000)
	r.Stop()
	at = processor()
	e, err := engine.Open(&r.Options)
	if err != nil {
		b.Fatal(err)
	}
	took("s-start-journal", 1e6)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	if err := e.Snapshot(ctx); err != nil {
		b.Fatal(err)
	}
	took("s-snapshot", 1e6)
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	e = nil
	before := heapInUse()
	at = processor()
	if e, err = engine.Open(&r.Options); err != nil {
		b.Fatal(err)
	}
	took("s-start-snapshot", 1e6)
	b.ReportMetric(float64(heapInUse()-before)/rows, "B/row")
	if n := e.View().BouncerCount(); float64(n) != rows+1000 {
		b.Fatal(fmt.Sprint(n))
	}
	runtime.KeepAlive(e)
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	r.Engine = nil
}

// BenchmarkRowMore measures one row more of a key that has so many, below the bound
// and, in its place of another's, at it.
func BenchmarkRowMore(b *testing.B) {
	for _, n := range []int{5000, 500_000} {
		for _, at := range []string{"below the bound", "at the bound"} {
			b.Run(fmt.Sprintf("%d rows, %s", n, at), func(b *testing.B) {
				r := enginetest.NewRig(b, func(o *engine.Options) {
					o.NoSync, o.BouncersPerKey, o.SnapshotBytes = true, 1<<30, 1<<40
					if at == "at the bound" {
						o.BouncersPerKey = n
					}
				})
				flood(b, r, 1, n)
				admit(b, r, "bouncer-0", keyOf(0), from(1<<22))
				before, i := processor(), 0
				for b.Loop() {
					admit(b, r, "bouncer-0", keyOf(0), from(1<<21+i))
					i++
				}
				b.ReportMetric((processor()-before)/float64(i)*1e6, "µs-processor/row")
			})
		}
	}
}
