package index

import "sync/atomic"

// Values maps a scope and a value, both numbers (of Strings, say), to slots:
// for targets that are not addresses. A flat table like that of Hosts.
//
// One writer, many readers; the zero Values is empty and ready.
type Values struct {
	tables [shards]keyed[pair]
	count  atomic.Int64
}

// pair is a scope number in the upper half and a value number in the lower.
type pair uint64

func (p pair) hash() uint64 { return mix(uint64(p), 0x9e3779b97f4a7c15) }

// Get returns the slot of a value, 0 when it has none. Any goroutine.
func (v *Values) Get(scope, value uint32) Slot {
	key := pair(scope)<<32 | pair(value)
	hash := key.hash()
	return Slot(v.tables[shard(hash)].get(hash, key))
}

// Set gives a value a slot in place of the one it has; 0 removes it. The
// writer's alone.
func (v *Values) Set(scope, value uint32, n Slot) {
	key := pair(scope)<<32 | pair(value)
	hash := key.hash()
	v.count.Add(int64(v.tables[shard(hash)].set(hash, key, uint32(n))))
}

// Len returns how many values have a slot. Any goroutine.
func (v *Values) Len() int { return int(v.count.Load()) }
