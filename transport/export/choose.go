package export

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"lapid/engine"
)

// Choice is what is on a list at one moment: entries in order, none twice.
type Choice struct {
	Entries  []Entry
	Revision engine.Revision // of the view
	Now      int64           // Unix nanoseconds

	// Next is when it is another without a commit: something of it ends, or an item of an
	// allowlist does. 0: never.
	Next int64
	// Left is what was left out, and why.
	Left Left
	// Total is how many entries there are before the limit, and before pages and shards.
	Total int

	words []Words
	room  func(bytes int64) bool // whether so much may be taken in all; nil: whatever it takes
}

// entryBytes is what an entry takes while a list is chosen: beside it stand the block it was copied
// from, or the slice it is put in order in with its digits.
const entryBytes = int64(unsafe.Sizeof(Entry{}))*2 + 2*int64(unsafe.Sizeof(digits{}))

// Left counts what a list lacks.
type Left struct {
	OtherScopes int `json:"other_scopes"` // decisions that name no address
	Allowlisted int `json:"allowlisted"`  // decisions that were left out or cut
	Unsplit     int `json:"unsplit"`      // ranges that would be in too many pieces
	Limit       int `json:"limit"`        // entries beyond the limit
	Unfit       int `json:"unfit"`        // entries that the format has no words for: a family, ranges
	Brief       int `json:"brief"`        // entries that end within seconds
}

// Omitted is how many entries a device does not get that it should have.
func (l *Left) Omitted() int { return l.Unsplit + l.Limit + l.Unfit }

// ban is what is exported unless something else is asked for.
const ban = "ban"

// batch is how many decisions are looked at at once.
const batch = 1024

// Choose finds out what is on a list at now, before anything is joined or cut. The entries
// are the caller's. What is in the view only is looked at, so it may be kept for as long as
// this takes.
func Choose(v *engine.View, x *engine.Export, now int64) *Choice {
	c, _ := choose(v, x, now, nil) // there is room
	return c
}

// choose is Choose that asks before it takes memory, with all that it will have: ErrTooLarge when
// room refuses.
func choose(v *engine.View, x *engine.Export, now int64, room func(bytes int64) bool) (*Choice, error) {
	c := &Choice{Revision: v.Revision(), Now: now, room: room}
	if !c.collect(v, x) {
		return nil, ErrTooLarge
	}
	c.Entries = sortEntries(c.Entries)
	c.once()
	c.exclude(v, x)
	c.Total = len(c.Entries)
	return c, nil
}

// sightOf are the decisions that a definition admits, whatever their addresses.
func sightOf(x *engine.Export) *engine.Sight {
	sight := &engine.Sight{Types: x.Types, Origins: x.Origins, Containing: x.Containing}
	if len(sight.Types) == 0 {
		sight.Types = []string{ban}
	}
	return sight
}

// collect takes the decisions that the definition admits; false when there is no room for them.
func (c *Choice) collect(v *engine.View, x *engine.Export) bool {
	q := &engine.Query{}
	q.Reset()
	q.Now, q.Sight = c.Now, sightOf(x)
	found := map[engine.Wording]uint32{}
	var last engine.Wording
	var number uint32
	var blocks [][]Entry
	whole, buf := 0, make([]engine.Decision, batch)
	s := v.Scan(q)
	for list := s.Running(buf); len(list) > 0; list = s.Running(buf) {
		if cap(c.Entries)-len(c.Entries) < 2*batch {
			whole += len(c.Entries)
			if blocks = append(blocks, c.Entries); c.room != nil && !c.room(int64(whole+blockOf(whole))*entryBytes) {
				clear(buf)
				return false
			}
			c.Entries = make([]Entry, 0, blockOf(whole)) // what is there is not copied, however much it is
		}
		for _, d := range list {
			p := d.Target()
			if !p.IsValid() {
				c.Left.OtherScopes++
				continue
			}
			if w := d.Wording(); w != last || len(c.words) == 0 {
				last, number = w, c.number(found, w, d)
			}
			e := entryOf(p)
			if x.Family == engine.IPv4 && e.six || x.Family == engine.IPv6 && !e.six {
				continue
			}
			e.until, e.id, e.words = d.Until(), uint64(d.ID()), number
			c.ends(e.until)
			if e.bits == 0 { // no device takes it
				left, right := e.halves()
				c.Entries = append(c.Entries, left, right)
				continue
			}
			c.Entries = append(c.Entries, e)
		}
	}
	clear(buf)
	c.Entries = slices.Concat(append(blocks, c.Entries)...)
	return true
}

// blockOf is how many entries are taken at once behind so many.
func blockOf(n int) int { return min(max(n, 4*batch), 64*batch) }

// number is where the words of a decision stand.
func (c *Choice) number(found map[engine.Wording]uint32, w engine.Wording, d engine.Decision) uint32 {
	w.Scope = 0
	if n, ok := found[w]; ok {
		return n
	}
	n := uint32(len(c.words))
	origin := strings.Clone(d.Origin().S)
	c.words = append(c.words, Words{Type: strings.Clone(d.Type().S), Origin: origin, Scenario: strings.Clone(d.Scenario().S), rank: rankOf(origin)})
	found[w] = n
	return n
}

// ends notes that something is over at a moment.
func (c *Choice) ends(at int64) {
	if at > c.Now && (c.Next == 0 || at < c.Next) {
		c.Next = at
	}
}

// once leaves of each target the first, which ends last.
func (c *Choice) once() {
	c.Entries = slices.CompactFunc(c.Entries, func(a, b Entry) bool { return a.same(&b) })
}

// exclude cuts allowlisted addresses out.
func (c *Choice) exclude(v *engine.View, x *engine.Export) {
	if x.NoAllowlists {
		return
	}
	var holes []Entry
	for _, l := range v.Allowlists() {
		if len(x.Allowlists) > 0 && !slices.Contains(x.Allowlists, l.Name) {
			continue
		}
		for i := range l.Items {
			if it := &l.Items[i]; !it.Expired(c.Now) && it.Prefix.IsValid() {
				holes = append(holes, entryOf(it.Prefix))
				c.ends(it.ExpiresAt)
			}
		}
	}
	if len(holes) == 0 {
		return
	}
	holes = sortEntries(holes)
	c.subtract(disjoint(holes))
}

// disjoint leaves out what another covers, of entries in order.
func disjoint(list []Entry) []Entry {
	out := list[:0]
	for i := range list {
		if n := len(out); n == 0 || !out[n-1].covers(&list[i]) {
			out = append(out, list[i])
		}
	}
	return out
}

// Words gives the texts of an entry.
func (c *Choice) Words(e *Entry) *Words { return &c.words[e.words] }

// Missing names the allowlists of a definition that are not there: nothing is left out for
// them.
func Missing(v *engine.View, x *engine.Export) (names []string) {
	for _, name := range x.Allowlists {
		if v.Allowlist(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// Finish joins and cuts what was chosen as the definition says.
func (c *Choice) Finish(f *Format, x *engine.Export) {
	c.fit(f, x)
	if x.Aggregate && !f.HostsOnly { // to who knows hosts alone a range is nothing
		c.Entries = aggregate(c.Entries, f.timed(x) || f.Ends, int64(f.slack(x)))
	}
	c.Total = len(c.Entries)
	c.limit(f.most(x), x.Order)
}

// at is a part of a finished choice at a moment that is no earlier: without what has ended since, in a
// format that tells what is left. The entries of the choice are not changed, and may be shared.
func (c *Choice) at(f *Format, x *engine.Export, part *Part, now int64) *Choice {
	p := *c
	p.Entries = part.of(c.Entries)
	if !f.timed(x) || now <= c.Now {
		return &p
	}
	p.Now = now
	brief := func(e Entry) bool { return e.until-now < int64(briefest) }
	if slices.ContainsFunc(p.Entries, brief) {
		p.Entries = slices.DeleteFunc(slices.Clone(p.Entries), brief)
	}
	return &p
}

// fit leaves out what the format has no words for.
func (c *Choice) fit(f *Format, x *engine.Export) {
	timed, family := f.timed(x), f.family(x)
	kept := c.Entries[:0]
	for i := range c.Entries {
		e := c.Entries[i]
		switch {
		case timed && e.until-c.Now < int64(briefest):
			c.Left.Brief++
			continue
		case family == engine.IPv4 && e.six, family == engine.IPv6 && !e.six:
			c.Left.Unfit++
			continue
		case f.HostsOnly && !e.host():
			c.Left.Unfit++
			continue
		}
		kept = append(kept, e)
	}
	c.Entries = kept
}

// Digest is the same for equal lists of a format, on every server and for ever, and another
// for others.
func (c *Choice) Digest(f *Format, x *engine.Export) string {
	a, b := uint64(0x9e3779b97f4a7c15), uint64(0xc2b2ae3d27d4eb4f)
	mix := func(n uint64) {
		a = (a ^ n) * 0xff51afd7ed558ccd
		a ^= a >> 32
		b = (b<<27 | b>>37) + n
		b *= 0x94d049bb133111eb
	}
	texts := make([]uint64, len(c.words))
	if f.Words {
		for i := range c.words {
			texts[i] = textDigest(c.words[i].Type + "\x00" + c.words[i].Origin + "\x00" + c.words[i].Scenario)
		}
	}
	ends, longest := f.timed(x) || f.Ends, int64(0)
	if f.timed(x) {
		longest = int64(f.Longest)
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		mix(e.hi)
		if e.six {
			mix(e.lo)
		}
		mix(uint64(e.bits) | texts[e.words]<<8)
		if ends {
			mix(uint64(c.told(e.until, longest)))
		}
	}
	mix(uint64(len(c.Entries)))
	mix(uint64(c.Left.Omitted()))
	return fmt.Sprintf("%016x%016x", a, b)
}

// told is an end as far as the list tells it. One beyond the longest time that its reader takes is
// the same until half of that is over; then the list is another, so that a device that is told that
// nothing has changed does not let go of what is banned for longer.
func (c *Choice) told(until, longest int64) int64 {
	if longest == 0 || until-c.Now <= longest {
		return until
	}
	half := longest / 2
	turn := c.Now / half
	c.ends((turn + 1) * half)
	c.ends(until - longest)
	return -turn
}

func textDigest(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// compareRank is how an order puts two entries: what decided nearer to home first, ranges
// before hosts, and so on.
func (c *Choice) compareRank(order engine.Priority, a, b *Entry) int {
	ranges := 0
	if a.host() != b.host() {
		if ranges = 1; b.host() {
			ranges = -1
		}
	}
	first := 0
	switch order {
	case engine.LocalFirst:
		first = cmp.Compare(c.words[a.words].rank, c.words[b.words].rank)
	case engine.Newest:
		return cmp.Or(cmp.Compare(b.id, a.id), ranges, inOrder(a, b))
	}
	return cmp.Or(first, ranges, longer(a, b), inOrder(a, b))
}
