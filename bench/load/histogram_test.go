//go:build linux

package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	var h, half Histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(r.Uint64N(1 << (1 + r.Uint64N(37))))
		all = append(all, d)
		if i%2 == 0 {
			h.Record(d)
		} else {
			half.Record(d)
		}
	}
	h.Merge(&half)
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[int(q*float64(len(all)))-1]
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*1.01+1 {
			t.Errorf("seed %d: quantile %v is %v, want %v", seed, q, got, want)
		}
	}
	if h.Max() != all[len(all)-1] || h.Count() != 20_000 {
		t.Errorf("max %v of %d", h.Max(), h.Count())
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	for b := range buckets {
		if got := bucket(uint64(upper(b))); got != b {
			t.Fatalf("bucket %d ends at %v, which is in %d", b, upper(b), got)
		}
	}
	var h Histogram
	h.Record(time.Hour)
	h.Record(-1)
	if h.Quantile(0.5) != 0 || h.Max() != time.Hour {
		t.Errorf("half %v, max %v", h.Quantile(0.5), h.Max())
	}
}
