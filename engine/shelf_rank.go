package engine

import (
	"cmp"
	"slices"
)

// standing is one entry as it stands among others: what the bouncer is told of, by which
// decision, and how it ranks. An entry ranks by the best that any of its decisions can
// claim, not by the one alone that is told because it runs longest: a local ban does not
// lose its place because a community list has the same address for longer.
//
// Everything a rank consists of is the same on every machine and at every time.
type standing struct {
	key  entryKey
	rec  slot   // the decision that runs longest, of several the newest
	told uint64 // its number
	rank
}

// entryKey is what a bouncer keys an entry by. Equal keys are one entry.
type entryKey = targetKey

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
func compareKeys(a, b *entryKey) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo), cmp.Compare(a.bits, b.bits))
}
