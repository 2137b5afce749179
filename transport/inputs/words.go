package inputs

import (
	"fmt"
	"slices"
	"strings"

	"lapid/engine"
)

// Words that bouncers and log processors know. Others are allowed, but one that
// looks like a slip of these is worth a word, wherever it is written: with a verb, in
// a list that is imported, in a profile. They are not to be changed.
var (
	KnownScopes = []string{"ip", "range", "as", "country", "username", "session"}
	KnownTypes  = []string{"ban", "captcha", "throttle"}
)

// ScopeDoubt is what is to be said of a scope that bouncers do not know and
// that is nearly one that they do; "" for nothing. Scopes may be anything,
// so it is never more than a doubt.
func ScopeDoubt(scope string) string {
	if near := slip(scope, KnownScopes); near != "" {
		return fmt.Sprintf("scope '%s' is none that bouncers know: did you mean %s?", scope, engine.CanonicalScope(near))
	}
	return ""
}

// TypeDoubt is the same for a type. Without a type, and for one that differs from a known
// one by capitals alone, there is an error: bouncers compare it letter by letter.
func TypeDoubt(kind string) (doubt string, err error) {
	lower := strings.ToLower(kind)
	switch {
	case kind == "":
		return "", fmt.Errorf("a decision needs a type: %s", strings.Join(KnownTypes, ", "))
	case kind != lower && slices.Contains(KnownTypes, lower):
		return "", fmt.Errorf("no bouncer acts on the type '%s': write it as '%s'", kind, lower)
	}
	if near := slip(kind, KnownTypes); near != "" {
		return fmt.Sprintf("type '%s' is none that bouncers know: did you mean %s?", kind, near), nil
	}
	return "", nil
}

// FitsScope tells, as an error, what is wrong with a value that is no address, or an
// address where the scope means a range, or the other way round. Whether it
// is an address at all is looked at by the engine.
func FitsScope(scope, value string) error {
	switch engine.CanonicalScope(scope) {
	case engine.ScopeIP:
		if strings.Contains(value, "/") {
			return fmt.Errorf("%s is not a valid ip", value)
		}
	case engine.ScopeRange:
		if !strings.Contains(value, "/") {
			return fmt.Errorf("%s is not a valid range", value)
		}
	}
	return nil
}

// slip is the known word that was probably meant, "" for one that is known
// or like none. Case does not count.
func slip(word string, known []string) string {
	if word == "" || slices.Contains(known, word) { // most, of a list that is imported
		return ""
	}
	if slices.Contains(known, strings.ToLower(word)) {
		return ""
	}
	return Nearest(word, known)
}

// Nearest is the word that is a slip of the finger away from key, "" when
// there is none. A slip is one letter in three at most, and one in short
// words. Case does not count; of several the first in the list is taken.
func Nearest(key string, words []string) string {
	best, bestAt := "", max(1, len(key)/3)+1
	for _, w := range words {
		if n := slips(strings.ToLower(key), w); n < bestAt {
			best, bestAt = w, n
		}
	}
	return best
}

// slips counts the letters to insert, drop, change or swap with their
// neighbour to turn a into b. It is the Damerau–Levenshtein distance, in
// three rows of memory.
func slips(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
