package profile

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockFunctions know the moment of judging, which is the only present there
// is, and intervals between moments.
func clockFunctions() []function {
	interval := []any{(func([]time.Time) time.Duration)(nil), (func([]any) time.Duration)(nil)}
	return []function{
		{name: "TimeNow", types: []any{(func() string)(nil)}, asking: func(e *evaluation, _ []any) (any, error) {
			return time.Unix(0, e.now).UTC().Format(time.RFC3339), nil
		}},
		{name: "now", types: []any{(func() time.Time)(nil), (func(*time.Location) time.Time)(nil)}, asking: present},
		ask1("ParseUnix", func(e *evaluation, text string) (string, error) {
			whole, _, _ := strings.Cut(text, ".")
			seconds, err := strconv.ParseInt(whole, 10, 64)
			if err != nil || seconds <= 0 {
				e.log(slog.LevelError, "unable to parse as unix timestamp", "text", clip(text))
				return "", nil
			}
			return time.Unix(seconds, 0).UTC().Format(time.RFC3339), nil
		}),
		{name: "AverageInterval", types: interval, plain: func(a ...any) (any, error) {
			gaps, err := gaps(a[0])
			if err != nil {
				return nil, err
			}
			var total time.Duration
			for _, g := range gaps {
				total += g
			}
			return total / time.Duration(len(gaps)), nil
		}},
		{name: "MedianInterval", types: interval, plain: func(a ...any) (any, error) {
			gaps, err := gaps(a[0])
			if err != nil {
				return nil, err
			}
			slices.Sort(gaps)
			middle := len(gaps) / 2
			if len(gaps)%2 == 0 {
				return (gaps[middle-1] + gaps[middle]) / 2, nil
			}
			return gaps[middle], nil
		}},
	}
}

// present stands in for expr's now(), so that one alert is judged at one
// moment. A zone that is none is an error of the expression.
func present(e *evaluation, a []any) (any, error) {
	now := time.Unix(0, e.now)
	if len(a) == 1 {
		if zone, ok := a[0].(*time.Location); ok {
			return now.In(zone), nil
		}
		return nil, fmt.Errorf("now takes a timezone, not %T", a[0])
	}
	return now, nil
}

// gaps are the intervals between moments, put in order first; at least one.
// The list itself is left in its order.
func gaps(list any) ([]time.Duration, error) {
	var times []time.Time
	switch v := list.(type) {
	case []time.Time:
		times = slices.Clone(v)
	case []any:
		for i, x := range v {
			t, ok := x.(time.Time)
			if !ok {
				return nil, fmt.Errorf("element %d is not a time but %T", i, x)
			}
			times = append(times, t)
		}
	default:
		return nil, fmt.Errorf("need a list of times, not %T", list)
	}
	if len(times) < 2 {
		return nil, fmt.Errorf("need at least two times for an interval")
	}
	slices.SortFunc(times, time.Time.Compare)
	gaps := make([]time.Duration, len(times)-1)
	for i := range gaps {
		gaps[i] = times[i+1].Sub(times[i])
	}
	return gaps, nil
}
