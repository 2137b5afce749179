package engine

import (
	"context"
	"errors"
	"net/netip"
	"slices"
)

// AlertPage is a page of a list of alerts.
type AlertPage struct {
	pageHead
	Rows []AlertRow
}

// AlertRow is a row of it. Engine.AlertAlone reads what is on disk.
type AlertRow struct {
	ID        AlertID
	Decisions int // that it has, running or over
}

// bodiesOfPage is how many bodies of alerts are read from the disk for one page, where a filter asks for
// what memory does not have: words of the message, the kind, a value that is no address.
const bodiesOfPage = 2000

// AlertPage makes a page of the alerts that f lets through, as View.DecisionPage does of decisions: the first
// of the view, the others as of its revision, but for alerts that were deleted since. Grouped has no effect
// here.
//
// It walks alerts in memory, and their decisions where they are asked for. Of the bodies on disk it reads
// bodiesOfPage at most: by then a page in the order of ids is ended where it is, be it empty, and Next, or
// Previous of a page that was reached backwards, goes on from there. In another order it lacks what only the
// disk knows to be on it. AtLeast says so. For facets beside a later page as many again are read, of what
// is in front of it. Any goroutine; errors are those of DecisionPage, and those of the disk.
func (e *Engine) AlertPage(ctx context.Context, v *View, f *Filter, q *PageQuery) (*AlertPage, error) {
	p, err := newPager(v, f, q, true)
	if err != nil {
		return nil, err
	}
	ordered := q.Sort == SortID
	w := alertWalk{engine: e, pager: p, sieve: newSieve(v, f, p.rev, p.now, q.Facets, true), left: bodiesOfPage, aside: bodiesOfPage}
	w.rowsAlone, w.ahead = p.counted && len(q.Facets) == 0, p.from != nil && ordered
	w.ask()
	if w.rowsAlone && !ordered && len(w.sieve.alerts) == 0 && !f.asksDisk() {
		w.sweep(ctx)
		return w.page(ctx)
	}
	looked := 0
	w.each(func(id uint64, h *heldAlert) bool {
		looked++
		v.state.pace.step(looked)
		if looked%lookedAtOnce == 0 && ctx.Err() != nil {
			return false
		}
		if w.look(id, h); w.err != nil {
			return false
		}
		if w.left == 0 && ordered && len(p.rows) <= q.Limit {
			w.cut = &row{id: id}
			return false
		}
		return !ordered || !p.full()
	})
	return w.page(ctx)
}

// page is what was found.
func (w *alertWalk) page(ctx context.Context) (*AlertPage, error) {
	p := w.pager
	if err := errors.Join(w.err, ctx.Err()); err != nil {
		return nil, err
	}
	if err := p.kept(w.sieve.view); err != nil {
		return nil, err
	}
	p.totals.AtLeast = p.totals.AtLeast || w.left == 0 || w.aside == 0
	rows, head := p.end(w.cut)
	out := &AlertPage{pageHead: head, Rows: make([]AlertRow, len(rows))}
	for i := range rows {
		out.Rows[i] = AlertRow{AlertID(rows[i].id), rows[i].count}
	}
	out.Facets = w.sieve.facets(p.query)
	return out, nil
}

// AlertAlone is Alert without the decisions. The error is of kind ErrNotFound when the view has no such alert.
func (e *Engine) AlertAlone(v *View, id AlertID) (*Alert, error) {
	h := v.alert(uint64(id))
	if h == nil {
		return nil, noAlert(id)
	}
	return e.readAlert(v, id, h, nil)
}

// alertWalk is the making of a page.
type alertWalk struct {
	engine *Engine
	pager  *pager
	sieve  *sieve

	byDecision bool // origin or type is asked for or counted
	rowsAlone  bool // nothing is counted
	ahead      bool // the walk is still in front of the page, for the sake of facets
	words      []uint32
	turn       uint32 // of the alert among those whose decisions were looked at; see verdict.met
	left       int    // bodies that may be read
	aside      int    // and of those in front of the page
	cut        *row   // where the walk ended because of that
	err        error
}

func (w *alertWalk) ask() {
	f := w.sieve.filter
	w.byDecision = f.Words[FieldOrigin].given() || f.Words[FieldType].given() || slices.Contains(w.pager.query.Facets, FieldOrigin) ||
		slices.Contains(w.pager.query.Facets, FieldType)
}

// each yields the alerts that may pass, in the order of ids that the page has.
func (w *alertWalk) each(yield func(uint64, *heldAlert) bool) {
	v := w.sieve.view
	first, last := w.pager.bounds()
	if list := w.sieve.alerts; len(list) > 0 {
		for i := range list {
			id := list[i]
			if w.pager.falling {
				id = list[len(list)-1-i]
			}
			if h := v.alert(uint64(id)); h != nil && uint64(id) >= first && uint64(id) <= last && !yield(uint64(id), h) {
				return
			}
		}
		return
	}
	last = min(last, v.nextAlert-1)
	ids := v.state.alerts.Ascending(first, last+1)
	if w.pager.falling {
		ids = v.state.alerts.Descending(first, last+1)
	}
	for id := range ids {
		if h := v.alert(id); h != nil && !yield(id, h) {
			return
		}
	}
}

// sweep looks at all alerts for the rows of a page alone, as that of decisions does.
func (w *alertWalk) sweep(ctx context.Context) {
	v, swept := w.sieve.view, 0
	for first, page := range v.state.alerts.Scattered {
		if ctx.Err() != nil {
			return
		}
		swept++
		v.state.pace.stretch(swept)
		for i := range page {
			id := first + uint64(i)
			if id >= v.nextAlert {
				break // the committer may be filling it
			}
			if h := &page[i]; v.sees(h) && w.mayCome(id, h) {
				w.look(id, h)
			}
		}
	}
}

// mayCome is that of decisions.
func (w *alertWalk) mayCome(id uint64, h *heldAlert) bool {
	c, by := &w.pager.contest, w.pager.query.Sort
	if by == SortValue {
		k := w.sieve.alertRowKey(by, h)
		return c.admits(k.n, k.m, id)
	}
	return w.sieve.alertMayCome(c, by, id, h, h.startAt)
}

// look counts an alert and offers it to the page. Where rows are all that is asked for, one that cannot be on
// the page is passed over, for it may cost a body.
func (w *alertWalk) look(id uint64, h *heldAlert) {
	p := w.pager
	mayCome := w.mayCome(id, h)
	if w.rowsAlone && !mayCome {
		return
	}
	w.ahead = w.ahead && (id == p.from.id || p.falling == (id > p.from.id)) // in the order of ids
	miss, ok := w.passes(id, h)
	if !ok {
		return
	}
	if w.sieve.near {
		w.count(h, miss)
	}
	if miss != 0 {
		return
	}
	if !p.counted {
		p.totals.Matches++
		p.totals.Rows++
	}
	if !mayCome {
		return
	}
	if one := (row{id: id, count: int(h.count), key: w.sieve.alertRowKey(p.query.Sort, h)}); p.wants(&one) {
		p.add(&one)
	}
}

// alertRowKey is what an alert is put in order by.
func (p *sieve) alertRowKey(by Sort, h *heldAlert) sortKey {
	if by != SortValue {
		return p.alertKey(by, h, h.startAt)
	}
	at := p.state.sourceAddressOf(h)
	if !at.IsValid() {
		return sortKey{n: ^uint64(0), m: ^uint64(0)}
	}
	var k targetKey
	k.set(at)
	return addressKey(&k)
}

// passes reports whether an alert passes, or misses by the one field in miss.
func (w *alertWalk) passes(id uint64, h *heldAlert) (miss uint8, ok bool) {
	p, f := w.sieve, w.sieve.filter
	if h.begun.Load() > p.rev || f.HideCommunity && h.community || f.Simulation != AnySimulation && (f.Simulation == Simulated) != h.simulated ||
		f.Since != 0 && h.startAt < f.Since || f.Until != 0 && h.startAt > f.Until || !p.named(id) || f.Batch.Name != "" && p.state.batchOf(id) != f.Batch {
		return 0, false
	}
	scenario := p.ofScenario(h.scenario)
	miss, found := scenario.miss, scenario.found
	if p.bySource {
		miss |= p.ofSource(h).miss
	}
	if p.byMachine {
		machine := p.ofMachine(h.machine)
		miss, found = miss|machine.miss, found|machine.found
	}
	if p.hopeless(miss) {
		return 0, false
	}
	if w.byDecision {
		if miss |= w.decided(id, h); p.hopeless(miss) {
			return 0, false
		}
	}
	if f.Standing != AnyStanding && (f.Standing == Running) != w.anyOf(id, h, p.runs) || f.byAddress() && !w.address(id, h) {
		return 0, false
	}
	return miss, w.told(id, h, found)
}

// decided is what the origins and types of an alert's decisions miss; it leaves their words behind. An alert
// without any has an empty one.
func (w *alertWalk) decided(id uint64, h *heldAlert) uint8 {
	p := w.sieve
	w.words = w.words[:0]
	w.turn++
	p.view.eachOf(id, h, func(r *record) bool {
		if r.begun <= p.rev {
			if j := p.decided.at(r.words); j.met != w.turn {
				j.met = w.turn
				w.words = append(w.words, r.words)
			}
		}
		return true
	})
	if len(w.words) == 0 {
		w.words = append(w.words, 0)
	}
	admitted, refused := uint8(0), uint8(0)
	for _, n := range w.words {
		j := p.ofDecided(n)
		admitted, refused = admitted|j.miss, refused|uint8(j.found)
	}
	return (1<<FieldOrigin|1<<FieldType)&^admitted | refused
}

// ofDecided judges one combination of words of decisions: the fields that are among those wanted are in miss,
// those that are not to be in found.
func (p *sieve) ofDecided(n uint32) *verdict {
	j := p.decided.at(n)
	if j.known {
		return j
	}
	j.known = true
	var w Wording
	if n != 0 {
		w = p.state.wordings.at(n)
	}
	for _, one := range [...]struct {
		field Field
		word  uint32
	}{{FieldOrigin, w.Origin}, {FieldType, w.Type}} {
		field, c, text := one.field, p.filter.Words[one.field], p.state.strings.At(one.word)
		if (&Choice{Any: c.Any}).admits(text) {
			j.miss |= 1 << field
		}
		if !(&Choice{None: c.None}).admits(text) {
			j.found |= 1 << field
		}
	}
	return j
}

func (w *alertWalk) anyOf(id uint64, h *heldAlert, is func(*record) bool) bool {
	return w.sieve.view.anyOf(id, h, func(r *record) bool { return r.begun <= w.sieve.rev && is(r) })
}

// address tests the address of the source and those of the decisions.
func (w *alertWalk) address(id uint64, h *heldAlert) bool {
	p, f := w.sieve, w.sieve.filter
	source := p.state.sourceAddressOf(h)
	is := func(covers, inside []netip.Prefix) bool {
		return related(source, covers, inside) || w.anyOf(id, h, func(r *record) bool { return related(p.state.targetOf(r), covers, inside) })
	}
	return (len(f.Covers)+len(f.Inside) == 0 || is(f.Covers, f.Inside)) && (len(f.NotCovers)+len(f.NotInside) == 0 || !is(f.NotCovers, f.NotInside))
}

// told tests value, kind and the words of the text, for which the disk is asked where memory does not say.
func (w *alertWalk) told(id uint64, h *heldAlert, found uint32) bool {
	p, f := w.sieve, w.sieve.filter
	if p.wanted|p.unwanted == 0 && !f.Value.given() && !f.Kind.Given {
		return true
	}
	source := p.state.sourceAddressOf(h)
	var values []string
	if source.IsValid() {
		values = append(values, spelled(source))
		found |= p.words(values[0])
	}
	if found&p.unwanted != 0 {
		return false
	}
	valued := !f.Value.given()
	if !valued && (source.IsValid() || len(f.Value.None) == 0) {
		if valued = w.valued(id, h, values); !valued && source.IsValid() {
			return false
		}
	}
	if valued && found&p.wanted == p.wanted && p.unwanted == 0 && !f.Kind.Given {
		return true
	}
	kind, message, value, ok := w.body(id, h)
	if !ok {
		return false
	}
	found |= p.words(message) | p.words(value)
	return found&p.wanted == p.wanted && found&p.unwanted == 0 && (!f.Kind.Given || kind == f.Kind.Text) && (valued || w.valued(id, h, []string{value}))
}

// valued reports whether the values of an alert, which are those of its source and of its decisions, are as
// they are asked to be.
func (w *alertWalk) valued(id uint64, h *heldAlert, values []string) bool {
	p, c := w.sieve, &w.sieve.filter.Value
	is := func(list []string) bool {
		one := Choice{Any: list}
		return one.admits(values...) || w.anyOf(id, h, func(r *record) bool {
			p.value = Decision{p.view, r}.AppendValue(p.value[:0])
			return one.admits(string(p.value))
		})
	}
	return (len(c.Any) == 0 || is(c.Any)) && (len(c.None) == 0 || !is(c.None))
}

// spelled is an address or range as it is usual.
func spelled(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// body reads what only the disk knows of an alert; ok is false when it may not be asked any more, or the
// alert was deleted meanwhile.
func (w *alertWalk) body(id uint64, h *heldAlert) (kind, message, value string, ok bool) {
	left := &w.left
	if w.ahead {
		left = &w.aside
	}
	if *left == 0 {
		return "", "", "", false
	}
	*left--
	a, err := w.engine.readAlert(w.sieve.view, AlertID(id), h, nil)
	if err != nil {
		if !isNotFound(err) {
			w.err = err
		}
		return "", "", "", false
	}
	return a.Kind, a.Message, a.Source.Value, true
}

// count notes what passes, or misses by one field, for the facets.
func (w *alertWalk) count(h *heldAlert, miss uint8) {
	p := w.sieve
	only := func(fields uint8) bool { return miss&^fields == 0 }
	if only(1 << FieldScenario) {
		p.scenarios.at(h.scenario).count++
	}
	if p.bySource && only(1<<FieldCountry|1<<FieldAS|1<<FieldScope) {
		p.sources.at(h.rowOf()).count++
	}
	if p.byMachine && only(1<<FieldMachine) {
		p.machines.at(h.machine).count++
	}
	if !w.byDecision {
		return
	}
	for _, field := range [...]Field{FieldOrigin, FieldType} {
		if only(1 << field) {
			w.countDecided(field)
		}
	}
}

// countDecided counts an alert once for each of its origins, or types.
func (w *alertWalk) countDecided(field Field) {
	p := w.sieve
	word := func(n uint32) uint32 {
		switch {
		case n == 0:
			return 0
		case field == FieldOrigin:
			return p.state.wordings.at(n).Origin
		}
		return p.state.wordings.at(n).Type
	}
	for _, n := range w.words {
		if j := p.decisions[field].at(word(n)); j.met != w.turn {
			j.met = w.turn
			j.count++
		}
	}
}
