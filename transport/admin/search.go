package admin

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lapid/engine"
)

// The search language is what operators write into one box to find decisions and alerts:
//
//	ssh -origin:CAPI country:FR since:24h "failed password"
//
// A term is a word, or a field, a colon and what it is to be; - in front excludes. All terms must fit, of one
// field one of those that are not excluded. A word occurs in scenario, value, machine or message; one that is
// an address, or a network, asks for what covers it, or lies in it. In fields * stands for any text. What has blanks
// is in quotes, in which \" and \\ are " and \. A moment is how long ago it was, a day, or as in RFC 3339; > is behind and
// < is in front of it.

const (
	// longestSearch is how many bytes a search has at most, mostTerms how many terms.
	longestSearch = 4096
	mostTerms     = 64
)

// SearchHelp is a line for each field, for who asks what can be written.
var SearchHelp = []string{
	"ip:ADDRESS           what covers the address", "range:CIDR           what lies in the network",
	"scope: origin: type: scenario: country: as: machine:   the word itself, * for any text, \"\" for none", "value:TEXT           the value as it was sent",
	"alert:NUMBER         the alert", "since:4h until:2026-11-30T10:00:00Z   or >4h, <4h", "simulated:yes, simulated:no", "state:running, state:ended, state:all",
	"community:no         without the community list and third-party lists", "-TERM                excludes", "anything else        occurs in scenario, value, machine or message",
}

// SearchError says what of a search cannot be understood. It is of kind engine.ErrInvalid.
type SearchError struct {
	At   int // where the term begins, in bytes
	Text string
}

func (e *SearchError) Error() string {
	return fmt.Sprintf("at position %d of the search: %s", e.At+1, e.Text)
}

// Is reports whether target is the kind.
func (*SearchError) Is(target error) bool { return target == engine.ErrInvalid }

// ParseSearch adds to a filter what a search asks for. now, in Unix nanoseconds, is what moments are before. Errors
// are *SearchError.
func ParseSearch(f *engine.Filter, text string, now int64) error {
	if len(text) > longestSearch {
		return &SearchError{longestSearch, fmt.Sprintf("it has %d bytes, and at most %d", len(text), longestSearch)}
	}
	s := search{filter: f, text: text, now: now}
	for terms := 1; ; terms++ {
		t, err := s.next()
		if err != nil || t == nil {
			return err
		}
		if terms > mostTerms {
			return s.wrong(t, "there are %d terms at most", mostTerms)
		}
		if err := s.take(t); err != nil {
			return err
		}
	}
}

// search is a text on the way to a filter.
type search struct {
	filter *engine.Filter
	text   string
	at     int
	now    int64
}

// term is one of its terms.
type term struct {
	at           int
	not          bool
	field, value string // no field: a word
	quoted       bool   // the value was in quotes
}

func (*search) wrong(t *term, format string, args ...any) error {
	return &SearchError{t.at, fmt.Sprintf(format, args...)}
}

const blanks = " \t\r\n"

// next reads a term; nil at the end.
func (s *search) next() (*term, error) {
	for s.at < len(s.text) && strings.IndexByte(blanks, s.text[s.at]) >= 0 {
		s.at++
	}
	if s.at == len(s.text) {
		return nil, nil
	}
	t := &term{at: s.at}
	if s.text[s.at] == '-' {
		t.not = true
		s.at++
	}
	rest := s.text[s.at:]
	if i := strings.IndexAny(rest, ":\""+blanks); i > 0 && rest[i] == ':' && rest[0] != '<' && rest[0] != '>' && !s.address() {
		t.field = strings.ToLower(rest[:i])
		s.at += i + 1
	}
	var err error
	if t.value, t.quoted, err = s.value(t); err == nil && t.value == "" && !t.quoted {
		err = s.wrong(t, "there is nothing behind %q", s.text[t.at:s.at])
	}
	return t, err
}

// address reports whether what comes up to the next blank is an address, which may have colons.
func (s *search) address() bool {
	word, _, _ := strings.Cut(s.text[s.at:], " ")
	_, err := engine.ParseTarget(word)
	return err == nil
}

// value reads up to the next blank, or the end of a quotation.
func (s *search) value(t *term) (value string, quoted bool, err error) {
	rest := s.text[s.at:]
	if rest == "" || rest[0] != '"' {
		end := strings.IndexAny(rest, blanks)
		if end < 0 {
			end = len(rest)
		}
		s.at += end
		return rest[:end], false, nil
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			s.at += i + 1
			return b.String(), true, nil
		case c == '\\' && i+1 < len(rest):
			i++
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", true, s.wrong(t, "the quotation does not end")
}

// take adds a term to the filter.
func (s *search) take(t *term) error {
	if t.field == "" {
		return s.word(t)
	}
	if f, known := engine.ParseField(t.field); known {
		c := &s.filter.Words[f]
		if f == engine.FieldScope {
			t.value = engine.CanonicalScope(t.value)
		}
		add(t, t.value, &c.Any, &c.None)
		return nil
	}
	switch t.field {
	case "ip", "range":
		return s.prefix(t)
	case "value":
		add(t, t.value, &s.filter.Value.Any, &s.filter.Value.None)
		return nil
	case "alert":
		id, err := strconv.ParseUint(t.value, 10, 64)
		if err != nil || id == 0 {
			return s.wrong(t, "alert: takes a number, not %q", t.value)
		}
		add(t, engine.AlertID(id), &s.filter.Alerts, &s.filter.NotAlerts)
		return nil
	case "since", "until", "simulated", "state", "community":
		if t.not {
			return s.wrong(t, "%s: cannot be excluded", t.field)
		}
		return s.once(t)
	}
	return s.wrong(t, "there is no field %q: write the word in quotes, or one of ip, range, scope, origin, type, scenario, country, as, machine, value, alert, since, until, simulated, state, community", t.field)
}

// add puts a value among those that are wanted, or not.
func add[T any](t *term, value T, wanted, not *[]T) {
	if t.not {
		wanted = not
	}
	*wanted = append(*wanted, value)
}

// word is a term without a field.
func (s *search) word(t *term) error {
	f := s.filter
	if !t.quoted {
		if p, err := engine.ParseTarget(t.value); err == nil {
			s.add(t, p)
			return nil
		}
		if t.value[0] == '>' || t.value[0] == '<' {
			t.field = map[byte]string{'>': "since", '<': "until"}[t.value[0]]
			if t.not || len(t.value) == 1 {
				return s.wrong(t, "> and < have a moment behind them, and are not excluded")
			}
			t.value = t.value[1:]
			return s.once(t)
		}
	}
	if t.value == "" {
		return s.wrong(t, "an empty word occurs everywhere")
	}
	if len(f.Text)+len(f.NotText) == engine.MostWords {
		return s.wrong(t, "there are %d words at most", engine.MostWords)
	}
	add(t, t.value, &f.Text, &f.NotText)
	return nil
}

// add asks for what covers an address, or lies in a network.
func (s *search) add(t *term, p netip.Prefix) {
	f := s.filter
	if p.IsSingleIP() {
		add(t, p, &f.Covers, &f.NotCovers)
	} else {
		add(t, p, &f.Inside, &f.NotInside)
	}
}

func (s *search) prefix(t *term) error {
	p, err := engine.ParseTarget(t.value)
	if err != nil {
		return s.wrong(t, "%s: takes an address or a network, not %q", t.field, t.value)
	}
	if f := s.filter; t.field == "ip" {
		add(t, p, &f.Covers, &f.NotCovers)
	} else {
		add(t, p, &f.Inside, &f.NotInside)
	}
	return nil
}

// once takes a field that there is one of.
func (s *search) once(t *term) error {
	f := s.filter
	switch t.field {
	case "since", "until":
		at, err := engine.ParseMoment(strings.TrimLeft(t.value, "<>"), s.now)
		if err != nil {
			return s.wrong(t, "%s: %v", t.field, err)
		}
		if t.field == "since" {
			f.Since = max(f.Since, at)
		} else if f.Until == 0 || at < f.Until {
			f.Until = at
		}
		return nil
	case "state":
		standing, known := map[string]engine.Standing{"running": engine.Running, "ended": engine.Ended, "all": engine.AnyStanding}[strings.ToLower(t.value)]
		if !known {
			return s.wrong(t, "state: is running, ended or all, not %q", t.value)
		}
		f.Standing = standing
		return nil
	}
	yes, known := map[string]bool{"yes": true, "true": true, "no": false, "false": false}[strings.ToLower(t.value)]
	switch {
	case !known:
		return s.wrong(t, "%s: is yes or no, not %q", t.field, t.value)
	case t.field == "simulated" && yes:
		f.Simulation = engine.Simulated
	case t.field == "simulated":
		f.Simulation = engine.Enforced
	default:
		ShowCommunity(f, yes)
	}
	return nil
}

// communityOrigins are what is not decided here.
var communityOrigins = []string{engine.OriginCAPI, engine.OriginLists, engine.OriginLists + ":*"}

// ShowCommunity has a filter leave out the community list and third-party lists, or not.
func ShowCommunity(f *engine.Filter, show bool) {
	f.HideCommunity = !show
	none := &f.Words[engine.FieldOrigin].None
	*none = slices.DeleteFunc(*none, func(o string) bool { return slices.Contains(communityOrigins, o) })
	if !show {
		*none = append(*none, communityOrigins...)
	}
}
