package transport

import "bytes"

var (
	anyRange     = []byte("*/*")
	jsonRange    = []byte("application/json")
	anyJSONRange = []byte("application/*")
)

// prefersEvents reads a list of media ranges (Accept, RFC 9110): whether the event stream is
// named, and no less welcome than JSON. Where both are named and equally so it is JSON, for
// a client of that kind reads answers to their end, and the stream has none. What is no
// range is passed over. It allocates nothing.
func prefersEvents(list []byte) bool {
	var events, others acceptance
	for more := true; more; {
		var one []byte
		one, list, more = cutOutside(list, ',')
		kind, rest, _ := cutOutside(one, ';')
		kind = bytes.TrimSpace(kind)
		weight, good := weightOf(rest)
		if !good {
			continue
		}
		switch {
		case bytes.EqualFold(kind, eventType):
			events.take(weight, 3)
		case bytes.EqualFold(kind, jsonRange):
			others.take(weight, 3)
		case bytes.EqualFold(kind, anyJSONRange):
			others.take(weight, 2)
		case bytes.Equal(kind, anyRange):
			others.take(weight, 1)
		}
	}
	if events.weight == 0 || events.weight < others.weight {
		return false
	}
	return events.weight > others.weight || others.exact < 3
}

// acceptance is how welcome something is, in thousandths, and how exactly it is named.
type acceptance struct{ weight, exact int }

// take takes in one range: the most exact counts.
func (a *acceptance) take(weight, exact int) {
	if exact > a.exact {
		a.weight, a.exact = weight, exact
	}
}

// weightOf reads q among the parameters of a range.
func weightOf(parameters []byte) (weight int, good bool) {
	for more := len(parameters) > 0; more; {
		var one []byte
		one, parameters, more = cutOutside(parameters, ';')
		name, value, _ := bytes.Cut(one, []byte{'='})
		if bytes.EqualFold(bytes.TrimSpace(name), []byte("q")) {
			return thousandths(bytes.TrimSpace(value))
		}
	}
	return 1000, true
}

// thousandths reads a weight: 0 or 1 with up to three digits behind a point.
func thousandths(text []byte) (n int, good bool) {
	if len(text) == 0 || len(text) > 5 || text[0] != '0' && text[0] != '1' || len(text) > 1 && text[1] != '.' {
		return 0, false
	}
	n = int(text[0]-'0') * 1000
	for i, unit := 2, 100; i < len(text); i, unit = i+1, unit/10 {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n += int(text[i]-'0') * unit
	}
	return n, n <= 1000
}

// cutOutside is bytes.Cut, but for what stands in quotes.
func cutOutside(s []byte, at byte) (before, after []byte, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case s[i] == at && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, nil, false
}
