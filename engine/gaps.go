package engine

import (
	"encoding/binary"
	"slices"
	"sort"
)

// gaps are ids below the next one that were never given to anything: room for what is
// brought from another server under the numbers it had there. The set never changes once
// a view may have it; editing makes a copy.
//
// It is a list of gaps, ascending and apart. What is brought in the order of its ids
// takes from the front of the last gap, which costs nothing; at most mostSpans are kept,
// and the oldest are forgotten beyond: what belonged there gets new numbers.
type gaps struct{ spans []gap }

// gap is the ids from first to last, last excluded.
type gap struct{ first, last uint64 }

const mostSpans = 1 << 18

// at returns the place of the gap that may hold id.
func (g *gaps) at(id uint64) int {
	return sort.Search(len(g.spans), func(i int) bool { return g.spans[i].last > id })
}

// has reports whether id was never given.
func (g *gaps) has(id uint64) bool {
	if g == nil {
		return false
	}
	i := g.at(id)
	return i < len(g.spans) && g.spans[i].first <= id
}

// copy is a set that may be edited.
func (g *gaps) copy() *gaps {
	if g == nil {
		return &gaps{}
	}
	return &gaps{slices.Clone(g.spans)}
}

// add says that the ids from first to last, last excluded, are free. They lie behind all
// that are.
func (g *gaps) add(first, last uint64) {
	if first >= last {
		return
	}
	if n := len(g.spans); n > 0 && g.spans[n-1].last >= first {
		g.spans[n-1].last = max(g.spans[n-1].last, last)
		return
	}
	g.spans = append(g.spans, gap{first, last})
	if n := len(g.spans) - mostSpans; n > 0 {
		g.spans = slices.Delete(g.spans, 0, n)
	}
}

// take says that id is given now.
func (g *gaps) take(id uint64) {
	i := g.at(id)
	if i == len(g.spans) || g.spans[i].first > id {
		return
	}
	s := g.spans[i]
	switch {
	case s.first == id && s.last == id+1:
		g.spans = slices.Delete(g.spans, i, i+1)
	case s.first == id:
		g.spans[i].first++
	case s.last == id+1:
		g.spans[i].last--
	default:
		g.spans[i].first = id + 1
		g.spans = slices.Insert(g.spans, i, gap{s.first, id})
		if n := len(g.spans) - mostSpans; n > 0 {
			g.spans = slices.Delete(g.spans, 0, n)
		}
	}
}

func (g *gaps) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(g.spans)))
	before := uint64(0)
	for _, s := range g.spans {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, s.first-before), s.last-s.first)
		before = s.last
	}
	return dst
}

// decode fails unless the spans ascend, are apart, and end before next.
func (g *gaps) decode(d *decoder, next uint64) {
	n := d.count(2)
	if n > mostSpans {
		d.fail()
		return
	}
	g.spans = make([]gap, 0, n)
	before := uint64(0)
	for i := range n {
		step, length := d.uvarint(), d.uvarint()
		if step >= next || length == 0 || length >= next || before+step+length > next || i > 0 && step == 0 {
			d.fail()
			return
		}
		s := gap{before + step, before + step + length}
		g.spans, before = append(g.spans, s), s.last
	}
}
