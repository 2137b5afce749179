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
// takes from the front of the last gap, which costs nothing; at most mostGaps are kept,
// and the oldest are forgotten beyond: what belonged there gets new numbers.
type gaps struct{ list []gap }

// gap is the ids from first to last, last excluded.
type gap struct{ first, last uint64 }

const mostGaps = 1 << 18

// at returns the place of the gap that may hold id.
func (g *gaps) at(id uint64) int {
	return sort.Search(len(g.list), func(i int) bool { return g.list[i].last > id })
}

// has reports whether id was never given.
func (g *gaps) has(id uint64) bool {
	if g == nil {
		return false
	}
	i := g.at(id)
	return i < len(g.list) && g.list[i].first <= id
}

// copy is a set that may be edited.
func (g *gaps) copy() *gaps {
	if g == nil {
		return &gaps{}
	}
	return &gaps{slices.Clone(g.list)}
}

// add says that the ids from first to last, last excluded, are free. They lie behind all
// that are.
func (g *gaps) add(first, last uint64) {
	if first >= last {
		return
	}
	if n := len(g.list); n > 0 && g.list[n-1].last >= first {
		g.list[n-1].last = max(g.list[n-1].last, last)
		return
	}
	g.list = append(g.list, gap{first, last})
	if n := len(g.list) - mostGaps; n > 0 {
		g.list = slices.Delete(g.list, 0, n)
	}
}

// take says that id is given now.
func (g *gaps) take(id uint64) {
	i := g.at(id)
	if i == len(g.list) || g.list[i].first > id {
		return
	}
	s := g.list[i]
	switch {
	case s.first == id && s.last == id+1:
		g.list = slices.Delete(g.list, i, i+1)
	case s.first == id:
		g.list[i].first++
	case s.last == id+1:
		g.list[i].last--
	default:
		g.list[i].first = id + 1
		g.list = slices.Insert(g.list, i, gap{s.first, id})
		if n := len(g.list) - mostGaps; n > 0 {
			g.list = slices.Delete(g.list, 0, n)
		}
	}
}

func (g *gaps) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(g.list)))
	before := uint64(0)
	for _, s := range g.list {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, s.first-before), s.last-s.first)
		before = s.last
	}
	return dst
}

// decode fails unless the gaps ascend, are apart, and end before next.
func (g *gaps) decode(d *decoder, next uint64) {
	n := d.count(2)
	if n > mostGaps {
		d.fail()
		return
	}
	g.list = make([]gap, 0, n)
	before := uint64(0)
	for i := range n {
		step, length := d.uvarint(), d.uvarint()
		if step >= next || length == 0 || length >= next || before+step+length > next || i > 0 && step == 0 {
			d.fail()
			return
		}
		s := gap{before + step, before + step + length}
		g.list, before = append(g.list, s), s.last
	}
}
