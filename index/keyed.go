package index

import "sync/atomic"

// keyed is a flat table from keys to numbers other than 0.
// The key of a place is written before its number is first stored and never
// changes in this table, so a reader that has seen a number reads a whole key:
//
//	┌─────────────────────┬────────┐     0        never used: a search ends here
//	│         key         │ number │     retired  the key was removed
//	└─────────────────────┴────────┘
//
// One writer, many readers. The zero table is empty.
type keyed[K hashed] struct {
	places atomic.Pointer[[]keyedPlace[K]]

	// The writer's own.
	live int // entries
	used int // places that are not empty, at most 3/4 of them
}

type keyedPlace[K hashed] struct {
	key    K
	number atomic.Uint32
}

// hashed is a key that knows its hash, as hash.go wants it.
type hashed interface {
	comparable
	hash() uint64
}

// retired is no number: slots and anchors end below it.
const retired = 1<<32 - 1

// get returns the key's number, 0 when it has none. Any goroutine.
func (k *keyed[K]) get(hash uint64, key K) uint32 {
	places := k.table()
	if at := find(places, hash, key); at >= 0 {
		if number := places[at].number.Load(); number != retired {
			return number
		}
	}
	return 0
}

// set gives the key a number in place of the one it has; 0 removes it. It
// returns by how many entries the table has grown. The writer's alone.
func (k *keyed[K]) set(hash uint64, key K, number uint32) int {
	before := k.live
	places := k.table()
	at := find(places, hash, key)
	switch {
	case number != 0 && at >= 0:
		if places[at].number.Load() == retired {
			k.live++
		}
		places[at].number.Store(number)
	case number != 0:
		k.add(hash, key, number)
	case at >= 0 && places[at].number.Load() != retired:
		k.live--
		places[at].number.Store(retired)
		if sparse(k.live, len(places)) {
			k.rebuild()
		}
	}
	return k.live - before
}

// add enters a key that has no place yet.
func (k *keyed[K]) add(hash uint64, key K, number uint32) {
	places := k.table()
	if crowded(k.used, len(places)) {
		places = k.rebuild()
	}
	enter(places, hash, key, number)
	k.used++
	k.live++
}

// rebuild publishes a table of the size the entries need.
func (k *keyed[K]) rebuild() []keyedPlace[K] {
	places := make([]keyedPlace[K], roomy(k.live))
	k.each(func(key K, number uint32) bool {
		enter(places, key.hash(), key, number)
		return true
	})
	k.used = k.live
	k.places.Store(&places)
	return places
}

// each hands over every entry until told to stop, and says whether it was not
// told. Any goroutine.
func (k *keyed[K]) each(yield func(K, uint32) bool) bool {
	places := k.table()
	for i := range places {
		number := places[i].number.Load()
		if number != 0 && number != retired && !yield(places[i].key, number) {
			return false
		}
	}
	return true
}

func (k *keyed[K]) table() []keyedPlace[K] {
	if places := k.places.Load(); places != nil {
		return *places
	}
	return nil
}

// find returns the key's place, -1 when it has none. There is always an empty
// place; the count of steps is for readers of a table that is being changed.
func find[K hashed](places []keyedPlace[K], hash uint64, key K) int {
	at := place(hash, len(places))
	for range places {
		if places[at].number.Load() == 0 {
			return -1
		}
		if places[at].key == key {
			return at
		}
		if at++; at == len(places) {
			at = 0
		}
	}
	return -1
}

// enter takes the first empty place for a key.
func enter[K hashed](places []keyedPlace[K], hash uint64, key K, number uint32) {
	at := place(hash, len(places))
	for places[at].number.Load() != 0 {
		if at++; at == len(places) {
			at = 0
		}
	}
	places[at].key = key
	places[at].number.Store(number)
}
