package engine

import (
	"cmp"
	"math"
	"slices"

	"lapid/index"
)

// standings are what a question's entries are at any revision that the history reaches back
// to, each with how it ranks. One goroutine uses it at a time.
type standings struct {
	query    Query // what is asked, without a place and a moment
	priority Priority
	classes  map[uint32]uint8 // of origins, by their numbers of now
	now, was era              // of questions whose entries are not the decisions as they are
	keys     []entryKey       // scratch
}

// look makes it ready for a visit: words get other numbers.
func (s *standings) look(v *View) {
	s.query.resolve(v.state)
	if s.classes == nil {
		s.classes = map[uint32]uint8{}
	}
	clear(s.classes)
}

// rest lets go of the view.
func (s *standings) rest() {
	s.now.reset()
	s.was.reset()
}

// reaches reports whether what is so at a revision is known.
func (s *standings) reaches(v *View, after Revision) bool {
	if _, ok := v.state.history.Window(uint64(after), uint64(v.revision)); !ok || !s.query.shaped(v, uint64(after)) {
		return ok
	}
	_, ok := v.allowlists.index.history.Window(uint64(after), uint64(v.revision))
	return ok
}

// each yields every entry at a revision, some of them twice when there are writes meanwhile.
func (s *standings) each(v *View, at Revision, yield func(*standing)) {
	if s.query.shaped(v, uint64(at)) {
		s.eachShaped(v, at, yield)
		return
	}
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
			one := standing{key: v.state.keyOf(r)}
			one.join(n, r, s.classOf(v, r))
			yield(&one)
			continue
		}
		head := v.state.head(r)
		if _, known := long[head]; known {
			continue
		}
		if v.longChain(r) {
			if long == nil {
				long = map[slot]struct{}{}
			}
			long[head] = struct{}{}
			for _, one := range s.walkLong(v, head, at) {
				yield(&one)
			}
		} else if one := s.walk(v, r, at); one.rec == n {
			yield(&one)
		}
	}
}

// eachShaped is each where an entry may be a part of a decision, or spelled otherwise.
func (s *standings) eachShaped(v *View, at Revision, yield func(*standing)) {
	e := s.now.at(v, uint64(at), &s.query)
	long := map[shelfKey]struct{}{} // entries of long chains that were looked at
	for id := range v.state.ids.Ascending(0, math.MaxUint64) {
		n := v.state.slotOf(id)
		if n == 0 {
			continue
		}
		r := v.state.records.At(n)
		if r.id != id || !e.tells(r) {
			continue
		}
		if e.plain(r) && !r.marked(markCrowded) {
			one := standing{key: e.keyOf(r).targetKey}
			one.join(n, r, s.classOf(v, r))
			yield(&one)
			continue
		}
		isLong := v.longChain(r)
		s.keys = e.appendKeys(s.keys[:0], r)
		for i := range s.keys {
			k := &s.keys[i]
			if _, known := long[k.targetKey]; known && isLong {
				continue
			}
			one := s.walkShaped(e, k)
			if one.rec == n || isLong && one.rec != 0 && v.state.chainOf(v.state.records.At(one.rec)) == v.state.chainOf(r) {
				yield(&one)
			}
			if isLong {
				long[k.targetKey] = struct{}{}
			}
		}
	}
}

// longChain reports whether so many decisions are on a record's target that they are not
// walked for each.
func (v *View) longChain(r *record) bool {
	steps := 0
	for n := v.state.head(r); n != 0 && steps <= longChain; n = slot(v.state.records.At(n).next.Load()) {
		steps++
	}
	return steps > longChain
}

// walkShaped is walk of an entry: of all the decisions that have it as a part (era.holder).
func (s *standings) walkShaped(e *era, k *entryKey) standing {
	one, v, p := standing{key: k.targetKey}, e.view, k.prefix()
	join := func(n slot, part bool) {
		for n != 0 {
			r := v.state.records.At(n)
			if (part && e.view.state.wordsOf(r).Type == k.kind || !part && e.keyOf(r) == *k) && e.tells(r) {
				one.join(n, r, s.classOf(v, r))
			}
			n = slot(r.next.Load())
		}
	}
	if !p.IsValid() {
		join(v.state.values.Get(k.text), false)
		return one.orNone()
	}
	around := false
	if e.wins.set != nil && e.wins.near(wider(p)) {
		if e.wins.touch(p) {
			return standing{}
		}
		around = p.Bits() > 0 && e.wins.touch(wider(p)) && v.state.isClean(&k.targetKey)
	}
	join(v.state.lookup(p), false)
	if around {
		var heads [40]slot
		for _, n := range v.state.ranges.Covering(heads[:0], wider(p)) {
			if e.cutOf(e.view.state.targetOf(v.state.records.At(n))) == parts {
				join(n, true)
			}
		}
	}
	return one.orNone()
}

// orNone is the zero standing where no decision was joined.
func (s standing) orNone() standing {
	if s.rec == 0 {
		return standing{}
	}
	return s
}

// moved yields every entry that other decisions may be behind at one revision than at an
// earlier one, which was and now are set to. False: the history does not reach back.
func (s *standings) moved(v *View, since, upto Revision, yield func(k *entryKey)) bool {
	events, ok := v.state.history.Window(uint64(since), uint64(upto))
	items, known := v.allowlists.index.history.Window(uint64(since), uint64(upto))
	if !ok || !known {
		return false
	}
	c := changes{view: v, now: s.now.at(v, uint64(upto), &s.query), old: s.was.at(v, uint64(since), &s.query), same: true}
	for i := range events.Len() {
		c.record(v.state.records.At(events.At(i).Slot()))
	}
	if touched := c.touched(items); len(touched) > 0 {
		c.touch(touched)
	}
	for k := range c.keys {
		yield(&k)
	}
	return Revision(v.state.history.Floor()) <= since
}

// revisionOf is when an event of a record was.
func revisionOf(event index.Event, r *record) uint64 {
	if event.Ended() {
		return r.endedRev.Load()
	}
	return r.begun
}

// eventful is the first revision after one, up to the view's, at which entries may be
// others.
func (s *standings) eventful(v *View, since Revision) (next Revision, there bool) {
	first := func(rev uint64) {
		if !there || rev < uint64(next) {
			next, there = Revision(rev), true
		}
	}
	if events, _ := v.state.history.Window(uint64(since), uint64(v.revision)); events.Len() > 0 {
		first(revisionOf(events.At(0), v.state.records.At(events.At(0).Slot())))
	}
	if items, _ := v.allowlists.index.history.Window(uint64(since), uint64(v.revision)); items.Len() > 0 {
		item := v.allowlists.index.items.At(items.At(0).Slot())
		if items.At(0).Ended() {
			first(item.ended.Load())
		} else {
			first(item.begun)
		}
	}
	for _, m := range v.modes {
		if m.since > uint64(since) {
			first(m.since)
		}
	}
	return next, there
}

// walk finds what is so of a record's target at a revision; without a decision when
// nothing runs there.
func (s *standings) walk(v *View, r *record, at Revision) standing {
	one := standing{key: v.state.keyOf(r)}
	records := &v.state.records
	for n := v.state.head(r); n != 0; {
		o := records.At(n)
		if o.runsAt(at) && v.state.sameTarget(o, r) && s.admits(v, o) {
			one.join(n, o, s.classOf(v, o))
		}
		n = slot(o.next.Load())
	}
	return one.orNone()
}

// walkLong finds what is so of all targets of one chain.
func (s *standings) walkLong(v *View, head slot, at Revision) map[shelfKey]standing {
	all := map[shelfKey]standing{}
	for n := head; n != 0; {
		o := v.state.records.At(n)
		if o.runsAt(at) && s.admits(v, o) {
			one := all[v.state.keyOf(o)]
			one.key = v.state.keyOf(o)
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
	origin := v.state.wordsOf(r).Origin
	class, known := s.classes[origin]
	if !known {
		class = classOf(v.state.strings.At(origin))
		s.classes[origin] = class
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
	rec  slot   // the decision that runs longest, of several the oldest
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
	if r.until > s.end || r.until == s.end && r.id < s.told {
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

// cut leaves the best, in no order, in time linear in how many there are.
func (b *bestOf) cut() {
	list, low, high := b.list, 0, len(b.list)-1
	for low < high { // those before low come before all others, those behind high behind
		pivot, i, j := list[low+(high-low)/2], low, high
		for i <= j {
			for b.compare(&list[i], &pivot) < 0 {
				i++
			}
			for b.compare(&list[j], &pivot) > 0 {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i++
				j--
			}
		}
		switch {
		case b.most <= j:
			high = j
		case b.most >= i:
			low = i
		default:
			low = high
		}
	}
	first := list[b.most]
	b.beyond = &first
	b.list = list[:b.most]
}

// end puts the best in order. Doubles leave one.
func (b *bestOf) end() {
	if len(b.list) > b.most {
		b.cut()
	}
	slices.SortFunc(b.list, func(x, y standing) int { return b.compare(&x, &y) })
	b.list = slices.CompactFunc(b.list, func(x, y standing) bool { return x.key == y.key })
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
