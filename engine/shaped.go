package engine

import (
	"math"
	"net/netip"
	"slices"

	"lapid/index"
)

// shapedChanges is Changes for a question whose answers are not the decisions as they are
// (entry.go). was is the question as it was asked at the earlier revision: its filters may
// have been others then.
func (v *View) shapedChanges(d *Delta, window index.Window, after Revision, q, was *Query) bool {
	items, ok := v.allowlists.index.history.Window(uint64(after), uint64(v.revision))
	if !ok {
		return false
	}
	if was != q {
		was.resolve(v.state)
	}
	c := changes{view: v, now: q.match.now.at(v, uint64(v.revision), q), old: q.match.was.at(v, uint64(after), was), delta: d, passes: true}
	c.same = was == q && c.now.canonical == c.old.canonical
	touched := c.touched(items)
	for i := range window.Len() {
		event := window.At(i)
		c.event(v.state.records.At(event.Slot()), event.Ended())
	}
	if len(touched) > 0 {
		c.touch(touched)
	}
	c.settle()
	slices.SortFunc(d.New, byEntry)
	slices.SortFunc(d.Deleted, byEntry)
	return true
}

// changes collects the difference of two sets of entries, and what may have been told on the
// way from one to the other: a bouncer may have heard an answer of which that is not known.
// Then it lacks what was out for a while, and has what was in for a while; the one is told
// as new, the other as deleted.
type changes struct {
	view     *View
	old, now *era
	same     bool // both know by the same filters and spell alike
	delta    *Delta

	// Entries that may have another holder: those that a record is in one of both states and
	// not in the other.
	keys   map[entryKey]struct{}
	before []entryKey // scratch
	behind []entryKey

	passed map[entryKey]passage  // entries that came or went on the way
	items  []netip.Prefix        // that came or went on the way, by address
	came   map[entryKey]struct{} // looked at already, of records that came and went
	passes bool                  // what may have been told on the way is told of
	met    map[*record]struct{}  // records that more than one cause has led to
	done   map[sides]struct{}    // of ranges near items: others of their target are like them
}

// passage is what is known of an entry on the way.
type passage struct {
	by   *record // told it, if anything did
	away bool    // it may not have been there for a while
}

// sides are the entries of a record, by what it is and in which of both states it is told.
type sides struct {
	entryKey
	old, now bool
}

// event looks at a record that began or ended.
func (c *changes) event(r *record, ended bool) {
	q, v := c.now.q, c.view
	if !c.same || !c.now.plain(r) || !c.old.plain(r) || c.now.canonical && r.marked(markCrowded) {
		c.record(r)
		return
	}
	if !q.admits(v.state, r) || !q.relatesStream(v, r) {
		return
	}
	after := Revision(c.old.rev)
	switch {
	case ended:
		if !q.Dedup || c.now.canonical || !v.held(r, after, q) {
			k := c.now.keyOf(r)
			c.delta.Deleted = append(c.delta.Deleted, Decision{v, c.now.spelt(r, &k.targetKey, true)})
		}
	case v.running(r, q.Now) && (!q.Dedup || c.now.canonical || !v.outlasted(r, q)):
		k := c.now.keyOf(r)
		c.delta.New = append(c.delta.New, Decision{v, c.now.spelt(r, &k.targetKey, false)})
	}
}

// record notes the entries that the record is in one of both states alone.
func (c *changes) record(r *record) {
	before, behind := c.before[:0], c.behind[:0]
	in := sides{c.now.keyOf(r), c.old.tells(r), c.now.tells(r)}
	if c.passes {
		c.pass(r)
	}
	if c.known(r, in) {
		return
	}
	if in.old {
		before = c.old.appendKeys(before, r)
	}
	if in.now {
		behind = c.now.appendKeys(behind, r)
	}
	c.before, c.behind = before, behind
	if len(before) == 0 && len(behind) == 0 || len(before) == 1 && len(behind) == 1 && before[0] == behind[0] {
		return
	}
	if c.keys == nil {
		c.keys = map[entryKey]struct{}{}
	}
	if len(before) == 0 || len(behind) == 0 {
		for _, k := range append(before, behind...) {
			c.keys[k] = struct{}{}
		}
		return
	}
	stays := make(map[entryKey]bool, len(before))
	for _, k := range before {
		stays[k] = false
	}
	for _, k := range behind {
		if _, there := stays[k]; there {
			stays[k] = true
		} else {
			c.keys[k] = struct{}{}
		}
	}
	for k, both := range stays {
		if !both {
			c.keys[k] = struct{}{}
		}
	}
}

// pass notes what may have been told of a record on the way.
func (c *changes) pass(r *record) {
	if !c.now.q.admits(c.view.state, r) || !c.now.q.relatesStream(c.view, r) {
		return
	}
	own := c.now.keyOf(r)
	if _, known := c.came[own]; !known && r.begun > c.old.rev && c.view.ended(r) && !bornOver(r) {
		if c.came == nil {
			c.came = map[entryKey]struct{}{}
		}
		c.came[own] = struct{}{}
		for _, e := range [...]*era{c.old, c.now} {
			for _, k := range e.appendKeys(nil, r) {
				c.passing(k, r, false)
			}
		}
		c.passing(own, r, false)
	}
	if r.flags()&flagAddress == 0 || len(c.items) == 0 {
		return
	}
	if t := c.view.state.targetOf(r); c.passParts(r, t) {
		c.passing(own, r, true)
	}
}

// passParts notes the parts of a range that items on the way make, or make another of.
func (c *changes) passParts(r *record, t netip.Prefix) (any bool) {
	wins := c.old.wins.set != nil || c.now.wins.set != nil
	from, _ := slices.BinarySearchFunc(c.items, t.Masked().Addr(), func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	met, all := 0, allowances{set: c.view.allowlists}
	within := func(p netip.Prefix) { // and what other items make where one is not in effect
		for _, q := range all.ever(nil, p) {
			for ; q.Bits() > t.Bits() && met < mostPieces; q = wider(q) {
				c.passing(c.now.pieceKey(r, q), r, true)
				c.passing(c.now.pieceKey(r, beside(q)), r, true)
				met++
			}
		}
	}
	for _, p := range c.items[from:] {
		if !t.Contains(p.Addr()) || met > mostPieces {
			break
		}
		if any = true; wins && p.Bits() > t.Bits() {
			within(p)
		}
	}
	if c.covered(t) {
		if any = true; wins {
			within(t)
		}
	}
	return any
}

// covered reports whether an item on the way is around a target or is it.
func (c *changes) covered(t netip.Prefix) bool {
	for ; ; t = wider(t) {
		if _, around := slices.BinarySearchFunc(c.items, t, netip.Prefix.Compare); around || t.Bits() == 0 {
			return around
		}
	}
}

// beside is the other half of the prefix around one.
func beside(p netip.Prefix) netip.Prefix {
	low := netip.PrefixFrom(wider(p).Addr(), p.Bits())
	if low != p {
		return low
	}
	return netip.PrefixFrom(withBit(p.Addr(), p.Bits()-1), p.Bits())
}

func (c *changes) passing(k entryKey, r *record, away bool) {
	if c.passed == nil {
		c.passed = map[entryKey]passage{}
	}
	had := c.passed[k]
	if had.by == nil || had.by.id < r.id {
		had.by = r
	}
	had.away = had.away || away
	c.passed[k] = had
}

// known reports whether a range in many pieces was looked at like this already.
func (c *changes) known(r *record, in sides) bool {
	if r.flags()&flagAddress == 0 || c.view.state.hostOf(r) || c.now.plain(r) && c.old.plain(r) {
		return false
	}
	if _, done := c.done[in]; done {
		return true
	}
	if c.done == nil {
		c.done = map[sides]struct{}{}
	}
	c.done[in] = struct{}{}
	return false
}

// touched are the items which came into or went out of effect.
func (c *changes) touched(items index.Window) (touched []netip.Prefix) {
	flipped := (c.old.wins.set == nil) != (c.now.wins.set == nil)
	set := c.view.allowlists
	if flipped {
		for n := slot(1); n < set.index.items.End(); n++ {
			entry := set.index.items.At(n)
			if ended := entry.ended.Load(); entry.begun <= c.now.rev && (ended == 0 || ended > c.old.rev) {
				touched = append(touched, entry.item.Prefix)
			}
		}
	} else {
		for i := range items.Len() {
			if entry := set.index.items.At(items.At(i).Slot()); c.matters(entry) {
				touched = append(touched, entry.item.Prefix)
			}
		}
	}
	if c.passes {
		c.items = slices.Clone(touched)
		slices.SortFunc(c.items, netip.Prefix.Compare)
	}
	return touched
}

// matters reports whether an item may hide anything in one of both states.
func (c *changes) matters(entry *indexedItem) bool {
	return c.old.minds(entry) || c.now.minds(entry)
}

func (e *era) minds(entry *indexedItem) bool {
	return e.wins.set != nil || e.hides.set != nil && slices.Contains(e.hides.lists, entry.list)
}

// wideItems is from how many items on that lie over very many addresses the records are gone
// through, instead of the addresses for each.
const wideItems = 8

// touch looks at the records that contain one of the prefixes or lie inside it.
func (c *changes) touch(prefixes []netip.Prefix) {
	v := c.view
	c.met = map[*record]struct{}{}
	wide := 0
	for _, p := range prefixes {
		if p.Addr().BitLen()-p.Bits() > 12 {
			wide++
		}
	}
	if wide > wideItems || len(prefixes) > v.state.ids.Len() {
		v.each(func(r *record) bool {
			if !c.now.plain(r) || !c.old.plain(r) {
				c.record(r)
			}
			return true
		})
		return
	}
	chain := func(n slot) bool { return v.chain(n, c.meet) }
	for _, p := range prefixes {
		v.covering(p, c.meet)
		if p.IsSingleIP() {
			continue
		}
		v.state.hosts.Within(p, func(_ netip.Addr, n slot) bool { return chain(n) })
		v.state.ranges.Within(p, func(q netip.Prefix, n slot) bool { return q == p || chain(n) })
	}
}

// meet looks at a record unless it was met before.
func (c *changes) meet(r *record) bool {
	if _, known := c.met[r]; !known && c.view.shows(r) {
		c.met[r] = struct{}{}
		c.record(r)
	}
	return true
}

// settle tells of the entries that have another holder. One that is held for shorter than
// before is not told again, unless it may have been away.
func (c *changes) settle() {
	v, d := c.view, c.delta
	for k, p := range c.passed {
		if _, moved := c.keys[k]; moved {
			continue
		}
		switch now := c.now.holder(&k); {
		case now == nil:
			d.Deleted = append(d.Deleted, Decision{v, c.now.spelt(p.by, &k.targetKey, true)})
		case p.away && now.until > c.now.q.Now:
			d.New = append(d.New, Decision{v, c.now.spelt(now, &k.targetKey, false)})
		}
	}
	for k := range c.keys {
		old, now := c.old.holder(&k), c.now.holder(&k)
		p, passed := c.passed[k]
		if passed && (p.away || old == nil && now == nil) {
			old = p.by
		}
		away := c.passes && now != nil && (passed && p.away || now.begun > c.old.rev)
		switch {
		case now == nil && old != nil:
			d.Deleted = append(d.Deleted, Decision{v, c.now.spelt(old, &k.targetKey, true)})
		case now != nil && (away || now != old && (old == nil || now.until > old.until)) && now.until > c.now.q.Now:
			d.New = append(d.New, Decision{v, c.now.spelt(now, &k.targetKey, false)})
		}
	}
}

// sameAllowances reports whether no item that could matter to q came or went since a
// revision, and allowlists win now if they did.
func (v *View) sameAllowances(since Revision, q *Query) bool {
	items, ok := v.allowlists.index.history.Window(uint64(since), uint64(v.revision))
	if !ok {
		return false
	}
	now, was := q.match.now.at(v, uint64(v.revision), q), q.match.was.at(v, uint64(since), q)
	if (now.wins.set == nil) != (was.wins.set == nil) {
		return false
	}
	for i := range items.Len() {
		if now.minds(v.allowlists.index.items.At(items.At(i).Slot())) {
			return false
		}
	}
	return true
}

// allowanceDistance is how much longer than by the decisions Changes may take because of
// items, where allowlists win.
func (v *View) allowanceDistance(after uint64) int {
	if len(v.modes) == 0 {
		return 0
	}
	now, was := v.AllowlistsWin(), v.allowlistsWin(after)
	if now != was {
		return v.allowlists.live
	}
	items, ok := v.allowlists.index.history.Window(after, uint64(v.revision))
	if !ok {
		return math.MaxInt / 2
	}
	if !now {
		return 0
	}
	return items.Len()
}

// appendEntries appends what a full state lists of one record: as running, the entries that
// it holds; as over, those that a bouncer may still have because of it, and that nothing
// holds. The latter are also pieces that there were when other items were in effect.
func (s *Scan) appendEntries(dst []Decision, r *record, running bool) []Decision {
	v, q := s.view, s.query
	e := s.era()
	if !q.admits(v.state, r) || s.related && !q.relates(v, r) {
		return dst
	}
	if !running {
		return s.appendStale(dst, e, r)
	}
	if !v.running(r, q.Now) || e.hidden(r) {
		return dst
	}
	for _, k := range e.appendKeys(nil, r) {
		if !q.Dedup || e.holder(&k) == r {
			dst = append(dst, Decision{v, e.spelt(r, &k.targetKey, false)})
		}
	}
	return dst
}

// appendStale appends the latter.
func (s *Scan) appendStale(dst []Decision, e *era, r *record) []Decision {
	v, q := s.view, s.query
	over := !v.running(r, q.Now)
	if v.forgotten(r, q) || !over && s.untouched(r) {
		return dst
	}
	stale := func(k entryKey) {
		if h := e.holder(&k); h == nil || h.until <= q.Now {
			dst = append(dst, Decision{v, e.spelt(r, &k.targetKey, true)})
		}
	}
	own := e.keyOf(r)
	if !over || !q.Dedup || e.lastOver(r, &own) {
		stale(own)
	}
	if s.untouched(r) || !s.won {
		return dst
	}
	t, n := e.view.state.targetOf(r), 0
	all := allowances{set: v.allowlists}
	e.items = all.ever(e.items[:0], t)
	eachNode(t, e.items, func(p netip.Prefix) bool {
		if p != t {
			stale(e.pieceKey(r, p))
		}
		n++
		return n < mostPieces
	})
	return dst
}

// lastOver reports whether no other record that is over stands for r on its entry. Of a
// long chain it is found out once for all of its records.
func (e *era) lastOver(r *record, own *entryKey) bool {
	v := e.view
	if !r.marked(markCrowded) {
		return true
	}
	chain := e.view.state.chainOf(r)
	if _, known := e.overs[chain]; known {
		return e.latest[*own] == r
	}
	last, steps := true, 0
	v.chain(v.state.head(r), func(o *record) bool {
		if o != r && e.over(o) && e.keyOf(o) == *own {
			last = e.laterOver(r, o) == r
		}
		steps++
		return last && steps <= longChain
	})
	if !last || steps <= longChain {
		return last
	}
	e.learnOver(v.state.head(r), chain)
	return e.latest[*own] == r
}

// over reports whether a record is one of those that are over, of which bouncers may be told.
func (e *era) over(r *record) bool {
	v := e.view
	return v.shows(r) && !v.running(r, e.q.Now) && e.q.admits(v.state, r) && !v.forgotten(r, e.q)
}

// laterOver is which of two ended later; the older of those that ended together.
func (e *era) laterOver(a, b *record) *record {
	if x, y := e.view.endOf(a), e.view.endOf(b); x < y || x == y && b.id < a.id {
		return b
	}
	return a
}

// learnOver looks at all of a long chain once.
func (e *era) learnOver(n slot, chain targetKey) {
	if e.overs == nil {
		e.overs, e.latest = map[targetKey]struct{}{}, map[entryKey]*record{}
	}
	e.overs[chain] = struct{}{}
	e.view.chain(n, func(r *record) bool {
		if e.over(r) {
			if k := e.keyOf(r); e.latest[k] == nil {
				e.latest[k] = r
			} else {
				e.latest[k] = e.laterOver(e.latest[k], r)
			}
		}
		return true
	})
}

// ever is inside for items whenever they were in effect, as far as the index knows.
func (a *allowances) ever(dst []netip.Prefix, p netip.Prefix) []netip.Prefix {
	a.set.index.ranges.Within(p, func(q netip.Prefix, _ slot) bool {
		dst = append(dst, q)
		return true
	})
	return dst
}

// eachNode yields p and every prefix within it that could be a piece of it while any of the
// items were in effect: those around an item, and those beside them. The items may lie in
// each other, and are ordered by address, the wider first.
func eachNode(p netip.Prefix, items []netip.Prefix, yield func(netip.Prefix) bool) bool {
	if !yield(p) {
		return false
	}
	for len(items) > 0 && items[0].Bits() <= p.Bits() {
		items = items[1:]
	}
	if len(items) == 0 {
		return true
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(withBit(p.Addr(), p.Bits()), p.Bits()+1)
	n, _ := slices.BinarySearchFunc(items, high.Addr(), func(it netip.Prefix, a netip.Addr) int { return it.Addr().Compare(a) })
	return eachNode(low, items[:n], yield) && eachNode(high, items[n:], yield)
}

// shapedCovering is findCovering for a question whose answers are not the decisions as they
// are: what is allowlisted is free where allowlists win, and a range is told as the part
// that the address is in.
func (v *View) shapedCovering(dst []Decision, q *Query, limit int) []Decision {
	e := q.liveEra(v)
	if e.wins.set != nil && e.wins.touch(q.Address) {
		return dst
	}
	v.eachCovering(q, func(n slot) bool {
		for n != 0 && len(dst) <= limit {
			r := v.state.records.At(n)
			if v.running(r, q.Now) && q.admits(v.state, r) && (!q.Value.Given || q.relates(v, r)) && !e.hidden(r) {
				dst = append(dst, Decision{v, q.liveSpelt(e, r)})
			}
			n = slot(r.next.Load())
		}
		return len(dst) <= limit
	})
	return dst
}

// liveEra is the view as a live query sees it: an item whose time is over does not count,
// be that committed or not.
func (q *Query) liveEra(v *View) *era {
	e := q.match.now.at(v, uint64(v.revision), q)
	e.wins.now, e.hides.now = q.Now, q.Now
	return e
}

// liveSpelt is a record as a live query for an address within it tells it. Copies are good
// until the query is asked again.
func (q *Query) liveSpelt(e *era, r *record) *record {
	if r.flags()&flagAddress == 0 {
		return r
	}
	s := e.view.state
	own := s.keyOf(r)
	t, k := own.prefix(), own
	if e.canonical {
		k = s.cleanKey(t, own.kind)
	}
	if !own.host() && e.wins.set != nil && e.wins.touch(t) {
		p := t
		for p.Bits() < q.Address.Bits() && e.wins.touch(p) {
			p = netip.PrefixFrom(q.Address.Addr(), p.Bits()+1).Masked()
		}
		k = s.cleanKey(p, own.kind)
	}
	if k == own {
		return r
	}
	c := q.match.copy()
	e.copyTo(c, r, &k)
	return &c.record
}

// copy is room for a record that is told otherwise than it is.
func (m *matcher) copy() *copied {
	if m.spares == len(m.spare) {
		m.spare = append(m.spare, &copied{})
	}
	m.spares++
	return m.spare[m.spares-1]
}

// eachEntry yields what answers a question that is not for one address, in no order.
func (v *View) eachEntry(q *Query, yield func(Decision) bool) {
	e := q.liveEra(v)
	v.eachAnswer(q, func(n slot) bool {
		r := v.state.records.At(n)
		if e.hidden(r) {
			return true
		}
		for _, k := range e.appendKeys(nil, r) {
			if !yield(Decision{v, e.spelt(r, &k.targetKey, false)}) {
				return false
			}
		}
		return true
	})
}
