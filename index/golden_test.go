package index

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// Every type against an obvious twin of maps and loops, under the same random
// operations.

func TestHostsLikeMap(t *testing.T) {
	t.Parallel()
	for _, wide := range []bool{false, true} {
		t.Run(fmt.Sprintf("wide=%v", wide), func(t *testing.T) {
			t.Parallel()
			r := chance(t)
			var hosts Hosts
			twin := map[netip.Addr]Slot{}
			var known []netip.Addr // once set, perhaps gone
			for step := range 60_000 {
				a := nearby(r, wide)
				n := Slot(r.Uint32N(uint32(MaxSlot)) + 1)
				// Grow for a while, then shrink, so that tables do both.
				if r.IntN(10) < 4+step/10_000%2*4 {
					n = 0
					if len(known) > 0 && r.IntN(2) == 0 {
						a = known[r.IntN(len(known))]
					}
				}
				known = append(known, a)
				hosts.Set(a, n)
				if delete(twin, a); n != 0 {
					twin[a] = n
				}
				if got := hosts.Get(a); got != n {
					t.Fatalf("step %d: %v has %d, want %d", step, a, got, n)
				}
				if step%5_000 == 0 {
					checkHosts(t, &hosts, twin)
					p := prefix(r, wide)
					checkHostsWithin(t, &hosts, twin, p)
				}
			}
			checkHosts(t, &hosts, twin)
			for a := range twin {
				hosts.Set(a, 0)
			}
			checkHosts(t, &hosts, nil)
		})
	}
}

func checkHosts(t *testing.T, hosts *Hosts, twin map[netip.Addr]Slot) {
	t.Helper()
	if hosts.Len() != len(twin) {
		t.Fatalf("%d hosts, want %d", hosts.Len(), len(twin))
	}
	for a, n := range twin {
		if got := hosts.Get(a); got != n {
			t.Fatalf("%v has %d, want %d", a, got, n)
		}
	}
	checkHostsWithin(t, hosts, twin, netip.MustParsePrefix("0.0.0.0/0"))
	checkHostsWithin(t, hosts, twin, netip.MustParsePrefix("::/0"))
	checkHostsWithin(t, hosts, twin, netip.MustParsePrefix("10.0.1.0/24"))
	checkHostsWithin(t, hosts, twin, netip.MustParsePrefix("10.0.0.64/28"))
	checkHostsWithin(t, hosts, twin, netip.MustParsePrefix("255.255.255.255/32"))
	checkHostsWithin(t, hosts, twin, netip.MustParsePrefix("2001:0:0:2::/64"))
	checkHostsWithin(t, hosts, twin, netip.MustParsePrefix("2001::80/123"))
	for i := range hosts.four {
		used, live := 0, 0
		for j := range hosts.four[i].table() {
			entry := hosts.four[i].table()[j].Load()
			if entry != 0 {
				used++
			}
			if uint32(entry) != 0 {
				live++
			}
		}
		if used != hosts.four[i].used || live != hosts.four[i].live {
			t.Fatalf("shard %d has %d used and %d live, counted %d and %d",
				i, used, live, hosts.four[i].used, hosts.four[i].live)
		}
	}
}

func checkHostsWithin(t *testing.T, hosts *Hosts, twin map[netip.Addr]Slot, p netip.Prefix) {
	t.Helper()
	want, got := map[netip.Addr]Slot{}, map[netip.Addr]Slot{}
	for a, n := range twin {
		if p.Contains(a) {
			want[a] = n
		}
	}
	hosts.Within(p, func(a netip.Addr, n Slot) bool {
		if _, twice := got[a]; twice {
			t.Fatalf("%v twice in %v", a, p)
		}
		got[a] = n
		return true
	})
	if !maps.Equal(got, want) {
		t.Fatalf("%v holds %v, want %v", p, got, want)
	}
	calls := 0
	hosts.Within(p, func(netip.Addr, Slot) bool { calls++; return false })
	if calls > 1 {
		t.Fatalf("%v: %d calls after false", p, calls-1)
	}
}

func TestHostsOddAddresses(t *testing.T) {
	t.Parallel()
	var hosts Hosts
	if hosts.Get(netip.Addr{}) != 0 {
		t.Error("an invalid address has a slot")
	}
	hosts.Within(netip.Prefix{}, func(netip.Addr, Slot) bool {
		t.Error("an invalid prefix holds something")
		return true
	})
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	hosts.Set(mapped, 1)
	if hosts.Get(mapped.Unmap()) != 0 || hosts.Get(mapped) != 1 {
		t.Error("a mapped address is not kept apart")
	}
}

func TestValuesLikeMap(t *testing.T) {
	t.Parallel()
	r := chance(t)
	var values Values
	twin := map[uint32]Slot{}
	for range 50_000 {
		key := r.Uint32N(12_000)
		n := Slot(0)
		if r.IntN(2) == 0 {
			n = Slot(r.Uint32N(uint32(MaxSlot)) + 1)
		}
		values.Set(key, n)
		if delete(twin, key); n != 0 {
			twin[key] = n
		}
	}
	live := 0
	for i := range values.tables {
		live += values.tables[i].live
	}
	if live != len(twin) {
		t.Fatalf("%d values, want %d", live, len(twin))
	}
	for value := range uint32(12_000) {
		if got, want := values.Get(value), twin[value]; got != want {
			t.Fatalf("%d has %d, want %d", value, got, want)
		}
	}
}

func TestRangesLikeMap(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		wide, gathers := i&1 != 0, i&2 != 0
		t.Run(fmt.Sprintf("wide=%v,gathers=%v", wide, gathers), func(t *testing.T) {
			t.Parallel()
			r := chance(t)
			var ranges Ranges
			twin := map[netip.Prefix]Slot{}
			var known []netip.Prefix // once set, perhaps gone
			cleaned := false
			for step := range 300 {
				commit := 1 + r.IntN(3)
				if r.IntN(20) == 0 {
					commit = 1_000
				}
				for range commit {
					p, n := prefix(r, wide), Slot(r.Uint32N(uint32(MaxSlot))+1)
					if r.IntN(10) < 3+step/50%2*6 {
						n = 0
						if len(known) > 0 {
							last := len(known) - 1
							i := r.IntN(len(known))
							p, known[i], known = known[i], known[last], known[:last]
						}
					} else {
						known = append(known, p)
					}
					ranges.Set(p, n)
					if delete(twin, p); n != 0 {
						twin[p] = n
					}
					if got := ranges.Get(p); got != n {
						t.Fatalf("%v has %d, want %d", p, got, n)
					}
				}
				anchors := ranges.last
				if gathers && r.IntN(20) > 0 {
					ranges.Gather(nil)
				} else {
					ranges.Publish()
				}
				cleaned = cleaned || ranges.last < anchors
				if idle := int(ranges.last) - ranges.Len(); idle > ranges.Len()+idleKept {
					t.Fatalf("%d of %d anchors are idle", idle, ranges.last)
				}
				checkRanges(t, &ranges, twin, prefix(r, wide))
			}
			for p, n := range twin {
				if got := ranges.Get(p); got != n {
					t.Fatalf("%v has %d, want %d", p, got, n)
				}
			}
			if wide && !cleaned {
				t.Error("no clean-up has happened, this test does not test it")
			}
		})
	}
}

func checkRanges(t *testing.T, ranges *Ranges, twin map[netip.Prefix]Slot, p netip.Prefix) {
	t.Helper()
	if ranges.Len() != len(twin) {
		t.Fatalf("%d ranges, want %d", ranges.Len(), len(twin))
	}
	var covering, inside []netip.Prefix
	for q := range twin {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			covering = append(covering, q)
		}
		if q.Bits() >= p.Bits() && p.Contains(q.Addr()) {
			inside = append(inside, q)
		}
	}
	slices.SortFunc(covering, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() })
	var want []Slot
	for _, q := range covering {
		want = append(want, twin[q])
	}
	if got := ranges.Covering(nil, p); !slices.Equal(got, want) {
		t.Fatalf("%v is covered by %v, want %v", p, got, want)
	}
	slices.SortFunc(inside, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var got []netip.Prefix
	ranges.Within(p, func(q netip.Prefix, n Slot) bool {
		if n != twin[q] {
			t.Fatalf("%v has %v, want %v", q, n, twin[q])
		}
		got = append(got, q)
		return true
	})
	if !slices.Equal(got, inside) {
		t.Fatalf("%v holds %v, want %v", p, got, inside)
	}
	if len(covering)+len(inside) > 0 && !ranges.Overlaps(p) {
		t.Fatalf("%v overlaps nothing, want %v and %v", p, covering, inside)
	}
}

// However many prefixes there are, a commit that brings some works in stretches of a few
// and lets others have the processor between them; and most commits leave the tree alone.
func TestGatheringPauses(t *testing.T) {
	t.Parallel()
	var ranges Ranges
	const held, brought = 100_000, 500
	next := uint32(0)
	bring := func(n int) {
		for range n {
			next++
			ranges.Set(netip.PrefixFrom(addr4(next<<8), 24), Slot(next))
		}
	}
	bring(held)
	pauses := 0
	ranges.Gather(func() { pauses++ })
	if least := held / entriesAtOnce; pauses < least {
		t.Errorf("%d pauses while %d prefixes are entered, want %d", pauses, held, least)
	}
	grown := 0
	for range 10 {
		before := ranges.shown.Load()
		bring(brought)
		pauses = 0
		ranges.Gather(func() { pauses++ })
		after := ranges.shown.Load()
		if got := ranges.Covering(nil, whole(addr4(next<<8))); len(got) != 1 {
			t.Fatalf("what was brought last is covered by %v", got)
		}
		if after == before {
			continue
		}
		grown++
		if least := min(freshKept/copiesAtOnce, held/entriesAtOnce); pauses < least {
			t.Errorf("%d pauses while the tree grows, want %d", pauses, least)
		}
	}
	if most := 10 * brought / freshKept; grown > most || grown == 0 {
		t.Errorf("the tree has grown %d times, want 1 to %d", grown, most)
	}
	ranges.Settle(nil)
	if f := ranges.shown.Load(); f.tree.Size() != int(next) || !f.lengths.none() {
		t.Errorf("the tree has %d settled prefixes, want %d", f.tree.Size(), next)
	}
}

func TestRangesAreSeenAtPublish(t *testing.T) {
	t.Parallel()
	var ranges Ranges
	ranges.Publish() // of nothing
	net := netip.MustParsePrefix("192.0.2.0/24")
	host := netip.MustParsePrefix("192.0.2.7/32")
	ranges.Set(net, 0)
	if got := ranges.Covering(nil, host); len(got) != 0 || ranges.Len() != 0 {
		t.Errorf("covered by %v", got)
	}
	ranges.Set(net, 4)
	if got := ranges.Get(net); got != 4 {
		t.Errorf("the writer sees %d", got)
	}
	ranges.Publish()
	ranges.Set(netip.MustParsePrefix("192.0.0.0/16"), 5)
	ranges.Publish()
	if got := ranges.Covering(nil, host); !slices.Equal(got, []Slot{4, 5}) {
		t.Errorf("covered by %v, want the longest first", got)
	}
	ranges.Set(net, 6) // a known prefix: no tree is touched
	if got := ranges.Covering(nil, net); !slices.Equal(got, []Slot{6, 5}) {
		t.Errorf("covered by %v", got)
	}
	if got := ranges.Covering(nil, netip.Prefix{}); got != nil || ranges.Get(netip.Prefix{}) != 0 {
		t.Errorf("an invalid prefix is covered by %v", got)
	}
}

func TestRangesWithinStops(t *testing.T) {
	t.Parallel()
	var ranges Ranges
	ranges.Within(netip.MustParsePrefix("0.0.0.0/0"), nil) // of nothing
	for i := range uint32(1_000) {
		ranges.Set(netip.PrefixFrom(addr4(i<<14), 18), Slot(i+1))
	}
	ranges.Publish()
	calls := 0
	ranges.Within(netip.MustParsePrefix("0.0.0.0/0"), func(netip.Prefix, Slot) bool {
		calls++
		return calls < 10
	})
	if calls != 10 {
		t.Errorf("%d calls, want 10", calls)
	}
}

// What only the caller's mistake can bring about panics, and says so.
func TestMistakesPanic(t *testing.T) {
	t.Parallel()
	var revisions Revisions
	revisions.Reset(5)
	for name, mistake := range map[string]func(){
		"invalid host":     func() { new(Hosts).Set(netip.Addr{}, 1) },
		"invalid range":    func() { new(Ranges).Set(netip.Prefix{}, 1) },
		"unmasked range":   func() { new(Ranges).Set(netip.MustParsePrefix("10.0.0.1/8"), 1) },
		"unknown text":     func() { new(Strings).Release(1) },
		"unknown slot":     func() { new(Slab[record]).Free(1) },
		"no slot":          func() { new(Slab[record]).Free(0) },
		"complete commit":  func() { revisions.Append(5, 1, false) },
		"earlier revision": func() { revisions.Publish(4) },
		"outside a window": func() { Window{}.At(0) },
	} {
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.HasPrefix(said, "BUG: ") {
					t.Errorf("%s: %s", name, said)
				}
			}()
			mistake()
		}()
	}
}
