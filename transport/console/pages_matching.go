package console

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// What is done with all that match is asked for on a page of its own, which says how many there are, by what filter, and
// names some. What is done then is done with those, as they were listed: what came since stays, and is told.

const (
	// matchingExamples is how many are named.
	matchingExamples = 3
	// typedAbove is above how many the number is to be typed.
	typedAbove = 1000
)

// matching is a deed with all that match, for decisions or alerts.
type matching struct {
	Noun, Verb, Done string // plural, and in sentences
	List, Deed       string // paths
	asks             string // route of the API
	fields           []string

	Filter   []chip
	Query    string // the filter, to be sent again
	All      bool   // nothing narrows it
	Count    int
	AsOf     string
	Examples []matchingExample
	Typed    bool   // the number is to be typed
	Files    []chip // all that match, as files
	Back     string
}

// matchingExample is one of them.
type matchingExample struct{ Link, Value, What, Scenario string }

// matched is what the API answers about either.
type matched struct {
	listing
	Count int             `json:"count"`
	At    engine.Revision `json:"ended_at"` // of decisions
	First []struct {
		admin.Decision
		Decisions *int `json:"decisions"` // of alerts
	} `json:"first"`
}

func decisionsMatching() *matching {
	return &matching{Noun: "decisions", Verb: "End", Done: "have ended", List: "/decisions", Deed: "/decisions/end-matching", asks: "DELETE /admin/v1/decisions", fields: decisionFields}
}

func alertsMatching() *matching {
	return &matching{Noun: "alerts", Verb: "Delete", Done: "are deleted, and their decisions have ended", List: "/alerts", Deed: "/alerts/delete-matching", asks: "DELETE /admin/v1/alerts", fields: alertFields}
}

func (s *Server) endMatchingPage(q *request) error    { return s.matchingPage(q, decisionsMatching()) }
func (s *Server) deleteMatchingPage(q *request) error { return s.matchingPage(q, alertsMatching()) }
func (s *Server) endMatchingForm(q *request) error    { return s.matchingForm(q, decisionsMatching()) }
func (s *Server) deleteMatchingForm(q *request) error { return s.matchingForm(q, alertsMatching()) }

// matchingPage asks whether it is meant. A form that could not be done is shown with what it was about anew.
func (s *Server) matchingPage(q *request, m *matching) error {
	query, _, err := q.filters(m.fields)
	if v := viewOf(q.Request); v.form != nil {
		query, err = url.ParseQuery(v.form.Get("filter"))
	}
	if err != nil {
		return bad("the address cannot be read: " + err.Error())
	}
	out, err := s.match(q, m, query, url.Values{"dry_run": {"true"}})
	if err != nil {
		return err
	}
	m.Query, m.Count, m.AsOf, m.Back = query.Encode(), out.Count, out.AsOf, s.link(m.List, query)
	m.describe(s, query)
	m.Typed = m.All || m.Count > typedAbove
	for _, d := range out.First[:min(len(out.First), matchingExamples)] {
		e := matchingExample{fmt.Sprintf("%s/%d", m.List, d.ID), d.Value, d.Type, d.Scenario}
		if d.Decisions != nil {
			e.What = fmt.Sprintf("%d decisions", *d.Decisions)
		}
		if e.Value == "" {
			e.Value = fmt.Sprintf("number %d", d.ID)
		}
		m.Examples = append(m.Examples, e)
	}
	return s.show(q.w, q.Request, q.who, &site.Page{Name: "matching", At: m.Noun, Title: m.Verb + " all " + m.Noun + " that match", Data: m})
}

// notOfFilter are the parameters that say what is done: no address and no form of a browser brings them in a filter.
var notOfFilter = []string{"dry_run", "as_of", "listed", "all"}

// match asks the API about all that match, with some parameters beside the filter.
func (s *Server) match(q *request, m *matching, query, more url.Values) (*matched, error) {
	for name, list := range query {
		if slices.Contains(notOfFilter, name) {
			return nil, bad(fmt.Sprintf("there is no parameter %q here", name))
		}
		more[name] = list
	}
	if m.List == "/decisions" {
		more.Set("listed", "true")
	}
	if m.narrowed(query); m.All && query.Get("community") != "false" {
		more.Set("all", "true")
	}
	out := &matched{}
	err := s.call(q, m.asks, asked{query: more, into: out})
	return out, err
}

// narrowed notes whether the filter says less than all.
func (m *matching) narrowed(query url.Values) {
	m.All = !slices.ContainsFunc(m.fields, func(name string) bool { return name != "state" && query.Get(name) != "" })
}

// describe puts the filter into words.
func (m *matching) describe(s *Server, query url.Values) {
	for _, name := range m.fields {
		if value := query.Get(name); value != "" {
			m.Filter = append(m.Filter, chip{Name: map[string]string{"q": "search", "as": "network"}[name], Value: value})
			if last := &m.Filter[len(m.Filter)-1]; last.Name == "" {
				last.Name = strings.ReplaceAll(name, "_", " ")
			}
		}
	}
	switch community := query.Get("community"); {
	case m.Noun == "decisions" && community == "false", m.Noun == "alerts" && community != "true":
		m.Filter = append(m.Filter, chip{Name: "without", Value: "the community list and subscribed lists, unless they are named"})
	default:
		m.Filter = append(m.Filter, chip{Name: "with", Value: "the community list and subscribed lists"})
	}
	for _, format := range []string{"csv", "json"} {
		file := url.Values{"format": {format}}
		for name, list := range query {
			file[name] = list
		}
		m.Files = append(m.Files, chip{Name: strings.ToUpper(format), Value: s.link(m.List+"/export", file)})
	}
}

// matchingForm does it with what the page has shown.
func (s *Server) matchingForm(q *request, m *matching) error {
	if err := q.ParseForm(); err != nil {
		return bad("the form cannot be read: " + err.Error())
	}
	f := q.PostForm
	again := func(err error) error {
		return s.again(q, err, func(s *Server, q *request) error { return s.matchingPage(q, m) })
	}
	query, err := url.ParseQuery(f.Get("filter"))
	shown, wrong := strconv.Atoi(f.Get("count"))
	if err != nil || wrong != nil || f.Get("as_of") == "" {
		return bad("the form is not the one of the page: go back to the list")
	}
	m.narrowed(query)
	if typed := digits(f.Get("typed")); (m.All || shown > typedAbove) && typed != strconv.Itoa(shown) {
		return again(bad(fmt.Sprintf("nothing was done: to %s all %d, type that number", strings.ToLower(m.Verb), shown)))
	}
	now, err := s.match(q, m, query, url.Values{"as_of": {f.Get("as_of")}, "dry_run": {"true"}})
	if err != nil {
		return again(err)
	}
	if now.Count > shown { // what was listed only becomes less
		return bad("the form is not the one of the page: go back to the list")
	}
	out, err := s.match(q, m, query, url.Values{"as_of": {f.Get("as_of")}})
	if err != nil {
		return again(err)
	}
	n := site.Notice{Text: fmt.Sprintf("%s %s %s, as revision %d has it.", site.Count(out.Count), m.Noun, m.Done, out.Revision)}
	if out.Count == 1 && len(out.First) == 1 && m.List == "/decisions" {
		n = undoEnding(&out.First[0].Decision)
	} else {
		n.Undo = undoEndings([]engine.Revision{out.At})
	}
	if gone := shown - out.Count; gone > 0 {
		n.Text += fmt.Sprintf(" %s of those that you were shown were over or gone by then.", site.Count(gone))
	}
	if out.Newer > 0 {
		n.Text += fmt.Sprintf(" %s that match came after you had looked: they are as they were.", site.Count(out.Newer))
	}
	q.PostForm.Set("back", m.List+"?"+query.Encode())
	return s.done(q, m.List, n)
}

// ungrouped is a number without the marks between its groups of three, where it has such. Any other text stays: 1,5 is
// not 15.
func ungrouped(text string) string {
	for _, mark := range " \u202f\u00a0,.'" {
		groups := strings.Split(text, string(mark))
		if len(groups) > 1 && len(groups[0]) <= 3 && !slices.ContainsFunc(groups[1:], func(g string) bool { return len(g) != 3 }) {
			return strings.Join(groups, "")
		}
	}
	return text
}

// digits are those of a number as people write it.
func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \u202f\u00a0,.'", r) {
			return -1
		}
		return r
	}, text)
}
