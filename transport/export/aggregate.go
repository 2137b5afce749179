package export

import "slices"

// aggregate joins entries in order, exactly: it covers no address that none of them covers.
// What a wider one covers is left out, and two halves of a range become the range, again and
// again. Where entries have their ends told (timed) it is exact at every moment: only what
// ends no later than what covers it is left out, and only halves that end at once are joined.
// Nothing becomes as wide as /0.
func aggregate(list []Entry, timed bool) []Entry {
	out := list[:0] // never longer than what was read
	var around []Entry
	for i := range list {
		e := list[i]
		for len(around) > 0 && !around[len(around)-1].covers(&e) {
			around = around[:len(around)-1]
		}
		if slices.ContainsFunc(around, func(a Entry) bool { return !timed || a.until >= e.until }) {
			continue
		}
		out = join(append(out, e), timed)
		if top := out[len(out)-1]; !top.host() {
			around = append(dropInside(around, &top), top)
		}
	}
	return out
}

// dropInside takes out of the entries around the ones that a joined one stands for.
func dropInside(around []Entry, top *Entry) []Entry {
	for len(around) > 0 && top.covers(&around[len(around)-1]) {
		around = around[:len(around)-1]
	}
	return around
}

// join makes a range of its two halves at the end of the list, as long as there are such.
func join(out []Entry, timed bool) []Entry {
	for len(out) >= 2 {
		a, b := &out[len(out)-2], &out[len(out)-1]
		if a.same(b) { // a range that was there already, and one that was joined and ends later
			if b.until > a.until {
				*a = *b
			}
			out = out[:len(out)-1]
			continue
		}
		if a.six != b.six || a.bits != b.bits || b.bits < 2 || !b.right() || timed && a.until != b.until {
			break
		}
		sibling := *b
		if sibling.flip(); !sibling.same(a) {
			break
		}
		whole := *a
		whole.bits--
		if longer(b, a) < 0 {
			whole.words = b.words
		}
		whole.until, whole.id = min(a.until, b.until), max(a.id, b.id)
		out[len(out)-2] = whole
		out = out[:len(out)-1]
	}
	return out
}

// untangle makes timed entries, in order, free of overlaps for readers that refuse them. What
// a wider one outlasts is left out; a wider one that ends earlier is cut into pieces around
// what it covers. Where those would be too many, what it covers is left out until it is over,
// and is on the list from then on.
func untangle(list []Entry) []Entry {
	var holes []Entry
	out := make([]Entry, 0, len(list))
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[from].covers(&list[to]) {
			to++
		}
		if e := &list[from]; to == from+1 {
			out = append(out, *e)
		} else {
			holes = holes[:0]
			for _, inside := range list[from+1 : to] {
				if inside.until > e.until {
					holes = append(holes, inside)
				}
			}
			inner := untangle(holes)
			pieces, ok := without(nil, e, disjoint(slices.Clone(inner)))
			if ok {
				out = append(append(out, pieces...), inner...)
			} else {
				out = append(out, *e)
			}
		}
		from = to
	}
	slices.SortFunc(out, func(a, b Entry) int { return inOrder(&a, &b) })
	return out
}
