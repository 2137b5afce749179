package corpus

import (
	"math/rand/v2"
	"net/netip"
)

// Kind says what an address asked for finds in a set.
type Kind string

// An address asked for.
const (
	Hit    Kind = "hit"    // is a host of the set and in none of its ranges: one decision
	Miss   Kind = "miss"   // is in nothing: none
	Inside Kind = "inside" // is in exactly one range, and no host: one decision
)

// Kinds in the order of tables.
var Kinds = []Kind{Hit, Miss, Inside}

// Draw gives an address of a kind. Nineteen of twenty hits and misses and four of five
// inside are IPv4, as the set's entries are; half of the misses stand among the
// hosting providers, beside hits. A set too small to have what is asked (fewer
// than a hundred entries) panics.
func (s *Set) Draw(kind Kind, r *rand.Rand) netip.Addr {
	if s.size < 100 {
		panic("corpus: too small a set to draw from")
	}
	for {
		a := s.candidate(kind, r)
		host, ranges := s.Contains(a)
		switch {
		case kind == Hit && host && ranges == 0,
			kind == Miss && !host && ranges == 0,
			kind == Inside && !host && ranges == 1:
			return a
		}
	}
}

func (s *Set) candidate(kind Kind, r *rand.Rand) netip.Addr {
	hundreds := s.size / 100
	switch kind {
	case Hit:
		if r.IntN(20) == 0 {
			return s.space.host6(r.Uint64N(hundreds * hosts6))
		}
		return addr4(s.space.host4(r.Uint64N(hundreds * hosts4)))
	case Miss:
		switch n := r.IntN(20); {
		case n == 0: // in the provider's network of some host, never drawn as one
			return s.space.host6(1<<40 + r.Uint64N(1<<40))
		case n%2 == 0:
			return addr4(s.space.hosted(r.Uint64N(hostingNetworks << 12)))
		}
		octet := s.space.octets[r.IntN(len(s.space.octets))]
		return addr4(uint32(octet)<<24 | r.Uint32()>>8)
	}
	if r.IntN(5) == 0 {
		return within(s.ranges6.prefix(r.Uint64N(hundreds)), r)
	}
	return within(s.ranges4.prefix(r.Uint64N(hundreds*ranges4)), r)
}

// within draws an address from a range.
func within(p netip.Prefix, r *rand.Rand) netip.Addr {
	b := p.Addr().As16()
	first := p.Bits()
	if p.Addr().Is4() {
		first += 96
	}
	for i := first; i < 128; i++ {
		b[i/8] |= byte(r.Uint32()&1) << (7 - i%8)
	}
	return netip.AddrFrom16(b).Unmap()
}

// Table is a list of addresses as text, packed, for a generator's inner loop.
type Table struct {
	text []byte
	ends []uint32
}

// NewTable draws count addresses of a kind.
func (s *Set) NewTable(kind Kind, count int, seed uint64) *Table {
	r := rand.New(rand.NewPCG(seed, 1))
	t := new(Table)
	for range count {
		t.Add(s.Draw(kind, r))
	}
	return t
}

// Add appends an address.
func (t *Table) Add(a netip.Addr) {
	t.text = a.AppendTo(t.text)
	t.ends = append(t.ends, uint32(len(t.text)))
}

// Len gives the number of addresses.
func (t *Table) Len() int { return len(t.ends) }

// At gives the text of address i. The bytes are the table's.
func (t *Table) At(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.text[from:t.ends[i]]
}
