package index

import (
	"fmt"
	"runtime"
	"testing"
)

func BenchmarkSlabAt(b *testing.B) {
	var slab Slab[record]
	for range million {
		slab.New()
	}
	var sum uint64
	for i := uint32(0); b.Loop(); i++ {
		sum += slab.At(Slot(i*2654435761>>12+1)%million + 1).value
	}
	runtime.KeepAlive(sum)
}

func BenchmarkSlabReuse(b *testing.B) {
	var slab Slab[record]
	for range 1000 {
		slab.New()
	}
	for b.Loop() {
		slab.Free(500)
		slab.New()
	}
}

func BenchmarkStrings(b *testing.B) {
	var texts Strings
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf("crowdsecurity/http-scenario-%d", i)
		texts.Acquire(names[i])
	}
	b.Run("Lookup", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			texts.Lookup(names[i%len(names)])
		}
	})
	b.Run("Acquire and Release", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			texts.Release(texts.Acquire(names[i%len(names)]))
		}
	})
}

// A million slots that come due within 30 days, handed out second by second of
// the last minute, hour by hour before, or in one leap.
func BenchmarkDeadlines(b *testing.B) {
	r := chance(b)
	at := make([]int64, million+1)
	for i := range at {
		at[i] = birth + r.Int64N(30*day)
	}
	for name, step := range map[string]int64{"minutes": 60e9, "leap": 31 * day} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				d := NewDeadlines(func(n Slot) int64 { return at[n] })
				d.Due(birth, nil)
				for n := Slot(1); n <= million; n++ {
					d.Add(n)
				}
				taken := 0
				for now := birth; d.Len() > 0; now += step {
					d.Due(now, func(Slot) { taken++ })
				}
				if taken != million {
					b.Fatal(taken)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/slot")
		})
	}
}

func BenchmarkRevisions(b *testing.B) {
	var r Revisions
	for rev := uint64(1); rev <= 100_000; rev++ {
		r.Append(rev, Slot(rev), false)
		r.Publish(rev)
	}
	b.Run("commit", func(b *testing.B) {
		b.ReportAllocs()
		rev := r.history().upto
		for b.Loop() {
			rev++
			r.Append(rev, 1, false)
			r.Publish(rev)
			if r.Len() > 200_000 {
				r.Trim(100_000)
			}
		}
	})
	b.Run("Window", func(b *testing.B) {
		upto := r.history().upto
		for b.Loop() {
			if w, ok := r.Window(upto-100, upto); !ok || w.Len() != 100 {
				b.Fatal(w.Len())
			}
		}
	})
	b.Run("Window, empty", func(b *testing.B) {
		upto := r.history().upto
		for b.Loop() {
			if w, ok := r.Window(upto, upto); !ok || w.Len() != 0 {
				b.Fatal(w.Len())
			}
		}
	})
}
