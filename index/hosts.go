package index

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

// Hosts maps host addresses to slots: exact, one flat table per family, eight
// bytes a place for IPv4 and 24 for IPv6. Each is cut into 256 shards so that
// growth copies little at a time.
//
// An IPv4 address inside an IPv6 one is an IPv6 address here: the caller unmaps
// it first. Zones are ignored. One writer, many readers; the zero Hosts is
// empty and ready.
type Hosts struct {
	four  [shards]packed
	six   [shards]keyed[words]
	count atomic.Int64
}

// words are the two halves of an IPv6 address, the more significant first.
type words struct{ high, low uint64 }

func (w words) hash() uint64 { return mix(mix(w.low, 0x9e3779b97f4a7c15), w.high) }

// Get returns the slot of an address, 0 when it has none. Any goroutine.
func (h *Hosts) Get(a netip.Addr) Slot {
	switch {
	case a.Is4():
		return h.get4(number4(a))
	case a.IsValid():
		return h.get6(number6(a))
	}
	return 0
}

func (h *Hosts) get4(key uint32) Slot {
	hash := hash32(key)
	search := h.four[shard(hash)].of(hash, key)
	return Slot(search.next())
}

func (h *Hosts) get6(key words) Slot {
	hash := key.hash()
	return Slot(h.six[shard(hash)].get(hash, key))
}

// Set gives an address a slot in place of the one it has; 0 removes it. The
// writer's alone. An invalid address is the caller's mistake and panics.
func (h *Hosts) Set(a netip.Addr, n Slot) {
	switch {
	case a.Is4():
		h.set4(number4(a), n)
	case a.IsValid():
		key := number6(a)
		hash := key.hash()
		h.count.Add(int64(h.six[shard(hash)].set(hash, key, uint32(n))))
	default:
		panic("BUG: an invalid address among the hosts")
	}
}

func (h *Hosts) set4(key uint32, n Slot) {
	hash := hash32(key)
	table := &h.four[shard(hash)]
	search := table.of(hash, key)
	old := search.next()
	switch {
	case old != 0:
		table.replace(hash, key, old, uint32(n))
		if n == 0 {
			h.count.Add(-1)
		}
	case n != 0:
		table.add(hash, key, uint32(n))
		h.count.Add(1)
	}
}

// Len returns how many addresses have a slot. Any goroutine.
func (h *Hosts) Len() int { return int(h.count.Load()) }

func number4(a netip.Addr) uint32 {
	bytes := a.As4()
	return binary.BigEndian.Uint32(bytes[:])
}

func number6(a netip.Addr) words {
	bytes := a.As16()
	return words{binary.BigEndian.Uint64(bytes[:8]), binary.BigEndian.Uint64(bytes[8:])}
}

func addr4(n uint32) netip.Addr {
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], n)
	return netip.AddrFrom4(bytes)
}

func addr6(w words) netip.Addr {
	var bytes [16]byte
	binary.BigEndian.PutUint64(bytes[:8], w.high)
	binary.BigEndian.PutUint64(bytes[8:], w.low)
	return netip.AddrFrom16(bytes)
}
