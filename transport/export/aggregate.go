package export

import "slices"

// aggregate joins entries in order, exactly: it covers no address that none of them covers.
// What a wider one covers is left out, and two halves of a range become the range, again and
// again. Where entries have their ends told (timed) it is exact at every moment: only what
// ends no later than what covers it is left out, and only halves that end at once are joined.
// Nothing becomes as wide as /0.
//
// With slack (nanoseconds) halves are joined too of which all that is in them ends within less than
// that of each other; the range ends with the first, so that nothing is on the list longer than it was
// decided.
func aggregate(list []Entry, timed bool, slack int64) []Entry {
	j := joining{out: list[:0], timed: timed, slack: slack} // never longer than what was read
	var around []Entry
	for i := range list {
		e := list[i]
		for len(around) > 0 && !around[len(around)-1].covers(&e) {
			around = around[:len(around)-1]
		}
		if slices.ContainsFunc(around, func(a Entry) bool { return !timed || a.until >= e.until }) {
			continue
		}
		j.add(e)
		if top := j.out[len(j.out)-1]; !top.host() {
			around = append(dropInside(around, &top), top)
		}
	}
	return j.out
}

// joining is a list on the way.
type joining struct {
	out    []Entry
	latest []int64 // with slack: when the last of what was joined to each was to end
	timed  bool
	slack  int64
}

// add appends an entry, and makes a range of its two halves at the end of the list, as long as there
// are such.
func (j *joining) add(e Entry) {
	j.out = append(j.out, e)
	if j.slack > 0 {
		j.latest = append(j.latest, e.until)
	}
	for n := len(j.out); n >= 2; n = len(j.out) {
		a, b := &j.out[n-2], &j.out[n-1]
		if a.same(b) { // a range that was there already, and one that was joined and ends later
			if b.until > a.until {
				*a = *b
			}
			if j.slack > 0 {
				j.latest[n-2] = max(j.latest[n-2], j.latest[n-1])
			}
			j.shorten(n - 1)
			continue
		}
		if a.six != b.six || a.bits != b.bits || b.bits < 2 || !b.right() || !j.together(n) {
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
		j.out[n-2] = whole
		if j.slack > 0 {
			j.latest[n-2] = max(j.latest[n-2], j.latest[n-1])
		}
		j.shorten(n - 1)
	}
}

// together reports whether the last two of n end as if they were one.
func (j *joining) together(n int) bool {
	a, b := j.out[n-2].until, j.out[n-1].until
	if !j.timed || a == b {
		return true
	}
	return j.slack > 0 && max(j.latest[n-2], j.latest[n-1])-min(a, b) < j.slack
}

func (j *joining) shorten(n int) {
	j.out = j.out[:n]
	if j.slack > 0 {
		j.latest = j.latest[:n]
	}
}

// dropInside takes out of the entries around the ones that a joined one stands for.
func dropInside(around []Entry, top *Entry) []Entry {
	for len(around) > 0 && top.covers(&around[len(around)-1]) {
		around = around[:len(around)-1]
	}
	return around
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
