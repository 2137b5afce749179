package engine

import (
	"maps"
	"net/netip"
	"slices"
)

// sieve is a Filter as it is asked of one view, as of one revision. What a word means to the filter is
// found out once for each word, so that a record costs a few loads. It is for one goroutine, and takes
// sixteen bytes for each combination of words that it meets.
type sieve struct {
	view   *View
	state  *state
	filter *Filter
	rev    uint64
	now    int64

	// near: records that miss by one field are told too, which the facet of that field counts.
	near bool
	// Which parts of an alert a decision, or the alert itself, is asked for.
	bySource, byMachine, byAlert bool
	// ofAlerts: it is asked of alerts, of which scope and scenario are their own.
	ofAlerts bool
	// alerts and notAlerts are those of the filter, ascending.
	alerts, notAlerts []AlertID

	wordings verdicts // by row of state.wordings
	sources  verdicts // by row of state.sources
	machines verdicts // by serial, 0: none
	// Of alerts.
	scenarios verdicts         // by number of the text
	decided   verdicts         // by row of state.wordings, what their decisions have
	decisions [fields]verdicts // origin and type, by number of the text: counts alone

	wanted, unwanted uint32 // bits of the words of the text
	value            []byte // scratch
}

// verdict is what the filter says of a combination of words.
type verdict struct {
	known bool
	miss  uint8  // a bit for each Field that is not as it is asked to be
	found uint32 // a bit for each word of the text that occurs, those of NotText behind those of Text
	count uint32 // of facets
	met   uint32 // the alert, by its turn in a walk, whose decisions had it last
}

// verdicts are by number.
type verdicts struct{ byNumber[verdict] }

// byNumber finds what is known of a number; numbers are dense.
type byNumber[T any] struct{ pages []*[numberPage]T }

const numberPage = 512

func (t *byNumber[T]) at(n uint32) *T {
	page := int(n / numberPage)
	if page >= len(t.pages) {
		t.pages = append(t.pages, make([]*[numberPage]T, page+1-len(t.pages))...)
	}
	if t.pages[page] == nil {
		t.pages[page] = new([numberPage]T)
	}
	return &t.pages[page][n%numberPage]
}

// each yields the numbers that were counted.
func (t *verdicts) each(yield func(n, count uint32)) {
	for i, page := range t.pages {
		if page == nil {
			continue
		}
		for j := range page {
			if c := page[j].count; c > 0 {
				yield(uint32(i*numberPage+j), c)
			}
		}
	}
}

// newSieve is of the newest revision of a view or of an earlier one; facets are those that are counted.
func newSieve(v *View, f *Filter, rev Revision, now int64, facets []Field, ofAlerts bool) *sieve {
	p := &sieve{view: v, state: v.state, filter: f, rev: uint64(rev), now: now, near: len(facets) > 0, ofAlerts: ofAlerts}
	p.wanted = 1<<len(f.Text) - 1
	p.unwanted = (1<<len(f.NotText) - 1) << len(f.Text)
	p.bySource = f.Words[FieldCountry].given() || f.Words[FieldAS].given() || ofAlerts && f.Words[FieldScope].given()
	p.byMachine = f.Words[FieldMachine].given() || p.wanted|p.unwanted != 0
	for _, field := range facets {
		p.bySource = p.bySource || field == FieldCountry || field == FieldAS || ofAlerts && field == FieldScope
		p.byMachine = p.byMachine || field == FieldMachine
	}
	p.alerts, p.notAlerts = inOrder(f.Alerts), inOrder(f.NotAlerts)
	p.byAlert = p.bySource || p.byMachine || f.Since != 0 || f.Until != 0
	return p
}

// inOrder is each of a list once, ascending.
func inOrder(list []AlertID) []AlertID { return slices.Compact(slices.Sorted(slices.Values(list))) }

// hopeless reports whether misses are too many to be told.
func (p *sieve) hopeless(miss uint8) bool { return miss != 0 && (!p.near || miss&(miss-1) != 0) }

// words are the words of the text that occur in one, as bits.
func (p *sieve) words(text string) (found uint32) {
	for i, list := range [...][]string{p.filter.Text, p.filter.NotText} {
		for j, word := range list {
			if containsFold(text, word) {
				found |= 1 << (i*len(p.filter.Text) + j)
			}
		}
	}
	return found
}

// missed is a field's bit when none of its spellings is as the filter has it.
func (p *sieve) missed(f Field, spellings ...string) uint8 {
	if p.filter.Words[f].admits(spellings...) {
		return 0
	}
	return 1 << f
}

func (p *sieve) ofWording(n uint32) *verdict {
	j := p.wordings.at(n)
	if !j.known {
		w, s := p.state.wordings.at(n), &p.state.strings
		scenario := s.At(w.Scenario)
		j.miss = p.missed(FieldScope, s.At(w.Scope)) | p.missed(FieldOrigin, s.At(w.Origin)) | p.missed(FieldType, s.At(w.Type)) | p.missed(FieldScenario, scenario)
		j.known, j.found = true, p.words(scenario)
	}
	return j
}

// ofSource judges country and network; of alerts the scope as well.
func (p *sieve) ofSource(h *heldAlert) *verdict {
	j := p.sources.at(h.rowOf())
	if !j.known {
		w := p.state.sourceWordsOf(h)
		j.miss = p.missed(FieldCountry, w.Country) | p.missed(FieldAS, w.AsNumber, w.AsName)
		if p.ofAlerts {
			j.miss |= p.missed(FieldScope, w.Scope)
		}
		j.known = true
	}
	return j
}

func (p *sieve) ofMachine(serial uint32) *verdict {
	j := p.machines.at(serial)
	if !j.known {
		id := p.view.machineID(serial)
		j.known, j.miss, j.found = true, p.missed(FieldMachine, id), p.words(id)
	}
	return j
}

// machineID is "" for a machine that is gone.
func (v *View) machineID(serial uint32) string {
	if serial != 0 {
		if row := v.machines.serial(serial); row != nil {
			return row.value.Load().ID
		}
	}
	return ""
}

func (p *sieve) ofScenario(n uint32) *verdict {
	j := p.scenarios.at(n)
	if !j.known {
		text := p.state.strings.At(n)
		j.known, j.miss, j.found = true, p.missed(FieldScenario, text), p.words(text)
	}
	return j
}

// runs reports whether a record, which had begun, ran at the revision.
func (p *sieve) runs(r *record) bool {
	ended := r.endedRev.Load()
	return (ended == 0 || ended > p.rev) && r.until > p.now
}

// stands reports whether a record is there at the revision, and runs or not, as is asked. What belongs to
// an alert that was deleted is not there.
func (p *sieve) stands(r *record) bool {
	if r.begun > p.rev || r.marked(markPurged) && p.view.alert(r.alert) == nil {
		return false
	}
	switch p.filter.Standing {
	case Running:
		return p.runs(r)
	case Ended:
		return !p.runs(r)
	}
	return true
}

// decision reports whether a decision passes, or misses by the one field in miss.
func (p *sieve) decision(r *record) (miss uint8, ok bool) {
	f := p.filter
	j := p.ofWording(r.words)
	if p.hopeless(j.miss) || f.Simulation != AnySimulation && (f.Simulation == Simulated) != (r.flags()&flagSimulated != 0) || !p.stands(r) {
		return 0, false
	}
	miss, found := j.miss, j.found
	if p.byAlert {
		h := p.state.alerts.At(r.alert)
		if h == nil {
			return 0, false
		}
		if p.bySource {
			miss |= p.ofSource(h).miss
		}
		if p.byMachine {
			machine := p.ofMachine(h.machine)
			miss, found = miss|machine.miss, found|machine.found
		}
		if p.hopeless(miss) || f.Since != 0 && h.createdAt < f.Since || f.Until != 0 && h.createdAt > f.Until {
			return 0, false
		}
	}
	if f.byAddress() && !f.address(p.state.targetOf(r)) || !p.named(r.alert) || f.Batch.Name != "" && p.state.batchOf(r.alert) != f.Batch {
		return 0, false
	}
	if p.wanted|p.unwanted == 0 && !f.Value.given() {
		return miss, true
	}
	p.value = Decision{p.view, r}.AppendValue(p.value[:0])
	return miss, (!f.Value.given() || f.Value.admits(string(p.value))) && p.text(found, p.value)
}

// text reports whether the words of the text occur as they should, in what was looked at or in value.
func (p *sieve) text(found uint32, value []byte) bool {
	if found&p.unwanted != 0 {
		return false
	}
	if found&p.wanted == p.wanted && p.unwanted == 0 {
		return true
	}
	found |= p.words(string(value))
	return found&p.wanted == p.wanted && found&p.unwanted == 0
}

// named reports whether an alert is one of those that are asked for.
func (p *sieve) named(alert uint64) bool {
	is := func(list []AlertID) bool {
		_, found := slices.BinarySearch(list, AlertID(alert))
		return found
	}
	return (len(p.alerts) == 0 || is(p.alerts)) && (len(p.notAlerts) == 0 || !is(p.notAlerts))
}

// count notes what passes, or misses by one field, for the facets.
func (p *sieve) count(r *record, miss uint8) {
	const ofWords = 1<<FieldScope | 1<<FieldOrigin | 1<<FieldType | 1<<FieldScenario
	if miss&^ofWords == 0 {
		p.wordings.at(r.words).count++
	}
	if miss&ofWords != 0 || !p.bySource && !p.byMachine {
		return
	}
	h := p.state.alerts.At(r.alert)
	if p.bySource && miss&(1<<FieldMachine) == 0 {
		p.sources.at(h.rowOf()).count++
	}
	if p.byMachine && miss&^(1<<FieldMachine) == 0 {
		p.machines.at(h.machine).count++
	}
}

// way is how records that may pass are found.
type way uint8

const (
	wayIDs     way = iota // all are looked at
	wayCovers             // those around one address
	wayInside             // those inside one range
	wayAlerts             // those of some alerts
	waySpelled            // those on the target that the value spells
)

// way is the shortest there is.
func (p *sieve) way() way {
	f := p.filter
	switch _, spelled := f.target(); {
	case len(f.Covers) == 1 && len(f.Inside) == 0:
		return wayCovers
	case len(f.Inside) == 1 && len(f.Covers) == 0:
		return wayInside
	case len(f.Alerts) > 0:
		return wayAlerts
	case spelled:
		return waySpelled
	}
	return wayIDs
}

// newestFirst reports whether eachDecision meets the decisions of one target from the newest on.
func (p *sieve) newestFirst(descending bool) bool {
	switch p.way() {
	case wayIDs:
		return descending && p.view.gaps == [2]*gaps{} // what was brought may be younger than its id
	case wayAlerts:
		return false
	}
	return true
}

// eachDecision yields the records that may pass, each once, until yield returns false: where all are looked
// at by id, from first to last, both included, or with descending the other way round, and else in no order.
func (p *sieve) eachDecision(first, last uint64, descending bool, yield func(slot, *record) bool) {
	f, s, q := p.filter, p.state, Query{}
	chain := func(n slot) bool {
		for ; n != 0; n = slot(s.records.At(n).next.Load()) {
			if !yield(n, s.records.At(n)) {
				return false
			}
		}
		return true
	}
	switch p.way() {
	case wayCovers:
		q.Address = f.Covers[0]
		p.view.eachCovering(&q, chain)
	case wayInside:
		q.Address = f.Inside[0]
		p.view.eachInside(&q, chain)
	case wayAlerts:
		p.eachOfAlerts(yield)
	case waySpelled:
		target, _ := f.target()
		chain(s.lookup(target))
	default:
		p.eachByID(first, last, descending, yield)
	}
}

// target is the address or range that the value must spell, if it must be one.
func (f *Filter) target() (netip.Prefix, bool) {
	if len(f.Value.Any) != 1 {
		return netip.Prefix{}, false
	}
	return parseTarget(f.Value.Any[0])
}

func (p *sieve) eachOfAlerts(yield func(slot, *record) bool) {
	s := p.state
	for _, id := range p.alerts {
		h := p.view.alert(uint64(id))
		if h == nil {
			continue
		}
		for d := range s.decisionsOf(uint64(id), h) {
			if n := s.slotOf(d); n != 0 && !yield(n, s.records.At(n)) {
				return
			}
		}
	}
}

func (p *sieve) eachByID(first, last uint64, descending bool, yield func(slot, *record) bool) {
	s := p.state
	if last >= p.view.nextDecision {
		last = p.view.nextDecision - 1
	}
	if last < first {
		return
	}
	ids := s.ids.Ascending(first, last+1)
	if descending {
		ids = s.ids.Descending(first, last+1)
	}
	for id := range ids {
		n := s.slotOf(id)
		if n == 0 {
			continue
		}
		if r := s.records.At(n); r.id == id && !yield(n, r) {
			return
		}
	}
}

// grouping finds what stands for the decisions on one target, of one type, that pass: that which ends last,
// of equal ones the newest. However many decisions and types one target has, each decision is looked at a few
// times.
type grouping struct {
	sieve *sieve
	// told: whoever walks meets the newest of a target first, from which all others are reached. They are
	// remembered, a bit each, and their group is told at once; otherwise each is asked about by itself.
	told   bool
	seen   map[uint32]*[seenPage / 64]uint64
	long   map[targetKey]groupOf // the groups of long chains, but those that were told at once
	looked int                   // how many records walks have looked at
}

const (
	seenPage = 1 << 15 // slots
	// shortChain is up to how many decisions a target is looked at again for each of them.
	shortChain = 32
)

// groupOf is what was found of a group.
type groupOf struct {
	head  slot
	count int
}

// of is the group that a record, which passes, brings to the list; head 0: none, another one does. For a
// record without others it costs a look.
func (g *grouping) of(n slot, r *record) (head slot, count int) {
	if !r.marked(markCrowded) {
		return n, 1
	}
	if g.told && g.met(n) {
		return 0, 0
	}
	s := g.sieve.state
	key := s.keyOf(r)
	one, known := g.long[key]
	if !known {
		from := n
		if !g.told {
			from = s.head(r)
		}
		var looked int
		var mixed bool
		if one, looked, mixed = g.walk(from, key); looked > shortChain && (mixed || !g.told) {
			g.walkAll(s.head(r))
		}
	}
	if !g.told && one.head != n {
		return 0, 0
	}
	return one.head, one.count
}

// walk looks at a chain from a record on for one group, and remembers those of it when they are to be passed
// over. mixed: there are others.
func (g *grouping) walk(from slot, key targetKey) (out groupOf, looked int, mixed bool) {
	s := g.sieve.state
	for at := from; at != 0; looked++ {
		r := s.records.At(at)
		if s.keyOf(r) != key {
			mixed = true
		} else {
			g.take(&out, at, r)
		}
		at = slot(r.next.Load())
	}
	return out, looked, mixed
}

// walkAll is walk for all groups of a chain at once, which are in long then.
func (g *grouping) walkAll(first slot) {
	s, groups := g.sieve.state, map[targetKey]groupOf{}
	for at := first; at != 0; {
		r := s.records.At(at)
		key := s.keyOf(r)
		one := groups[key]
		if g.take(&one, at, r) {
			groups[key] = one
		}
		at = slot(r.next.Load())
	}
	maps.Copy(g.long, groups)
}

// take takes a record into its group if it passes.
func (g *grouping) take(out *groupOf, at slot, r *record) bool {
	p := g.sieve
	g.looked++
	p.state.pace.step(g.looked)
	if miss, ok := p.decision(r); !ok || miss != 0 {
		return false
	}
	if out.count++; g.told && out.count > 1 {
		g.note(at)
	}
	if best := out.head; best == 0 || p.endsBehind(r, p.state.records.At(best)) {
		out.head = at
	}
	return true
}

// endsBehind reports whether a record ends after another, or is the newer of two that end at once.
func (p *sieve) endsBehind(r, other *record) bool {
	a, b := p.until(r), p.until(other)
	return a > b || a == b && r.id > other.id
}

func (g *grouping) met(n slot) bool {
	page := g.seen[uint32(n)/seenPage]
	return page != nil && page[n%seenPage/64]&(1<<(n%64)) != 0
}

func (g *grouping) note(n slot) {
	page := g.seen[uint32(n)/seenPage]
	if page == nil {
		page = new([seenPage / 64]uint64)
		g.seen[uint32(n)/seenPage] = page
	}
	page[n%seenPage/64] |= 1 << (n % 64)
}

// until is when a record ends, or ended, as the revision knows it.
func (p *sieve) until(r *record) int64 {
	if ended := r.endedRev.Load(); ended != 0 && ended <= p.rev {
		return r.endedAt
	}
	return r.until
}
