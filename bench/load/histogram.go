//go:build linux

package load

import (
	"math"
	"math/bits"
	"time"
)

// A duration falls into a bucket no wider than 1/128 of itself.
const (
	fine    = 7                         // bits kept of a duration
	octaves = 38 - fine                 // up to 2^38 ns, four and a half minutes; longer ones count as that
	buckets = (octaves + 1) * 1 << fine // 32 KiB in all
)

// Histogram counts durations with an error below one percent. One goroutine owns
// it; recording allocates nothing.
type Histogram struct {
	counts [buckets]uint64
	total  uint64
	sum    time.Duration
	max    time.Duration
}

// Record counts one duration. Below zero counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

func bucket(v uint64) int {
	v = min(v, 1<<38-1)
	octave := max(bits.Len64(v)-fine-1, 0)
	return octave<<fine + int(v>>octave)
}

// upper gives the longest duration that falls into a bucket.
func upper(b int) time.Duration {
	octave := max(b>>fine-1, 0)
	return time.Duration((b-octave<<fine+1)<<octave - 1)
}

// Merge adds what o counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Count gives the number of durations.
func (h *Histogram) Count() uint64 { return h.total }

// Max gives the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean gives the average, exactly; 0 of nothing.
func (h *Histogram) Mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}

// Quantile gives a duration that the part q (0 to 1) of all does not exceed; 0
// of nothing.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.total)))
	seen := uint64(0)
	for b, n := range h.counts {
		if seen += n; seen >= rank && seen > 0 {
			return min(upper(b), h.max)
		}
	}
	return h.max
}
