package index

import "net/netip"

// A table is probed for each address of a prefix while that is less work than
// going through the table: a probe costs some 200 ns, as much as going through
// this many entries (BenchmarkHostsWithin). Prefixes of at most fewBits host
// bits are always probed.
const (
	probeCost = 128
	fewBits   = 6
)

// Within hands over every host inside a prefix until yield says false, in no
// particular order (package comment). Any goroutine; hosts set or removed
// meanwhile may or may not be among them. Among a million hosts a /20 of IPv4
// is probed 4 096 times; for wider prefixes the whole table is gone through,
// which takes 1.3 to 2 ms.
func (h *Hosts) Within(p netip.Prefix, yield func(netip.Addr, Slot) bool) {
	if !p.IsValid() {
		return
	}
	p = p.Masked()
	hostBits := p.Addr().BitLen() - p.Bits()
	probe := hostBits <= fewBits ||
		hostBits < 32 && 1<<hostBits <= h.Len()/probeCost
	switch {
	case p.Addr().Is4() && probe:
		h.probe4(p, hostBits, yield)
	case p.Addr().Is4():
		h.scan4(p, yield)
	case probe:
		h.probe6(p, hostBits, yield)
	default:
		h.scan6(p, yield)
	}
}

func (h *Hosts) probe4(p netip.Prefix, hostBits int, yield func(netip.Addr, Slot) bool) {
	first := number4(p.Addr())
	for i := range uint32(1) << hostBits {
		if n := h.get4(first + i); n != 0 && !yield(addr4(first+i), n) {
			return
		}
	}
}

func (h *Hosts) probe6(p netip.Prefix, hostBits int, yield func(netip.Addr, Slot) bool) {
	key := number6(p.Addr())
	for range uint64(1) << hostBits {
		if n := h.get6(key); n != 0 && !yield(addr6(key), n) {
			return
		}
		key.low++
	}
}

func (h *Hosts) scan4(p netip.Prefix, yield func(netip.Addr, Slot) bool) {
	first, shift := number4(p.Addr()), 32-p.Bits()
	for i := range h.four {
		if !h.four[i].within(first, shift, func(key, n uint32) bool {
			return yield(addr4(key), Slot(n))
		}) {
			return
		}
	}
}

func (h *Hosts) scan6(p netip.Prefix, yield func(netip.Addr, Slot) bool) {
	first := number6(p.Addr())
	high, low := mask6(p.Bits())
	for i := range h.six {
		if !h.six[i].each(func(key words, n uint32) bool {
			differ := (key.high^first.high)&high | (key.low^first.low)&low
			return differ != 0 || yield(addr6(key), Slot(n))
		}) {
			return
		}
	}
}

// mask6 returns the two halves of an IPv6 netmask.
func mask6(bits int) (high, low uint64) {
	if bits <= 64 {
		return ^(^uint64(0) >> bits), 0
	}
	return ^uint64(0), ^(^uint64(0) >> (bits - 64))
}
