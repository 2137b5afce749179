package engine

import (
	"math"
	"slices"
	"testing"
	"time"
)

func date(year int, clock time.Duration) time.Time {
	return time.Date(year, time.April, 11, 0, 0, 0, 0, time.UTC).Add(clock)
}

// Every second of the years 0 to 10000 has its moment and comes back from it.
func TestMoments(t *testing.T) {
	t.Parallel()
	var before int64 = math.MinInt64
	for _, want := range []time.Time{
		date(0, 0), date(1, 0), date(1676, 0), time.Unix(-farSeconds-1, 0), time.Unix(-farSeconds, 0), time.Unix(-farSeconds, 1),
		date(1969, 0), time.Unix(0, -1), time.Unix(0, 0), date(2026, time.Nanosecond), time.Unix(farSeconds-1, 999_999_999),
		time.Unix(farSeconds, 0), time.Unix(farSeconds+1, 0), date(2263, 0), date(9999, 0), date(10000, 0),
	} {
		m := momentOf(want)
		if got := timeOf(m); !got.Equal(want) {
			t.Errorf("%s comes back as %s", want.UTC(), got.UTC())
		}
		if m <= before {
			t.Errorf("the moment of %s is not after the one before it", want.UTC())
		}
		before = m
	}
	if got := timeOf(momentOf(date(2300, time.Second/2))); !got.Equal(date(2300, 0)) {
		t.Errorf("a fraction beyond the reach of nanoseconds: %s", got.UTC())
	}
}

func TestLaterAndLeft(t *testing.T) {
	t.Parallel()
	const century = 100 * 365 * 24 * time.Hour
	now := date(2026, 123)
	for _, d := range []time.Duration{0, 1, -1, time.Hour, -time.Hour, century, -century, 2 * century, -2 * century, math.MaxInt64, math.MinInt64} {
		for _, start := range []time.Time{now, date(2262, 0), date(1677, 0), date(0, 0), date(9999, 0)} {
			sum := Later(momentOf(start), d)
			if got, want := timeOf(sum), start.Add(d); got.Sub(want).Abs() > time.Second {
				t.Errorf("%s after %s is %s", d, start, got.UTC())
			}
			left := time.Duration(Left(sum, momentOf(start)))
			if off := (left - d).Abs(); off > time.Second {
				t.Errorf("%s after %s lies %s away", d, start, left)
			}
		}
	}
	for _, c := range [][3]int64{
		{5, 3, 2}, {3, 5, -2}, {-5, -3, -2}, {math.MinInt64, 5, math.MinInt64 + 1}, {math.MaxInt64, -5, math.MaxInt64},
		{far - 1, 1 - far, math.MaxInt64}, {1 - far, far - 1, math.MinInt64 + 1},
	} {
		if got := Left(c[0], c[1]); got != c[2] {
			t.Errorf("from %d to %d there are %d, want %d", c[1], c[0], got, c[2])
		}
	}
}

// What runs beyond the reach of nanoseconds is shown as long as it is, and
// ends in its turn.
func TestFarMomentsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	now := momentOf(date(2026, 0))
	var ends []int64
	for _, d := range []time.Duration{time.Hour, 236 * 8760 * time.Hour, 236*8760*time.Hour + time.Second, 250 * 8760 * time.Hour, 292 * 8760 * time.Hour} {
		ends = append(ends, Later(now, d))
		if got := Left(ends[len(ends)-1], now); got != int64(d) {
			t.Errorf("%s is shown as %s", d, time.Duration(got))
		}
	}
	if !slices.IsSorted(ends) {
		t.Errorf("ends out of order: %v", ends)
	}
}
