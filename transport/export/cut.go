package export

import (
	"slices"
	"strconv"
	"strings"

	"lapid/engine"
)

// limit keeps the best, of which there is no more than most (0: no limit), in order.
func (c *Choice) limit(most int, order engine.Priority) {
	n := len(c.Entries)
	if most <= 0 || n <= most {
		return
	}
	slices.SortFunc(c.Entries, func(a, b Entry) int { return c.compareRank(order, &a, &b) })
	c.Entries, c.Left.Limit = c.Entries[:most], c.Left.Limit+n-most
	c.Entries = sortEntries(c.Entries)
}

// Part is what of a list is asked for. The zero Part is all of it.
type Part struct {
	Page, Size int // the page, from 1, of so many entries; Size 0: all
	Shard, Of  int // the shard, from 1, of so many; Of 0: all
}

// defaultPage is how many entries a page has that has no size: as many as every device takes.
const defaultPage = 10_000

// ParsePart reads the words page, page_size and shard of a query; "" is a word that is not
// there. What cannot be read is engine.ErrInvalid.
func ParsePart(page, size, shard string) (p Part, err error) {
	number := func(name, text string) int {
		n, bad := strconv.Atoi(text)
		if (bad != nil || n < 1 || n > 1<<30) && err == nil {
			err = &engine.Error{Kind: engine.ErrInvalid, Text: name + " must be a number from 1 on"}
		}
		return n
	}
	if page != "" || size != "" {
		p.Page, p.Size = 1, defaultPage
		if page != "" {
			p.Page = number("page", page)
		}
		if size != "" {
			p.Size = number("page_size", size)
		}
	}
	if shard != "" {
		k, n, _ := strings.Cut(shard, "/")
		p.Shard, p.Of = number("shard", k), number("shard", n)
		if err == nil && p.Shard > p.Of {
			err = &engine.Error{Kind: engine.ErrInvalid, Text: "shard is K/N with K from 1 to N"}
		}
	}
	return p, err
}

// of is the part of entries in order, which are not changed.
func (p *Part) of(list []Entry) []Entry {
	if p.Of > 1 {
		all := list
		list = make([]Entry, 0, len(all)/p.Of+len(all)/16)
		for i := range all {
			if p.shardOf(&all[i]) == p.Shard {
				list = append(list, all[i])
			}
		}
	}
	if p.Size > 0 {
		from := min(int64(p.Page-1)*int64(p.Size), int64(len(list)))
		list = list[from:min(from+int64(p.Size), int64(len(list)))]
	}
	return list
}

// shardOf is where an entry belongs for ever.
func (p *Part) shardOf(e *Entry) int {
	h := e.hi ^ e.lo*0x9e3779b97f4a7c15 ^ uint64(e.bits)<<56
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return int((h^h>>31)%uint64(p.Of)) + 1
}
