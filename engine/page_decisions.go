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
	first, last := p.bounds()
	looked := 0
	w.sieve.eachDecision(first, last, w.descending, func(n slot, r *record) bool {
		looked++
		v.state.pace.step(looked)
		if looked%lookedAtOnce == 0 && ctx.Err() != nil {
			return false
		}
		w.look(n, r)
		return !w.ordered || !p.full()
	})
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

// look counts a record and offers it to the page.
func (w *decisionWalk) look(n slot, r *record) {
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
	if w.make(n, r, count); p.wants(&w.row) {
		p.add(&w.row)
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
