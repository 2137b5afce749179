package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// check compares an answer with what the step expects. The problems are for
// a person, one a line; the error means that the expectation itself makes no
// sense.
func (s *Session) check(n *names, step *Step, a *answer) ([]string, error) {
	want := step.Expect
	if want == nil {
		return nil, nil
	}
	d := difference{matcher: matcher{now: s.Now(), strict: s.Strict}, unordered: step.Unordered}
	if want.Status != 0 && a.status != want.Status {
		d.add("status: want %d, got %d", want.Status, a.status)
	}
	if err := d.compareHeaders(n, want.Headers, a); err != nil {
		return d.problems, err
	}
	if want.Empty && len(a.body) > 0 {
		d.add("body: want none, got %s", short(a.text(), maxShown))
	}
	if want.Raw != nil {
		raw, err := n.sub(*want.Raw)
		if err != nil {
			return d.problems, err
		}
		if !fitsTemplate(raw, a.text()) {
			d.add("body (exact text):\n      want %s\n      got  %s", short(raw, maxBody), short(a.text(), maxBody))
		}
	}
	if want.JSON == nil {
		return d.problems, nil
	}
	err := d.compareBody(n, step, a)
	return d.problems, err
}

// compareHeaders looks at the headers that are named, in the order of their names;
// others may be there.
func (d *difference) compareHeaders(n *names, want map[string]*string, a *answer) error {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value := want[name]
		got, present := first(a.headers.Values(name))
		if value == nil {
			if present {
				d.add("header %s: want none, got %q", name, got)
			}
			continue
		}
		text, err := n.sub(*value)
		if err != nil {
			return err
		}
		switch {
		case !present:
			d.add("header %s: want %q, got none", name, text)
		case !sameHeader(name, text, got):
			d.add("header %s: want %q, got %q", name, text, got)
		}
	}
	return nil
}

// first is the first of several values, and whether there is one.
func first(values []string) (string, bool) {
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// sameHeader compares Content-Type without case and blanks, Allow as a set, others exactly.
func sameHeader(name, want, got string) bool {
	switch name {
	case "Content-Type":
		bare := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "") }
		return bare(want) == bare(got)
	case "Allow":
		return slices.Equal(methods(want), methods(got))
	}
	return want == got
}

// methods is a list of methods in order.
func methods(list string) []string {
	parts := strings.Split(list, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	slices.Sort(parts)
	return parts
}

// compareBody compares JSON with the expectation, then with each alternative until one fits.
// When none fits, the differences to the first are told: it is what the reference
// usually answers.
func (d *difference) compareBody(n *names, step *Step, a *answer) error {
	got, err := n.body(step, a)
	if err != nil {
		d.add("body: not JSON (%v): %s", err, short(a.text(), maxShown))
		return nil
	}
	var problems []string
	for i, text := range append([]json.RawMessage{step.Expect.JSON}, step.Also...) {
		want, err := decodeValue(text)
		if err != nil {
			return err
		}
		if want, err = n.expandExpected(want); err != nil {
			return err
		}
		trial := difference{matcher: d.matcher, unordered: d.unordered}
		trial.compare("$", want, got)
		if trial.problems == nil {
			return nil
		}
		if i == 0 {
			problems = trial.problems
		}
	}
	d.problems = append(d.problems, problems...)
	return nil
}

// body gives an answer's JSON, cut to what concerns the case when the step asks for that.
// Numbers keep their text, so that large ones are compared exactly.
func (n *names) body(step *Step, a *answer) (any, error) {
	v, err := decodeValue([]byte(a.text()))
	if err == nil && step.Select == "mine" {
		v = n.mine(v)
	}
	return v, err
}

// capture keeps values of an answer as placeholders for later steps. A value
// that is not there is an error, since later steps would go wrong for it.
func (n *names) capture(step *Step, a *answer) error {
	for name, path := range step.Capture {
		v, err := n.body(step, a)
		if err == nil {
			v, err = dig(v, path)
		}
		if err != nil {
			return fmt.Errorf("cannot capture %s from %q: %w (body %s)", name, path, err, short(a.text(), maxShown))
		}
		n.vars[name] = inWords(v)
	}
	return nil
}

// dig follows a path such as "new.0.id". Numbers are places in lists, from
// 0.
func dig(v any, path string) (any, error) {
	for part := range strings.SplitSeq(path, ".") {
		if part == "" {
			continue
		}
		switch at := v.(type) {
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(at) {
				return nil, fmt.Errorf("no element %q in a list of %d", part, len(at))
			}
			v = at[i]
		case *object:
			var ok bool
			if v, ok = at.get(part); !ok {
				return nil, fmt.Errorf("no key %q", part)
			}
		default:
			return nil, fmt.Errorf("nothing to look into for %q", part)
		}
	}
	return v, nil
}
