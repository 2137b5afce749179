package index

// Values maps texts that are not addresses to slots. A text is known by its
// number (of Strings, say). A flat table like that of Hosts.
//
// One writer, many readers; the zero Values is empty and ready.
type Values struct {
	tables [shards]keyed[number]
}

// number is the number of a text.
type number uint32

func (n number) hash() uint64 { return mix(uint64(n), 0x9e3779b97f4a7c15) }

// Get returns the slot of a value, 0 when it has none. It does not allocate. Any
// goroutine.
func (v *Values) Get(value uint32) Slot {
	hash := number(value).hash()
	return Slot(v.tables[shard(hash)].get(hash, number(value)))
}

// Set gives a value a slot in place of the one it has; 0 removes it. The
// writer's alone.
func (v *Values) Set(value uint32, n Slot) {
	hash := number(value).hash()
	v.tables[shard(hash)].set(hash, number(value), uint32(n))
}
