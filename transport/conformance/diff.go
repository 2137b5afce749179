package conformance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// maxProblems bounds what is reported of one answer; the rest is not shown.
const maxProblems = 40

// maxShown bounds how many bytes of a value a report shows; maxBody how many of a whole body.
const (
	maxShown = 400
	maxBody  = 1500
)

// difference collects where an answer is not what was expected. It is for
// one answer, or for one attempt at it.
type difference struct {
	matcher
	unordered bool
	problems  []string
}

// add notes a problem, as long as there are not too many.
func (d *difference) add(format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, fmt.Sprintf(format, args...))
	}
}

// compare walks an expected value and an answer together; path says where it is, for the report.
// It goes on after a difference, so that all of them are told.
func (d *difference) compare(path string, want, got any) {
	switch want := want.(type) {
	case string:
		if strings.HasPrefix(want, "$$") {
			if err := d.match(want, got); err != nil {
				d.add("%s: %s: want %s, got %s", path, err, short(want, maxShown), short(got, maxShown))
			}
			return
		}
	case *object:
		if count, ok := want.get("$$count"); ok {
			d.compareCount(path, count, got)
			return
		}
		d.compareObject(path, want, got)
		return
	case []any:
		d.compareList(path, want, got)
		return
	}
	if !sameScalar(want, got) {
		d.add("%s: want %s, got %s", path, short(want, maxShown), short(got, maxShown))
	}
}

// compareCount looks only at how many elements a list has.
func (d *difference) compareCount(path string, want, got any) {
	list, ok := got.([]any)
	number, isNumber := want.(json.Number)
	switch {
	case !ok:
		d.add("%s: want a list of %s, got %s", path, short(want, maxShown), short(got, maxShown))
	case !isNumber || !sameNumber(number, json.Number(fmt.Sprint(len(list)))):
		d.add("%s: want a list of %s, got %d", path, short(want, maxShown), len(list))
	}
}

// compareObject wants the same keys, in any order.
func (d *difference) compareObject(path string, want *object, got any) {
	o, ok := got.(*object)
	if !ok {
		d.add("%s: want an object, got %s", path, short(got, maxShown))
		return
	}
	for _, k := range want.keys {
		v, ok := o.get(k)
		if !ok {
			d.add("%s.%s: missing (want %s)", path, k, short(want.values[k], maxShown))
			continue
		}
		d.compare(path+"."+k, want.values[k], v)
	}
	for _, k := range o.keys {
		if _, ok := want.get(k); !ok {
			d.add("%s.%s: unexpected (got %s)", path, k, short(o.values[k], maxShown))
		}
	}
}

// compareList compares place by place, or as sets where the step allows that and the
// lengths are the same.
func (d *difference) compareList(path string, want []any, got any) {
	list, ok := got.([]any)
	if !ok {
		d.add("%s: want a list, got %s", path, short(got, maxShown))
		return
	}
	if d.unordered && len(want) == len(list) {
		d.compareSet(path, want, list)
		return
	}
	for i := range max(len(want), len(list)) {
		switch {
		case i >= len(list):
			d.add("%s[%d]: missing (want %s)", path, i, short(want[i], maxShown))
		case i >= len(want):
			d.add("%s[%d]: unexpected (got %s)", path, i, short(list[i], maxShown))
		default:
			d.compare(fmt.Sprintf("%s[%d]", path, i), want[i], list[i])
		}
	}
}

// compareSet gives each expected element the first one left that fits it.
// With matchers that fit several elements that may find no solution where there is
// one; cases are written so that it does.
func (d *difference) compareSet(path string, want, list []any) {
	left := append([]any(nil), list...)
	for i, w := range want {
		at := d.find(w, left)
		if at < 0 {
			d.add("%s[%d]: no element fits %s; left: %s", path, i, short(w, maxShown), short(left, maxShown))
			return
		}
		left = append(left[:at], left[at+1:]...)
	}
}

// find is the place of an element that fits, -1 without one.
func (d *difference) find(want any, among []any) int {
	for i, got := range among {
		trial := difference{matcher: d.matcher, unordered: d.unordered}
		if trial.compare("", want, got); trial.problems == nil {
			return i
		}
	}
	return -1
}

// sameScalar compares texts, booleans and null exactly, numbers by value.
func sameScalar(want, got any) bool {
	a, isNumber := want.(json.Number)
	b, alsoNumber := got.(json.Number)
	if isNumber && alsoNumber {
		return sameNumber(a, b)
	}
	switch got.(type) {
	case []any, *object:
		return false
	}
	return want == got
}

// mine keeps, of a list or of the lists in an object, the elements that
// mention an address or the word of the case. Null counts as an empty list.
// It lets a case be played on a server that holds other data.
func (n *names) mine(v any) any {
	marks := regexp.MustCompile(`(?:^|[^0-9.])` + regexp.QuoteMeta(n.vars["net"]) + `\.|` +
		regexp.QuoteMeta(n.vars["net6"]) + `:|` + regexp.QuoteMeta(n.vars["u"]))
	keep := func(list []any) []any {
		kept := []any{}
		for _, x := range list {
			if marks.Match(appendValue(nil, x)) {
				kept = append(kept, x)
			}
		}
		return kept
	}
	switch v := v.(type) {
	case nil:
		return []any{}
	case []any:
		return keep(v)
	case *object:
		out := newObject()
		for _, k := range v.keys {
			if list, ok := v.values[k].([]any); ok {
				out.set(k, keep(list))
				continue
			}
			out.set(k, v.values[k])
		}
		return out
	}
	return v
}
