package engine

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// Sort is what a page's rows are in order by; of equal ones by id.
type Sort uint8

// What lists can be sorted by. Of an alert, origin and type have no order.
const (
	SortID Sort = iota // as they came
	SortStarted
	SortUntil // decisions only
	SortValue // addresses by number, then other texts
	SortScope
	SortOrigin // decisions only
	SortType   // decisions only
	SortScenario
	SortCountry
	SortAS
	SortMachine
	SortDecisions // alerts only: how many they have
	sorts
)

var sortNames = [sorts]string{"id", "started", "until", "value", "scope", "origin", "type", "scenario", "country", "as", "machine", "decisions"}

// String is the name.
func (s Sort) String() string {
	if s < sorts {
		return sortNames[s]
	}
	return "sort " + strconv.Itoa(int(s))
}

// ParseSort is the mirror of String.
func ParseSort(name string) (Sort, bool) {
	for s, known := range sortNames {
		if known == name {
			return Sort(s), true
		}
	}
	return 0, false
}

// LongestPage is how many rows a page has at most, and MostFacets how many values of a facet are told.
const (
	LongestPage = 500
	MostFacets  = 1000
)

// PageQuery is which page of a list is wanted, and what is to be counted beside it.
type PageQuery struct {
	Now        int64   // Unix nanoseconds, the moment of asking
	Cursor     *Cursor // nil: the first page, or with Last the last one
	Last       bool
	Limit      int // 1 to LongestPage
	Sort       Sort
	Descending bool

	// Grouped has the decisions on one target, of one type, be one row: that which ends last.
	Grouped bool

	Facets     []Field
	FacetLimit int // how many values of each are told; 0: 10
}

// Totals are how many there are.
type Totals struct {
	Rows    int // of the list: decisions, or targets when they are grouped, or alerts
	Matches int // decisions, or alerts
	// AtLeast: there may be more, because the disk was not asked for all that it would have to tell.
	AtLeast bool
}

// Facet is how often the values of one field occur among what all of a filter but its choice of that field
// lets through, so that choices can be changed.
type Facet struct {
	Field  Field
	Values []FacetValue // the most frequent first, of equal ones by text; then what is chosen and is none of them
	More   int          // how many other values there are
}

// FacetValue is one value of a facet, "" where there is none. Of a network Label is the name.
type FacetValue struct {
	Value, Label string
	Count        int
}

// pageHead is what pages of all kinds have.
type pageHead struct {
	Totals
	Revision Revision // as of which the page is
	At       int64    // likewise, Unix nanoseconds
	// Next and Previous lead to the pages behind and in front of this one; nil: there is none.
	Next, Previous *Cursor
	Facets         []Facet // as they were asked for
}

// row is one of a page.
type row struct {
	key   sortKey
	id    uint64
	slot  slot // of a decision
	count int
}

// pager keeps the rows of one page out of all that it is offered: a heap of limit+1 whose first is the last
// of the page.
type pager struct {
	query   *PageQuery
	filter  *Filter
	rev     Revision
	now     int64
	back    bool
	falling bool // of the order in which rows are looked for
	print   [8]byte
	from    *row // nil: from the beginning, or with back from the end
	rows    []row
	contest contest
	totals  Totals
	counted bool // the totals are known from the page before
}

// newPager finds out what is asked for. Errors are of kind ErrInvalid and, where the list's revision is not
// kept any more, ErrForgotten.
func newPager(v *View, f *Filter, q *PageQuery, alerts bool) (*pager, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if q.Limit < 1 || q.Limit > LongestPage {
		return nil, invalid("a page has 1 to %d rows, not %d", LongestPage, q.Limit)
	}
	if q.FacetLimit < 0 || q.FacetLimit > MostFacets {
		return nil, invalid("a facet tells of 1 to %d values, not %d", MostFacets, q.FacetLimit)
	}
	wrong := q.Sort >= sorts || !alerts && q.Sort == SortDecisions || alerts && (q.Sort == SortUntil || q.Sort == SortOrigin || q.Sort == SortType)
	for _, field := range q.Facets {
		wrong = wrong || field >= fields
	}
	if wrong {
		return nil, invalid("this list has no such order or facet as %v, %v", q.Sort, q.Facets)
	}
	p := &pager{query: q, filter: f, rev: v.revision, now: q.Now, back: q.Last, print: f.print()}
	flags := byte(0)
	for i, yes := range [...]bool{q.Descending, q.Grouped, alerts} {
		if yes {
			flags |= 1 << i
		}
	}
	p.print[0], p.print[1] = p.print[0]^byte(q.Sort), p.print[1]^flags
	p.falling = q.Descending != p.back
	if q.Cursor == nil {
		p.contest.begin(p)
		return p, nil
	}
	c := q.Cursor
	if c.print != p.print {
		return nil, invalid("the cursor belongs to a list with other filters or another order")
	}
	p.rev, p.now, p.back, p.from, p.totals, p.counted = c.rev, c.at, c.back, &row{key: c.key, id: c.id}, c.totals, true
	p.falling = q.Descending != p.back
	p.contest.begin(p)
	return p, p.kept(v)
}

// kept is an error when the list's revision is not kept.
func (p *pager) kept(v *View) error { return v.keeps(p.rev) }

// compare is by the order in which rows are looked for: that of the list, or backwards.
func (p *pager) compare(a, b *row) int {
	c := a.key.compare(&b.key)
	if c == 0 {
		c = cmp.Compare(a.id, b.id)
	}
	if p.falling {
		return -c
	}
	return c
}

// wants reports whether a row is behind the cursor and, as far as is known yet, on the page.
func (p *pager) wants(r *row) bool {
	if p.from != nil && p.compare(r, p.from) <= 0 {
		return false
	}
	return len(p.rows) <= p.query.Limit || p.compare(r, &p.rows[0]) < 0
}

// add puts in a row that is wanted, once.
func (p *pager) add(r *row) {
	if len(p.rows) <= p.query.Limit {
		p.rows = append(p.rows, *r)
		for i := len(p.rows) - 1; i > 0; {
			up := (i - 1) / 2
			if p.compare(&p.rows[i], &p.rows[up]) <= 0 {
				break
			}
			p.rows[i], p.rows[up] = p.rows[up], p.rows[i]
			i = up
		}
	} else {
		p.rows[0] = *r
		p.sink(0, len(p.rows))
	}
	if len(p.rows) > p.query.Limit {
		p.contest.narrow(&p.rows[0])
	}
}

// sink restores the heap of the first n rows below one.
func (p *pager) sink(i, n int) {
	for {
		last := i
		for _, kid := range [...]int{2*i + 1, 2*i + 2} {
			if kid < n && p.compare(&p.rows[kid], &p.rows[last]) > 0 {
				last = kid
			}
		}
		if last == i {
			return
		}
		p.rows[i], p.rows[last] = p.rows[last], p.rows[i]
		i = last
	}
}

// full reports whether what comes later in the order of the page cannot be on it, and counts for nothing.
func (p *pager) full() bool {
	return p.counted && len(p.query.Facets) == 0 && len(p.rows) > p.query.Limit
}

// bounds are the ids that can be on the page when it is in their order, both included; when more than the
// page is counted, all.
func (p *pager) bounds() (first, last uint64) {
	first, last = 1, math.MaxUint64-1
	if p.query.Sort != SortID || !p.counted || len(p.query.Facets) > 0 || p.from == nil {
		return first, last
	}
	if p.falling {
		return first, p.from.id - 1
	}
	return p.from.id + 1, last
}

// end puts the rows in order and makes the cursors. cut is where the walk was cut off, nil when it was not:
// in its direction there may be rows behind.
func (p *pager) end(cut *row) (rows []row, head pageHead) {
	for n := len(p.rows) - 1; n > 0; n-- {
		p.rows[0], p.rows[n] = p.rows[n], p.rows[0]
		p.sink(0, n)
	}
	rows = p.rows
	beyond := len(rows) > p.query.Limit // in the direction of the walk
	if beyond {
		rows = rows[:p.query.Limit]
	}
	head = pageHead{Totals: p.totals, Revision: p.rev, At: p.now}
	rear, front := cut, cut // of an empty page: between where it began and there is none
	if n := len(rows); n > 0 {
		rear, front = &rows[0], cmp.Or(cut, &rows[n-1])
	}
	lead := func(at *row, back bool) {
		if c := p.cursor(at, back); back {
			head.Previous = c
		} else {
			head.Next = c
		}
	}
	if front != nil && (beyond || cut != nil) {
		lead(front, p.back)
	}
	if rear != nil && p.from != nil {
		lead(rear, !p.back)
	}
	if p.back {
		slices.Reverse(rows)
	}
	return rows, head
}

func (p *pager) cursor(at *row, back bool) *Cursor {
	return &Cursor{rev: p.rev, at: p.now, back: back, print: p.print, totals: p.totals, key: at.key, id: at.id}
}

// inOrderOf turns a signed number into one of the same order.
func inOrderOf(n int64) uint64 { return uint64(n) ^ 1<<63 }

// numbered is a text that begins with a number, by that.
func numbered(text string) (n uint64) {
	for i := 0; i < len(text) && '0' <= text[i] && text[i] <= '9' && n < math.MaxUint64/16; i++ {
		n = n*10 + uint64(text[i]-'0')
	}
	return n
}

// addressKey orders addresses: IPv4 where IPv6 has it.
func addressKey(k *targetKey) sortKey {
	if k.flags&flagV6 != 0 {
		return sortKey{n: k.hi, m: k.lo}
	}
	return sortKey{m: 0xffff<<32 | k.lo}
}

// lookedAtOnce is after how many records a long walk looks whether it is still wanted.
const lookedAtOnce = 4096
