package export

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// The twin knows 64 addresses of each family and looks at each of them by itself.
const universe = 64

// drawn makes entries of the twin's universe, in order and none twice.
func drawn(r *rand.Rand, n int, moments int64) []Entry {
	var list []Entry
	for range n {
		six, width := r.IntN(3) == 0, 6
		lose := r.IntN(width + 1)
		at := r.IntN(universe) >> lose << lose
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(at)}), 32-lose)
		if six {
			a := netip.MustParseAddr("2001:db8::").As16()
			a[15] = byte(at)
			p = netip.PrefixFrom(netip.AddrFrom16(a), 128-lose)
		}
		e := entryOf(p)
		e.until, e.id = 1+r.Int64N(moments), r.Uint64N(1000)
		list = append(list, e)
	}
	list = sortEntries(list)
	return slices.CompactFunc(list, func(a, b Entry) bool { return a.same(&b) })
}

// covered says of each address until when it is on the list; 0: it is not.
func covered(list []Entry) (until [2][universe]int64) {
	for i := range list {
		e, which := &list[i], 0
		from := int(e.hi >> 32 & (universe - 1))
		if e.six {
			which, from = 1, int(e.lo&(universe-1))
		}
		for at := from; at < from+1<<(e.width()-e.bits); at++ {
			until[which][at] = max(until[which][at], e.until)
		}
	}
	return until
}

// there is covered without the ends.
func there(list []Entry) (is [2][universe]bool) {
	for which, all := range covered(list) {
		for at, until := range all {
			is[which][at] = until != 0
		}
	}
	return is
}

func ordered(list []Entry) bool {
	return slices.IsSortedFunc(list, func(a, b Entry) int { return cmp.Or(inOrder(&a, &b), 1) })
}

func apart(list []Entry) bool { return len(disjoint(slices.Clone(list))) == len(list) }

// mergeable reports whether two are the halves of one.
func mergeable(list []Entry) bool {
	for i := 1; i < len(list); i++ {
		sibling := list[i]
		if sibling.bits < 2 || !sibling.right() {
			continue
		}
		if sibling.flip(); sibling.same(&list[i-1]) {
			return true
		}
	}
	return false
}

// Joining keeps the set of addresses, at every moment where ends are told, and leaves nothing
// to be joined.
func TestAggregateIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 1))
		list := drawn(r, r.IntN(60), 1+r.Int64N(4))
		joined := aggregate(slices.Clone(list), false, 0)
		if there(joined) != there(list) || !ordered(joined) || !apart(joined) || mergeable(joined) {
			t.Fatalf("seed %d: %s became %s", seed, spelled(list), spelled(joined))
		}
		timed := aggregate(slices.Clone(list), true, 0)
		if covered(timed) != covered(list) || !ordered(timed) || len(timed) > len(list) {
			t.Fatalf("seed %d, timed: %s became %s", seed, spelled(list), spelled(timed))
		}
		if free := untangle(list); covered(free) != covered(list) || !ordered(free) || !apart(free) {
			t.Fatalf("seed %d: %s untangled is %s", seed, spelled(list), spelled(free))
		}
	}
}

// Nothing becomes as wide as /0, not even two halves.
func TestAggregateStopsBeforeEverything(t *testing.T) {
	t.Parallel()
	all := entryOf(netip.MustParsePrefix("::/0"))
	left, right := all.halves()
	if got := aggregate([]Entry{left, right}, false, 0); len(got) != 2 || got[0].bits != 1 {
		t.Fatal(spelled(got))
	}
}

// What is cut out is gone, and nothing else is.
func TestSubtractIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 2))
		list, holes := drawn(r, r.IntN(40), 4), drawn(r, r.IntN(12), 4)
		c := &Choice{Entries: slices.Clone(list)}
		c.subtract(disjoint(slices.Clone(holes)))
		want, out := covered(list), there(holes)
		for which := range want {
			for at := range want[which] {
				if out[which][at] {
					want[which][at] = 0
				}
			}
		}
		if covered(c.Entries) != want || !ordered(c.Entries) {
			t.Fatalf("seed %d: %s without %s is %s", seed, spelled(list), spelled(holes), spelled(c.Entries))
		}
	}
}

// One host out of a range leaves as many pieces as there are bits; too many pieces leave the
// whole range out, counted.
func TestSubtractPieces(t *testing.T) {
	t.Parallel()
	c := &Choice{Entries: []Entry{entryOf(netip.MustParsePrefix("198.51.100.0/24"))}}
	c.subtract([]Entry{entryOf(netip.MustParsePrefix("198.51.100.7/32"))})
	if len(c.Entries) != 8 || c.Left.Allowlisted != 1 {
		t.Fatal(spelled(c.Entries), c.Left)
	}
	var holes []Entry
	for i := range mostPieces + 1 {
		holes = append(holes, entryOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 7), byte(i << 1)}), 32)))
	}
	c = &Choice{Entries: []Entry{entryOf(netip.MustParsePrefix("10.0.0.0/8")), entryOf(netip.MustParsePrefix("10.0.0.1/32"))}}
	if c.subtract(holes); len(c.Entries) != 1 || c.Left.Unsplit != 1 || c.Entries[0].bits != 32 {
		t.Fatal(spelled(c.Entries), c.Left)
	}
}

// Digits and comparing put entries in the same order.
func TestSortEntries(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	list := make([]Entry, 3*fewEntries)
	for i := range list {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(r.IntN(3)), byte(r.IntN(256)), byte(r.IntN(3)), byte(r.IntN(256))}), 24+r.IntN(9))
		if i%5 == 0 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{byte(r.IntN(4)), 15: byte(r.IntN(4))}), 128)
		}
		list[i] = entryOf(p)
		list[i].until, list[i].id = r.Int64N(3), uint64(i)
	}
	want := slices.Clone(list)
	slices.SortFunc(want, func(a, b Entry) int { return cmp.Or(inOrder(&a, &b), longer(&a, &b)) })
	if list = sortEntries(list); !slices.Equal(list, want) {
		t.Fatal("not in order")
	}
}

// Shards share a list out, and an entry stays in its own whatever else is there.
func TestShards(t *testing.T) {
	t.Parallel()
	list := drawn(rand.New(rand.NewPCG(4, 4)), 50, 3)
	var all []Entry
	for k := range 3 {
		part := Part{Shard: k + 1, Of: 3}
		mine := part.of(slices.Clone(list))
		for i := range mine {
			if alone := part.of([]Entry{mine[i]}); len(alone) != 1 {
				t.Fatal("moved")
			}
		}
		all = append(all, mine...)
	}
	if all = sortEntries(all); !slices.Equal(all, list) {
		t.Fatal(spelled(all), spelled(list))
	}
	page := Part{Page: 2, Size: 10}
	if got := page.of(slices.Clone(list)); !slices.Equal(got, list[10:20]) {
		t.Fatal(spelled(got))
	}
	page.Page = 1 << 30
	if got := page.of(slices.Clone(list)); len(got) != 0 {
		t.Fatal(spelled(got))
	}
}

func spelled(list []Entry) (text []string) {
	for i := range list {
		text = append(text, fmt.Sprintf("%s@%d", list[i].Prefix(), list[i].until))
	}
	return text
}

// With slack neighbours are joined that end at nearly the same time: nothing is on the list longer than
// it was, nor ends sooner by as much.
func TestAggregateWithSlack(t *testing.T) {
	t.Parallel()
	r, with, without := rand.New(rand.NewPCG(7, 7)), 0, 0
	for range 3000 {
		list := drawn(r, 1+r.IntN(80), 30)
		was, slack := covered(list), int64(1+r.IntN(10))
		without += len(aggregate(slices.Clone(list), true, 0))
		joined := aggregate(slices.Clone(list), true, slack)
		is := covered(joined)
		for family := range was {
			for at, until := range was[family] {
				if got := is[family][at]; got > until || until-got >= slack || (got == 0) != (until == 0) {
					t.Fatalf("%d of %d ends at %d, not %d, with a slack of %d", at, family, got, until, slack)
				}
			}
		}
		if with += len(joined); !ordered(joined) {
			t.Fatal("out of order")
		}
	}
	if with >= without {
		t.Errorf("%d entries, and %d without slack", with, without)
	}
}
