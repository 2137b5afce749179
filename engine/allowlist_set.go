package engine

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"

	"lapid/index"
)

// allowlistSet is all allowlists, never changed in place. Successive sets share
// one index over their items: the committer adds to it, and each set skips the entries
// that are not its own. So a change costs by what it changes, however long the lists are.
type allowlistSet struct {
	order  []*Allowlist
	byName map[string]*Allowlist
	live   int    // items in all lists
	number uint64 // of this set among those that share the index
	index  *itemIndex
	clock  *itemClock // the committer's own
}

// Allowlists returns all lists in order of creation. Read only.
func (v *View) Allowlists() []*Allowlist { return v.allowlists.order }

// SameAllowlists reports whether two views of one engine have the same allowlists; it may be
// false where they differ in nothing. Any goroutine.
func (v *View) SameAllowlists(w *View) bool { return v.allowlists == w.allowlists }

// Allowlist returns the list of that name, nil when there is none.
func (v *View) Allowlist(name string) *Allowlist { return v.allowlists.byName[name] }

// AllowlistHolds reports whether a list has an item of that value, which is on
// that prefix. It may have expired.
func (v *View) AllowlistHolds(list, value string, p netip.Prefix) (*AllowlistItem, bool) {
	if entry := v.allowlists.find(list, value, p); entry != nil {
		return entry.item, true
	}
	return nil, false
}

// Allowlisted appends the items, live at now, that contain p or lie inside it,
// ordered by the name of their list, then by age.
func (v *View) Allowlisted(dst []AllowlistMatch, p netip.Prefix, now int64) []AllowlistMatch {
	a := v.allowlists
	if a.live == 0 {
		return dst
	}
	from := len(dst)
	take := func(n slot) {
		for n != 0 {
			entry := a.index.items.At(n)
			if a.has(entry) && !entry.item.Expired(now) {
				dst = append(dst, AllowlistMatch{entry.list, entry.item})
			}
			n = entry.next
		}
	}
	a.index.eachNear(p, take)
	slices.SortStableFunc(dst[from:], func(x, y AllowlistMatch) int {
		return cmp.Or(cmp.Compare(x.List, y.List), cmp.Compare(x.Item.CreatedAt, y.Item.CreatedAt))
	})
	return dst
}

// itemIndex leads from a prefix to the items on it: those that some set may have, and
// those whose time in effect is within its history (allowance.go).
type itemIndex struct {
	items   index.Slab[indexedItem]
	ranges  index.Ranges    // prefix → newest item on it
	near    nearness        // of all that were put into ranges
	history index.Revisions // which items came into and went out of effect

	// The committer's own.
	dead int // items that the newest set does not have
	past int // … and that were taken over from the index before, for its history
}

// eachNear yields the newest item on each prefix that contains p or lies inside it.
func (x *itemIndex) eachNear(p netip.Prefix, yield func(slot)) {
	for _, n := range x.ranges.Covering(nil, p) {
		yield(n)
	}
	x.ranges.Within(p, func(inside netip.Prefix, n slot) bool {
		if inside != p { // p itself was among those that cover it
			yield(n)
		}
		return true
	})
}

// put leads readers to the newest item on a prefix.
func (x *itemIndex) put(p netip.Prefix, n slot) {
	x.near.mark(p)
	x.ranges.Set(p, n)
}

// indexedItem is an item as long as some set may have it, or its history tells of it.
type indexedItem struct {
	list  string
	item  *AllowlistItem
	next  slot          // an older item on the prefix
	added uint64        // the first set that has it; never: none
	gone  atomic.Uint64 // the first set without it; 0: none
	begun uint64        // the revision that brought it into effect
	since int64         // the time of that revision; 0: not known
	until int64         // the time of the one that took it out; set before ended
	ended atomic.Uint64 // which one that was; 0: it is in effect
}

// never is no set's number.
const never = math.MaxUint64

// idleItems is by how many the entries that are gone may outnumber the items before a
// new index is built.
const idleItems = 1024

func newAllowlistSet(lists []*Allowlist) *allowlistSet {
	a := &allowlistSet{order: lists, byName: make(map[string]*Allowlist, len(lists)), index: &itemIndex{}, clock: &itemClock{}}
	for _, l := range lists {
		a.byName[l.Name] = l
		l.Items = a.add(l.Name, l.Items)
	}
	a.index.ranges.Publish()
	return a
}

// add enters items, which must not change any more, into the index of a set that
// is not yet shown, and returns those that it took: of one value a list has the first alone.
// No commit of this history has it twice.
func (a *allowlistSet) add(list string, items []AllowlistItem) []AllowlistItem {
	taken, copied := items, false
	for i := range items {
		it := &items[i]
		if a.find(list, it.Value, it.Prefix) != nil {
			if !copied {
				taken, copied = slices.Clone(items[:i]), true
			}
			continue
		}
		if copied {
			taken = append(taken, *it)
		}
		a.begin(list, it)
		a.live++
	}
	return taken
}

// remove takes items out, likewise.
func (a *allowlistSet) remove(list string, items []AllowlistItem) {
	for i := range items {
		if n, entry := a.findSlot(list, items[i].Value, items[i].Prefix); entry != nil {
			a.end(n, entry)
			entry.gone.Store(a.number)
			a.index.dead++
			a.live--
		}
	}
}

// find returns the entry of a list's item, nil when the set has none.
func (a *allowlistSet) find(list, value string, p netip.Prefix) *indexedItem {
	_, entry := a.findSlot(list, value, p)
	return entry
}

func (a *allowlistSet) findSlot(list, value string, p netip.Prefix) (slot, *indexedItem) {
	for n := a.index.ranges.Get(p); n != 0; {
		entry := a.index.items.At(n)
		if a.has(entry) && entry.list == list && entry.item.Value == value {
			return n, entry
		}
		n = entry.next
	}
	return 0, nil
}

func (a *allowlistSet) has(entry *indexedItem) bool {
	gone := entry.gone.Load()
	return entry.added <= a.number && (gone == 0 || gone > a.number)
}

// following is a copy that may be changed until it is shown.
func (a *allowlistSet) following() *allowlistSet {
	c := *a
	c.number++
	c.order, c.byName = slices.Clone(a.order), maps.Clone(a.byName)
	return &c
}

// put lets l stand for the list of its name, at the place of the old one or at
// the end.
func (a *allowlistSet) put(l *Allowlist) {
	if i := slices.Index(a.order, a.byName[l.Name]); i >= 0 {
		a.order[i] = l
	} else {
		a.order = append(a.order, l)
	}
	a.byName[l.Name] = l
}

// shown ends the changes.
func (a *allowlistSet) shown() *allowlistSet {
	if a.index.dead > a.live+a.index.past+idleItems {
		return a.indexedAnew()
	}
	a.index.ranges.Publish()
	return a
}

// with returns a set in which l takes the place of the list of its name, with other
// items.
func (a *allowlistSet) with(l *Allowlist) *allowlistSet {
	next := a.following()
	if old := a.byName[l.Name]; old != nil {
		next.remove(l.Name, old.Items)
	}
	l.Items = next.add(l.Name, l.Items)
	next.put(l)
	return next.shown()
}

// extended returns a set in which a list has more items, which must not change
// any more.
func (a *allowlistSet) extended(name string, items []AllowlistItem, at int64) *allowlistSet {
	next, l := a.following(), *a.byName[name]
	l.UpdatedAt = at
	// Lists that came before share the memory, and look no further than their end.
	l.Items = append(l.Items, next.add(name, items)...)
	next.put(&l)
	return next.shown()
}

// revised returns a set in which a list, "" for a new one, has another head, lacks the items
// that are out and has more, which must not change any more. A name that another list has
// leaves everything as it is; no commit of this history asks for that.
func (a *allowlistSet) revised(name string, head *Allowlist, out func(*AllowlistItem) bool, more []AllowlistItem) *allowlistSet {
	old := a.byName[name]
	if other := a.byName[head.Name]; other != nil && other != old {
		return a
	}
	next, l := a.following(), *head
	if old == nil {
		l.Items = next.add(l.Name, more)
		next.put(&l)
		return next.shown()
	}
	kept, gone := parted(old.Items, out)
	if l.Name == name {
		next.remove(name, gone)
		l.Items = append(kept, next.add(name, more)...)
		next.put(&l)
		return next.shown()
	}
	next.remove(name, old.Items)
	next.order[slices.Index(next.order, old)] = &l
	delete(next.byName, name)
	next.byName[l.Name] = &l
	l.Items = next.add(l.Name, append(kept, more...))
	return next.shown()
}

// parted copies items into those that stay and those that are out.
func parted(items []AllowlistItem, out func(*AllowlistItem) bool) (kept, gone []AllowlistItem) {
	kept = make([]AllowlistItem, 0, len(items))
	for i := range items {
		if out(&items[i]) {
			gone = append(gone, items[i])
		} else {
			kept = append(kept, items[i])
		}
	}
	return kept, gone
}

// reduced returns a set in which a list lacks the items that are out.
func (a *allowlistSet) reduced(name string, out func(*AllowlistItem) bool, at int64) *allowlistSet {
	old := a.byName[name]
	kept, gone := parted(old.Items, out)
	l := *old
	l.Items = kept
	if at != 0 {
		l.UpdatedAt = at
	}
	next := a.following()
	next.remove(name, gone)
	next.put(&l)
	return next.shown()
}

func (a *allowlistSet) without(name string) *allowlistSet {
	old := a.byName[name]
	if old == nil {
		return a
	}
	next := a.following()
	next.remove(name, old.Items)
	next.order = slices.DeleteFunc(next.order, func(x *Allowlist) bool { return x == old })
	delete(next.byName, name)
	return next.shown()
}
