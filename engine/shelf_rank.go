package engine

import (
	"cmp"
	"math"
	"slices"
)

// standings are what a question's entries are at any revision that the history reaches back
// to, each with how it ranks. One goroutine uses it at a time.
type standings struct {
	query    Query // what is asked, without a place and a moment
	priority Priority
	classes  map[uint32]uint8 // of origins, by their numbers of now
}

// look makes it ready for a visit: words get other numbers.
func (s *standings) look(v *View) {
	s.query.resolve(v.state)
	if s.classes == nil {
		s.classes = map[uint32]uint8{}
	}
	clear(s.classes)
}

// each yields every entry at a revision, some of them twice when there are writes meanwhile.
func (s *standings) each(v *View, at Revision, yield func(*standing)) {
	var long map[slot]struct{} // chains that were looked at as a whole
	for id := range v.state.ids.Ascending(0, math.MaxUint64) {
		n := v.state.slotOf(id)
		if n == 0 {
			continue
		}
		r := v.state.records.At(n)
		if r.id != id || !r.runsAt(at) || !s.admits(v, r) {
			continue
		}
		if !r.marked(markCrowded) {
			one := standing{key: keyOf(r)}
			one.join(n, r, s.classOf(v, r))
			yield(&one)
			continue
		}
		head := v.state.head(r)
		if _, known := long[head]; known {
			continue
		}
		if one, ok := s.walkShort(v, r, at); !ok {
			if long == nil {
				long = map[slot]struct{}{}
			}
			long[head] = struct{}{}
			for _, one := range s.walkLong(v, head, at) {
				yield(&one)
			}
		} else if one.rec == n {
			yield(&one)
		}
	}
}

// walk finds what is so of a record's target at a revision; without a decision when
// nothing runs there.
func (s *standings) walk(v *View, r *record, at Revision) standing {
	one := standing{key: keyOf(r)}
	records := &v.state.records
	for n := v.state.head(r); n != 0; {
		o := records.At(n)
		if o.runsAt(at) && o.sameTarget(r) && s.admits(v, o) {
			one.join(n, o, s.classOf(v, o))
		}
		n = slot(o.next.Load())
	}
	if one.rec == 0 {
		return standing{}
	}
	return one
}

// walkShort is walk that gives up where the chain is long.
func (s *standings) walkShort(v *View, r *record, at Revision) (one standing, ok bool) {
	steps := 0
	for n := v.state.head(r); n != 0; n = slot(v.state.records.At(n).next.Load()) {
		if steps++; steps > longChain {
			return one, false
		}
	}
	return s.walk(v, r, at), true
}

// walkLong finds what is so of all targets of one chain.
func (s *standings) walkLong(v *View, head slot, at Revision) map[shelfKey]standing {
	all := map[shelfKey]standing{}
	for n := head; n != 0; {
		o := v.state.records.At(n)
		if o.runsAt(at) && s.admits(v, o) {
			one := all[keyOf(o)]
			one.key = keyOf(o)
			one.join(n, o, s.classOf(v, o))
			all[one.key] = one
		}
		n = slot(o.next.Load())
	}
	return all
}

func (s *standings) admits(v *View, r *record) bool {
	return s.query.admits(v.state, r) && s.query.relatesStream(v, r)
}

func (s *standings) classOf(v *View, r *record) uint8 {
	if s.priority != LocalFirst {
		return 0
	}
	class, known := s.classes[r.origin]
	if !known {
		class = classOf(v.state.strings.At(r.origin))
		s.classes[r.origin] = class
	}
	return class
}

// runsAt reports whether a record is in force after a revision, whatever the time.
func (r *record) runsAt(at Revision) bool {
	ended := r.endedRev.Load()
	return r.begun <= uint64(at) && (ended == 0 || ended > uint64(at))
}

// standing is one entry as it stands among others: what the bouncer is told of, by which
// decision, and how it ranks. An entry ranks by the best that any of its decisions can
// claim, not by the one alone that is told because it runs longest: a local ban does not
// lose its place because a community list has the same address for longer.
//
// Everything a rank consists of is the same on every machine and at every time.
type standing struct {
	key  shelfKey
	rec  slot   // the decision that runs longest, of several the newest
	told uint64 // its number
	rank
}

// shelfKey is what a bouncer keys an entry by. Equal keys are one entry.
type shelfKey = targetKey

// rank orders entries. What it says about origin matters to LocalFirst alone.
type rank struct {
	class uint8  // of the most local origin
	end   int64  // when the last of its decisions ends
	id    uint64 // of the newest of them
}

// The classes of origins, most local first. An origin that nobody has heard of was decided
// here, by something that an operator has set up.
const (
	classDetected uint8 = iota
	classManual
	classImported
	classConsole
	classOther
	classLists
	classCommunity
	classes
)

func classOf(origin string) uint8 {
	switch origin {
	case OriginCrowdsec:
		return classDetected
	case OriginManual:
		return classManual
	case OriginImport:
		return classImported
	case "console":
		return classConsole
	case OriginLists:
		return classLists
	case OriginCAPI:
		return classCommunity
	}
	return classOther
}

// compare is negative when a comes before b by a priority: it is told where b is not.
func (p Priority) compare(a, b *standing) int {
	c := 0
	switch p {
	case LocalFirst:
		c = cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(b.end, a.end))
	case Longest:
		c = cmp.Compare(b.end, a.end)
	}
	if c == 0 {
		c = cmp.Compare(b.id, a.id)
	}
	if c == 0 { // of one decision: parts of its range
		c = compareKeys(&a.key, &b.key)
	}
	return c
}

// join takes one more decision of the entry into account.
func (s *standing) join(n slot, r *record, class uint8) {
	if s.rec == 0 {
		s.rec, s.told, s.rank = n, r.id, rank{class, r.until, r.id}
		return
	}
	if r.until > s.end || r.until == s.end && r.id > s.told {
		s.rec, s.told = n, r.id
	}
	s.rank = rank{min(s.class, class), max(s.end, r.until), max(s.id, r.id)}
}

// bestOf gathers the best of many standings in memory for twice as many.
type bestOf struct {
	most    int
	compare func(a, b *standing) int
	list    []standing
	beyond  *standing // the best of those that found no room; nil: all have
}

func (b *bestOf) add(s *standing) {
	if b.beyond != nil && b.compare(s, b.beyond) >= 0 {
		return
	}
	if b.list = append(b.list, *s); len(b.list) >= 2*b.most {
		b.cut()
	}
}

// cut leaves the best, in order. Doubles leave one.
func (b *bestOf) cut() {
	slices.SortFunc(b.list, func(x, y standing) int { return b.compare(&x, &y) })
	b.list = slices.CompactFunc(b.list, func(x, y standing) bool { return x.key == y.key })
	if len(b.list) > b.most {
		first := b.list[b.most]
		b.beyond = &first
		b.list = b.list[:b.most]
	}
}

// ordered is a heap of entries that knows where each of them is, so that any can be taken
// out in O(log n). The first is the one that comes before all others.
type ordered struct {
	list   []*shelved
	before func(a, b *shelved) bool
}

func (h *ordered) len() int        { return len(h.list) }
func (h *ordered) first() *shelved { return h.list[0] }

func (h *ordered) push(e *shelved) {
	e.at = len(h.list)
	h.list = append(h.list, e)
	h.up(e.at)
}

func (h *ordered) pop() *shelved {
	e := h.list[0]
	h.remove(e)
	return e
}

func (h *ordered) remove(e *shelved) {
	last, at := len(h.list)-1, e.at
	h.swap(at, last)
	h.list[last] = nil
	if h.list = h.list[:last]; at < last {
		h.down(at)
		h.up(at)
	}
}

func (h *ordered) swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].at, h.list[j].at = i, j
}

func (h *ordered) up(i int) {
	for i > 0 {
		over := (i - 1) / 2
		if !h.before(h.list[i], h.list[over]) {
			return
		}
		h.swap(i, over)
		i = over
	}
}

func (h *ordered) down(i int) {
	for {
		next := 2*i + 1
		if next >= len(h.list) {
			return
		}
		if right := next + 1; right < len(h.list) && h.before(h.list[right], h.list[next]) {
			next = right
		}
		if !h.before(h.list[next], h.list[i]) {
			return
		}
		h.swap(i, next)
		i = next
	}
}

// compareKeys orders what one decision may be told as.
func compareKeys(a, b *shelfKey) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo), cmp.Compare(a.bits, b.bits))
}
