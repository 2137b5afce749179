package export

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"lapid/engine"
)

// Entry is an address or a range of a list, in its canonical form.
type Entry struct {
	hi, lo uint64 // the address from its first bit on; an IPv4 one has 32 bits of hi
	until  int64  // Unix nanoseconds
	id     uint64 // of the decision, the newest of those that were joined
	words  uint32 // of Choice.words
	bits   uint8
	six    bool
}

// entryOf is a prefix as an entry.
func entryOf(p netip.Prefix) Entry {
	a, bits := p.Addr(), p.Bits()
	if a.Is4In6() && bits >= 96 {
		a, bits = a.Unmap(), bits-96
	}
	e := Entry{bits: uint8(bits), six: a.Is6()}
	if e.six {
		b := a.As16()
		e.hi, e.lo = binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	} else {
		b := a.As4()
		e.hi = uint64(binary.BigEndian.Uint32(b[:])) << 32
	}
	hi, lo := mask(e.bits)
	e.hi, e.lo = e.hi&hi, e.lo&lo
	return e
}

// Prefix is the entry as a masked prefix.
func (e *Entry) Prefix() netip.Prefix { return netip.PrefixFrom(e.first(), int(e.bits)) }

// Until is when it ends, Unix nanoseconds.
func (e *Entry) Until() int64 { return e.until }

// first is its first address.
func (e *Entry) first() netip.Addr { return e.address(e.hi, e.lo) }

// last is its last address.
func (e *Entry) last() netip.Addr {
	hi, lo := mask(e.bits)
	return e.address(e.hi|^hi, e.lo|^lo)
}

func (e *Entry) address(hi, lo uint64) netip.Addr {
	if !e.six {
		return netip.AddrFrom4([4]byte{byte(hi >> 56), byte(hi >> 48), byte(hi >> 40), byte(hi >> 32)})
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

// host reports whether it is one address.
func (e *Entry) host() bool { return e.bits == e.width() }

func (e *Entry) width() uint8 {
	if e.six {
		return 128
	}
	return 32
}

// covers reports whether all of b is inside e.
func (e *Entry) covers(b *Entry) bool {
	hi, lo := mask(e.bits)
	return e.six == b.six && e.bits <= b.bits && b.hi&hi == e.hi && b.lo&lo == e.lo
}

// halves are the two parts of a range.
func (e *Entry) halves() (left, right Entry) {
	left = *e
	left.bits++
	right = left
	right.flip()
	return left, right
}

// flip turns the last bit of the prefix, which makes its sibling of it.
func (e *Entry) flip() {
	if e.bits <= 64 {
		e.hi ^= 1 << (64 - e.bits)
	} else {
		e.lo ^= 1 << (128 - e.bits)
	}
}

// right reports whether the last bit of the prefix is set.
func (e *Entry) right() bool {
	if e.bits <= 64 {
		return e.hi>>(64-e.bits)&1 == 1
	}
	return e.lo>>(128-e.bits)&1 == 1
}

// mask has the first bits set.
func mask(bits uint8) (hi, lo uint64) {
	if bits <= 64 {
		return ^uint64(0) << (64 - bits), 0
	}
	return ^uint64(0), ^uint64(0) << (128 - bits)
}

// inOrder compares by family, address and length.
func inOrder(a, b *Entry) int {
	if a.six != b.six {
		if b.six {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo), cmp.Compare(a.bits, b.bits))
}

// same reports whether two are on one target.
func (e *Entry) same(b *Entry) bool {
	return e.hi == b.hi && e.lo == b.lo && e.bits == b.bits && e.six == b.six
}

// Words are the texts of a decision.
type Words struct {
	Type, Origin, Scenario string
	rank                   uint8 // of the origin, for engine.LocalFirst
}

// rankOf is how near to home an origin decides.
func rankOf(origin string) uint8 {
	switch origin {
	case engine.OriginLists:
		return 1
	case engine.OriginCAPI:
		return 2
	}
	return 0
}
