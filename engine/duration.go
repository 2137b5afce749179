package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads the contract's duration grammar (http-api.md section 3):
// blanks around are cut off, an optional sign, an optional whole number of
// days first, then any sequence of Go duration units. Days are multiplied
// without a look at overflow, and a lone sign is nothing at all. The error's
// text is what ends up in answers; it has no kind of its own.
func ParseDuration(text string) (time.Duration, error) {
	s := strings.TrimSpace(text)
	if s == "" {
		return 0, fmt.Errorf("empty duration string")
	}
	s, negative := strings.CutPrefix(s, "-")
	var total time.Duration
	if head, rest, found := strings.Cut(s, "d"); found {
		days, err := wholeDays(head, rest, text)
		if err != nil {
			return 0, err
		}
		total, s = days, rest
	}
	if strings.Contains(s, "-") {
		return 0, fmt.Errorf("misplaced negative sign in duration %q", text)
	}
	if s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, err
		}
		total += d
	}
	if negative {
		total = -total
	}
	return total, nil
}

// wholeDays reads what stands before the first d. No other may follow: neither
// another unit of days nor a word that holds the letter.
func wholeDays(head, rest, text string) (time.Duration, error) {
	if strings.Contains(rest, "d") {
		return 0, fmt.Errorf("invalid duration %q: 'd' can appear only as the first unit", text)
	}
	n, err := strconv.Atoi(head)
	if err != nil {
		return 0, fmt.Errorf("invalid day value in duration %q", text)
	}
	return time.Duration(n) * 24 * time.Hour, nil
}
