package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// listShown is a page of decisions or alerts.
type listShown[T any] struct {
	Filter                map[string]string
	Chips                 []chip
	Facets                []facetLinks
	Rows                  []T
	First, Previous, Next string // links; "": there is none
	Shown                 string
	Limit                 int
	Limits                []int
	Help                  []string // the search language
	Community             string   // the way to the list with the community's, or without
	WithCommunity         bool
	Refused               bool // what was asked cannot be answered: a notice says why

	Total   int
	AtLeast bool // there may be more

	States, Spans []string
	Running       int64 // of all decisions

	path      string
	query     url.Values
	base      string
	rowsAlone bool // only the rows are asked for anew: nothing is counted beside them
}

// chip is a filter that is in force, with the way to the list without it.
type chip struct{ Name, Value, Without string }

// facetLinks are the values of a field, each with the way to the list of it alone, or of all again.
type facetLinks struct {
	Field  string
	Values []facetLink
	More   int
}

type facetLink struct {
	Label, Link string
	Count       int
	On          bool
}

// facetsOfPages are counted for each page, of each facetValues are shown.
const (
	facetsOfPages = "origin,type,scope,scenario,country,as,machine"
	facetValues   = 8
)

// answered is a page of a list as the API answers it.
type answered[T any] struct {
	Items    []T          `json:"items"`
	Next     string       `json:"next"`
	Previous string       `json:"previous"`
	Total    int          `json:"total"`
	AtLeast  bool         `json:"at_least"`
	Facets   []facetShown `json:"facets"`
}

// browsePage asks for a page of a list. What the API refuses is said on the page, beside what was asked.
func browsePage[T any](s *Server, q *request, path string, names []string) (*listShown[T], error) {
	query, filter, err := q.filters(names)
	if err != nil {
		return nil, err
	}
	d := &listShown[T]{Filter: filter, Limit: usualPage, Limits: []int{50, 100, 200, 500}, Help: admin.SearchHelp, path: path, base: s.options.BasePath, query: query, rowsAlone: q.Header.Get(backgroundHeader) != ""}
	if n, err := strconv.Atoi(query.Get("limit")); err == nil {
		d.Limit = n
	}
	for _, name := range names {
		if value := query.Get(name); value != "" {
			d.Chips = append(d.Chips, chip{name, value, d.with(name, "")})
		}
	}
	d.Community = d.with("community", "true")
	if d.WithCommunity = query.Get("community") == "true"; d.WithCommunity {
		d.Community = d.with("community", "")
	}
	var list answered[T]
	if err := s.call(q, "GET /admin/v1"+path, asked{query: d.asks(), into: &list}); err != nil {
		status, detail := statusOf(err)
		if status >= http.StatusInternalServerError || status == http.StatusForbidden {
			return nil, err
		}
		v := viewOf(q.Request)
		v.status, d.Refused = status, true
		v.notices = append(v.notices, site.Notice{Text: detail, Bad: true})
	}
	d.take(&list)
	return d, nil
}

// asks are the parameters for the API. Decisions of bulk lists are not what somebody looks for who does not name them, and
// are one click away.
func (d *listShown[T]) asks() url.Values {
	asks := url.Values{}
	if !d.rowsAlone {
		asks = url.Values{"facets": {facetsOfPages}, "facet_limit": {fmt.Sprint(facetValues)}}
	}
	for name, values := range d.query {
		asks[name] = values
	}
	search := asks.Get("q")
	named := asks.Get("community") != "" || asks.Get("origin") != "" || asks.Get("alert") != "" || strings.Contains(search, "origin:") || strings.Contains(search, "community:")
	if d.path == "/decisions" && !named {
		asks.Set("community", "false")
	}
	return asks
}

// take shows what was answered.
func (d *listShown[T]) take(list *answered[T]) {
	d.Rows, d.Total, d.AtLeast = list.Items, list.Total, list.AtLeast
	if d.query.Get("cursor") != "" || d.query.Get("last") != "" {
		d.First = d.with("cursor", "")
	}
	if list.Previous != "" {
		d.Previous = d.with("cursor", list.Previous)
	}
	if list.Next != "" {
		d.Next = d.with("cursor", list.Next)
	}
	least := ""
	if list.AtLeast {
		least = "at least "
	}
	d.Shown = fmt.Sprintf("%d on this page, %s%s in all", len(list.Items), least, site.Count(list.Total))
	for i := range list.Facets {
		f := &list.Facets[i]
		links := facetLinks{Field: f.Field, More: f.More}
		for _, v := range f.Values {
			if v.Value != "" {
				links.Values = append(links.Values, d.facet(f.Field, &v))
			}
		}
		if len(links.Values) > 1 || slices.ContainsFunc(links.Values, func(l facetLink) bool { return l.On }) {
			d.Facets = append(d.Facets, links)
		}
	}
}

// facet is one value of a field.
func (d *listShown[T]) facet(field string, v *valueShown) facetLink {
	one := facetLink{Label: v.Label, Count: v.Count, Link: d.with(field, v.Value), On: d.query.Get(field) == v.Value}
	if one.Label == "" {
		one.Label = v.Value
	}
	if one.On {
		one.Link = d.with(field, "")
	}
	return one
}

// with is the first page of the list with one parameter changed, "" to take it away; or, with a cursor, another page of it.
func (d *listShown[T]) with(name, value string) string {
	rest := url.Values{}
	for k, v := range d.query {
		if k != "cursor" && k != "last" && k != name {
			rest[k] = v
		}
	}
	if value != "" {
		rest.Set(name, value)
	}
	if len(rest) == 0 {
		return d.base + d.path
	}
	return d.base + d.path + "?" + rest.Encode()
}

// whole are the parameters for the API that say what all pages of the list are of.
func (d *listShown[T]) whole() url.Values {
	whole := d.asks()
	for _, name := range []string{"facets", "facet_limit", "limit", "cursor", "last", "sort", "grouped"} {
		whole.Del(name)
	}
	return whole
}

// File is the way to the whole list as a file.
func (d *listShown[T]) File(format string) string {
	whole := d.whole()
	whole.Set("format", format)
	return d.base + d.path + "/export?" + whole.Encode()
}

// Matching is the way to the page that does something with all that match.
func (d *listShown[T]) Matching(deed string) string {
	whole := d.whole()
	if d.path == "/decisions" {
		whole.Del("state") // what runs can be ended
	}
	return d.base + d.path + "/" + deed + "?" + whole.Encode()
}

// sorting is the head of a column: where it leads, and how the list is ordered by it.
type sorting struct{ Title, Link, Order string }

// Sort is the head of a column by which the list can be ordered: upward first, then downward, then as usual.
func (d *listShown[T]) Sort(title, by string) sorting {
	switch d.query.Get("sort") {
	case by:
		return sorting{title, d.with("sort", "-"+by), "ascending"}
	case "-" + by:
		return sorting{title, d.with("sort", ""), "descending"}
	}
	return sorting{title, d.with("sort", by), ""}
}
