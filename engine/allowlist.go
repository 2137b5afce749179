package engine

import (
	"cmp"
	"net/netip"
	"slices"

	"lapid/index"
)

// Allowlist is a named list of addresses and ranges that are never banned by
// alerts. A *Allowlist is a value.
type Allowlist struct {
	Name        string
	Description string
	CreatedAt   int64 // Unix nanoseconds
	UpdatedAt   int64
	Items       []AllowlistItem // in order of addition
}

// AllowlistItem is one address or range of an allowlist.
type AllowlistItem struct {
	Value     string // as written by the operator
	Prefix    netip.Prefix
	Comment   string
	CreatedAt int64
	ExpiresAt int64 // 0: never
}

// Expired reports whether the item no longer counts at now (Unix nanoseconds).
func (i *AllowlistItem) Expired(now int64) bool { return i.ExpiresAt != 0 && i.ExpiresAt <= now }

// AllowlistMatch is one item that covers, or lies inside, what was asked for.
type AllowlistMatch struct {
	List string
	Item *AllowlistItem
}

// Reason is the contract's sentence for a match: "<item> from <list>", with
// the comment in parentheses when there is one.
func (m AllowlistMatch) Reason() string {
	s := m.Item.Value + " from " + m.List
	if m.Item.Comment != "" {
		s += " (" + m.Item.Comment + ")"
	}
	return s
}

// allowlistSet is all allowlists with one index over their items, never
// changed in place.
type allowlistSet struct {
	order  []*Allowlist
	byName map[string]*Allowlist
	items  []allowlisted // index.Slot n is items[n-1]
	ranges index.Ranges  // prefix → newest item on it
}

type allowlisted struct {
	list *Allowlist
	item *AllowlistItem
	next slot // another item of the same prefix
}

func newAllowlistSet(lists []*Allowlist) *allowlistSet {
	a := &allowlistSet{order: lists, byName: make(map[string]*Allowlist, len(lists))}
	for _, l := range lists {
		a.byName[l.Name] = l
		for i := range l.Items {
			p := l.Items[i].Prefix
			a.items = append(a.items, allowlisted{l, &l.Items[i], a.ranges.Get(p)})
			a.ranges.Set(p, slot(len(a.items)))
		}
	}
	a.ranges.Publish()
	return a
}

// with returns a set in which l stands for the list of its name, at the place
// of the old one or at the end.
func (a *allowlistSet) with(l *Allowlist) *allowlistSet {
	lists := slices.Clone(a.order)
	if i := slices.IndexFunc(lists, func(x *Allowlist) bool { return x.Name == l.Name }); i >= 0 {
		lists[i] = l
	} else {
		lists = append(lists, l)
	}
	return newAllowlistSet(lists)
}

func (a *allowlistSet) without(name string) *allowlistSet {
	return newAllowlistSet(slices.DeleteFunc(slices.Clone(a.order), func(x *Allowlist) bool { return x.Name == name }))
}

// Allowlists returns all lists in order of creation. Read only.
func (v *View) Allowlists() []*Allowlist { return v.allowlists.order }

// Allowlist returns the list of that name, nil when there is none.
func (v *View) Allowlist(name string) *Allowlist { return v.allowlists.byName[name] }

// Allowlisted appends the items, live at now, that contain p or lie inside it,
// ordered by the name of their list, then by age.
func (v *View) Allowlisted(dst []AllowlistMatch, p netip.Prefix, now int64) []AllowlistMatch {
	a := v.allowlists
	if len(a.items) == 0 {
		return dst
	}
	from := len(dst)
	take := func(n slot) {
		for ; n != 0; n = a.items[n-1].next {
			if it := &a.items[n-1]; !it.item.Expired(now) {
				dst = append(dst, AllowlistMatch{it.list.Name, it.item})
			}
		}
	}
	for _, n := range a.ranges.Covering(nil, p) {
		take(n)
	}
	a.ranges.Within(p, func(inside netip.Prefix, n slot) bool {
		if inside != p { // p itself was among those that cover it
			take(n)
		}
		return true
	})
	slices.SortStableFunc(dst[from:], func(x, y AllowlistMatch) int {
		return cmp.Or(cmp.Compare(x.List, y.List), cmp.Compare(x.Item.CreatedAt, y.Item.CreatedAt))
	})
	return dst
}
