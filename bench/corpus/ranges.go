package corpus

import (
	"encoding/binary"
	"net/netip"
)

// share is how many of a thousand ranges have a length.
type share struct{ length, count int }

var (
	shares4 = []share{{24, 700}, {22, 90}, {23, 60}, {20, 50}, {21, 40}, {28, 20}, {26, 10}, {19, 15}, {18, 7}, {17, 4}, {16, 4}}
	shares6 = []share{{64, 560}, {48, 240}, {56, 100}, {32, 80}, {40, 20}}
)

// cycle is the number of ranges after which the mix of lengths repeats.
const cycle = 1000

// lengths lays the ranges of one family out: rank to length and rank within the
// length, and back.
type lengths struct {
	at        [cycle]share // of a position: its kind of length, and how many of that kind come before it
	positions [][]int      // of a kind: where it stands
	kinds     []share
	family    int // bits of the family's address
	walks     []permutation
	space     *space
}

func newLengths(kinds []share, family int, s *space, seed uint64) *lengths {
	l := &lengths{kinds: kinds, family: family, space: s}
	var line []int
	for i, k := range kinds {
		width := k.length
		if family == 128 {
			width -= 3 // the three bits of global unicast stay
		}
		l.walks = append(l.walks, newPermutation(uint(width), hash(seed, uint64(100+i))))
		for range k.count {
			line = append(line, i)
		}
	}
	order := newPermutation(10, hash(seed, 99))
	l.positions = make([][]int, len(kinds))
	for i := range l.at {
		kind := line[order.below(uint64(i), cycle)]
		l.at[i] = share{kind, len(l.positions[kind])}
		l.positions[kind] = append(l.positions[kind], i)
	}
	return l
}

// prefix gives the range of a rank.
func (l *lengths) prefix(rank uint64) netip.Prefix {
	p := l.at[rank%cycle]
	within := rank/cycle*uint64(l.kinds[p.length].count) + uint64(p.count)
	return l.place(p.length, within)
}

// place gives the range of one length by its rank within that length.
func (l *lengths) place(kind int, rank uint64) netip.Prefix {
	length := uint(l.kinds[kind].length)
	if l.family == 128 {
		high := (1<<(length-3) | l.walks[kind].at(rank)) << (64 - length)
		return netip.PrefixFrom(addr6(high, 0), int(length))
	}
	x := l.walks[kind].below(rank, uint64(len(l.space.octets))<<(length-8))
	octet := l.space.octets[x>>(length-8)]
	rest := uint32(x&(1<<(length-8)-1)) << (32 - length)
	return netip.PrefixFrom(addr4(uint32(octet)<<24|rest), int(length))
}

// covering counts those ranges around a whose rank the set holds.
func (l *lengths) covering(a netip.Addr, holds func(rank uint64) bool) (count int) {
	for kind, k := range l.kinds {
		within, ok := l.rank(kind, a)
		if !ok {
			continue
		}
		all := uint64(k.count)
		if holds(within/all*cycle + uint64(l.positions[kind][within%all])) {
			count++
		}
	}
	return count
}

// rank is the inverse of place, for the range of that length around a.
func (l *lengths) rank(kind int, a netip.Addr) (uint64, bool) {
	length := uint(l.kinds[kind].length)
	if l.family == 128 {
		b := a.As16()
		high := binary.BigEndian.Uint64(b[:8])
		if high>>61 != 1 {
			return 0, false
		}
		return l.walks[kind].back(high >> (64 - length) & (1<<(length-3) - 1)), true
	}
	b := a.As4()
	octet := l.space.place[b[0]]
	if octet < 0 {
		return 0, false
	}
	x := uint64(octet)<<(length-8) | uint64(binary.BigEndian.Uint32(b[:])&0xffffff>>(32-length))
	return l.walks[kind].backBelow(x, uint64(len(l.space.octets))<<(length-8)), true
}
