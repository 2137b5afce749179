package corpus

import (
	"iter"
	"net/netip"
	"time"
)

// MaxSize is the largest number of entries a Set may have: beyond it the hosting
// networks are full.
const MaxSize = 64_000_000

// Entry is one decision to be.
type Entry struct {
	Prefix   netip.Prefix // a host has all bits
	Origin   string
	Scenario string
	Type     string
	Duration time.Duration
}

// Scope names the entry's scope as the contract spells it.
func (e *Entry) Scope() string {
	if e.Prefix.IsSingleIP() {
		return "Ip"
	}
	return "Range"
}

// AppendValue appends the address or range as text.
func (e *Entry) AppendValue(dst []byte) []byte {
	if e.Prefix.IsSingleIP() {
		return e.Prefix.Addr().AppendTo(dst)
	}
	return e.Prefix.AppendTo(dst)
}

// Set is a decision set. It is immutable and may be used from several goroutines.
type Set struct {
	seed    uint64
	size    uint64
	space   *space
	ranges4 *lengths
	ranges6 *lengths
}

// New makes the set of a seed. Of two sets with one seed the smaller is the
// beginning of the larger. A size below 0 or above MaxSize panics.
func New(size int, seed uint64) *Set {
	if size < 0 || size > MaxSize {
		panic("corpus: size out of bounds")
	}
	sp := newSpace(seed)
	return &Set{
		seed: seed, size: uint64(size), space: sp,
		ranges4: newLengths(shares4, 32, sp, hash(seed, 7)),
		ranges6: newLengths(shares6, 128, sp, hash(seed, 8)),
	}
}

// Len gives the number of entries.
func (s *Set) Len() int { return int(s.size) }

// Of a hundred entries these many are of a kind, in the order of their places
// once kinds are spread by a step that shares no divisor with a hundred.
const (
	hosts4  = 90
	hosts6  = 5
	ranges4 = 4
	stride  = 37
)

// At gives entry i, from 0. Its cost is a few hundred nanoseconds.
func (s *Set) At(i int) Entry {
	n := uint64(i)
	e := Entry{Prefix: s.prefix(n)}
	r := hash(s.seed, n)
	e.Scenario = scenarios[r%cycle]
	r /= cycle
	e.Origin = origins[r%cycle]
	r /= cycle
	e.Type = types[r%cycle]
	e.Duration = duration(e.Origin, r/cycle)
	return e
}

func (s *Set) prefix(n uint64) netip.Prefix {
	hundred, place := n/100, n*stride%100
	switch {
	case place < hosts4:
		return whole(addr4(s.space.host4(hundred*hosts4 + place)))
	case place < hosts4+hosts6:
		return whole(s.space.host6(hundred*hosts6 + place - hosts4))
	case place < hosts4+hosts6+ranges4:
		return s.ranges4.prefix(hundred*ranges4 + place - hosts4 - hosts6)
	}
	return s.ranges6.prefix(hundred)
}

func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// All walks the entries in order.
func (s *Set) All() iter.Seq[Entry] { return s.Part(0, s.Len()) }

// Part walks the entries from first to before last.
func (s *Set) Part(first, last int) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := first; i < last; i++ {
			if !yield(s.At(i)) {
				return
			}
		}
	}
}

// Contains tells whether the set holds a as a host, and how many of its ranges
// hold a. It needs no table.
func (s *Set) Contains(a netip.Addr) (host bool, ranges int) {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		rank, ok := s.space.rank4(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
		return ok && s.holds(rank, hosts4, 0), s.ranges4.covering(a, func(rank uint64) bool { return s.holds(rank, ranges4, hosts4+hosts6) })
	}
	rank, ok := s.space.rank6(a)
	return ok && s.holds(rank, hosts6, hosts4), s.ranges6.covering(a, func(rank uint64) bool { return s.holds(rank, 1, hosts4+hosts6+ranges4) })
}

// holds tells whether rank of a kind is among the first size entries. The kind
// has so many of a hundred, from place first on.
func (s *Set) holds(rank, count, first uint64) bool {
	hundred, place := rank/count, first+rank%count
	return hundred*100+position(place) < s.size
}

// position is the inverse of the spreading: 37·73 is 1 modulo 100.
func position(place uint64) uint64 { return place * 73 % 100 }
