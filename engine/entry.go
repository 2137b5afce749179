package engine

import (
	"cmp"
	"net/netip"
	"slices"
)

// What a bouncer is told are entries, made of the decisions that are in force:
//
//	decisions that run at a revision
//	  │  those that the question and the bouncer's sight admit
//	  │  and that no allowlist covers which the sight names
//	  ▼
//	pieces: with Sight.Canonical in the one clean spelling, and where allowlists win a
//	  │     range without the allowlisted addresses in it, in as few prefixes as possible;
//	  │     one address is told as Ip
//	  ▼
//	entries: of equal pieces (type and target) the one that runs longest
//
// They follow from the revision, the question and its sight alone, so what a bouncer must
// hear between two revisions is the difference of two sets, whoever asks and however often.
//
// Usually a decision is its own entry: nothing here is asked then. Where it may not be, that
// is found out by one look at what allowlists have near it.

// mostPieces is how many pieces a range may be told in. One that would be in more is not
// told at all: what is allowlisted stays free. Its decision is found by live queries.
const mostPieces = 1 << 16

// entryKey is what makes two pieces one entry.
type entryKey struct {
	targetKey
	id uint64 // of the decision, where each is told for itself (Dedup is off)
}

// era is a state at one revision, as a question sees it.
type era struct {
	view      *View
	rev       uint64
	q         *Query // its filters
	canonical bool
	wins      allowances // without a set: they do not win
	hides     allowances // without a set: none hides

	// What was found out.
	learned map[targetKey]struct{}   // chains
	longest map[entryKey]*record     // on them; scope anyScope: of a type, however it is spelled
	overs   map[targetKey]struct{}   // chains
	latest  map[entryKey]*record     // of what is over on them
	cuts    map[netip.Prefix]cut     // of ranges with items near them
	last    map[netip.Prefix][]piece // of one range
	items   []netip.Prefix           // scratch
}

// piece is a part of a range.
type piece = netip.Prefix

// anyScope stands for every spelling of a target.
const anyScope = ^uint32(0)

// shaped reports whether what q is told between a revision and the view may be anything but
// the decisions themselves.
func (q *Query) shaped(v *View, after uint64) bool {
	if c, lists := q.sightShape(); c || len(lists) > 0 {
		return true
	}
	return q.Entries && len(v.modes) > 0 && v.allowlists.index.ranges.Len() > 0 && (v.allowlistsWin(uint64(v.revision)) || v.allowlistsWin(after))
}

// at makes e the state at a revision, which the view must reach back to.
func (e *era) at(v *View, rev uint64, q *Query) *era {
	e.reset()
	e.view, e.rev, e.q = v, rev, q
	var lists []string
	if e.canonical, lists = q.sightShape(); len(lists) > 0 {
		e.hides = allowances{set: v.allowlists, at: rev, lists: lists}
	}
	if q.Entries && v.allowlistsWin(rev) {
		e.wins = allowances{set: v.allowlists, at: rev}
	}
	return e
}

// has reports whether a record is in force at the era's revision.
func (e *era) has(r *record) bool {
	if r.begun > e.rev {
		return false
	}
	ended := r.endedRev.Load()
	return ended == 0 || ended > e.rev
}

// tells reports whether a record is told, whole or in pieces, unless those are none.
func (e *era) tells(r *record) bool {
	return e.has(r) && e.admits(r)
}

// admits does so for a record that need not be in force.
func (e *era) admits(r *record) bool {
	return e.q.admits(e.view.state, r) && e.q.relatesStream(e.view, r) && !e.hidden(r)
}

// hidden reports whether a list that the sight names covers the record.
func (e *era) hidden(r *record) bool {
	return e.hides.set != nil && r.flags()&flagAddress != 0 && e.hides.cover(e.view.state.targetOf(r))
}

// plain reports whether no item has to do with a record, in effect or not: it is told whole,
// and so is all on its target, and no piece of another can be on it.
func (e *era) plain(r *record) bool {
	if r.flags()&flagAddress == 0 || e.wins.set == nil && e.hides.set == nil {
		return true
	}
	t := e.view.state.targetOf(r)
	if e.wins.set != nil {
		return !e.wins.near(wider(t))
	}
	return !e.hides.near(t)
}

// wider is the prefix of twice the size around p; p itself if there is none.
func wider(p netip.Prefix) netip.Prefix {
	if p.Bits() == 0 {
		return p
	}
	return netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
}

// keyOf is the entry that a record is when it is told whole.
func (e *era) keyOf(r *record) entryKey {
	k := entryKey{targetKey: e.view.state.keyOf(r)}
	if e.canonical && r.flags()&flagAddress != 0 {
		k.targetKey = e.view.state.cleanKey(k.prefix(), k.kind)
	}
	if !e.q.Dedup {
		k.id = r.id
	}
	return k
}

// pieceKey is the entry that a piece of a record is.
func (e *era) pieceKey(r *record, p piece) entryKey {
	k := entryKey{targetKey: e.view.state.cleanKey(p, e.view.state.wordsOf(r).Type)}
	if !e.q.Dedup {
		k.id = r.id
	}
	return k
}

// cleanKey is the target of a type on a prefix in its clean spelling.
func (s *state) cleanKey(p netip.Prefix, kind uint32) targetKey {
	k := targetKey{kind: kind, scope: s.clean[0]}
	k.set(p)
	if !p.IsSingleIP() {
		k.flags |= flagSlash
		k.scope = s.clean[1]
	}
	return k
}

// isClean reports whether a key is in the clean spelling.
func (s *state) isClean(k *targetKey) bool {
	return k.flags&flagAddress != 0 && *k == s.cleanKey(k.prefix(), k.kind)
}

// cut is what allowlists leave of a prefix.
type cut uint8

const (
	whole cut = iota
	parts
	gone
)

// cutOf says how much of a prefix is told.
func (e *era) cutOf(p netip.Prefix) cut {
	if e.wins.set == nil || !e.wins.near(p) {
		return whole
	}
	if p.IsSingleIP() {
		if e.wins.cover(p) {
			return gone
		}
		return whole
	}
	c, known := e.cuts[p]
	if !known {
		if e.cuts == nil {
			e.cuts = map[netip.Prefix]cut{}
		}
		c = e.cutAnew(p)
		e.cuts[p] = c
	}
	return c
}

func (e *era) cutAnew(p netip.Prefix) cut {
	if e.wins.cover(p) {
		return gone
	}
	if e.items = e.wins.inside(e.items[:0], p); len(e.items) == 0 {
		return whole
	}
	n := 0
	if len(e.items)*(p.Addr().BitLen()-p.Bits()) > mostPieces && !eachPiece(p, e.items, func(piece) bool { n++; return n <= mostPieces }) {
		e.view.state.uncut.note(p)
		return gone
	}
	return parts
}

// eachPiece yields the fewest prefixes that are p without the items, which lie in it, by
// address and none inside another. It returns false when yield did.
func eachPiece(p netip.Prefix, items []netip.Prefix, yield func(piece) bool) bool {
	for len(items) > 0 {
		if items[0].Bits() <= p.Bits() {
			return true // it is p
		}
		low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
		high := netip.PrefixFrom(withBit(p.Addr(), p.Bits()), p.Bits()+1)
		n, _ := slices.BinarySearchFunc(items, high.Addr(), func(it netip.Prefix, a netip.Addr) int { return it.Addr().Compare(a) })
		if n == len(items) { // the recursion is for the lower half alone, so that it ends soon
			if !eachPiece(low, items, yield) {
				return false
			}
			return yield(high)
		}
		if n == 0 {
			if !yield(low) {
				return false
			}
		} else if !eachPiece(low, items[:n], yield) {
			return false
		}
		p, items = high, items[n:]
	}
	return yield(p)
}

// withBit sets one bit of an address, the first being 0.
func withBit(a netip.Addr, bit int) netip.Addr {
	if a.Is4() {
		b := a.As4()
		b[bit/8] |= 1 << (7 - bit%8)
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	b[bit/8] |= 1 << (7 - bit%8)
	return netip.AddrFrom16(b)
}

// pieces are the parts in which a range is told of which that is known. They are good
// until the next call.
func (e *era) pieces(p netip.Prefix) []piece {
	if list, known := e.last[p]; known {
		return list
	}
	var list []piece
	e.items = e.wins.inside(e.items[:0], p)
	eachPiece(p, e.items, func(part piece) bool {
		list = append(list, part)
		return true
	})
	if e.last == nil {
		e.last = map[netip.Prefix][]piece{}
	}
	clear(e.last)
	e.last[p] = list
	return list
}

// appendKeys appends the entries that a record may hold, by address.
func (e *era) appendKeys(dst []entryKey, r *record) []entryKey {
	if r.flags()&flagAddress != 0 {
		switch t := e.view.state.targetOf(r); e.cutOf(t) {
		case gone:
			return dst
		case parts:
			for _, p := range e.pieces(t) {
				dst = append(dst, e.pieceKey(r, p))
			}
			return dst
		}
	}
	return append(dst, e.keyOf(r))
}

// holder is the record that an entry is made of, the one that runs longest of those that
// have it as a piece, and of equal ones the oldest; nil: there is no such entry.
func (e *era) holder(k *entryKey) *record {
	if k.id != 0 {
		return e.alone(k)
	}
	s, p := e.view.state, k.prefix()
	if !p.IsValid() {
		return e.longestOn(s.values.Get(k.text), k, false)
	}
	around := false // the prefix around it is not told as a whole
	if e.wins.set != nil && e.wins.near(wider(p)) {
		if e.wins.touch(p) {
			return nil
		}
		around = p.Bits() > 0 && e.wins.touch(wider(p))
	}
	best := e.longestOn(s.lookup(p), k, false)
	if !around || !s.isClean(&k.targetKey) {
		return best
	}
	var heads [40]slot
	for _, n := range s.ranges.Covering(heads[:0], wider(p)) {
		if e.cutOf(s.targetOf(s.records.At(n))) == parts {
			best = longer(best, e.longestOn(n, k, true))
		}
	}
	return best
}

// alone is the holder of an entry that is one decision's own.
func (e *era) alone(k *entryKey) *record {
	n := e.view.state.slotOf(k.id)
	if n == 0 {
		return nil
	}
	if r := e.view.state.records.At(n); r.id == k.id && e.tells(r) && slices.Contains(e.appendKeys(nil, r), *k) {
		return r
	}
	return nil
}

// longer is the one of two records that holds an entry; nil is none.
func longer(a, b *record) *record {
	if a == nil || b != nil && (b.until > a.until || b.until == a.until && b.id < a.id) {
		return b
	}
	return a
}

// longestOn finds the holder among the records of one target; in any spelling, if the entry
// is a piece of them.
func (e *era) longestOn(n slot, k *entryKey, any bool) (best *record) {
	if n == 0 {
		return nil
	}
	s := e.view.state
	chain, wanted := s.chainOf(s.records.At(n)), *k
	if any {
		wanted = anyOf(chain, k.kind)
	}
	if _, known := e.learned[chain]; known {
		return e.longest[wanted]
	}
	steps := 0
	for at := n; at != 0; {
		r := s.records.At(at)
		if (any && s.wordsOf(r).Type == k.kind || !any && e.keyOf(r) == *k) && e.tells(r) {
			best = longer(best, r)
		}
		if steps++; steps > longChain {
			e.learn(n, chain)
			return e.longest[wanted]
		}
		at = slot(r.next.Load())
	}
	return best
}

// chainOf names the chain that a record is on.
func (s *state) chainOf(r *record) targetKey {
	k := s.onOf(r)
	if k.flags &^= flagSlash; k.flags&flagAddress != 0 {
		k.text = 0
	}
	return k
}

func anyOf(chain targetKey, kind uint32) entryKey {
	chain.kind, chain.scope = kind, anyScope
	return entryKey{targetKey: chain}
}

// learn looks at all of a long chain once.
func (e *era) learn(n slot, chain targetKey) {
	if e.learned == nil {
		e.learned, e.longest = map[targetKey]struct{}{}, map[entryKey]*record{}
	}
	e.learned[chain] = struct{}{}
	e.view.chain(n, func(r *record) bool {
		if e.tells(r) {
			for _, k := range [...]entryKey{e.keyOf(r), anyOf(chain, e.view.state.wordsOf(r).Type)} {
				e.longest[k] = longer(e.longest[k], r)
			}
		}
		return true
	})
}

// spelt is a record as an entry tells it: itself, or a copy that is the entry's target. A
// copy for a list of what is over has ended.
func (e *era) spelt(r *record, k *targetKey, over bool) *record {
	if e.view.state.keyOf(r) == *k && (!over || e.view.ended(r)) {
		return r
	}
	c := &copied{}
	e.copyTo(c, r, k)
	if over && !e.view.ended(r) {
		c.endedAt = min(e.view.at, r.until)
		c.endedRev.Store(uint64(e.view.revision))
	}
	return &c.record
}

// copyTo makes c what spelt gives.
func (e *era) copyTo(c *copied, r *record, k *targetKey) {
	c.id, c.alert, c.begun, c.until = r.id, r.alert, r.begun, r.until
	c.place = place{hi: k.hi, lo: k.lo, bits: k.bits, text: k.text}
	c.words, c.scope = r.words, k.scope
	c.mixed.Store(uint32(k.flags | r.flags()&(flagSimulated|flagUUID) | flagPlaced | flagCopied))
	c.endedRev.Store(0)
	if rev := r.endedRev.Load(); rev != 0 && rev <= uint64(e.view.revision) {
		c.endedAt = r.endedAt
		c.setBy(r.by())
		c.endedRev.Store(rev)
	}
}

// byEntry orders what is told: by id, and the pieces of one decision by address.
func byEntry(a, b Decision) int {
	if a.rec.id != b.rec.id {
		return cmp.Compare(a.rec.id, b.rec.id)
	}
	x, y := a.view.state.onOf(a.rec), b.view.state.onOf(b.rec)
	return cmp.Or(cmp.Compare(x.hi, y.hi), cmp.Compare(x.lo, y.lo), cmp.Compare(x.bits, y.bits))
}

// reset lets go of the view, and of what a large question took.
func (e *era) reset() {
	items := e.items
	if e.view == nil {
		return
	}
	if cap(items) > sectionLength {
		items = nil
	}
	*e = era{items: items[:0]}
}

// sightShape is what the sight makes of what is told: whether it is spelled cleanly, and the
// allowlists that hide.
func (q *Query) sightShape() (canonical bool, lists []string) {
	if q.Sight == nil {
		return false, nil
	}
	return q.Sight.Canonical, q.Sight.Allowlists
}
