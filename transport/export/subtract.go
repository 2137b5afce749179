package export

import "sort"

// mostPieces is how many pieces a range may be cut into. One that would be in more is left
// out as a whole and counted: what is allowlisted stays free.
const mostPieces = 4096

// subtract takes holes, in order and apart from each other, out of the entries: what is left
// of each is exactly what no hole covers.
func (c *Choice) subtract(holes []Entry) {
	out, copied := c.Entries[:0], false
	for i := range c.Entries {
		e := c.Entries[i]
		near := overlapping(holes, &e)
		if len(near) == 0 {
			out = append(out, e)
			continue
		}
		c.Left.Allowlisted++
		if !copied { // one may become many: what is not read yet must stay
			out, copied = append(make([]Entry, 0, len(c.Entries)+len(holes)), out...), true
		}
		from := len(out)
		pieces, ok := without(out, &e, near)
		if out = pieces; !ok {
			out = out[:from]
			c.Left.Unsplit++
		}
	}
	c.Entries = out
	if copied {
		c.Entries = sortEntries(c.Entries) // a piece may be what another entry is, or stand behind it
		c.once()
	}
}

// overlapping are the holes that have an address in common with e.
func overlapping(holes []Entry, e *Entry) []Entry {
	// One that covers e begins no later than e, and is the last that does so, for they are apart.
	from := sort.Search(len(holes), func(i int) bool { return holes[i].covers(e) || inOrder(&holes[i], e) >= 0 })
	to := from
	for to < len(holes) && (holes[to].covers(e) || e.covers(&holes[to])) {
		to++
	}
	return holes[from:to]
}

// without appends what of e no hole covers, in as few pieces as possible; false when there
// are too many.
func without(dst []Entry, e *Entry, holes []Entry) ([]Entry, bool) {
	from := len(dst)
	var cut func(Entry, []Entry) bool
	cut = func(part Entry, holes []Entry) bool {
		if len(holes) == 0 {
			if len(dst)-from >= mostPieces {
				return false
			}
			dst = append(dst, part)
			return true
		}
		if holes[0].covers(&part) {
			return true
		}
		left, right := part.halves()
		at := sort.Search(len(holes), func(i int) bool { return inOrder(&holes[i], &right) >= 0 })
		return cut(left, holes[:at]) && cut(right, holes[at:])
	}
	ok := cut(*e, holes)
	return dst, ok
}
