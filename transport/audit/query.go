package audit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"lapid/engine"
)

// What people write to ask for rows, on the command line and in the API.

// When reads a moment: RFC 3339, or how long before now it is, in Unix nanoseconds; "" is 0. Errors say
// what is asked for.
func When(text string, now time.Time) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		if at.Year() < 1971 || at.Year() > 2261 {
			return 0, fmt.Errorf("%.64s: the year must be between 1971 and 2261", text)
		}
		return at.UnixNano(), nil
	}
	d, err := engine.ParseDuration(text)
	if err != nil || d < 0 || int64(d) > math.MaxInt64/2 {
		return 0, fmt.Errorf("%.64s: give an RFC 3339 time such as 2026-07-01T10:00:00Z, or how long ago, such as 4h or 30d", text)
	}
	return now.Add(-d).UnixNano(), nil
}

// Who reads an actor: a name, a kind and a colon, or both.
func Who(text string) (kind, name string) {
	if kind, name, ok := strings.Cut(text, ":"); ok {
		return kind, name
	}
	return "", text
}

// Expected reads NUMBER:HASH of rows that were kept, as a verification prints them.
func Expected(list []string) (map[uint64]string, error) {
	hashes := map[uint64]string{}
	for _, text := range list {
		number, hash, _ := strings.Cut(text, ":")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n == 0 || len(hash) != 64 {
			return nil, fmt.Errorf("%.128s: give NUMBER:HASH as audit verify prints them", text)
		}
		hashes[n] = strings.ToLower(hash)
	}
	return hashes, nil
}
