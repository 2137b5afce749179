package shadow

import (
	"math"
	"time"
)

// latencies are counted in steps of a fifth, from ten microseconds to ten minutes.
type latencies struct {
	counts [latencySteps]int64
	n      int64
	sum    time.Duration
}

const (
	latencySteps = 100
	latencyLeast = float64(10 * time.Microsecond)
	latencyRatio = 1.2
)

func (l *latencies) add(d time.Duration) {
	at := 0
	if f := float64(d); f > latencyLeast {
		at = min(int(math.Log(f/latencyLeast)/math.Log(latencyRatio))+1, latencySteps-1)
	}
	l.counts[at]++
	l.n++
	l.sum += d
}

// quantile is what that share of all took at most, a fifth too much at most; 0 without any.
func (l *latencies) quantile(share float64) time.Duration {
	rank := int64(math.Ceil(share * float64(l.n)))
	for at, n := range l.counts {
		if rank -= n; rank <= 0 && l.n > 0 {
			return time.Duration(latencyLeast * math.Pow(latencyRatio, float64(at)))
		}
	}
	return 0
}
