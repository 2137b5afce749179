package index

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"unsafe"
)

// HostsFill fills an empty Hosts with many addresses at once: it sorts them by shard, and then makes
// each shard's table in one go, at the size it comes to have. Setting them one by one
// would miss the cache at each of ten million, and move each of them five times.
//
//	fill := NewHostsFill(parts)
//	fill.Part(i).Add(address, slot)      each part by one goroutine
//	fill.Into(&hosts, older)             when all have been added
//
// The parts follow one another: what the first has counts as set before what the second has. It
// takes 8 to 9 bytes for each IPv4 host until it is through, 24 for others.
type HostsFill struct{ parts []HostsPart }

// HostsPart is a part of a HostsFill. It belongs to one goroutine.
type HostsPart struct {
	four [shards]blocks[uint64] // as packed has them
	six  [shards]blocks[host6]
}

type host6 struct {
	key  words
	slot Slot
}

// NewHostsFill makes one of so many parts.
func NewHostsFill(parts int) *HostsFill { return &HostsFill{make([]HostsPart, parts)} }

// Part is one part, from 0.
func (f *HostsFill) Part(i int) *HostsPart { return &f.parts[i] }

// Add is Hosts.Set of a slot that is not 0.
func (p *HostsPart) Add(a netip.Addr, n Slot) {
	if a.Is4() {
		p.Add4(number4(a), n)
		return
	}
	key := number6(a)
	p.six[shard(key.hash())].append(host6{key, n})
}

// Add4 is Add of an IPv4 address, the first octet highest.
func (p *HostsPart) Add4(a uint32, n Slot) {
	p.four[shard(hash32(a))].append(uint64(a)<<32 | uint64(n))
}

// Into fills the hosts, which must be empty, on so many goroutines. Of an address that was added
// several times the last slot stays, and replaced hears of each of these and of the one before it: from
// several goroutines, but of one address from one. The fill is used up. The writer's alone.
func (f *HostsFill) Into(h *Hosts, goroutines int, replaced func(n, before Slot)) {
	var next atomic.Int64
	var filling sync.WaitGroup
	for range goroutines {
		filling.Go(func() {
			for i := int(next.Add(1)) - 1; i < shards; i = int(next.Add(1)) - 1 {
				h.count.Add(int64(f.fill4(&h.four[i], i, replaced) + f.fill6(&h.six[i], i, replaced)))
			}
		})
	}
	filling.Wait()
}

func (f *HostsFill) fill4(table *packed, i int, replaced func(n, before Slot)) int {
	n := 0
	for p := range f.parts {
		n += f.parts[p].four[i].n
	}
	if n == 0 {
		return 0
	}
	places := make([]atomic.Uint64, roomy(n))
	// Nobody looks before it is whole.
	plain := unsafe.Slice((*uint64)(unsafe.Pointer(&places[0])), len(places))
	for p := range f.parts {
		for _, block := range f.parts[p].four[i].full {
			for _, entry := range block {
				table.live += enterPlain(plain, entry, replaced)
			}
		}
		f.parts[p].four[i] = blocks[uint64]{}
	}
	table.used = table.live
	table.places.Store(&places)
	return table.live
}

// enterPlain gives an entry a place, and returns 1, or the place of the one that its key
// has.
func enterPlain(places []uint64, entry uint64, replaced func(n, before Slot)) int {
	at := place(hash32(uint32(entry>>32)), len(places))
	for places[at] != 0 {
		if places[at]>>32 == entry>>32 {
			replaced(Slot(uint32(entry)), Slot(uint32(places[at])))
			places[at] = entry
			return 0
		}
		if at++; at == len(places) {
			at = 0
		}
	}
	places[at] = entry
	return 1
}

func (f *HostsFill) fill6(table *keyed[words], i int, replaced func(n, before Slot)) int {
	n := 0
	for p := range f.parts {
		n += f.parts[p].six[i].n
	}
	if n == 0 {
		return 0
	}
	places := make([]keyedPlace[words], roomy(n))
	for p := range f.parts {
		for _, block := range f.parts[p].six[i].full {
			for _, host := range block {
				hash := host.key.hash()
				if at := find(places, hash, host.key); at >= 0 {
					replaced(host.slot, Slot(places[at].number.Load()))
					places[at].number.Store(uint32(host.slot))
					continue
				}
				enter(places, hash, host.key, uint32(host.slot))
				table.live++
			}
		}
		f.parts[p].six[i] = blocks[host6]{}
	}
	table.used = table.live
	table.places.Store(&places)
	return table.live
}

// blocks is a list that grows without being copied.
type blocks[T any] struct {
	full [][]T // all of blockLen but the last
	n    int
}

const blockLen = 512

func (b *blocks[T]) append(x T) {
	last := len(b.full) - 1
	if last < 0 || len(b.full[last]) == blockLen {
		b.full = append(b.full, make([]T, 0, blockLen))
		last++
	}
	b.full[last] = append(b.full[last], x)
	b.n++
}
