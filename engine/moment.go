package engine

import (
	"math"
	"time"
)

// Moments are Unix nanoseconds in 64 bits, which reach from 1677 to 2262. The
// contract knows more: alerts of any year of four digits, and durations of 292
// years on top. So the last hours at either end of the numbers are given up:
// beyond them a moment counts whole seconds instead of nanoseconds. Moments
// stay in order, compare as numbers and take no more room; code that adds to one
// or takes the difference of two must use Later and Left, unless both are known
// to be of this century.
const (
	farSeconds = 9_223_286_400 // 2262-04-11T00:00:00Z; before 1970: 1677-09-22
	far        = farSeconds * int64(time.Second)
)

// momentOf gives the moment of a time of the years 0 to 10000; outside of the
// nanoseconds' reach fractions of a second are dropped.
func momentOf(t time.Time) int64 {
	switch s := t.Unix(); {
	case s >= farSeconds:
		return far + (s - farSeconds)
	case s < -farSeconds:
		return -far + (s + farSeconds)
	}
	return t.UnixNano()
}

// timeOf is momentOf's mirror.
func timeOf(m int64) time.Time {
	switch {
	case m > far:
		return time.Unix(farSeconds+(m-far), 0)
	case m < -far:
		return time.Unix(-farSeconds+(m+far), 0)
	}
	return time.Unix(0, m)
}

// Later gives the moment d after m, or before it when d is negative.
func Later(m int64, d time.Duration) int64 {
	if m > -far && m < far {
		if sum := m + int64(d); (sum >= m) == (d >= 0) && sum > -far && sum < far {
			return sum
		}
	}
	return momentOf(timeOf(m).Add(d))
}

// Left gives the nanoseconds from now to until, which is the longest duration
// there is when it lies even further away.
func Left(until, now int64) int64 {
	if until > -far && until < far && now > -far && now < far {
		if d := until - now; (d >= 0) == (until >= now) {
			return d
		}
	}
	return farLeft(until, now)
}

func farLeft(until, now int64) int64 {
	d := timeOf(until).Sub(timeOf(now))
	return max(int64(d), math.MinInt64+1) // its opposite is one too
}
