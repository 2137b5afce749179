package feed

import (
	"strconv"

	"lapid/engine"
)

// Tag is a place in a history as it is told to a client, for one question. A client
// cannot read it; it says it back to be told what came since.
type Tag struct {
	History  engine.HistoryName
	Revision engine.Revision // everything up to there is known
	Question uint64          // the fingerprint of what was asked
}

// longestTag is the length of the longest, in bytes.
const longestTag = len(engine.HistoryName{}) + 1 + 20 + 1 + 16

// TagSpace has room for any tag in quotes.
type TagSpace = [longestTag + 2]byte

// Append appends the tag as it is written: eight letters and digits, a number, sixteen
// hexadecimal digits, with dashes between.
func (t *Tag) Append(dst []byte) []byte {
	dst = append(append(dst, t.History[:]...), '-')
	dst = append(strconv.AppendUint(dst, uint64(t.Revision), 10), '-')
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[t.Question>>shift&15])
	}
	return dst
}

// ParseTag reads what Append writes, and nothing else.
func ParseTag(text []byte) (t Tag, ok bool) {
	const name, digits = len(t.History), 16
	n := len(text) - digits - 1 // where the second dash is
	if len(text) > longestTag || n < name+2 || text[name] != '-' || text[n] != '-' {
		return t, false
	}
	for i := range name {
		if c := text[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return t, false
		}
		t.History[i] = text[i]
	}
	rev, err := strconv.ParseUint(string(text[name+1:n]), 10, 64)
	if err != nil || n > name+2 && text[name+1] == '0' || text[name+1] == '+' {
		return t, false
	}
	t.Revision = engine.Revision(rev)
	for _, c := range text[n+1:] {
		digit := c - '0'
		if digit > 9 {
			if digit = c - 'a' + 10; c < 'a' || digit > 15 {
				return t, false
			}
		}
		t.Question = t.Question<<4 | uint64(digit)
	}
	return t, true
}
