package engine

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"net/netip"
	"slices"
)

// What bouncers are told depends on which items of allowlists are in effect, also at an
// earlier revision, where a cursor stands. So the index of items keeps when each came into
// effect and when it went out:
//
//	in effect after revision R  ⟺  its list has it there, and its time is not over by
//	                               the time of R
//
// It comes with the operation that adds it, and goes with the one that removes it or its
// list, or, in the commit whose time reaches its end, by itself. A clock that is set back
// to before its end brings it back. An index reaches back to the floor of its history,
// which is that of the decisions' history or, when items come and go by the hundred thousand,
// a later revision: a question about an earlier one starts over.

// mostPast is how many items that are not in effect any more are kept for questions about
// earlier revisions at least; beyond twice as many the oldest are forgotten.
const mostPast = 1 << 17

// itemClock is what the committer needs to know to date items. One is shared by all sets.
type itemClock struct {
	rev     uint64 // of the commit that is applied
	at      int64  // its time
	floor   uint64 // of the decisions' history; what ended up to there is not needed
	due     dueItems
	changed bool // an event of this revision waits to be published
}

// dueItem is an item with an end, by when that is.
type dueItem struct {
	at   int64
	slot slot
}

// dueItems is a heap, the soonest first. It also has items that went before.
type dueItems []dueItem

func (d dueItems) Len() int           { return len(d) }
func (d dueItems) Less(i, j int) bool { return d[i].at < d[j].at }
func (d dueItems) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dueItems) Push(x any)        { *d = append(*d, x.(dueItem)) }
func (d *dueItems) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

// begin enters an item, which is in effect from now on unless its time is over.
func (a *allowlistSet) begin(list string, item *AllowlistItem) {
	c := a.clock
	n, entry := a.index.items.New()
	entry.list, entry.item, entry.added, entry.begun = list, item, a.number, c.rev
	if c.rev != 0 {
		entry.since = c.at
	}
	if item.Expired(c.at) {
		entry.ended.Store(c.rev)
	} else if c.rev != 0 {
		a.index.history.Append(c.rev, n, false)
		c.changed = true
	}
	if item.ExpiresAt != 0 && entry.ended.Load() == 0 {
		heap.Push(&c.due, dueItem{item.ExpiresAt, n})
	}
	entry.next = a.index.ranges.Get(item.Prefix)
	a.index.put(item.Prefix, n) // now readers are led to it
}

// end takes an item out of effect.
func (a *allowlistSet) end(n slot, entry *indexedItem) {
	if entry.ended.Load() != 0 {
		return
	}
	entry.until = a.clock.at
	entry.ended.Store(a.clock.rev)
	a.index.history.Append(a.clock.rev, n, true)
	a.clock.changed = true
}

// turn goes on to a revision and its time: what is over by then goes out of effect. When
// the clock was set back, what was over and is not any more comes back.
func (a *allowlistSet) turn(rev uint64, at int64, floor uint64, back bool) *allowlistSet {
	c := a.clock
	c.rev, c.at, c.floor = rev, at, floor
	if back {
		a = a.revived()
	}
	for len(c.due) > 0 && c.due[0].at <= at {
		n := heap.Pop(&c.due).(dueItem).slot
		a.end(n, a.index.items.At(n))
	}
	return a
}

// nextDue is when the next item that has an end reaches it.
func (c *itemClock) nextDue(index *itemIndex) (at int64, ok bool) {
	for len(c.due) > 0 {
		if index.items.At(c.due[0].slot).ended.Load() == 0 {
			return c.due[0].at, true
		}
		heap.Pop(&c.due) // it went before
	}
	return 0, false
}

// revived returns a set in which items that ran out are in effect again because their time
// is still to come.
func (a *allowlistSet) revived() *allowlistSet {
	var again []*indexedItem
	for n := slot(1); n < a.index.items.End(); n++ {
		entry := a.index.items.At(n)
		if a.has(entry) && entry.ended.Load() != 0 && !entry.item.Expired(a.clock.at) {
			again = append(again, entry)
		}
	}
	if len(again) == 0 {
		return a
	}
	next := a.following()
	for _, entry := range again {
		entry.gone.Store(next.number)
		next.index.dead++
		next.begin(entry.list, entry.item)
	}
	return next.shown()
}

// complete shows readers what came and went in a commit.
func (a *allowlistSet) complete(rev uint64) {
	if a.clock.changed {
		a.index.history.Publish(rev)
		a.clock.changed = false
	}
}

// indexedAnew returns the set with an index that has nothing but its items, and of those
// that went what the history needs.
func (a *allowlistSet) indexedAnew() *allowlistSet {
	old, floor := a.index, max(a.index.history.Floor(), a.clock.floor)
	past, floor := a.pastItems(floor)
	next := *a
	next.index = &itemIndex{dead: len(past), past: len(past)}
	next.clock.due = nil
	take := func(entry *indexedItem, added uint64) {
		n, c := next.index.items.New()
		c.list, c.item, c.added, c.begun = entry.list, entry.item, added, entry.begun
		c.since, c.until = entry.since, entry.until
		c.ended.Store(entry.ended.Load())
		if c.item.ExpiresAt != 0 && c.ended.Load() == 0 {
			next.clock.due = append(next.clock.due, dueItem{c.item.ExpiresAt, n})
		}
		c.next = next.index.ranges.Get(c.item.Prefix)
		next.index.put(c.item.Prefix, n)
	}
	for n := slot(1); n < old.items.End(); n++ {
		if entry := old.items.At(n); a.has(entry) {
			take(entry, next.number)
		}
	}
	for _, entry := range past {
		take(entry, never)
	}
	heap.Init(&next.clock.due)
	next.index.tell(floor)
	next.clock.changed = true
	next.index.ranges.Publish()
	return &next
}

// pastItems are those that the set does not have and its history needs, and where that
// begins.
func (a *allowlistSet) pastItems(floor uint64) ([]*indexedItem, uint64) {
	var past []*indexedItem
	for n := slot(1); n < a.index.items.End(); n++ {
		entry := a.index.items.At(n)
		if ended := entry.ended.Load(); ended > floor && ended > entry.begun && !a.has(entry) {
			past = append(past, entry)
		}
	}
	if surplus := len(past) - mostPast; surplus > 0 {
		slices.SortFunc(past, func(x, y *indexedItem) int { return cmp.Compare(x.ended.Load(), y.ended.Load()) })
		if last := past[surplus-1].ended.Load(); last < a.clock.rev {
			floor = max(floor, last)
			past = slices.DeleteFunc(past, func(e *indexedItem) bool { return e.ended.Load() <= floor })
		}
	}
	return past, floor
}

// tell makes the history anew from the items.
func (x *itemIndex) tell(floor uint64) {
	x.history.Reset(floor)
	type event struct {
		rev   uint64
		slot  slot
		ended bool
	}
	var events []event
	for n := slot(1); n < x.items.End(); n++ {
		entry := x.items.At(n)
		ended := entry.ended.Load()
		if ended == entry.begun && ended != 0 {
			continue // it never was in effect
		}
		if entry.begun > floor {
			events = append(events, event{entry.begun, n, false})
		}
		if ended > floor {
			events = append(events, event{ended, n, true})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.rev, b.rev) })
	for _, e := range events {
		x.history.Append(e.rev, e.slot, e.ended)
	}
}

// inEffect reports whether an item counts after a revision.
func (e *indexedItem) inEffect(at uint64) bool {
	ended := e.ended.Load()
	return e.begun <= at && (ended == 0 || ended > at)
}

// pastMatch is an item that was in effect at a moment.
type pastMatch struct {
	AllowlistMatch
	since int64 // when it came into effect
	until int64 // when it was taken out, after the moment; 0: it is still there, or its time is over
}

// allowlistedAt are the items that were in effect at a moment of the past and contain p or
// lie inside it, as Allowlisted orders them. Those that went before the floor of the index
// are forgotten.
func (v *View) allowlistedAt(p netip.Prefix, at int64) (list []pastMatch) {
	a := v.allowlists
	take := func(n slot) {
		for n != 0 {
			entry := a.index.items.At(n)
			if m, was := a.heldAt(entry, uint64(v.revision), at); was {
				list = append(list, m)
			}
			n = entry.next
		}
	}
	a.index.eachNear(p, take)
	slices.SortStableFunc(list, func(x, y pastMatch) int {
		return cmp.Or(cmp.Compare(x.List, y.List), cmp.Compare(x.since, y.since))
	})
	return list
}

// heldAt reports whether an item was in effect at a moment, as is known after a revision.
func (a *allowlistSet) heldAt(entry *indexedItem, rev uint64, at int64) (m pastMatch, was bool) {
	if entry.begun > rev {
		return m, false
	}
	ended := entry.ended.Load()
	m = pastMatch{AllowlistMatch: AllowlistMatch{entry.list, entry.item}, since: entry.since}
	if m.since == 0 || ended == entry.begun {
		m.since = entry.item.CreatedAt
	}
	if m.since > at || entry.item.Expired(at) {
		return m, false
	}
	if a.has(entry) {
		return m, true
	}
	if ended == 0 || ended > rev || ended == entry.begun {
		return m, false
	}
	m.until = entry.until
	return m, m.until > at
}

// allowances are the items in effect after one revision, of some lists or of all.
type allowances struct {
	set   *allowlistSet
	at    uint64
	lists []string // nil: all
	now   int64    // those that are over by now do not count either; 0: by revision alone
}

// none reports that there is no item on which the answer could depend, at no revision that
// the index knows.
func (a *allowances) none() bool { return a.set == nil || a.set.index.ranges.Len() == 0 }

// any reports whether one of the items on a prefix counts.
func (a *allowances) any(n slot) bool {
	for n != 0 {
		entry := a.set.index.items.At(n)
		if entry.inEffect(a.at) && (a.lists == nil || slices.Contains(a.lists, entry.list)) && (a.now == 0 || !entry.item.Expired(a.now)) {
			return true
		}
		n = entry.next
	}
	return false
}

// cover reports whether an item contains all of p. It does not allocate.
func (a *allowances) cover(p netip.Prefix) bool {
	if a.none() {
		return false
	}
	var heads [40]slot
	for _, n := range a.set.index.ranges.Covering(heads[:0], p) {
		if a.any(n) {
			return true
		}
	}
	return false
}

// near reports whether an item, in effect or not, contains p or lies inside it. It costs
// little, and does not allocate.
func (a *allowances) near(p netip.Prefix) bool {
	return !a.none() && a.set.index.near.may(p) && a.set.index.ranges.Overlaps(p)
}

// touch reports whether an item contains p or lies inside it.
func (a *allowances) touch(p netip.Prefix) bool {
	if !a.near(p) {
		return false
	}
	if a.cover(p) {
		return true
	}
	found := false
	a.set.index.ranges.Within(p, func(_ netip.Prefix, n slot) bool {
		found = a.any(n)
		return !found
	})
	return found
}

// inside appends the prefixes of the items inside p, by address, none inside another.
func (a *allowances) inside(dst []netip.Prefix, p netip.Prefix) []netip.Prefix {
	if a.none() {
		return dst
	}
	from := len(dst)
	a.set.index.ranges.Within(p, func(q netip.Prefix, n slot) bool {
		if last := len(dst) - 1; last >= from && dst[last].Contains(q.Addr()) {
			return true
		}
		if a.any(n) {
			dst = append(dst, q)
		}
		return true
	})
	return dst
}

// writeAllowances adds to a snapshot what cannot be seen of the lists: when their items
// came into effect, as far as the history reaches, and those that went since.
func (v *View) writeAllowances(w *sections) {
	a, rev := v.allowlists, uint64(v.revision)
	floor := max(a.index.history.Floor(), min(v.state.history.Floor(), rev))
	if a.index.items.Len() == 0 && len(v.modes) == 0 {
		return
	}
	w.body = v.appendModes(binary.AppendUvarint(w.body, floor))
	w.body = endRow(w.body, 0)
	w.n++
	for _, entry := range a.written(rev, floor) {
		from := len(w.body)
		ended, until := entry.ended.Load(), int64(0)
		if ended > rev {
			ended = 0
		}
		if ended != 0 {
			until = entry.until
		}
		w.body = appendPrefix(appendString(appendString(w.body, entry.list), entry.item.Value), entry.item.Prefix)
		w.body = binary.AppendUvarint(binary.AppendUvarint(w.body, entry.begun), ended)
		w.body = binary.AppendVarint(binary.AppendVarint(w.body, entry.since), until)
		if w.row(from) {
			w.end(sectionAllowances)
		}
	}
	w.end(sectionAllowances)
}

// written are the items that a snapshot tells of, in an order that does not depend on how
// they came into memory.
func (a *allowlistSet) written(rev, floor uint64) []*indexedItem {
	var list []*indexedItem
	for n := slot(1); n < a.index.items.End(); n++ {
		entry := a.index.items.At(n)
		ended := entry.ended.Load()
		if entry.begun > rev || ended == entry.begun && ended != 0 || ended != 0 && ended <= floor || entry.begun <= floor && (ended == 0 || ended > rev) {
			continue
		}
		list = append(list, entry)
	}
	slices.SortFunc(list, func(x, y *indexedItem) int {
		return cmp.Or(cmp.Compare(x.begun, y.begun), cmp.Compare(x.list, y.list), cmp.Compare(x.item.Value, y.item.Value), cmp.Compare(x.ended.Load(), y.ended.Load()))
	})
	return list
}

// storedAllowance is an item as a snapshot tells of it.
type storedAllowance struct {
	list, value  string
	prefix       netip.Prefix
	begun, ended uint64
	since, until int64 // the times of these
}

// readAllowances is the mirror of writeAllowances.
func (l *loader) readAllowances(d *decoder) {
	n := d.count(1)
	if !l.dated && n > 0 {
		behind := d.open()
		l.allowanceFloor, l.dated = d.uvarint(), true
		l.state.next.modes = decodeModes(d, l.rev)
		if d.close(behind); l.allowanceFloor > l.rev {
			d.fail()
		}
		n--
	}
	for ; n > 0 && d.err == nil; n-- {
		behind := d.open()
		in := storedAllowance{list: d.string(), value: d.string(), prefix: d.prefix()}
		in.begun, in.ended = d.uvarint(), d.uvarint()
		if len(d.rest) > 0 {
			in.since, in.until = d.varint(), d.varint()
		}
		d.close(behind)
		if !in.prefix.IsValid() || in.begun > l.rev || in.ended > l.rev || in.ended != 0 && in.ended <= in.begun {
			d.fail()
		}
		l.allowances = append(l.allowances, in)
	}
}

// dateAllowances says of the items that were loaded when they came into effect. A snapshot
// of an older program does not know: they count as begun with it.
func (l *loader) dateAllowances(a *allowlistSet) {
	begun, floor := uint64(0), l.allowanceFloor
	if !l.dated {
		begun = l.rev // nothing depended on them before
	}
	c := a.clock
	c.rev, c.at, c.due = l.rev, l.state.at, nil
	for n := slot(1); n < a.index.items.End(); n++ {
		entry := a.index.items.At(n)
		entry.begun = begun
		if entry.item.Expired(c.at) {
			entry.begun = l.rev
			entry.ended.Store(l.rev)
		} else if entry.item.ExpiresAt != 0 {
			c.due = append(c.due, dueItem{entry.item.ExpiresAt, n})
		}
	}
	heap.Init(&c.due)
	for i := range l.allowances {
		in := &l.allowances[i]
		if entry := a.find(in.list, in.value, in.prefix); in.ended == 0 {
			if entry != nil && entry.ended.Load() == 0 {
				entry.begun, entry.since = in.begun, in.since
			}
			continue
		}
		n, entry := a.index.items.New()
		entry.list, entry.item = in.list, &AllowlistItem{Value: in.value, Prefix: in.prefix}
		entry.added, entry.begun, entry.next = never, in.begun, a.index.ranges.Get(in.prefix)
		entry.since, entry.until = in.since, in.until
		entry.ended.Store(in.ended)
		a.index.put(in.prefix, n)
		a.index.dead++
		a.index.past++
	}
	a.index.tell(floor)
	a.index.history.Publish(l.rev)
	a.index.ranges.Publish()
}
