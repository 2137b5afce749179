package engine

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
)

// matcher is a query's words as numbers of one state, so that a record is
// compared without touching a text.
type matcher struct {
	never    bool // some word is unknown here: nothing can match
	scopes   []uint32
	scope    []uint32
	origins  []uint32
	kind     uint32
	origin   uint32
	scenario uint32
	sight    sightWordsOf
	batch    batchWord
	floor    uint64 // of the history at the moment of asking
	longest  longest
	heads    []slot
	key      []byte    // what is asked, for a shelf
	now, was era       // where the answer leads to, and where it begins
	spare    []*copied // copies of records that live queries tell
	spares   int       // how many are told
}

func (m *matcher) reset() {
	m.never = false
	m.scopes, m.scope, m.origins = m.scopes[:0], m.scope[:0], m.origins[:0]
	m.heads = m.heads[:0]
	m.sight.reset()
	m.longest.reset()
	m.now.reset()
	m.was.reset()
	m.spares = 0
}

// resolve turns the query's words into numbers.
func (q *Query) resolve(s *state) *matcher {
	m := &q.match
	m.reset()
	m.floor = s.history.Floor()
	m.scopes = m.words(s, m.scopes, &q.Scopes)
	m.scope = m.words(s, m.scope, &q.Scope)
	m.origins = m.words(s, m.origins, &q.Origins)
	m.kind = m.word(s, q.Type)
	m.origin = m.word(s, q.Origin)
	m.scenario = m.word(s, q.Scenario)
	m.look(s, q.Sight)
	batch, ok := s.batchWord(q.Batch)
	m.batch, m.never = batch, m.never || !ok
	return m
}

func (m *matcher) words(s *state, dst []uint32, w *Words) []uint32 {
	if !w.Given {
		return dst
	}
	for _, text := range w.List {
		if n, ok := s.strings.Lookup(text); ok {
			dst = append(dst, n)
		}
	}
	if len(dst) == 0 {
		m.never = true
	}
	return dst
}

func (m *matcher) word(s *state, w Word) uint32 {
	if !w.Given {
		return 0
	}
	n, ok := s.strings.Lookup(w.Text)
	if !ok {
		m.never = true
	}
	return n
}

// admits reports whether a record passes every filter but address, value,
// time and id.
func (q *Query) admits(s *state, r *record) bool {
	m := &q.match
	if m.never || (!q.Simulated && r.flags()&flagSimulated != 0) {
		return false
	}
	w := s.wordsOf(r)
	if q.Scopes.Given && !slices.Contains(m.scopes, w.Scope) ||
		q.Scope.Given && !slices.Contains(m.scope, w.Scope) ||
		q.Type.Given && w.Type != m.kind ||
		q.Origins.Given && !slices.Contains(m.origins, w.Origin) ||
		q.Origin.Given && w.Origin != m.origin ||
		q.Scenario.Given && w.Scenario != m.scenario {
		return false
	}
	if q.HasAfterID && r.id <= uint64(q.AfterID) || m.batch.kind != noBatch && !m.batch.has(s, r.alert) {
		return false
	}
	if q.NotOwn && s.ofOwnList(r) || q.Sight != nil && !m.sight.sees(s, q.Sight, r) {
		return false
	}
	if q.Containing.Given || q.NotContaining.Given {
		return q.admitsScenario(s.strings.At(w.Scenario))
	}
	return true
}

func (q *Query) admitsScenario(scenario string) bool {
	if q.Containing.Given && !slices.ContainsFunc(q.Containing.List, func(w string) bool { return containsFold(scenario, w) }) {
		return false
	}
	return !q.NotContaining.Given ||
		!slices.ContainsFunc(q.NotContaining.List, func(w string) bool { return containsFold(scenario, w) })
}

// relates reports whether a record answers the query's address and value; used
// where the index was not asked for them.
func (q *Query) relates(v *View, r *record) bool {
	if q.Value.Given {
		var buf [64]byte
		if string((Decision{v, r}).AppendValue(buf[:0])) != q.Value.Text && !q.namesClean(v.state, r) {
			return false
		}
	}
	if !q.Address.IsValid() {
		return true
	}
	t := v.state.targetOf(r)
	if !t.IsValid() || t.Addr().Is4() != q.Address.Addr().Is4() {
		return false
	}
	if q.Inside {
		return t.Bits() >= q.Address.Bits() && q.Address.Contains(t.Addr())
	}
	return t.Bits() <= q.Address.Bits() && t.Contains(q.Address.Addr())
}

// namesClean reports whether the query's value is a spelling of the record's target, for one
// who is told clean spellings.
func (q *Query) namesClean(s *state, r *record) bool {
	if clean, _ := q.sightShape(); !clean || r.flags()&flagAddress == 0 {
		return false
	}
	p, ok := parseTarget(q.Value.Text)
	return ok && p == s.targetOf(r)
}

// Find appends the running decisions that answer q to dst: bans first, for
// some clients act on the first answer alone, then soonest end first, then by
// id; only by id when q asks for a value or for ids after one. It allocates
// nothing but dst's growth when q asks for one address.
func (v *View) Find(dst []Decision, q *Query) []Decision {
	m := q.resolve(v.state)
	if m.never || q.Limit == 0 {
		return dst
	}
	from := len(dst)
	if q.Address.IsValid() && !q.Inside {
		dst = v.findCovering(dst, q, math.MaxInt)
	} else if q.shaped(v, uint64(v.revision)) {
		v.eachEntry(q, func(d Decision) bool {
			dst = append(dst, d)
			return true
		})
	} else {
		v.eachAnswer(q, func(n slot) bool {
			dst = append(dst, Decision{v, v.state.records.At(n)})
			return true
		})
	}
	return v.arrange(dst, from, q)
}

// FindFew is Find for a query that asks for one address and does not say Inside,
// when no more than so many decisions may be found; else it gives dst as it was,
// and false.
func (v *View) FindFew(dst []Decision, q *Query, most int) (all []Decision, few bool) {
	m := q.resolve(v.state)
	if m.never || q.Limit == 0 {
		return dst, true
	}
	from := len(dst)
	if dst = v.findCovering(dst, q, from+most); len(dst) > from+most {
		clear(dst[from:])
		return dst[:from], false
	}
	return v.arrange(dst, from, q), true
}

// arrange puts what was found in order, and leaves what the query's page holds.
func (v *View) arrange(dst []Decision, from int, q *Query) []Decision {
	found := dst[from:]
	if len(found) > 1 {
		ban, _ := v.state.strings.Lookup("ban")
		if q.byID() {
			slices.SortFunc(found, byEntry)
		} else {
			slices.SortFunc(found, func(a, b Decision) int { return cmp.Or(v.state.inOrder(a.rec, b.rec, ban), byEntry(a, b)) })
		}
	}
	lo, hi := q.page(len(found))
	n := copy(found, found[lo:hi])
	clear(found[n:])
	return dst[:from+n]
}

// page is which of so many answers are wanted.
func (q *Query) page(n int) (from, to int) {
	from = min(max(q.Offset, 0), n)
	if q.Limit > 0 && q.Limit < n-from {
		return from, from + q.Limit
	}
	return from, n
}

// findCovering is the live query: the host's own chain, then the ranges.
func (v *View) findCovering(dst []Decision, q *Query, limit int) []Decision {
	if q.shaped(v, uint64(v.revision)) {
		return v.shapedCovering(dst, q, limit)
	}
	s := v.state
	if q.Address.IsSingleIP() {
		if n := s.hosts.Get(q.Address.Addr()); n != 0 {
			dst = v.appendChain(dst, n, q, limit)
		}
	}
	q.match.heads = s.ranges.Covering(q.match.heads[:0], q.Address)
	for _, n := range q.match.heads {
		dst = v.appendChain(dst, n, q, limit)
	}
	return dst
}

// appendChain stops when dst is longer than limit.
func (v *View) appendChain(dst []Decision, n slot, q *Query, limit int) []Decision {
	s := v.state
	for n != 0 && len(dst) <= limit {
		r := s.records.At(n)
		if v.running(r, q.Now) && q.admits(s, r) && (!q.Value.Given || q.relates(v, r)) {
			dst = append(dst, Decision{v, r})
		}
		n = slot(r.next.Load())
	}
	return dst
}

// eachAnswer yields what answers q, in no order, until yield returns false.
func (v *View) eachAnswer(q *Query, yield func(slot) bool) {
	chain := func(n slot) bool { return v.eachOnChain(n, q, yield) }
	switch {
	case q.Address.IsValid() && !q.Inside:
		v.eachCovering(q, chain)
	case q.Address.IsValid():
		v.eachInside(q, chain)
	case q.Value.Given:
		v.eachOfValue(q, chain)
	default:
		v.eachSlot(func(n slot, r *record) bool {
			return !v.running(r, q.Now) || !q.admits(v.state, r) || yield(n)
		})
	}
}

func (v *View) eachOnChain(n slot, q *Query, yield func(slot) bool) bool {
	s := v.state
	for n != 0 {
		r := s.records.At(n)
		if v.running(r, q.Now) && q.admits(s, r) && (!q.Value.Given || q.relates(v, r)) && !yield(n) {
			return false
		}
		n = slot(r.next.Load())
	}
	return true
}

func (v *View) eachCovering(q *Query, chain func(slot) bool) {
	s := v.state
	if q.Address.IsSingleIP() {
		if n := s.hosts.Get(q.Address.Addr()); n != 0 && !chain(n) {
			return
		}
	}
	q.match.heads = s.ranges.Covering(q.match.heads[:0], q.Address)
	for _, n := range q.match.heads {
		if !chain(n) {
			return
		}
	}
}

func (v *View) eachInside(q *Query, chain func(slot) bool) {
	going := true
	v.state.hosts.Within(q.Address, func(_ netip.Addr, n slot) bool {
		going = chain(n)
		return going
	})
	if !going {
		return
	}
	v.state.ranges.Within(q.Address, func(p netip.Prefix, n slot) bool {
		return p.IsSingleIP() || chain(n)
	})
}

// eachOfValue asks both places where a value can stand: as an address, and as
// any other text.
func (v *View) eachOfValue(q *Query, chain func(slot) bool) {
	if p, ok := parseTarget(q.Value.Text); ok && !chain(v.state.lookup(p)) {
		return
	}
	if n, ok := v.state.strings.Lookup(q.Value.Text); ok {
		chain(v.state.values.Get(n))
	}
}

// each walks every record this view shows, tombstones too, in order of id.
func (v *View) each(yield func(*record) bool) {
	v.eachSlot(func(_ slot, r *record) bool { return yield(r) })
}

// eachSlot is each with where the record lies.
func (v *View) eachSlot(yield func(slot, *record) bool) {
	s := v.state
	for id := range s.ids.Ascending(0, v.nextDecision) {
		n := s.slotOf(id)
		if n == 0 {
			continue
		}
		if r := s.records.At(n); r.id == id && v.shows(r) && !yield(n, r) {
			return
		}
	}
}

// byID reports whether the answers are wanted by id alone.
func (q *Query) byID() bool { return q.Value.Given || q.HasAfterID }

// inOrder compares answers: bans first, then soonest end first, then by id.
func (s *state) inOrder(a, b *record, ban uint32) int {
	first := s.wordsOf(a).Type == ban
	if first != (s.wordsOf(b).Type == ban) {
		if first {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.id, b.id))
}

func byID(a, b Decision) int { return cmp.Compare(a.rec.id, b.rec.id) }
