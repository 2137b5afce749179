package engine

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Whatever has something in common with an item is said to be near it, and most of what has
// not is not.
func TestNearness(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(1, 2))
	random := func() netip.Prefix {
		var b [16]byte
		for i := range b {
			b[i] = byte(chance.IntN(4))
		}
		switch chance.IntN(4) {
		case 0:
			copy(b[:12], []byte{10: 0xff, 11: 0xff}) // mapped
			return netip.PrefixFrom(netip.AddrFrom16(b), 96+chance.IntN(33)).Masked()
		case 1:
			return netip.PrefixFrom(netip.AddrFrom16(b), chance.IntN(129)).Masked()
		}
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b[:4])), chance.IntN(33)).Masked()
	}
	same := func(p netip.Prefix) netip.Prefix { // one address, one prefix
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p
	}
	for range 400 {
		n, items := &nearness{}, []netip.Prefix(nil)
		for range 1 + chance.IntN(4) {
			p := random()
			n.mark(p)
			items = append(items, p)
		}
		for range 200 {
			p := random()
			for _, item := range items {
				if (same(p).Overlaps(same(item)) || p.Overlaps(item)) && !n.may(p) {
					t.Fatalf("%s is not near %s", p, item)
				}
			}
		}
	}
	n, met := &nearness{}, 0
	for i := range 1000 {
		n.mark(netip.PrefixFrom(netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 9}), 32))
	}
	for i := range 1 << 16 {
		if n.may(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), 1, 1}), 32)) {
			met++
		}
	}
	if met != 4 {
		t.Errorf("%d of 65536 networks are near a thousand items in four of them", met)
	}
}
