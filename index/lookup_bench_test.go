package index

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// A million mixed entries: 19 hosts of IPv4 to one of IPv6, and 50 000 ranges.
const (
	million    = 1_000_000
	manyRanges = 50_000
	asked      = 1 << 16
)

// hostsOf enters all but the last part of a corpus, and returns addresses to
// ask for, in random order: half of the one part, or of the other.
func hostsOf(b *testing.B, count int) (hosts *Hosts, hits, misses []netip.Addr) {
	r := chance(b)
	addresses := corpus(r, count+asked)
	hosts = new(Hosts)
	for i, a := range addresses[:count] {
		hosts.Set(a, Slot(i+1))
	}
	misses = addresses[count:]
	for range asked {
		hits = append(hits, addresses[r.IntN(count)])
	}
	return hosts, hits, misses
}

func BenchmarkHostsLookup(b *testing.B) {
	for _, count := range []int{10_000, million} {
		hosts, hits, misses := hostsOf(b, count)
		for name, list := range map[string][]netip.Addr{"hit": hits, "miss": misses} {
			b.Run(fmt.Sprintf("%d/%s", count, name), func(b *testing.B) {
				var sum Slot
				for i := 0; b.Loop(); i++ {
					sum += hosts.Get(list[i%asked])
				}
				runtime.KeepAlive(sum)
			})
		}
	}
}

// Everything a live query asks: the host and all ranges around it.
func BenchmarkLookupMixed(b *testing.B) {
	hosts, hits, misses := hostsOf(b, million-manyRanges)
	ranges, networks := rangesOf(b, manyRanges)
	covered := addressesIn(chance(b), networks)
	for name, list := range map[string][]netip.Addr{"hit": hits, "miss": misses, "range": covered} {
		b.Run(name, func(b *testing.B) {
			dst := make([]Slot, 0, 64)
			var sum Slot
			for i := 0; b.Loop(); i++ {
				a := list[i%asked]
				sum += hosts.Get(a)
				dst = ranges.Covering(dst[:0], whole(a))
				sum += Slot(len(dst))
			}
			runtime.KeepAlive(sum)
		})
	}
}

func BenchmarkHostsInsert(b *testing.B) {
	addresses := corpus(chance(b), million)
	b.Run("growing", func(b *testing.B) {
		for b.Loop() {
			var hosts Hosts
			for i, a := range addresses {
				hosts.Set(a, Slot(i+1))
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/entry")
	})
	var hosts Hosts
	bytes := heapOf(func() {
		for i, a := range addresses {
			hosts.Set(a, Slot(i+1))
		}
	})
	b.Run("delete and insert", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			a := addresses[i*7919%million]
			hosts.Set(a, 0)
			hosts.Set(a, 1)
		}
		b.ReportMetric(float64(bytes)/million, "B/entry")
	})
}

// A probe for each address of a prefix, or one look at every place.
func BenchmarkHostsWithin(b *testing.B) {
	hosts, _, _ := hostsOf(b, million)
	var sum Slot
	each := func(_ netip.Addr, n Slot) bool { sum += n; return true }
	for _, bits := range []int{24, 20, 19, 17} {
		p := netip.PrefixFrom(addr4(10<<24), bits)
		b.Run(fmt.Sprintf("/%d", bits), func(b *testing.B) {
			for b.Loop() {
				hosts.Within(p, each)
			}
		})
		b.Run(fmt.Sprintf("/%d/probed", bits), func(b *testing.B) {
			for b.Loop() {
				hosts.probe4(p, 32-bits, each)
			}
		})
		b.Run(fmt.Sprintf("/%d/scanned", bits), func(b *testing.B) {
			for b.Loop() {
				hosts.scan4(p, each)
			}
		})
	}
	runtime.KeepAlive(sum)
}

func rangesOf(b testing.TB, count int) (*Ranges, []netip.Prefix) {
	networks := distinct(chance(b), count)
	ranges := new(Ranges)
	for i, p := range networks {
		ranges.Set(p, Slot(i+1))
	}
	ranges.Publish()
	return ranges, networks
}

// addressesIn returns the first addresses of random networks.
func addressesIn(r *rand.Rand, networks []netip.Prefix) []netip.Addr {
	list := make([]netip.Addr, asked)
	for i := range list {
		list[i] = networks[r.IntN(len(networks))].Addr()
	}
	return list
}

func BenchmarkRangesCovering(b *testing.B) {
	for _, count := range []int{manyRanges, 10 * manyRanges} {
		ranges, networks := rangesOf(b, count)
		r := chance(b)
		outside := make([]netip.Addr, 0, asked)
		for len(outside) < asked {
			if a := nearby(r, true); len(ranges.Covering(nil, whole(a))) == 0 {
				outside = append(outside, a)
			}
		}
		for name, list := range map[string][]netip.Addr{"hit": addressesIn(r, networks), "miss": outside} {
			b.Run(fmt.Sprintf("%d/%s", count, name), func(b *testing.B) {
				dst := make([]Slot, 0, 64)
				for i := 0; b.Loop(); i++ {
					dst = ranges.Covering(dst[:0], whole(list[i%asked]))
				}
			})
		}
		for i, p := range distinct(r, count+freshKept)[count:] {
			ranges.Set(p, Slot(i+1))
		}
		ranges.Gather(nil)
		b.Run(fmt.Sprintf("%d/miss, beside gathered ones", count), func(b *testing.B) {
			dst := make([]Slot, 0, 64)
			for i := 0; b.Loop(); i++ {
				dst = ranges.Covering(dst[:0], whole(outside[i%asked]))
			}
		})
	}
}

// One commit's ranges into a tree that has some.
func BenchmarkRangesPublish(b *testing.B) {
	for _, held := range []int{manyRanges, 10 * manyRanges} {
		for _, commit := range []int{1, 100, 1_000, 5_000, 100_000} {
			networks := distinct(chance(b), held+commit)
			b.Run(fmt.Sprintf("%d into %d", commit, held), func(b *testing.B) {
				var ranges Ranges
				for i, p := range networks[:held] {
					ranges.Set(p, Slot(i+1))
				}
				ranges.Publish()
				for b.Loop() {
					before, last := ranges.shown.Load(), ranges.last
					for i, p := range networks[held:] {
						ranges.Set(p, Slot(i+1))
					}
					ranges.Publish()
					ranges.shown.Store(before) // and once more
					ranges.last = last
					ranges.count.Store(int64(held))
					before.fresh = new(keyed[cidr])
				}
			})
		}
	}
}

// An import's ranges: a hundred commits of 500, one way or the other. The longest stretch
// is how long readers on the same processor wait at worst.
func BenchmarkRangesImport(b *testing.B) {
	const commits, each = 100, 500
	networks := distinct(chance(b), commits*each)
	for name, publish := range map[string]func(*Ranges, func()){
		"publish": func(r *Ranges, _ func()) { r.Publish() },
		"gather":  (*Ranges).Gather,
	} {
		b.Run(name, func(b *testing.B) {
			longest, last := time.Duration(0), time.Now()
			pause := func() {
				now := time.Now()
				longest, last = max(longest, now.Sub(last)), now
			}
			for b.Loop() {
				var ranges Ranges
				for i, p := range networks {
					ranges.Set(p, Slot(i+1))
					if i%each == each-1 {
						last = time.Now()
						publish(&ranges, pause)
						pause()
					}
				}
			}
			b.ReportMetric(float64(longest.Microseconds()), "µs-longest")
		})
	}
}

// The two ways in which a tree takes new prefixes, for cloneShare: a persistent
// copy for each, or one clone and plain inserts.
func BenchmarkRangesGrow(b *testing.B) {
	for _, held := range []int{manyRanges, 10 * manyRanges} {
		ranges, _ := rangesOf(b, held)
		tree := ranges.shown.Load().tree
		more := distinct(chance(b), 1_000)
		b.Run(fmt.Sprintf("%d/persist", held), func(b *testing.B) {
			grown := tree
			for i := 0; b.Loop(); i++ {
				if i%len(more) == 0 {
					grown = tree
				}
				grown = grown.InsertPersist(more[i%len(more)], 1)
			}
		})
		b.Run(fmt.Sprintf("%d/clone", held), func(b *testing.B) {
			for b.Loop() {
				tree.Clone()
			}
		})
		grown := tree.Clone()
		b.Run(fmt.Sprintf("%d/insert", held), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if i%len(more) == 0 {
					b.StopTimer()
					grown = tree.Clone()
					b.StartTimer()
				}
				grown.Insert(more[i%len(more)], 1)
			}
		})
	}
}

// Half a million ranges in commits of 100 000, and the bytes of each.
func BenchmarkRangesBulk(b *testing.B) {
	const commit = 100_000
	networks := distinct(chance(b), 10*manyRanges)
	var ranges *Ranges
	fill := func() {
		ranges = new(Ranges)
		for i, p := range networks {
			ranges.Set(p, Slot(i+1))
			if (i+1)%commit == 0 {
				ranges.Publish()
			}
		}
	}
	for b.Loop() {
		fill()
	}
	ranges = nil
	b.ReportMetric(float64(heapOf(fill))/float64(len(networks)), "B/range")
	runtime.KeepAlive(ranges)
}
