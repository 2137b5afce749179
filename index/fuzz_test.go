package index

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/yl2chen/cidranger"
)

// steps turns bytes into operations on prefixes: a first byte that says what to
// do and for which family, a length, and an address of two bytes of which the
// first is the highest and the second the lowest that differ.
func steps(data []byte, do func(op byte, p netip.Prefix)) {
	for ; len(data) >= 4; data = data[4:] {
		var a netip.Addr
		if data[0]&1 == 0 {
			a = netip.AddrFrom4([4]byte{data[2], data[3] & 1, data[3] >> 1 & 7, data[3] >> 4})
		} else {
			a = netip.AddrFrom16([16]byte{0: data[2], 7: data[3] & 3, 8: data[3] >> 2 & 3, 15: data[3] >> 4})
		}
		bits := int(data[1]) % (a.BitLen() + 1)
		if data[0]&2 != 0 {
			bits = a.BitLen()
		}
		do(data[0]>>2, netip.PrefixFrom(a, bits).Masked())
	}
}

// both stores host addresses in Hosts and all else in Ranges, as the engine does.
type both struct {
	hosts  Hosts
	ranges Ranges
}

func (b *both) set(p netip.Prefix, n Slot) {
	if p.IsSingleIP() {
		b.hosts.Set(p.Addr(), n)
	} else {
		b.ranges.Set(p, n)
	}
}

func (b *both) covering(a netip.Addr) []Slot {
	found := b.ranges.Covering(nil, whole(a))
	if n := b.hosts.Get(a); n != 0 {
		found = append(found, n)
	}
	return sorted(found)
}

func (b *both) within(p netip.Prefix) []Slot {
	var found []Slot
	b.hosts.Within(p, func(_ netip.Addr, n Slot) bool { found = append(found, n); return true })
	b.ranges.Within(p, func(_ netip.Prefix, n Slot) bool { found = append(found, n); return true })
	return sorted(found)
}

// The twin is a slice of prefixes.
func FuzzAgainstSlice(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		type entry struct {
			prefix netip.Prefix
			slot   Slot
		}
		var b both
		var twin []entry
		next := Slot(0)
		steps(data, func(op byte, p netip.Prefix) {
			next++
			n := next
			if op%4 == 0 {
				n = 0
			}
			b.set(p, n)
			twin = slices.DeleteFunc(twin, func(e entry) bool { return e.prefix == p })
			if n != 0 {
				twin = append(twin, entry{p, n})
			}
			switch op % 6 {
			case 0:
				b.ranges.Publish()
			case 3:
				b.ranges.Gather(nil)
			}
		})
		b.ranges.Gather(nil)
		if b.hosts.Len()+b.ranges.Len() != len(twin) {
			t.Fatalf("%d hosts and %d ranges, want %d in all", b.hosts.Len(), b.ranges.Len(), len(twin))
		}
		steps(data, func(_ byte, p netip.Prefix) {
			var covering, within []Slot
			for _, e := range twin {
				if e.prefix.Contains(p.Addr()) {
					covering = append(covering, e.slot)
				}
				if p.Overlaps(e.prefix) && e.prefix.Bits() >= p.Bits() {
					within = append(within, e.slot)
				}
			}
			if got := b.covering(p.Addr()); !slices.Equal(got, sorted(covering)) {
				t.Fatalf("%v is covered by %v, want %v", p.Addr(), got, covering)
			}
			if got := b.within(p); !slices.Equal(got, sorted(within)) {
				t.Fatalf("%v holds %v, want %v", p, got, within)
			}
		})
	})
}

// The twin is another library's tree.
func FuzzAgainstCidranger(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var b both
		twin := cidranger.NewPCTrieRanger()
		next := Slot(0)
		steps(data, func(op byte, p netip.Prefix) {
			if p.Addr().Is4In6() {
				return // the caller unmaps, and the twin takes it for IPv4
			}
			next++
			var err error
			if op%4 == 0 {
				b.set(p, 0)
				_, err = twin.Remove(ipNet(p))
			} else {
				b.set(p, next)
				err = twin.Insert(named{ipNet(p), next})
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		b.ranges.Publish()
		steps(data, func(_ byte, p netip.Prefix) {
			if p.Addr().Is4In6() {
				return
			}
			entries, err := twin.ContainingNetworks(p.Addr().AsSlice())
			if err != nil {
				t.Fatal(err)
			}
			var want []Slot
			for _, e := range entries {
				want = append(want, e.(named).slot)
			}
			if got := b.covering(p.Addr()); !slices.Equal(got, sorted(want)) {
				t.Fatalf("%v is covered by %v, want %v", p.Addr(), got, want)
			}
		})
	})
}

// named is an entry of the other tree.
type named struct {
	network net.IPNet
	slot    Slot
}

func (n named) Network() net.IPNet { return n.network }

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// seeds gives a fuzz target some random histories to begin with, long and
// short; without fuzzing they are its tests.
func seeds(f *testing.F) {
	r := chance(f)
	for length := 4; length <= 1<<13; length *= 2 {
		data := make([]byte, length)
		for i := range data {
			data[i] = byte(r.Uint32())
			if i%4 == 2 {
				data[i] &= 3 // close together
			}
		}
		f.Add(data)
	}
	f.Add([]byte{4, 0, 0, 0, 5, 0, 0, 0, 4, 32, 0, 0, 5, 128, 0, 0, 7, 64, 255, 255})
}
