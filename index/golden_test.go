package index

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
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
	twin := map[[2]uint32]Slot{}
	for range 50_000 {
		key := [2]uint32{r.Uint32N(4), r.Uint32N(3_000)}
		n := Slot(0)
		if r.IntN(2) == 0 {
			n = Slot(r.Uint32N(uint32(MaxSlot)) + 1)
		}
		values.Set(key[0], key[1], n)
		if delete(twin, key); n != 0 {
			twin[key] = n
		}
	}
	if values.Len() != len(twin) {
		t.Fatalf("%d values, want %d", values.Len(), len(twin))
	}
	for scope := range uint32(4) {
		for value := range uint32(3_000) {
			if got, want := values.Get(scope, value), twin[[2]uint32{scope, value}]; got != want {
				t.Fatalf("%d/%d has %d, want %d", scope, value, got, want)
			}
		}
	}
}

func TestStringsLikeMap(t *testing.T) {
	t.Parallel()
	r := chance(t)
	var texts Strings
	twin := map[string]int{}       // holders
	numbers := map[string]uint32{} // of those held
	for range 30_000 {
		text := fmt.Sprintf("crowdsecurity/%d", r.IntN(500))
		if twin[text] == 0 || r.IntN(2) == 0 {
			n := texts.Acquire(text)
			if old, held := numbers[text]; held && old != n {
				t.Fatalf("%q was %d, is %d", text, old, n)
			}
			numbers[text] = n
			twin[text]++
		} else {
			texts.Release(numbers[text])
			if twin[text]--; twin[text] == 0 {
				delete(twin, text)
				delete(numbers, text)
			}
		}
	}
	seen := map[uint32]bool{}
	for text, n := range numbers {
		if got, ok := texts.Lookup(text); !ok || got != n || texts.At(n) != text || n == 0 || seen[n] {
			t.Fatalf("%q is %d, want %d, whose text is %q", text, got, n, texts.At(n))
		}
		seen[n] = true
	}
	if texts.Len() != len(twin) {
		t.Fatalf("%d texts, want %d", texts.Len(), len(twin))
	}
	if _, ok := texts.Lookup("unheard of"); ok {
		t.Fatal("a text nobody holds has a number")
	}
}

func TestStringsEmptyAndPlain(t *testing.T) {
	t.Parallel()
	var texts Strings
	if n := texts.Acquire(""); n != 0 || texts.At(0) != "" || !texts.Plain(0) || texts.Len() != 0 {
		t.Errorf(`"" is %d`, n)
	}
	texts.Release(0)
	if n, ok := texts.Lookup(""); n != 0 || !ok {
		t.Errorf(`Lookup("") = %d, %v`, n, ok)
	}
	for _, text := range []string{"ban", "192.0.2.0/24", "a b ~!'"} {
		if !texts.Plain(texts.Acquire(text)) {
			t.Errorf("%q is not plain", text)
		}
	}
	for _, text := range []string{`a"`, `\`, "<", ">", "&", "\n", "\x7f", "é", "\xff"} {
		if texts.Plain(texts.Acquire(text)) {
			t.Errorf("%q is plain", text)
		}
	}
}

// Texts that share the 32 bits of a hash are told apart by their cells.
func TestStringsCollide(t *testing.T) {
	t.Parallel()
	first := map[uint32]string{}
	var a, b string
	for i := 0; b == ""; i++ {
		text := fmt.Sprint(i)
		key := textKey(text)
		if other, ok := first[key]; ok {
			a, b = other, text
		}
		first[key] = text
	}
	var texts Strings
	na, nb := texts.Acquire(a), texts.Acquire(b)
	if na == nb || texts.At(na) != a || texts.At(nb) != b {
		t.Fatalf("%q is %d, %q is %d", a, na, b, nb)
	}
	texts.Release(na)
	if _, ok := texts.Lookup(a); ok {
		t.Errorf("%q is still known", a)
	}
	if n, ok := texts.Lookup(b); !ok || n != nb {
		t.Errorf("%q is %d, want %d", b, n, nb)
	}
}

type record struct {
	begun, ended atomic.Uint64
	value        uint64
	small        [3]uint32
}

func TestSlabReuses(t *testing.T) {
	t.Parallel()
	r := chance(t)
	var slab Slab[record]
	var again Slab[record] // the same history gives the same slots
	if slab.End() != 1 || slab.Len() != 0 {
		t.Fatalf("an empty slab ends at %d and has %d", slab.End(), slab.Len())
	}
	live := map[Slot]uint64{}
	var held, freed []Slot
	for step := range uint64(50_000) {
		if len(held) > 0 && r.IntN(100) < 40 {
			i := r.IntN(len(held))
			n := held[i]
			held = slices.Delete(held, i, i+1)
			slab.Free(n)
			again.Free(n)
			delete(live, n)
			freed = append(freed, n)
			continue
		}
		n, rec := slab.New()
		if m, _ := again.New(); m != n {
			t.Fatalf("the same history gives %d and %d", n, m)
		}
		if last := len(freed) - 1; last >= 0 {
			if n != freed[last] {
				t.Fatalf("slot %d is given, %d was freed last", n, freed[last])
			}
			freed = freed[:last]
		}
		if rec.begun.Load() != 0 || rec.ended.Load() != 0 || rec.value != 0 || rec.small != [3]uint32{} {
			t.Fatalf("record %d is not zeroed", n)
		}
		rec.begun.Store(step + 1)
		rec.ended.Store(step + 1)
		rec.value, rec.small = step, [3]uint32{1, 2, 3}
		live[n] = step
		held = append(held, n)
	}
	for n, value := range live {
		if n >= slab.End() || slab.At(n).value != value {
			t.Fatalf("record %d holds %d, want %d", n, slab.At(n).value, value)
		}
	}
	if slab.Len() != len(live) {
		t.Fatalf("%d records, want %d", slab.Len(), len(live))
	}
}

func TestSlabWithPointers(t *testing.T) {
	t.Parallel()
	var slab Slab[struct {
		name string
		list []int
		n    uint64
	}]
	n, rec := slab.New()
	rec.name, rec.list, rec.n = "a", []int{1}, 2
	slab.Free(n)
	if m, rec := slab.New(); m != n || rec.name != "" || rec.list != nil || rec.n != 0 {
		t.Fatalf("slot %d, record %v", m, *rec)
	}
}

func TestRangesLikeMap(t *testing.T) {
	t.Parallel()
	for _, wide := range []bool{false, true} {
		t.Run(fmt.Sprintf("wide=%v", wide), func(t *testing.T) {
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
				ranges.Publish()
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
	var covering []Slot
	inside := map[netip.Prefix]Slot{}
	for q, n := range twin {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			covering = append(covering, n)
		}
		if q.Bits() >= p.Bits() && p.Contains(q.Addr()) {
			inside[q] = n
		}
	}
	if got := ranges.Covering(nil, p); !slices.Equal(sorted(got), sorted(covering)) {
		t.Fatalf("%v is covered by %v, want %v", p, got, covering)
	}
	got := map[netip.Prefix]Slot{}
	ranges.Within(p, func(q netip.Prefix, n Slot) bool { got[q] = n; return true })
	if !maps.Equal(got, inside) {
		t.Fatalf("%v holds %v, want %v", p, got, inside)
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
