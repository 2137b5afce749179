package engine

import (
	"context"
	"math"
)

// DecisionPage is a page of a list of decisions.
type DecisionPage struct {
	pageHead
	Rows []DecisionRow
}

// DecisionRow is a row of it: a decision, or what stands for all on its target. Count is how many that are,
// of those that the filter lets through; 1 without PageQuery.Grouped.
type DecisionRow struct {
	Decision
	Count int
}

// DecisionPage makes a page of the decisions that f lets through, running or over, with how many there are
// and how often the values of fields occur. The first page of a list is of this view; the others, which a
// cursor leads to, are as of the revision of the first, but for decisions of alerts that were deleted since,
// which they leave out.
//
// It walks decisions in memory, once, and less than all where an address, an alert or a cursor tells where to
// look; it waits for no writer, and no writer for it. It takes memory for the page, sixteen bytes for each
// combination of words among the decisions and, of targets with many decisions that are grouped, for each group. Any goroutine. Errors are of kind ErrInvalid, ErrForgotten for a
// cursor of a revision that is not kept any more, and those of ctx.
func (v *View) DecisionPage(ctx context.Context, f *Filter, q *PageQuery) (*DecisionPage, error) {
	p, err := newPager(v, f, q, false)
	if err != nil {
		return nil, err
	}
	w := newDecisionWalk(v, p)
	if w.rowsAlone && !w.byID && w.sieve.way() == wayIDs {
		w.sweep(ctx)
	} else {
		w.walk(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.kept(v); err != nil {
		return nil, err
	}
	rows, head := p.end(nil)
	out := &DecisionPage{pageHead: head, Rows: make([]DecisionRow, len(rows))}
	for i := range rows {
		out.Rows[i] = DecisionRow{Decision{v, v.state.records.At(rows[i].slot)}, rows[i].count}
	}
	out.Facets = w.sieve.facets(q)
	return out, nil
}

// decisionWalk is the making of a page.
type decisionWalk struct {
	pager     *pager
	sieve     *sieve
	groups    *grouping // nil: each decision is a row
	byID      bool
	rowsAlone bool // nothing is counted
	ordered   bool // nor do they come in another order than the page's
	row       row  // scratch

	descending bool // how they are walked
}

func newDecisionWalk(v *View, p *pager) *decisionWalk {
	q := p.query
	w := &decisionWalk{pager: p, sieve: newSieve(v, p.filter, p.rev, p.now, q.Facets, false), byID: q.Sort == SortID, descending: p.falling}
	w.rowsAlone = p.counted && len(q.Facets) == 0
	if w.ordered = w.rowsAlone && w.byID && w.sieve.way() == wayIDs; !w.ordered {
		w.descending = true // for groups
	}
	if q.Grouped {
		w.groups = &grouping{sieve: w.sieve, told: !w.rowsAlone && w.sieve.newestFirst(w.descending), seen: map[uint32]*[seenPage / 64]uint64{}, long: map[targetKey]groupOf{}}
	}
	return w
}

// walk looks at the records that may pass.
func (w *decisionWalk) walk(ctx context.Context) {
	first, last := w.pager.bounds()
	looked := 0
	w.sieve.eachDecision(first, last, w.descending, func(n slot, r *record) bool {
		looked++
		w.sieve.state.pace.glance(looked)
		if looked%lookedAtOnce == 0 && ctx.Err() != nil {
			return false
		}
		w.look(n, r)
		return !w.ordered || !w.pager.full()
	})
}

// sweep looks at all records for the rows of a page alone, whose order is not that of ids. Nearly all are
// passed over by their place in that order, so a page of ids is one step of it.
func (w *decisionWalk) sweep(ctx context.Context) {
	s, end, swept := w.sieve.state, w.sieve.view.nextDecision, 0
	for id, page := range s.ids.Scattered {
		if ctx.Err() != nil {
			return
		}
		swept++
		s.pace.stretch(swept)
		for i := range page {
			if id+uint64(i) >= end {
				break // the committer may be filling it
			}
			n := slot(page[i].Load())
			if n == 0 {
				continue
			}
			if r := s.records.At(n); r.id == id+uint64(i) && w.mayCome(r) {
				w.look(n, r)
			}
		}
	}
}

// look counts a record and offers it to the page.
func (w *decisionWalk) look(n slot, r *record) {
	if w.rowsAlone && !w.mayCome(r) {
		return
	}
	miss, ok := w.sieve.decision(r)
	if !ok {
		return
	}
	if w.sieve.near {
		w.sieve.count(r, miss)
	}
	if miss != 0 {
		return
	}
	p := w.pager
	if w.rowsAlone {
		if w.make(n, r, 1); p.wants(&w.row) && w.stands(n, r) {
			p.add(&w.row)
		}
		return
	}
	if !p.counted {
		p.totals.Matches++
	}
	count := 1
	if w.groups != nil {
		if n, count = w.groups.of(n, r); n == 0 {
			return
		}
		r = w.sieve.state.records.At(n)
	}
	if !p.counted {
		p.totals.Rows++
	}
	if !w.mayCome(r) {
		return
	}
	if w.make(n, r, count); p.wants(&w.row) {
		p.add(&w.row)
	}
}

// mayCome reports whether a record may be on the page by its place in the order, which costs less than to
// make its row, or to ask whether it passes.
func (w *decisionWalk) mayCome(r *record) bool {
	s, c := w.sieve.state, &w.pager.contest
	switch by := w.pager.query.Sort; by {
	case SortID:
		return c.admits(0, 0, r.id)
	case SortUntil:
		return c.admits(inOrderOf(w.sieve.until(r)), 0, r.id)
	case SortValue:
		if r.mixed.Load()&(flagAddress|flagV6|flagPlaced) == flagAddress {
			return c.admits(0, 0xffff<<32|uint64(r.at), r.id) // most are; see addressKey
		}
		on := s.onOf(r)
		k := addressKey(&on)
		return on.flags&flagAddress == 0 || k.n&k.m == math.MaxUint64 || c.admits(k.n, k.m, r.id) // no address: by its text
	case SortScope, SortOrigin, SortType, SortScenario:
		at := c.outlooks.at(r.words)
		if at.turn != c.turn {
			k := w.key(r)
			c.weigh(at, &k)
		}
		return c.lets(at, r.id)
	default:
		h := s.alerts.At(r.alert)
		if r.marked(markPurged) && w.sieve.view.alert(r.alert) == nil {
			return false // what the alert had may be another's
		}
		return h == nil || w.sieve.alertMayCome(c, by, r.id, h, h.createdAt)
	}
}

// stands reports whether a record, which row is of, stands for its target, if that is asked, and notes for
// how many.
func (w *decisionWalk) stands(n slot, r *record) bool {
	if w.groups == nil {
		return true
	}
	head, count := w.groups.of(n, r)
	w.row.count = count
	return head == n
}

// make makes row.
func (w *decisionWalk) make(n slot, r *record, count int) {
	w.row.id, w.row.slot, w.row.count = r.id, n, count
	if !w.byID {
		w.row.key = w.key(r)
	}
}

// key is what a record is put in order by.
func (w *decisionWalk) key(r *record) (k sortKey) {
	s := w.sieve.state
	word := func(n uint32) sortKey { return sortKey{text: s.strings.At(n)} }
	switch w.pager.query.Sort {
	case SortUntil:
		return sortKey{n: inOrderOf(w.sieve.until(r))}
	case SortValue:
		on := s.onOf(r)
		if on.flags&flagAddress == 0 {
			return sortKey{n: math.MaxUint64, m: math.MaxUint64, text: s.strings.At(on.text)}
		}
		return addressKey(&on)
	case SortScope:
		return word(s.wordsOf(r).Scope)
	case SortOrigin:
		return word(s.wordsOf(r).Origin)
	case SortType:
		return word(s.wordsOf(r).Type)
	case SortScenario:
		return word(s.wordsOf(r).Scenario)
	}
	if h := s.alerts.At(r.alert); h != nil {
		return w.sieve.alertKey(w.pager.query.Sort, h, h.createdAt)
	}
	return k
}

// alertMayCome is decisionWalk.mayCome by what the alert of id, or of the decision of id, has.
func (p *sieve) alertMayCome(c *contest, by Sort, id uint64, h *heldAlert, started int64) bool {
	var at *outlook
	switch by {
	case SortID:
		return c.admits(0, 0, id)
	case SortStarted:
		return c.admits(inOrderOf(started), 0, id)
	case SortDecisions:
		return c.admits(uint64(h.count), 0, id)
	case SortMachine:
		at = c.outlooks.at(h.machine)
	case SortScenario:
		at = c.outlooks.at(h.scenario)
	default:
		at = c.outlooks.at(h.rowOf())
	}
	if at.turn != c.turn {
		k := p.alertKey(by, h, started)
		c.weigh(at, &k)
	}
	return c.lets(at, id)
}

// alertKey is what an alert is put in order by; started is its moment.
func (p *sieve) alertKey(by Sort, h *heldAlert, started int64) sortKey {
	s := p.state
	switch by {
	case SortStarted:
		return sortKey{n: inOrderOf(started)}
	case SortCountry:
		return sortKey{text: s.strings.At(s.sourceKeyOf(h).country)}
	case SortAS:
		number := s.strings.At(s.sourceKeyOf(h).asNumber)
		return sortKey{n: numbered(number), text: number}
	case SortMachine:
		return sortKey{text: p.view.machineID(h.machine)}
	case SortScope:
		return sortKey{text: s.strings.At(s.sourceKeyOf(h).scope)}
	case SortScenario:
		return sortKey{text: s.strings.At(h.scenario)}
	case SortDecisions:
		return sortKey{n: uint64(h.count)}
	}
	return sortKey{}
}
