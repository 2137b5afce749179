//go:build linux

package load

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Gaps is how much of their time CPUs lose to somebody else.
type Gaps struct {
	Share   float64       // of the time, on the CPU that lost most
	Longest time.Duration // without a break
}

// shortestGap is by how much the clock moves under a program that only looks at
// it when its CPU was away; switching threads takes less.
const shortestGap = 200 * time.Microsecond

// Lost keeps all given CPUs busy for a while and counts the moments in which
// they were away: what a machine loses to its neighbours, no program on it can
// answer within.
func Lost(cpus []int, length time.Duration) Gaps {
	var all sync.WaitGroup
	lost := make([]Gaps, len(cpus))
	for i, cpu := range cpus {
		all.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with its place
			if pin(0, []int{cpu}) != nil {
				return
			}
			var away, longest time.Duration
			for start, last := time.Now(), time.Now(); last.Sub(start) < length; {
				now := time.Now()
				if gap := now.Sub(last); gap >= shortestGap {
					away, longest = away+gap, max(longest, gap)
				}
				last = now
			}
			lost[i] = Gaps{away.Seconds() / length.Seconds(), longest}
		})
	}
	all.Wait()
	worst := slices.MaxFunc(lost, func(a, b Gaps) int { return int((a.Share - b.Share) * 1e9) })
	for _, g := range lost {
		worst.Longest = max(worst.Longest, g.Longest)
	}
	return worst
}
