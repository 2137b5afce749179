package engine

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// SubjectKind says what a question why is about.
type SubjectKind string

// Kinds of subjects.
const (
	SubjectAddress  SubjectKind = "address"
	SubjectRange    SubjectKind = "range"
	SubjectValue    SubjectKind = "value" // of another scope
	SubjectDecision SubjectKind = "decision"
	SubjectAlert    SubjectKind = "alert"
)

// Subject is what a question why is about, as ParseSubject reads it.
type Subject struct {
	Kind   SubjectKind
	Prefix netip.Prefix // an address or a range, masked
	Scope  Scope        // SubjectValue: as written, the four canonical ones respelled
	Value  string
	Number uint64 // of a decision or an alert
	Bare   bool   // the number stands alone: a decision's, or an alert's where there is no such decision
	Masked bool   // bits behind the range's length were set
}

// ParseSubject reads what an operator writes: an address or a range in any spelling, scope:value
// with the scope in any case and whatever colons the value has, decision:12, alert:12, or a number,
// which means a decision. Blanks around it do not count. What has the form of an IPv6 address is
// never taken for scope:value. Errors are of kind ErrInvalid and say what to write.
func ParseSubject(text string) (Subject, error) {
	asked := strings.TrimSpace(text)
	switch {
	case asked == "":
		return Subject{}, unclear("nothing is asked about: give an address, a range, scope:value, decision:ID or alert:ID")
	case len(asked) > LongestValue+LongestName:
		return Subject{}, unclear("what is asked about has %d bytes, and no value is longer than %d", len(asked), LongestValue)
	case allDigits(asked):
		n, err := subjectNumber(asked)
		return Subject{Kind: SubjectDecision, Number: n, Bare: true}, err
	}
	if s, ok := subjectPrefix(asked); ok {
		return s, nil
	}
	scope, value, worded := strings.Cut(asked, ":")
	scope, value = strings.TrimSpace(scope), strings.TrimSpace(value)
	switch {
	case looksLikeIPv6(asked), !worded && strings.Contains(asked, "/"), !worded && looksLikeIPv4(asked):
		return Subject{}, unreadableAddress(asked)
	case !worded:
		return Subject{}, unclear("'%.200s' is no address, no range and no number: a value of another scope is asked for as scope:value, such as username:%.200s", asked, asked)
	case scope == "" || value == "":
		return Subject{}, unclear("'%.200s' lacks a scope or a value around its colon: write scope:value, such as country:DE", asked)
	}
	return wordedSubject(scope, value)
}

// wordedSubject is the subject of a word, a colon and a value; neither is empty.
func wordedSubject(scope, value string) (Subject, error) {
	for _, kind := range [...]SubjectKind{SubjectDecision, SubjectAlert} {
		if strings.EqualFold(scope, string(kind)) && allDigits(value) {
			n, err := subjectNumber(value)
			return Subject{Kind: kind, Number: n}, err
		}
	}
	if HoldsAddress(scope) {
		if s, ok := subjectPrefix(value); ok {
			return s, nil
		}
		return Subject{}, unreadableAddress(value)
	}
	return Subject{Kind: SubjectValue, Scope: CanonicalScope(scope), Value: value}, nil
}

// subjectPrefix reads an address or a range.
func subjectPrefix(text string) (Subject, bool) {
	p, ok := parseTarget(text)
	if !ok {
		return Subject{}, false
	}
	s := Subject{Kind: SubjectRange, Prefix: p}
	if p.IsSingleIP() {
		s.Kind = SubjectAddress
	}
	if at := strings.IndexByte(text, '/'); at >= 0 {
		a, err := netip.ParseAddr(text[:at])
		s.Masked = err == nil && a.Unmap() != p.Addr().Unmap()
	}
	return s, true
}

func subjectNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, unclear("%.40s is too large for the number of a decision or an alert", text)
	}
	return n, nil
}

func unclear(format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Text: fmt.Sprintf(format, args...)}
}

// unreadableAddress is about what has the form of an address and is none.
func unreadableAddress(text string) error {
	if at := strings.IndexByte(text, '%'); at >= 0 {
		return unclear("'%.200s' names a zone, and decisions have none: ask about '%.200s'", text, text[:at])
	}
	_, err := ParseTarget(text)
	return err
}

func allDigits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// looksLikeIPv6 reports whether a text has nothing but what an IPv6 address is made of, and two
// colons at least, or begins as one and has two colons in a row.
func looksLikeIPv6(s string) bool {
	head, _, _ := strings.Cut(s, "%")
	if first, _, _ := strings.Cut(head, ":"); len(first) <= 4 && strings.Trim(first, hexDigits) == "" && strings.Contains(head, "::") {
		return true
	}
	return strings.Count(head, ":") >= 2 && strings.Trim(head, hexDigits+":./") == ""
}

const hexDigits = "0123456789abcdefABCDEF"

func looksLikeIPv4(s string) bool {
	return strings.Count(s, ".") == 3 && strings.Trim(s, "0123456789.%") == ""
}
