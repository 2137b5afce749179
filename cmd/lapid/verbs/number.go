package verbs

import (
	"math"
	"strconv"
)

// shown is a figure in full, or short with a letter.
func shown(n number, full bool) string {
	if full {
		return n.String()
	}
	return n.short()
}

// number is a figure of the usage metrics. Whole ones are written without a
// fraction. The reports hold JSON numbers of any form; up to 2^53 all whole
// ones are exact.
type number float64

// String is the figure in full, never with an exponent.
func (n number) String() string {
	if f := float64(n); f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(float64(n), 'f', -1, 64)
}

// MarshalJSON writes the figure as String does.
func (n number) MarshalJSON() ([]byte, error) { return []byte(n.String()), nil }

// short writes the figure with a letter for thousands, millions … Two
// decimals, by thousands, as the reference does it.
func (n number) short() string {
	for _, u := range []struct {
		size   float64
		letter string
	}{{1e18, "E"}, {1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(float64(n)) >= u.size {
			return strconv.FormatFloat(float64(n)/u.size, 'f', 2, 64) + u.letter
		}
	}
	return n.String()
}
