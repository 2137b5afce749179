package index

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 takes a new one")

// chance returns a source of numbers, and prints how to get the same again.
func chance(t testing.TB) *rand.Rand {
	from := *seed
	if from == 0 {
		from = rand.Uint64()
	}
	t.Logf("-seed %d", from)
	return rand.New(rand.NewPCG(from, 0))
}

// nearby returns an address of few that lie close together, so that random
// operations meet; wide ones are all over the space.
func nearby(r *rand.Rand, wide bool) netip.Addr {
	if r.IntN(3) > 0 {
		var b [4]byte
		n := 0x0a000000 | r.Uint32N(1<<11)
		switch {
		case wide:
			n = r.Uint32()
		case r.IntN(50) == 0:
			n = r.Uint32N(2) * (1<<32 - 1) // the first and the last address
		}
		binary.BigEndian.PutUint32(b[:], n)
		return netip.AddrFrom4(b)
	}
	b := [16]byte{0: 0x20, 1: 0x01, 7: byte(r.IntN(4)), 15: byte(r.IntN(256))}
	switch {
	case wide:
		binary.BigEndian.PutUint64(b[1:], r.Uint64())
		binary.BigEndian.PutUint64(b[8:], r.Uint64())
	case r.IntN(50) == 0:
		b = [16]byte{}
	}
	return netip.AddrFrom16(b)
}

// lengths of prefixes as tables of networks have them.
var lengths4 = []int{8, 12, 14, 16, 16, 17, 18, 19, 20, 21, 22, 22, 23, 23, 24, 24, 24, 24, 24, 24, 25, 27, 28, 32}
var lengths6 = []int{20, 29, 32, 32, 32, 36, 40, 44, 48, 48, 48, 56, 64, 64, 96, 128}

func prefix(r *rand.Rand, wide bool) netip.Prefix {
	a := nearby(r, wide)
	if r.IntN(4) == 0 {
		return netip.PrefixFrom(a, r.IntN(a.BitLen()+1)).Masked()
	}
	lengths := lengths4
	if a.Is6() {
		lengths = lengths6
	}
	return netip.PrefixFrom(a, lengths[r.IntN(len(lengths))]).Masked()
}

// distinct returns so many different networks of the lengths that lists have;
// a third of them IPv6.
func distinct(r *rand.Rand, count int) []netip.Prefix {
	seen := make(map[netip.Prefix]bool, count)
	list := make([]netip.Prefix, 0, count)
	for len(list) < count {
		a := nearby(r, true)
		bits := 29 + r.IntN(36)
		switch one := r.IntN(20); {
		case a.Is6() && one < 10:
			bits = 32 + one/5*16
		case a.Is4() && one < 1:
			bits = 16 + r.IntN(4)
		case a.Is4() && one < 7:
			bits = 20 + r.IntN(4)
		case a.Is4() && one < 17:
			bits = 24
		case a.Is4():
			bits = 25 + r.IntN(4)
		}
		if p := netip.PrefixFrom(a, bits).Masked(); !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	return list
}

// corpus returns different addresses, one in twenty of them IPv6.
func corpus(r *rand.Rand, count int) []netip.Addr {
	seen := make(map[netip.Addr]bool, count)
	list := make([]netip.Addr, 0, count)
	for len(list) < count {
		a := addr4(r.Uint32())
		if r.IntN(20) == 0 {
			a = addr6(words{0x20010db8<<32 | uint64(r.Uint32()), r.Uint64()})
		}
		if !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	return list
}

func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func sorted[T interface{ ~uint32 }](list []T) []T {
	slices.Sort(list)
	return list
}

func newPCG(from uint64) *rand.Rand { return rand.New(rand.NewPCG(from, 0)) }
