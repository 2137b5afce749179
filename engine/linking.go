package engine

import (
	"runtime"
	"sync"

	"lapid/index"
)

// While a start brings memory up, no record is found by its target: nothing that is read or
// replayed asks for that, and nothing is forgotten. So records are linked at its end, all at
// once, each index by itself. Records have their slots in the order in which they began,
// without gaps: that is the order of the chains.

// linkAll brings all records into the indexes by target.
func (s *state) linkAll() {
	s.unlinked = false
	last := int(s.records.End()) - 1
	if last != s.records.Len() {
		panic("BUG: a record was forgotten before the end of the start")
	}
	workers := max(1, min(runtime.GOMAXPROCS(0), last/linkedAtLeast))
	fill, others := index.NewHostsFill(workers), make([][]slot, workers)
	var sorting sync.WaitGroup
	for w := range workers {
		sorting.Go(func() {
			others[w] = s.sortTargets(fill.Part(w), slot(1+last*w/workers), slot(1+last*(w+1)/workers))
		})
	}
	sorting.Wait()
	sorting.Go(func() { fill.Into(&s.hosts, workers, s.crowd) })
	for _, list := range others {
		for _, n := range list {
			s.link(n, s.records.At(n))
		}
	}
	s.ranges.Publish()
	sorting.Wait()
}

// linkedAtLeast is how many records are worth a goroutine.
const linkedAtLeast = 1 << 14

// sortTargets hands the hosts among some records, up to end, to a part, and returns the others.
func (s *state) sortTargets(part *index.HostsPart, n, end slot) (others []slot) {
	for ; n < end; n++ {
		switch k := s.onOf(s.records.At(n)); {
		case k.flags&(flagAddress|flagV6) == flagAddress && k.bits == 32:
			part.Add4(uint32(k.lo), n)
		case k.host():
			part.Add(k.address(), n)
		default:
			others = append(others, n)
		}
	}
	return others
}

// crowd puts a record in front of the one that was the head of its target's chain.
func (s *state) crowd(n, before slot) {
	r := s.records.At(n)
	r.next.Store(uint32(before))
	r.mark(markCrowded)
	s.records.At(before).mark(markCrowded)
}
