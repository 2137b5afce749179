package engine

import "math"

// contest tells by its place in a page's order alone whether a row may be on the page: behind the cursor,
// and in front of the last row that the page has room for. It is a few comparisons of numbers; a text is
// compared once for each number that it has, and again when that last row is another.
//
// What it turns away is nowhere on the page. What it lets through pager.wants is asked about. It takes eight
// bytes for each number of a text that was met.
type contest struct {
	flip     uint64 // all ones where the highest come first: of numbers that are turned around the lowest do
	from     rival
	last     rival
	turn     uint32 // of last; outlooks of another are not known
	outlooks byNumber[outlook]
}

// rival is a row that others are compared with.
type rival struct {
	n, m, id uint64 // turned around as the contest is; no id is 0 or the highest number
	row      *row   // nil: there is none yet
}

// outlook is the place of all rows with one key.
type outlook struct {
	turn uint32
	// from is above 0 when they are behind the cursor, last below 0 when they are in front of the last row;
	// at 0 their ids decide.
	from, last int8
}

// begin is of a page for which nothing was found yet.
func (c *contest) begin(p *pager) {
	c.turn = 1
	if p.falling {
		c.flip = math.MaxUint64
	}
	c.last = rival{n: math.MaxUint64, m: math.MaxUint64, id: math.MaxUint64}
	if p.from != nil {
		c.from = c.rival(p.from)
	}
}

func (c *contest) rival(r *row) rival {
	return rival{r.key.n ^ c.flip, r.key.m ^ c.flip, r.id ^ c.flip, r}
}

// narrow is called when the page is full and last is the last row of it.
func (c *contest) narrow(last *row) {
	c.last = c.rival(last)
	c.turn++
}

// admits is for keys without a text.
func (c *contest) admits(n, m, id uint64) bool {
	n, m, id = n^c.flip, m^c.flip, id^c.flip
	return c.from.before(n, m, id) && !c.last.before(n, m, id)
}

// before reports whether it comes before a row with these numbers; the same row does not.
func (r *rival) before(n, m, id uint64) bool {
	if r.n != n {
		return r.n < n
	}
	if r.m != m {
		return r.m < m
	}
	return r.id < id
}

// weigh finds out about a key.
func (c *contest) weigh(at *outlook, k *sortKey) {
	beside := func(r *rival) int8 {
		order := k.compare(&r.row.key)
		if c.flip != 0 {
			order = -order
		}
		return int8(order)
	}
	*at = outlook{turn: c.turn, from: 1, last: -1}
	if c.from.row != nil {
		at.from = beside(&c.from)
	}
	if c.last.row != nil {
		at.last = beside(&c.last)
	}
}

// lets is for rows whose key was weighed.
func (c *contest) lets(at *outlook, id uint64) bool {
	return (at.from > 0 || at.from == 0 && c.from.id < id^c.flip) && (at.last < 0 || at.last == 0 && id^c.flip < c.last.id)
}
