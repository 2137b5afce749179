package engine_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// BenchmarkAuditedPushes says what pushes take of the processor, with and without the audit
// that follows them, all that it does included: cpu-ns/alert of the whole process. HTTP and
// the disk are not in it, so the share of a real server is smaller.
func BenchmarkAuditedPushes(b *testing.B) {
	for name, o := range map[string]*engine.AuditOptions{"without": nil, "with": {}} {
		b.Run(name, func(b *testing.B) {
			r := enginetest.NewRig(b, func(options *engine.Options) { options.Audit = o })
			ctx := context.Background()
			const writers = 16
			for i := range writers {
				if err := r.AddMachine(ctx, &engine.Machine{ID: fmt.Sprint("m", i)}, false); err != nil {
					b.Fatal(err)
				}
			}
			before := spent(b)
			b.ResetTimer()
			var all sync.WaitGroup
			for i := range writers {
				all.Go(func() {
					for n := i; n < b.N; n += writers {
						if _, err := r.AddAlerts(ctx, fmt.Sprint("m", i), banOn(r, fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255), "4h"), r.Now().UnixNano()); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			if o != nil {
				if err := r.Trail().Follow(ctx, true); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(spent(b)-before)/float64(b.N), "cpu-ns/alert")
		})
	}
}

// spent is the processor time of the process, in nanoseconds.
func spent(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
