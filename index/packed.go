package index

import "sync/atomic"

// packed is a flat table from 32-bit keys to numbers other than 0, each entry
// one 64-bit word, so that a reader always sees a whole one:
//
//	63            32 31             0
//	┌───────────────┬───────────────┐     0        never used: a search ends here
//	│      key      │    number     │     number 0 used before: a search goes on
//	└───────────────┴───────────────┘
//
// A search begins at the place the key's hash says and goes on to the next
// place until it meets an empty one. A key may have several numbers (texts with
// one hash); a caller that wants only one takes care of it. Entries never move within a
// table, so what is in it throughout a search is found by the search.
//
// One writer, many readers. The zero table is empty.
type packed struct {
	places atomic.Pointer[[]atomic.Uint64]

	// The writer's own.
	live int // entries
	used int // places that are not empty, at most 3/4 of them
}

// gone marks a used place without an entry; its key is any but matches none,
// since its number is 0.
const gone = 1 << 32

// hash32 is the hash of a packed table's key.
func hash32(key uint32) uint64 { return mix(uint64(key), 0x9e3779b97f4a7c15) }

// search goes through the entries of one key. It may be copied, and holds on to
// the table it began in.
type search struct {
	places []atomic.Uint64
	key    uint32
	at     int // the next place to look at
	left   int // places not looked at: the end of a search in any case
}

// of begins a search. Any goroutine.
func (p *packed) of(hash uint64, key uint32) search {
	s := search{key: key}
	if places := p.places.Load(); places != nil {
		s.places = *places
		s.left = len(s.places)
		s.at = place(hash, s.left)
	}
	return s
}

// next returns the next number of the key, 0 when there are no more.
func (s *search) next() uint32 {
	for ; s.left > 0; s.left-- {
		entry := s.places[s.at].Load()
		if entry == 0 {
			s.left = 0
			return 0
		}
		if s.at++; s.at == len(s.places) {
			s.at = 0
		}
		if uint32(entry>>32) == s.key && uint32(entry) != 0 {
			s.left--
			return uint32(entry)
		}
	}
	return 0
}

// add enters a number under a key. The writer's alone; the caller knows that
// the same entry is not there yet.
func (p *packed) add(hash uint64, key, number uint32) {
	places := p.table()
	if crowded(p.used, len(places)) {
		places = p.rebuild()
	}
	at := place(hash, len(places))
	for uint32(places[at].Load()) != 0 {
		if at++; at == len(places) {
			at = 0
		}
	}
	if places[at].Load() == 0 {
		p.used++
	}
	p.live++
	places[at].Store(uint64(key)<<32 | uint64(number))
}

// replace puts another number in the place of one the key has; 0 removes the
// entry. The writer's alone.
func (p *packed) replace(hash uint64, key, old, number uint32) {
	places := p.table()
	entry := uint64(key)<<32 | uint64(old)
	at := place(hash, len(places))
	for places[at].Load() != entry {
		if at++; at == len(places) {
			at = 0
		}
	}
	if number != 0 {
		places[at].Store(uint64(key)<<32 | uint64(number))
		return
	}
	p.live--
	places[at].Store(gone)
	p.tidy(places, at)
	if sparse(p.live, len(places)) {
		p.rebuild()
	}
}

// tidy empties the places before an empty one that hold nothing: no search can
// want to go past them.
func (p *packed) tidy(places []atomic.Uint64, at int) {
	after := at + 1
	if after == len(places) {
		after = 0
	}
	if places[after].Load() != 0 {
		return
	}
	for places[at].Load() == gone {
		places[at].Store(0)
		p.used--
		if at--; at < 0 {
			at = len(places) - 1
		}
	}
}

// rebuild publishes a table of the size the entries need. Readers in the old
// one find there what it held when they came.
func (p *packed) rebuild() []atomic.Uint64 {
	places := make([]atomic.Uint64, roomy(p.live))
	old := p.table()
	for i := range old {
		entry := old[i].Load()
		if uint32(entry) == 0 {
			continue
		}
		at := place(hash32(uint32(entry>>32)), len(places))
		for places[at].Load() != 0 {
			if at++; at == len(places) {
				at = 0
			}
		}
		places[at].Store(entry)
	}
	p.used = p.live
	p.places.Store(&places)
	return places
}

// within hands over every entry whose key agrees with first in all but the
// lowest shift bits until told to stop, and says whether it was not told. Any
// goroutine.
func (p *packed) within(first uint32, shift int, yield func(key, number uint32) bool) bool {
	places := p.table()
	for i := range places {
		entry := places[i].Load()
		key, number := uint32(entry>>32), uint32(entry)
		if (key^first)>>shift == 0 && number != 0 && !yield(key, number) {
			return false
		}
	}
	return true
}

func (p *packed) table() []atomic.Uint64 {
	if places := p.places.Load(); places != nil {
		return *places
	}
	return nil
}
