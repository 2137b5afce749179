package index

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
)

// TestHostsFill compares hosts that were filled at once with hosts that were set one by one, of
// either family, many of them several times and in several parts.
func TestHostsFill(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2000, 60_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			const parts = 3
			chance := rand.New(rand.NewPCG(7, uint64(size)))
			var one Hosts
			fill := NewHostsFill(parts)
			before := map[Slot]Slot{}
			var n Slot
			for p := range parts {
				for range size / parts {
					n++
					a := randomHost(chance, size)
					if old := one.Get(a); old != 0 {
						before[n] = old
					}
					one.Set(a, n)
					fill.Part(p).Add(a, n)
				}
			}
			var all Hosts
			var mu sync.Mutex
			replaced := map[Slot]Slot{}
			fill.Into(&all, 2, func(n, before Slot) {
				mu.Lock()
				defer mu.Unlock()
				replaced[n] = before
			})
			sameHosts(t, &all, &one)
			if len(replaced) != len(before) || all.Len() != one.Len() {
				t.Fatalf("%d hosts, %d replaced; one by one %d and %d", all.Len(), len(replaced), one.Len(), len(before))
			}
			for n, old := range before {
				if replaced[n] != old {
					t.Fatalf("%d has replaced %d, one by one %d", n, replaced[n], old)
				}
			}
			for range size { // it goes on like any other
				n++
				a, set := randomHost(chance, size), n*Slot(chance.IntN(2))
				one.Set(a, set)
				all.Set(a, set)
			}
			sameHosts(t, &all, &one)
		})
	}
}

func randomHost(chance *rand.Rand, size int) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint32(b[12:], uint32(chance.IntN(size)))
	if chance.IntN(8) == 0 {
		b[0] = 0x20
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[12:]))
}

func sameHosts(t *testing.T, got, want *Hosts) {
	t.Helper()
	n := 0
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		got.Within(netip.MustParsePrefix(all), func(a netip.Addr, s Slot) bool {
			n++
			if want.Get(a) != s {
				t.Fatalf("%v has %d, one by one %d", a, s, want.Get(a))
			}
			return true
		})
	}
	if n != want.Len() {
		t.Fatalf("%d hosts, one by one %d", n, want.Len())
	}
}

// BenchmarkHostsFill fills a million at once; beside it BenchmarkHostsInsert.
func BenchmarkHostsFill(b *testing.B) {
	const size = 1 << 20
	for b.Loop() {
		var h Hosts
		fill := NewHostsFill(1)
		for n := range Slot(size) {
			fill.Part(0).Add4(uint32(n)*2654435761, n+1)
		}
		fill.Into(&h, 1, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/host")
}
