package conformance

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	durationPart = regexp.MustCompile(`^(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)`)
	stampShape   = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`)
	zoneShape    = regexp.MustCompile(`^([+-])(\d\d):(\d\d)$`)
)

// unitSeconds are the units that durations are written in.
var unitSeconds = map[string]float64{
	"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400,
}

// parseDuration reads "1h30m", "-2s", "500ms" or "1d" as seconds. It is wider than
// time.ParseDuration (days) and has no upper bound.
func parseDuration(text string) (float64, error) {
	rest, sign := text, 1.0
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		if rest[0] == '-' {
			sign = -1
		}
		rest = rest[1:]
	}
	if rest == "" {
		return 0, fmt.Errorf("bad duration %q", text)
	}
	total := 0.0
	for rest != "" {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, fmt.Errorf("bad duration %q", text)
		}
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, fmt.Errorf("bad duration %q: %w", text, err)
		}
		total += n * unitSeconds[m[2]]
		rest = rest[len(m[0]):]
	}
	return sign * total, nil
}

// formatDuration spells whole seconds as Go does: "4h0m0s", "1m30s", "-5s". A fraction is cut off.
func formatDuration(seconds float64) string {
	n := int64(seconds)
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	h, m, s := n/3600, n/60%60, n%60
	switch {
	case h > 0:
		return fmt.Sprintf("%s%dh%dm%ds", sign, h, m, s)
	case m > 0:
		return fmt.Sprintf("%s%dm%ds", sign, m, s)
	}
	return fmt.Sprintf("%s%ds", sign, s)
}

// formatStamp spells a moment in RFC 3339: zone "Z" or a fixed offset such as "+05:00", whole seconds
// or, when fraction is asked for, six decimals.
func formatStamp(t time.Time, zone string, fraction bool) (string, error) {
	loc := time.UTC
	if zone != "Z" {
		m := zoneShape.FindStringSubmatch(zone)
		if m == nil {
			return "", fmt.Errorf("bad zone %q", zone)
		}
		h, _ := strconv.Atoi(m[2])
		min, _ := strconv.Atoi(m[3])
		offset := h*3600 + min*60
		if m[1] == "-" {
			offset = -offset
		}
		loc = time.FixedZone(zone, offset)
	}
	layout := "2006-01-02T15:04:05"
	if fraction {
		layout += ".000000"
	}
	return t.In(loc).Format(layout) + zone, nil
}

// parseStamp reads RFC 3339 as servers write it, with any number of decimals; ok is false for anything
// else, a lower-case zone and the 31st of February included.
func parseStamp(text string) (t time.Time, ok bool) {
	if !stampShape.MatchString(text) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}

// wholeUTC reads a moment spelled in UTC without decimals.
func wholeUTC(text string) (t time.Time, ok bool) {
	t, ok = parseStamp(text)
	return t, ok && strings.HasSuffix(text, "Z") && !strings.Contains(text, ".")
}

// after moves t by seconds, which may be negative. To the nanosecond, as far
// as a float goes.
func after(t time.Time, seconds float64) time.Time {
	return t.Add(time.Duration(seconds * float64(time.Second)))
}
