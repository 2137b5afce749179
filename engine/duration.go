package engine

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads the contract's duration grammar (http-api.md section 3):
// blanks around are cut off, an optional sign, an optional whole number of
// days first, then any sequence of Go duration units. More days than can be
// counted are as many as can be, some 292 years in either direction: a ban that
// is meant to last never ends in the past. A lone sign is nothing at all. The
// error's text is what ends up in answers; it has no kind of its own.
func ParseDuration(text string) (time.Duration, error) { return parseDuration(text, countDays) }

// ParseMoment reads a moment of the past as people write it, in Unix nanoseconds: how long before
// now it was, such as 4h or 7d, a day or a minute of UTC, or RFC 3339; of the years 1971 to
// 2261. Errors are of kind ErrInvalid and say what is asked for.
func ParseMoment(text string, now int64) (int64, error) {
	if d, err := ParseDuration(text); err == nil && text != "" && d >= 0 && int64(d) <= math.MaxInt64/2 {
		return now - int64(d), nil
	}
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() > 1970 && t.Year() < 2262 {
			return t.UnixNano(), nil
		}
	}
	return 0, invalid("a moment is how long ago it was, such as 4h or 7d, a day such as 2026-11-30, or as in RFC 3339, not %.100q", text)
}

// ParseAge reads how far back a query looks. It is ParseDuration, but for more
// days than can be counted: they overflow, as in the contract, so that a query which
// reaches back too far finds nothing.
func ParseAge(text string) (time.Duration, error) {
	return parseDuration(text, func(n int) time.Duration { return time.Duration(n) * day })
}

func parseDuration(text string, days func(int) time.Duration) (time.Duration, error) {
	if d, ok := usualDuration(text); ok {
		return d, nil
	}
	s := strings.TrimSpace(text)
	if s == "" {
		return 0, fmt.Errorf("empty duration string")
	}
	s, negative := strings.CutPrefix(s, "-")
	var total time.Duration
	if head, rest, found := strings.Cut(s, "d"); found {
		n, err := wholeDays(head, rest, text)
		if err != nil {
			return 0, err
		}
		total, s = days(n), rest
	}
	if strings.Contains(s, "-") {
		return 0, fmt.Errorf("misplaced negative sign in duration %q", text)
	}
	if s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, err
		}
		if total > math.MaxInt64-d {
			total = math.MaxInt64
		} else {
			total += d
		}
	}
	if negative {
		total = -total
	}
	return total, nil
}

// usualDuration reads what most durations look like: whole hours, minutes and seconds, in this
// order, with some left out. It is false for all else. Imports have a million of them.
func usualDuration(text string) (d time.Duration, ok bool) {
	unit := time.Duration(math.MaxInt64) // the last one
	for i := 0; i < len(text); i++ {
		n, from := time.Duration(0), i
		for ; i < len(text) && text[i]-'0' < 10; i++ {
			n = n*10 + time.Duration(text[i]-'0')
		}
		if digits := i - from; digits == 0 || digits > 6 || i == len(text) {
			return 0, false // all three units of so many digits can be counted together
		}
		next := time.Hour
		switch text[i] {
		case 'h':
		case 'm':
			next = time.Minute
		case 's':
			next = time.Second
		default:
			return 0, false
		}
		if next >= unit {
			return 0, false
		}
		d, unit = d+n*next, next
	}
	return d, text != ""
}

// wholeDays reads what stands before the first d. No other may follow: neither
// another unit of days nor a word that holds the letter.
func wholeDays(head, rest, text string) (int, error) {
	if strings.Contains(rest, "d") {
		return 0, fmt.Errorf("invalid duration %q: 'd' can appear only as the first unit", text)
	}
	n, err := strconv.Atoi(head)
	if err != nil {
		return 0, fmt.Errorf("invalid day value in duration %q", text)
	}
	return n, nil
}

// countDays is so many days, or the longest duration there is.
func countDays(n int) time.Duration {
	switch {
	case n > mostDays:
		return math.MaxInt64
	case n < -mostDays:
		return -math.MaxInt64
	}
	return time.Duration(n) * day
}

const (
	day      = 24 * time.Hour
	mostDays = int(math.MaxInt64 / day)
)

const (
	// LongestDuration is the longest that an operator may give to a decision, in the
	// grammar of ParseDuration: some 292 years. Bouncers can read it.
	LongestDuration = "2562047h"

	// Forever is the word for LongestDuration where an operator gives a duration.
	Forever = "forever"
)

// DecisionDuration checks the duration that an operator gives to a decision, and
// gives it as it is to be stored: Forever is LongestDuration, anything else stays
// as it was written. What would be over at once, or is longer than can be counted,
// is refused with a sentence that says what to write instead. The error has no
// kind. What comes from a log processor is not judged by it: there zero and
// negative durations have a meaning.
func DecisionDuration(text string) (string, error) {
	if strings.EqualFold(strings.TrimSpace(text), Forever) {
		return LongestDuration, nil
	}
	d, err := ParseDuration(text)
	if err != nil {
		if _, short := ParseDuration(digits.ReplaceAllString(text, "1")); short == nil {
			return "", tooLong(text) // smaller numbers would do
		}
		return "", err
	}
	if d == math.MaxInt64 {
		return "", tooLong(text)
	}
	if err := Lasting(text, d); err != nil {
		return "", err
	}
	return text, nil
}

// shortestDecision is the shortest that an operator may give to a decision: bouncers ask
// seconds apart, and would not see one that ends sooner.
const shortestDecision = time.Second

// Lasting refuses a duration, read from text, that is over before a bouncer can see
// the decision. The error says what to write instead, and has no kind.
func Lasting(text string, d time.Duration) error {
	if d < shortestDecision {
		return fmt.Errorf("duration '%s' is over at once: give one of a second or more, such as 4h", strings.TrimSpace(text))
	}
	return nil
}

var digits = regexp.MustCompile(`[0-9]+`)

func tooLong(text string) error {
	return fmt.Errorf("duration '%s' is too long: the longest are %dd and %s; '%s' stands for it",
		strings.TrimSpace(text), mostDays, LongestDuration, Forever)
}
