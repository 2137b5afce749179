package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A remaining duration may be that many seconds shorter or longer than expected: time passes between
// the request that made a decision and the one that shows it.
const (
	durationEarly = 12
	durationLate  = 1
)

// current is how far from now, in seconds, a "current" time may lie.
const current = 60

var (
	decimalID   = regexp.MustCompile(`^[1-9]\d*$`)
	integer     = regexp.MustCompile(`^-?\d+$`)
	tokenShape  = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`)
	uuidWhole   = regexp.MustCompile(`^` + uuidShape + `$`)
	threePlaces = regexp.MustCompile(`\.\d{3}Z$`)
)

// matcher compares answers with expectations at one moment. The moment is
// that at which the answer came.
type matcher struct {
	now    time.Time
	strict bool // compare the wording of the reference's libraries too
}

// textMatchers are the matchers that a text only can fit; each gives nil when it does.
var textMatchers = map[string]func(m matcher, arg, got string) error{
	"str":    func(matcher, string, string) error { return nil },
	"id":     func(_ matcher, _, got string) error { return shaped(decimalID, got, "not a decimal id in a string") },
	"uuid":   func(_ matcher, _, got string) error { return shaped(uuidWhole, got, "not a lower-case version 4 uuid") },
	"jwt":    func(_ matcher, _, got string) error { return shaped(tokenShape, got, "not a JWT") },
	"ts":     matchStamp,
	"now":    matchNow,
	"ago":    matchAgo,
	"ms":     matchMillis,
	"rle":    matchRuns,
	"lib":    matchLibrary,
	"tpl":    matchTemplate,
	"re":     matchPattern,
	"dur":    matchDuration,
	"negdur": matchEndedDuration,
}

// match compares a value with one matcher, written "$$name" or "$$name:argument"; nil means it fits.
func (m matcher) match(written string, got any) error {
	name, arg, _ := strings.Cut(strings.TrimPrefix(written, "$$"), ":")
	switch name {
	case "any":
		return nil
	case "int":
		if n, ok := got.(json.Number); ok && integer.MatchString(n.String()) {
			return nil
		}
		return errors.New("not an integer")
	case "intvar":
		if _, err := strconv.ParseInt(arg, 10, 64); err != nil {
			return fmt.Errorf("the expected integer %q is none", arg)
		}
		if n, ok := got.(json.Number); ok && sameNumber(n, json.Number(arg)) {
			return nil
		}
		return fmt.Errorf("not the integer %s", arg)
	}
	fits, known := textMatchers[name]
	if !known {
		return fmt.Errorf("unknown matcher $$%s", name)
	}
	text, ok := got.(string)
	if !ok {
		return errors.New("not a string")
	}
	return fits(m, arg, text)
}

// shaped is a match with a fixed pattern, and what to say without one.
func shaped(shape *regexp.Regexp, got, otherwise string) error {
	if !shape.MatchString(got) {
		return errors.New(otherwise)
	}
	return nil
}

// matchStamp takes any moment in RFC 3339.
func matchStamp(_ matcher, _, got string) error {
	if _, ok := parseStamp(got); !ok {
		return errors.New("not an RFC 3339 time")
	}
	return nil
}

// matchNow takes a moment that is less than a minute away.
func matchNow(m matcher, _, got string) error {
	t, ok := wholeUTC(got)
	if !ok {
		return errors.New("not an RFC 3339 UTC time in whole seconds")
	}
	if math.Abs(m.now.Sub(t).Seconds()) >= current {
		return errors.New("not a current time")
	}
	return nil
}

// matchAgo takes one that lies so long before, give or take a minute.
func matchAgo(m matcher, arg, got string) error {
	t, ok := wholeUTC(got)
	if !ok {
		return errors.New("not an RFC 3339 UTC time in whole seconds")
	}
	seconds, err := parseDuration(arg)
	if err != nil {
		return err
	}
	if math.Abs(m.now.Sub(t).Seconds()-seconds) >= current {
		return fmt.Errorf("not %s before now", arg)
	}
	return nil
}

// matchMillis takes a moment as allowlists show it.
func matchMillis(_ matcher, _, got string) error {
	if _, ok := parseStamp(got); !ok || !threePlaces.MatchString(got) {
		return errors.New("not an RFC 3339 UTC time with milliseconds")
	}
	return nil
}

// matchRuns takes a long text that is written short.
func matchRuns(_ matcher, arg, got string) error {
	want, err := expandRuns(arg)
	if err != nil {
		return err
	}
	if got != want {
		return errors.New("not that text")
	}
	return nil
}

// matchLibrary takes any wording of a JSON or JWT library for right, unless told to be strict.
func matchLibrary(m matcher, arg, got string) error {
	if m.strict && !fitsTemplate(arg, got) {
		return errors.New("not the reference wording")
	}
	if got == "" {
		return errors.New("empty message")
	}
	return nil
}

// matchTemplate takes a text with blanks.
func matchTemplate(_ matcher, arg, got string) error {
	if !fitsTemplate(arg, got) {
		return errors.New("does not fit the template")
	}
	return nil
}

// matchPattern takes a text by a regular expression, which must fit all of it.
func matchPattern(_ matcher, arg, got string) error {
	fits, err := fitsPattern(arg, got)
	if err != nil {
		return err
	}
	if !fits {
		return errors.New("does not fit the pattern")
	}
	return nil
}

// matchDuration takes "4h0m0s" or, with another tolerance both ways in seconds, "4h0m0s~30".
func matchDuration(_ matcher, arg, got string) error {
	left, err := canonicalDuration(got)
	if err != nil {
		return err
	}
	written, tolerance, wide := strings.Cut(arg, "~")
	want, err := parseDuration(written)
	if err != nil {
		return err
	}
	early, late := float64(durationEarly), float64(durationLate)
	if wide && tolerance != "" {
		if early, err = strconv.ParseFloat(tolerance, 64); err != nil {
			return fmt.Errorf("bad tolerance %q", tolerance)
		}
		late = early
	}
	if left < want-early || left > want+late {
		return errors.New("duration out of tolerance")
	}
	return nil
}

// matchEndedDuration takes what is left of a decision that is over.
func matchEndedDuration(_ matcher, _, got string) error {
	left, err := canonicalDuration(got)
	if err != nil {
		return err
	}
	if left > 0 {
		return errors.New("not zero or negative")
	}
	return nil
}

// canonicalDuration reads a duration that is spelled as Go spells whole seconds, as seconds.
func canonicalDuration(text string) (float64, error) {
	seconds, err := parseDuration(text)
	if err != nil {
		return 0, errors.New("not a duration")
	}
	if formatDuration(seconds) != text {
		return 0, errors.New("not spelled as a whole-second Go duration")
	}
	return seconds, nil
}

// sameNumber compares by value: 1, 1.0 and 1e0 are one number. Whole numbers
// are compared by their digits, for a float would not tell large ones apart.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	if integer.MatchString(a.String()) && integer.MatchString(b.String()) {
		return false
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y
}
