package index

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
)

// Nothing that a reader calls allocates. Not in parallel: AllocsPerRun counts
// what the whole process does.
func TestReadersAllocateNothing(t *testing.T) {
	var hosts Hosts
	var ranges Ranges
	var values Values
	var texts Strings
	var slab Slab[record]
	var revisions Revisions
	r := chance(t)
	for i := range uint32(5_000) {
		hosts.Set(nearby(r, false), Slot(i+1))
		ranges.Set(prefix(r, i%2 == 0), Slot(i+1))
		values.Set(i, Slot(i+1))
		texts.Acquire(fmt.Sprint("text ", i))
		n, _ := slab.New()
		revisions.Append(uint64(i/3+1), n, false)
	}
	ranges.Publish()
	ranges.Set(netip.MustParsePrefix("10.1.0.0/16"), 1) // waits for Publish
	revisions.Publish(5_000)

	four, six := netip.MustParseAddr("10.0.1.7"), netip.MustParseAddr("2001::7")
	wide4, wide6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	net4, net6 := netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("2001::/120")
	host4, host6 := whole(four), whole(six)
	dst := make([]Slot, 0, 256)
	var sum uint64
	var gathered Ranges
	gathered.Set(netip.MustParsePrefix("10.0.0.0/9"), 1)
	gathered.Set(netip.MustParsePrefix("2001::/16"), 2)
	gathered.Gather(nil)
	each := func(_ netip.Addr, n Slot) bool { sum += uint64(n); return true }
	eachRange := func(_ netip.Prefix, n Slot) bool { sum += uint64(n); return true }

	for name, read := range map[string]func(){
		"Hosts.Get":           func() { sum += uint64(hosts.Get(four) + hosts.Get(six)) },
		"Hosts.Within, probe": func() { hosts.Within(net4, each); hosts.Within(net6, each) },
		"Hosts.Within, scan":  func() { hosts.Within(wide4, each); hosts.Within(wide6, each) },
		"Ranges.Get":          func() { sum += uint64(ranges.Get(net4) + ranges.Get(net6)) },
		"Ranges.Covering":     func() { dst = ranges.Covering(ranges.Covering(dst[:0], host4), host6) },
		"Ranges.Covering, gathered": func() {
			if dst = gathered.Covering(gathered.Covering(dst[:0], host4), host6); len(dst) != 2 {
				t.Fatalf("covered by %v", dst)
			}
		},
		"Values.Get": func() { sum += uint64(values.Get(7) + values.Get(6_000)) },
		"Strings": func() {
			n, _ := texts.Lookup("text 7")
			m, _ := texts.Lookup("text none")
			sum += uint64(n + m + uint32(len(texts.At(n))))
			if texts.Plain(n) {
				sum++
			}
		},
		"Slab": func() { sum += slab.At(7).value + uint64(slab.End()) + uint64(slab.Len()) },
		"Revisions": func() {
			window, _ := revisions.Window(10, 100)
			for i := range window.Len() {
				sum += uint64(window.At(i))
			}
			sum += revisions.Floor() + uint64(revisions.Len())
		},
		"lengths": func() { sum += uint64(hosts.Len() + ranges.Len()) },
	} {
		if allocs := testing.AllocsPerRun(100, read); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
	// The tree lists what lies in its first node in two slices of bytes.
	if allocs := testing.AllocsPerRun(100, func() { ranges.Within(wide4, eachRange) }); allocs > 3 {
		t.Errorf("Ranges.Within: %v allocations", allocs)
	}
	runtime.KeepAlive(sum)
}

// The writer allocates to grow, and for nothing else.
func TestSteadyWritesAllocateNothing(t *testing.T) {
	var hosts Hosts
	var ranges Ranges
	var slab Slab[record]
	at := make([]int64, 5_001)
	deadlines := NewDeadlines(func(n Slot) int64 { return at[n] })
	network := netip.MustParsePrefix("10.0.0.0/8")
	ranges.Set(network, 1)
	ranges.Publish()
	now := birth
	deadlines.Due(now, nil)
	for i := range uint32(5_000) {
		hosts.Set(addr4(i), 1)
		slab.New()
		at[i+1] = now + int64(i)*tick/10
		deadlines.Add(Slot(i + 1))
	}
	for range 100 {
		slab.Free(7)
		slab.New()
	}
	again := func(n Slot) { at[n] = now + 50*tick; deadlines.Add(n) }
	for name, write := range map[string]func(){
		"Hosts.Set":  func() { hosts.Set(addr4(7), 0); hosts.Set(addr4(7), 2) },
		"Ranges.Set": func() { ranges.Set(network, 0); ranges.Set(network, 2); ranges.Publish() },
		"Slab":       func() { slab.Free(9); slab.New() },
		"Deadlines":  func() { now += tick; deadlines.Due(now, again); deadlines.Next() },
	} {
		// Now and then a heap or a table still finds its size.
		if allocs := testing.AllocsPerRun(1_000, write); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func TestBytesPerEntry(t *testing.T) {
	const many = 300_000
	r := chance(t)
	addresses := corpus(r, many)
	var hosts Hosts
	bytes := heapOf(func() {
		for i, a := range addresses {
			hosts.Set(a, Slot(i+1))
		}
	})
	t.Logf("Hosts: %.1f bytes an entry, one in twenty IPv6", float64(bytes)/many)
	if bytes > 16*many {
		t.Errorf("Hosts: %d bytes for %d entries", bytes, many)
	}
	runtime.KeepAlive(&hosts)
	runtime.KeepAlive(addresses)
}

// heapOf returns by how much the heap is larger after something.
func heapOf(do func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	do()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}
