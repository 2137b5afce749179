package engine_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// TestLongDurations: a duration that is longer than can be counted is the longest
// there is, and does not come out at the other end.
func TestLongDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"106751d": 106751 * 24 * time.Hour, "106752d": math.MaxInt64, "999999d": math.MaxInt64, "106751d24h": math.MaxInt64,
		"213504d": math.MaxInt64, "-106752d": -math.MaxInt64, "-106751d24h": -math.MaxInt64, "9223372036854775807d": math.MaxInt64,
	} {
		if got, err := engine.ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
}

// TestDecisionDuration: what an operator writes is stored, or refused with what to
// write instead.
func TestDecisionDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"4h": "4h", "1d2h": "1d2h", "106751d": "106751d", "2562047h": "2562047h", "forever": "2562047h", " Forever": "2562047h", "1s": "1s",
	} {
		if got, err := engine.DecisionDuration(text); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"1ns": "is over at once", "0.0001s": "is over at once", "999ms": "is over at once",
		"0": "is over at once", "0s": "is over at once", "-4h": "is over at once", "-": "is over at once", "-999999d": "is over at once",
		"999999d": "the longest are 106751d and 2562047h; 'forever' stands for it", "106752d": "is too long", "106751d24h": "is too long",
		"2562048h": "is too long", "99999999999999999999d": "is too long", "99999999h": "is too long",
		"soon": `time: invalid duration "soon"`, "": "empty duration string", "1d-2h": "misplaced negative sign",
	} {
		if got, err := engine.DecisionDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want an error with %q", text, got, err, want)
		}
	}
}

// Moments are written in one way everywhere; what is none, or of no time that can be counted, is refused.
func TestParseMoment(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"4h": now.Add(-4 * time.Hour), "7d": now.AddDate(0, 0, -7), "0s": now, "2026-02-28": time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC),
		"2026-02-28T07:30": time.Date(2026, 2, 28, 7, 30, 0, 0, time.UTC), "2026-02-28T07:30:00.5+02:00": time.Date(2026, 2, 28, 5, 30, 0, 5e8, time.UTC),
		"": {}, "-4h": {}, "yesterday": {}, "1969-01-01": {}, "2262-01-01T00:00:00Z": {}, "300000d": {}, "2026-02-30": {},
	} {
		at, err := engine.ParseMoment(text, now.UnixNano())
		if want.IsZero() != errors.Is(err, engine.ErrInvalid) || err == nil && at != want.UnixNano() {
			t.Errorf("%q: %d, %v", text, at, err)
		}
	}
}
