package engine

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// ParseDuration reads the contract's duration grammar (http-api.md section 3):
// blanks around are cut off, an optional sign, an optional whole number of
// days first, then any sequence of Go duration units. The error's text is what
// ends up in answers; it has no kind of its own.
func ParseDuration(text string) (time.Duration, error) {
	s := strings.TrimSpace(text)
	if s == "" {
		return 0, fmt.Errorf("empty duration string")
	}
	if !strings.Contains(s, "d") || !looksLikeDays(s) {
		if s == "-" {
			return 0, nil
		}
		return time.ParseDuration(s)
	}
	return parseDays(s)
}

// looksLikeDays tells "1d2h" and the misspellings that deserve an error about
// days from words such as "second" that merely hold the letter.
func looksLikeDays(s string) bool {
	i := strings.IndexByte(s, 'd')
	for _, c := range s[:i] {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && !strings.ContainsRune("hmsuµn", c) {
			return false
		}
	}
	return true
}

func parseDays(s string) (time.Duration, error) {
	unsigned, negative := s, false
	switch s[0] {
	case '-':
		unsigned, negative = s[1:], true
	case '+':
		unsigned = s[1:]
	}
	head, rest, _ := strings.Cut(unsigned, "d")
	if strings.Contains(rest, "d") {
		return 0, fmt.Errorf("invalid duration %q: 'd' can appear only as the first unit", s)
	}
	days, ok := wholeNumber(head)
	if !ok {
		return 0, fmt.Errorf("invalid day value in duration %q", s)
	}
	total := days * 24 * time.Hour
	if rest != "" {
		if rest[0] == '-' {
			return 0, fmt.Errorf("misplaced negative sign in duration %q", s)
		}
		d, err := time.ParseDuration(rest)
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

func wholeNumber(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' || n > math.MaxInt64/10-1 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return time.Duration(n), true
}
