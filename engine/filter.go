package engine

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
)

// Field is a word of decisions and alerts that a Filter chooses by and that facets count.
type Field uint8

// The fields. Of an alert, origin and type are those of its decisions, and scope is its source's.
const (
	FieldScope Field = iota
	FieldOrigin
	FieldType
	FieldScenario
	FieldCountry
	FieldAS // the number of a network, such as 64500
	FieldMachine
	fields
)

var fieldNames = [fields]string{"scope", "origin", "type", "scenario", "country", "as", "machine"}

// String is the field's name.
func (f Field) String() string {
	if f < fields {
		return fieldNames[f]
	}
	return fmt.Sprintf("field %d", uint8(f))
}

// ParseField is the mirror of String.
func ParseField(name string) (Field, bool) {
	for f, known := range fieldNames {
		if known == name {
			return Field(f), true
		}
	}
	return 0, false
}

// Choice is a condition on one text: it is one of Any, unless there is none, and none of None. ASCII case
// does not count, and * stands for any text. An empty text is one that is not there.
type Choice struct{ Any, None []string }

func (c *Choice) given() bool { return len(c.Any)+len(c.None) > 0 }

// admits reports whether any of the spellings of one text is as it is to be.
func (c *Choice) admits(spellings ...string) bool {
	is := func(list []string) bool {
		for _, pattern := range list {
			for _, text := range spellings {
				if matchesFold(pattern, text) {
					return true
				}
			}
		}
		return false
	}
	return (len(c.Any) == 0 || is(c.Any)) && !is(c.None)
}

// matchesFold compares text with a pattern, in which * stands for any text; ASCII case does not count.
func matchesFold(pattern, text string) bool {
	star, from := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && lowerASCII(pattern[p]) == lowerASCII(text[t]):
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Standing is whether decisions run.
type Standing uint8

// What Filter.Standing may be.
const (
	AnyStanding Standing = iota
	Running              // of an alert: some decision of it runs
	Ended                // of an alert: none runs
)

// Simulation is whether alerts, and with them their decisions, were simulated.
type Simulation uint8

// What Filter.Simulation may be.
const (
	AnySimulation Simulation = iota
	Enforced
	Simulated
)

// MostWords is how many words of free text a Filter has at most, those that must not occur included.
const MostWords = 16

// Filter says which decisions, or alerts, a page is of. The zero Filter is of all of them. What is given
// must all be true. Of a list of addresses or alerts one must fit, and of its counterpart, Not…, none may.
// Texts are kept for as long as a page is made, and not changed.
type Filter struct {
	Standing   Standing
	Simulation Simulation

	// The address or range contains the whole of one of Covers, or lies in one of Inside. An alert's is that
	// of its source or of one of its decisions.
	Covers, Inside       []netip.Prefix
	NotCovers, NotInside []netip.Prefix

	Words [fields]Choice // by Field
	Value Choice         // of the decision; of an alert: of its source or of one of its decisions

	Alerts, NotAlerts []AlertID

	// Since and Until bound, inclusively, when a decision was received or an alert began; Unix nanoseconds,
	// 0: no bound.
	Since, Until int64

	// Text are words of which each must occur, and NotText such as must not, in scenario, value, machine or,
	// of an alert, in its message; ASCII case does not count. MostWords together.
	Text, NotText []string

	HideCommunity bool  // alerts only: leave out those that stand for the community list and third-party lists
	Kind          Word  // alerts only: exactly what was sent as kind, which the disk is asked for
	Batch         Batch // no name: no restriction
}

// print is a short name of the filter, the same for equal ones.
func (f *Filter) print() (p [8]byte) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %d %v %v %v %v %q %q %v %v %d %d %q %q %v %q %v", f.Standing, f.Simulation, f.Covers, f.Inside, f.NotCovers, f.NotInside,
		f.Words, f.Value, f.Alerts, f.NotAlerts, f.Since, f.Until, f.Text, f.NotText, f.HideCommunity, fmt.Sprint(f.Kind), f.Batch)
	sum := sha256.Sum256(b.Bytes())
	copy(p[:], sum[:])
	return p
}

// check is an error of kind ErrInvalid for what cannot be asked.
func (f *Filter) check() error {
	if n := len(f.Text) + len(f.NotText); n > MostWords {
		return invalid("a search has %d words at most, and this has %d", MostWords, n)
	}
	for _, list := range [][]netip.Prefix{f.Covers, f.Inside, f.NotCovers, f.NotInside} {
		for _, p := range list {
			if !p.IsValid() {
				return invalid("an address of the filter is none")
			}
		}
	}
	return nil
}

// asksDisk reports whether memory may not say which alerts it lets through.
func (f *Filter) asksDisk() bool {
	return len(f.Text)+len(f.NotText) > 0 || f.Value.given() || f.Kind.Given
}

// byAddress reports whether addresses are asked for.
func (f *Filter) byAddress() bool {
	return len(f.Covers)+len(f.Inside)+len(f.NotCovers)+len(f.NotInside) > 0
}

// address tests an address or range, which may be invalid.
func (f *Filter) address(t netip.Prefix) bool {
	return (len(f.Covers)+len(f.Inside) == 0 || related(t, f.Covers, f.Inside)) && !related(t, f.NotCovers, f.NotInside)
}

// related reports whether t contains one of covers, or lies inside one of inside.
func related(t netip.Prefix, covers, inside []netip.Prefix) bool {
	if !t.IsValid() {
		return false
	}
	for _, p := range covers {
		if t.Bits() <= p.Bits() && t.Contains(p.Addr()) {
			return true
		}
	}
	for _, p := range inside {
		if t.Bits() >= p.Bits() && p.Contains(t.Addr()) {
			return true
		}
	}
	return false
}
