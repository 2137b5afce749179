package bench

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/gaissmai/bart"
	"github.com/yl2chen/cidranger"

	"lapid/bench/corpus"
	"lapid/index"
)

var entries = flag.Int("entries", 100_000, "entries of the indexes that are compared")

// asked is how many addresses a benchmark goes through.
const asked = 1 << 16

// library is one way to find all entries that hold an address. A slot is the
// number of the entry, from 1.
type library interface {
	insert(list []netip.Prefix)
	// find counts the entries.
	find(a netip.Addr) int
}

var libraries = []struct {
	name string
	make func() library
}{
	{"index: flat hosts and bart", func() library { return new(indexed) }},
	{"map and bart", func() library { return &mapped{hosts: map[netip.Addr]uint32{}} }},
	{"bart alone", func() library { return new(tree) }},
	{"map and cidranger", func() library {
		return &rangedMap{hosts: map[netip.Addr]uint32{}, ranges: ranger{cidranger.NewPCTrieRanger()}}
	}},
	{"cidranger alone", func() library { return &ranger{cidranger.NewPCTrieRanger()} }},
}

// indexed is the index as the engine uses it.
type indexed struct {
	hosts  index.Hosts
	ranges index.Ranges
	found  [64]index.Slot
}

func (x *indexed) insert(list []netip.Prefix) {
	for i, p := range list {
		if p.IsSingleIP() {
			x.hosts.Set(p.Addr(), index.Slot(i+1))
		} else {
			x.ranges.Set(p, index.Slot(i+1))
		}
	}
	x.ranges.Publish()
}

func (x *indexed) find(a netip.Addr) int {
	n := len(x.ranges.Covering(x.found[:0], netip.PrefixFrom(a, a.BitLen())))
	if x.hosts.Get(a) != 0 {
		n++
	}
	return n
}

// tree has everything in one bart table.
type tree struct{ table bart.Table[uint32] }

func (t *tree) insert(list []netip.Prefix) {
	for i, p := range list {
		t.table.Insert(p, uint32(i+1))
	}
}

func (t *tree) find(a netip.Addr) (n int) {
	for range t.table.Supernets(netip.PrefixFrom(a, a.BitLen())) {
		n++
	}
	return n
}

// mapped has hosts in Go's own map.
type mapped struct {
	hosts  map[netip.Addr]uint32
	ranges tree
}

func (m *mapped) insert(list []netip.Prefix) { m.ranges.insert(intoMap(m.hosts, list)) }

func (m *mapped) find(a netip.Addr) int { return inMap(m.hosts, a) + m.ranges.find(a) }

// ranger has everything in cidranger.
type ranger struct{ trie cidranger.Ranger }

func (r *ranger) insert(list []netip.Prefix) {
	for _, p := range list {
		network := net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		if err := r.trie.Insert(cidranger.NewBasicRangerEntry(network)); err != nil {
			panic(err)
		}
	}
}

func (r *ranger) find(a netip.Addr) int {
	found, err := r.trie.ContainingNetworks(a.AsSlice())
	if err != nil {
		panic(err)
	}
	return len(found)
}

// rangedMap has hosts in Go's own map and ranges in cidranger.
type rangedMap struct {
	hosts  map[netip.Addr]uint32
	ranges ranger
}

func (m *rangedMap) insert(list []netip.Prefix) { m.ranges.insert(intoMap(m.hosts, list)) }

func (m *rangedMap) find(a netip.Addr) int { return inMap(m.hosts, a) + m.ranges.find(a) }

// intoMap enters the hosts and gives the rest.
func intoMap(hosts map[netip.Addr]uint32, list []netip.Prefix) (ranges []netip.Prefix) {
	for i, p := range list {
		if p.IsSingleIP() {
			hosts[p.Addr()] = uint32(i + 1)
		} else {
			ranges = append(ranges, p)
		}
	}
	return ranges
}

func inMap(hosts map[netip.Addr]uint32, a netip.Addr) int {
	if _, ok := hosts[a]; ok {
		return 1
	}
	return 0
}

func prefixes(set *corpus.Set) (list []netip.Prefix) {
	for e := range set.All() {
		list = append(list, e.Prefix)
	}
	return list
}

func addresses(set *corpus.Set, kind corpus.Kind) []netip.Addr {
	table := set.NewTable(kind, min(asked, set.Len()), 1)
	list := make([]netip.Addr, table.Len())
	for i := range list {
		list[i] = netip.MustParseAddr(string(table.At(i)))
	}
	return list
}

// heap gives the bytes that make leaves behind.
func heap(make func() library) (l library, bytes uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l = make()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return l, after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc)
}

// BenchmarkFind asks each library for all entries around an address.
func BenchmarkFind(b *testing.B) {
	set := corpus.New(*entries, 1)
	list := prefixes(set)
	for _, l := range libraries {
		x, bytes := heap(func() library { x := l.make(); x.insert(list); return x })
		for _, kind := range corpus.Kinds {
			ask := addresses(set, kind)
			b.Run(fmt.Sprintf("%s/%s", l.name, kind), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					x.find(ask[i%len(ask)])
				}
				b.ReportMetric(float64(bytes)/float64(len(list)), "B/entry")
			})
		}
	}
}

// BenchmarkInsert fills each library from nothing.
func BenchmarkInsert(b *testing.B) {
	list := prefixes(corpus.New(*entries, 1))
	for _, l := range libraries {
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.make().insert(list)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(list)), "ns/entry")
		})
	}
}

// BenchmarkCountries asks for the country of an address, in the table of
// tor-geoipdb where that is installed: ranges that are not made up.
func BenchmarkCountries(b *testing.B) {
	list, err := countries()
	if err != nil {
		b.Log(err) // nothing to compare on this machine
		return
	}
	ask := make([]netip.Addr, asked)
	for i := range ask {
		ask[i] = list[i*7919%len(list)].Addr()
	}
	for _, l := range libraries {
		x, bytes := heap(func() library { x := l.make(); x.insert(list); return x })
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				x.find(ask[i%asked])
			}
			b.ReportMetric(float64(bytes)/float64(len(list)), "B/entry")
		})
	}
}

func countries() (list []netip.Prefix, err error) {
	for _, file := range corpus.CountryFiles {
		for e, err := range corpus.Countries(file) {
			if err != nil {
				return nil, err
			}
			list = append(list, e.Prefix)
		}
	}
	return list, nil
}

// All libraries find the same, or their times say nothing.
func TestLibrariesAgree(t *testing.T) {
	t.Parallel()
	set := corpus.New(5_000, 1)
	list := prefixes(set)
	var made []library
	for _, l := range libraries {
		x := l.make()
		x.insert(list)
		made = append(made, x)
	}
	for _, kind := range corpus.Kinds {
		for _, a := range addresses(set, kind) {
			var found []int
			for _, x := range made {
				found = append(found, x.find(a))
			}
			want := 1
			if kind == corpus.Miss {
				want = 0
			}
			if slices.Min(found) != want || slices.Max(found) != want {
				t.Fatalf("%s %v: found %v, want %d everywhere", kind, a, found, want)
			}
		}
	}
}
