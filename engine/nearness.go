package engine

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

// nearness says of most addresses in a few nanoseconds that no item of an allowlist is near
// them: that of a million decisions each is asked costs little. It may say that one is
// where none is, never the other way round. Marks are set before readers are led to an
// item, and never taken away; one writer, any number of readers.
//
//	IPv4   a bit for each /16 that an item lies in or contains
//	IPv6   a bit by the hash of the /48 that an item lies in; wide, when one is larger
//
// An item and a prefix of no more than the size of such a block that have anything in
// common have their block in common.
type nearness struct {
	v4, v6       [nearWords]atomic.Uint64
	wide4, wide6 atomic.Bool // an item is larger than can be marked
}

const (
	nearWords  = 1 << 16 / 64
	blockBits4 = 16
	blockBits6 = 48
	mappedBits = 96 // bits before the address of version 4 in a mapped one
)

// mark notes an item. Called by the writer.
func (n *nearness) mark(p netip.Prefix) {
	bits := p.Bits()
	if p.Addr().Is4In6() {
		if bits -= mappedBits; bits < 0 {
			n.wide4.Store(true)
			n.wide6.Store(true)
			return
		}
	}
	if coversMapped(p) {
		n.wide4.Store(true)
	}
	switch a := p.Addr().Unmap(); {
	case a.Is4():
		first := int(block4(a)) &^ (1<<max(blockBits4-bits, 0) - 1)
		for b := range 1 << max(blockBits4-bits, 0) {
			setBit(&n.v4, uint16(first+b))
		}
	case bits < blockBits6:
		n.wide6.Store(true)
	default:
		setBit(&n.v6, block6(a))
	}
}

// may reports whether an item may contain p or lie inside it.
func (n *nearness) may(p netip.Prefix) bool {
	bits := p.Bits()
	if p.Addr().Is4In6() {
		bits -= mappedBits
	}
	a := p.Addr().Unmap()
	if a.Is4() {
		return bits < blockBits4 || n.wide4.Load() || hasBit(&n.v4, block4(a))
	}
	return bits < blockBits6 || n.wide6.Load() || hasBit(&n.v6, block6(a)) || coversMapped(p)
}

// coversMapped reports whether a prefix of version 6 contains every mapped address.
func coversMapped(p netip.Prefix) bool {
	return p.Addr().Is6() && p.Bits() < mappedBits && p.Contains(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}))
}

func block4(a netip.Addr) uint16 {
	b := a.As4()
	return binary.BigEndian.Uint16(b[:])
}

func block6(a netip.Addr) uint16 {
	b := a.As16()
	return uint16(scramble(binary.BigEndian.Uint64(b[:]) >> (64 - blockBits6)))
}

func setBit(words *[nearWords]atomic.Uint64, bit uint16) { words[bit/64].Or(1 << (bit % 64)) }

func hasBit(words *[nearWords]atomic.Uint64, bit uint16) bool {
	return words[bit/64].Load()&(1<<(bit%64)) != 0
}
