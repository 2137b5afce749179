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
	Filter                      map[string]string
	Chips                       []chip
	Facets                      []facetLinks
	Rows                        []T
	First, Previous, Next, Last string // links; "": there is none
	Shown                       string
	Limit                       int
	Limits                      []int
	Help                        []string // the search language
	Community                   string   // the way to the list with the community's, or without
	WithCommunity               bool
	Refused                     bool // what was asked cannot be answered: a notice says why

	Total   int
	AtLeast bool // there may be more
	Matches int  // decisions of all rows, where a row stands for several
	Before  int  // rows of the pages before this one, as far as the address tells

	Table    string         // whose columns are chosen
	Columns  []column       // behind the first
	Choices  []columnChoice // all there are
	Columned string         // the way to this page that names its columns, to be sent to somebody
	Grouped  bool           // decisions: a row for each target
	Grouping string         // the way to the list with a row for each target, or with each decision

	Enforced map[uint64]string // of decisions by their numbers: by how many bouncers, where that is a column

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

// facetsOfPages are counted for each page, of each facetValues are shown, or manyFacetValues to who asks for more.
const (
	facetsOfPages   = "origin,type,scope,scenario,country,as,machine"
	facetValues     = 10
	manyFacetValues = 200
)

// ofPages are the parameters of a page that are none of the API's.
var ofPages = []string{"columns", "before"}

// answered is a page of a list as the API answers it.
type answered[T any] struct {
	Items    []T          `json:"items"`
	Next     string       `json:"next"`
	Previous string       `json:"previous"`
	Total    int          `json:"total"`
	Matches  int          `json:"matches"`
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
	if err := d.columns(q, tableNamed(path[1:])); err != nil {
		d.refuse(q, err)
	}
	d.Community = d.with("community", "true")
	if d.WithCommunity = query.Get("community") == "true"; d.WithCommunity {
		d.Community = d.with("community", "")
	}
	d.Grouping = d.with("grouped", "true")
	if d.Grouped = query.Get("grouped") == "true"; d.Grouped {
		d.Grouping = d.with("grouped", "")
	}
	var list answered[T]
	if err := s.call(q, "GET /admin/v1"+path, asked{query: d.asks(), into: &list}); err != nil {
		if status, _ := statusOf(err); status >= http.StatusInternalServerError || status == http.StatusForbidden {
			return nil, err
		}
		d.refuse(q, err)
	}
	d.take(&list)
	return d, nil
}

// refuse says on the page why what was asked cannot be answered.
func (d *listShown[T]) refuse(q *request, err error) {
	v := viewOf(q.Request)
	status, detail := statusOf(err)
	v.status, d.Refused = status, true
	v.notices = append(v.notices, site.Notice{Text: detail, Bad: true})
}

// columns are those that the page has, and could have.
func (d *listShown[T]) columns(q *request, t *table) (err error) {
	d.Table = t.Name
	d.Columns, err = t.chosen(q)
	d.Choices = t.choices(d.Columns)
	d.Columned = d.with("columns", strings.Join(columnNames(d.Columns), ","))
	return err
}

// asks are the parameters for the API. Decisions of bulk lists are not what somebody looks for who does not name them, and
// are one click away.
func (d *listShown[T]) asks() url.Values {
	asks := url.Values{}
	if !d.rowsAlone {
		asks = url.Values{"facets": {facetsOfPages}, "facet_limit": {fmt.Sprint(facetValues)}}
	}
	for name, values := range d.query {
		if !slices.Contains(ofPages, name) {
			asks[name] = values
		}
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
	d.Rows, d.Total, d.AtLeast, d.Matches = list.Items, list.Total, list.AtLeast, list.Matches
	d.place()
	if d.query.Get("cursor") != "" || d.query.Get("last") != "" {
		d.First = d.with("cursor", "")
	}
	if list.Previous != "" {
		d.Previous = d.at(list.Previous, max(d.Before-d.Limit, 0))
	}
	if list.Next != "" {
		d.Next, d.Last = d.at(list.Next, d.Before+len(list.Items)), d.with("last", "true")
	}
	least := ""
	if list.AtLeast {
		least = "at least "
	}
	d.Shown = fmt.Sprintf("%d on this page, %s%s in all", len(list.Items), least, site.Count(list.Total))
	if len(list.Items) > 0 && d.Total > len(list.Items) {
		d.Shown = fmt.Sprintf("Rows %s to %s, %s%s in all", site.Count(d.Before+1), site.Count(d.Before+len(list.Items)), least, site.Count(list.Total))
	}
	if d.Grouped {
		d.Shown += fmt.Sprintf(", of %s decisions", site.Count(d.Matches))
	}
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

// place is how many rows are before the page: what the page before has put into the address, within what there is.
func (d *listShown[T]) place() {
	most := max(d.Total-len(d.Rows), 0)
	switch {
	case d.query.Get("last") == "true":
		d.Before = most
	case d.query.Get("cursor") != "":
		n, _ := strconv.Atoi(d.query.Get("before"))
		d.Before = min(max(n, 0), most)
	}
}

// at is another page of the list, by its cursor, with how many rows are before it.
func (d *listShown[T]) at(cursor string, before int) string {
	to := d.with("cursor", cursor)
	if before > 0 {
		to += fmt.Sprintf("&before=%d", before)
	}
	return to
}

// Row is which row of the list one of the page is, for aria-rowindex: the head is the first.
func (d *listShown[T]) Row(i int) int { return d.Before + i + 2 }

// RowCount is how many rows the list has with its head, for aria-rowcount; -1: that is not known.
func (d *listShown[T]) RowCount() int {
	if d.AtLeast {
		return -1
	}
	return d.Total + 1
}

// Many is the way to the page with more values of each field; "": they are there.
func (d *listShown[T]) Many() string {
	if d.query.Get("facet_limit") != "" {
		return ""
	}
	return d.with("facet_limit", fmt.Sprint(manyFacetValues))
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
		if k != "cursor" && k != "last" && k != "before" && k != name {
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
	for _, name := range []string{"facets", "facet_limit", "limit", "cursor", "last", "sort", "grouped"} { // and ofPages, which are not among them
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
type sorting struct {
	column
	Link, Order string // "": it is ordered by another
}

// Head is the head of a column. One by which the list can be ordered leads upward first, then downward, then to what is usual.
func (d *listShown[T]) Head(c column) sorting {
	switch by := c.Sort; d.query.Get("sort") {
	case "":
	case by:
		return sorting{c, d.with("sort", "-"+by), "ascending"}
	case "-" + by:
		return sorting{c, d.with("sort", ""), "descending"}
	}
	if c.Sort == "" {
		return sorting{column: c}
	}
	return sorting{c, d.with("sort", c.Sort), ""}
}

// Called is the head of the first column: what a row is called by.
func (d *listShown[T]) Called(title, by string) sorting {
	return d.Head(column{Title: title, Sort: by})
}
