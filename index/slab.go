package index

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"unsafe"
)

// Slot names a record of a Slab. 0 means none; the highest is [MaxSlot].
type Slot uint32

// MaxSlot is the highest slot ever given. It leaves one bit for [Event], and
// the two highest numbers of a word for tables to mark what is gone.
const MaxSlot Slot = 1<<31 - 1

// lookAgain is the part of its free slots that a slab must have been given since it
// looked at them.
const lookAgain = 16

// Slab keeps records of one type at addresses that never change, each named by
// a Slot. The zero Slab is empty and ready.
//
// T should hold no pointers: then the collector looks at none of the records,
// however many there are. If it also has a 64-bit field (so that it is aligned
// to eight bytes), a freed record is cleared word by word with atomic stores,
// lowest address first, before it is given again. A reader that goes through
// all slots may then meet records that are free or just being filled, provided
// that it reads the atomic fields which say so before all others, and reads
// those declared later (an end) before those declared earlier (a beginning);
// zero must mean "not there". Otherwise clearing is an ordinary assignment, and
// readers may touch only records they were led to.
//
// Records lie in chunks. Release gives the memory of chunks back in which no
// record is in use; their slots are given again when no others are left.
type Slab[T any] struct {
	records array[T]
	given   atomic.Uint32 // the highest slot ever given
	live    atomic.Int64

	// The writer's own.
	free  []Slot       // given back, the latest last
	shut  []uint32     // chunks whose memory was given back; none of their slots is in free
	none  *[chunkLen]T // what readers find in their place: records that are not there
	fresh int          // how many were freed since Release looked at them
	known bool         // words has been set
	words int          // 64-bit words of a T without pointers; 0: assign whole
}

// At returns the record n. Any goroutine; n must come from New and not have
// been freed. The record may be kept for as long as the slot.
func (s *Slab[T]) At(n Slot) *T {
	return s.records.at(uint32(n))
}

// New gives a zeroed record: the one freed last, or else one whose memory was
// given back, or else a new one at the end. The writer's alone. It panics when all
// of MaxSlot are in use.
func (s *Slab[T]) New() (Slot, *T) {
	s.live.Add(1)
	if len(s.free) == 0 && len(s.shut) > 0 {
		s.open()
	}
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		record := s.At(n)
		s.clear(record)
		return n, record
	}
	n := Slot(s.given.Load()) + 1
	if n > MaxSlot {
		panic(fmt.Sprintf("BUG: a slab of %d records is full", MaxSlot))
	}
	s.records.reach(uint32(n))
	s.given.Store(uint32(n))
	return n, s.At(n)
}

// Extend gives so many zeroed records in a row, at the end, and returns the first: New for
// a writer that fills a slab of which nothing was freed yet. The writer's alone. It
// panics beyond MaxSlot.
func (s *Slab[T]) Extend(count int) (first Slot) {
	last := int(s.given.Load()) + count
	if last > int(MaxSlot) {
		panic(fmt.Sprintf("BUG: a slab of %d records is full", MaxSlot))
	}
	first = Slot(s.given.Load()) + 1
	s.records.reach(uint32(last))
	s.given.Store(uint32(last))
	s.live.Add(int64(count))
	return first
}

// Free takes the record n back; its contents stay until it is given again.
// The writer's alone, and only when no reader can reach n (package comment).
func (s *Slab[T]) Free(n Slot) {
	if n == 0 || n >= s.End() {
		panic(fmt.Sprintf("BUG: slot %d freed, the slab ends at %d", n, s.End()))
	}
	s.live.Add(-1)
	s.free = append(s.free, n)
	s.fresh++
}

// Release gives the memory of chunks back in which no record is in use, and tells
// of the slots, from first to last, that lost theirs. Of the free records it keeps
// spare for the next New. Slots of the lowest chunks are given first afterwards, so
// that the records in use gather in few chunks as time goes by.
//
// It looks at all free slots, a few nanoseconds each, so it does nothing as long as
// fewer than a chunk's, or than a part of the free ones, were freed since it did so
// last: a call now and then costs a freed record a tenth of a microsecond at most.
// The writer's alone; readers may go on.
func (s *Slab[T]) Release(spare int, gone func(first, last Slot)) {
	if s.fresh < max(chunkLen, len(s.free)/lookAgain) {
		return
	}
	s.fresh = 0
	ends := make([]int, s.records.size()/chunkLen) // how many free slots a chunk has
	for _, n := range s.free {
		ends[n>>chunkBits]++
	}
	var empty []uint32
	kept := len(s.free)
	for c := len(ends) - 1; c > 0 && kept-chunkLen >= spare; c-- { // chunk 0 has no slot 0, and stays
		if ends[c] == chunkLen {
			empty = append(empty, uint32(c))
			ends[c] = 0
			kept -= chunkLen
		}
	}
	s.sort(ends, kept)
	if len(empty) == 0 {
		return
	}
	if s.none == nil {
		s.none = new([chunkLen]T)
	}
	s.records.swap(empty, func() *[chunkLen]T { return s.none })
	s.shut = append(s.shut, empty...)
	slices.SortFunc(s.shut, func(a, b uint32) int { return cmp.Compare(b, a) })
	for _, c := range empty {
		gone(Slot(c)<<chunkBits, Slot(c)<<chunkBits|chunkMask)
	}
}

// sort orders the free slots by chunk, the lowest last, and leaves those out whose
// chunk counts as none. counts is used up.
func (s *Slab[T]) sort(counts []int, kept int) {
	sorted := make([]Slot, kept)
	at := 0
	for c := len(counts) - 1; c >= 0; c-- {
		n := counts[c]
		counts[c] = at
		if n == 0 {
			counts[c] = -1
		}
		at += n
	}
	for _, n := range s.free {
		if place := &counts[n>>chunkBits]; *place >= 0 {
			sorted[*place] = n
			*place++
		}
	}
	s.free = sorted
}

// open has memory for the lowest chunk that was given back.
func (s *Slab[T]) open() {
	last := len(s.shut) - 1
	c := s.shut[last]
	s.shut = s.shut[:last]
	s.records.swap([]uint32{c}, func() *[chunkLen]T { return new([chunkLen]T) })
	for n := range Slot(chunkLen) {
		s.free = append(s.free, Slot(c)<<chunkBits|(chunkMask-n))
	}
}

// End returns one past the highest slot ever given: a scan goes from 1 to
// End-1 and meets free records too. Any goroutine.
func (s *Slab[T]) End() Slot { return Slot(s.given.Load()) + 1 }

// Len returns how many records are in use. Any goroutine.
func (s *Slab[T]) Len() int { return int(s.live.Load()) }

// clear zeroes a record that scanning readers may be looking at.
func (s *Slab[T]) clear(record *T) {
	if !s.known {
		s.known = true
		if kind := reflect.TypeFor[T](); kind.Align() == 8 && !holdsPointers(kind) {
			s.words = int(kind.Size() / 8)
		}
	}
	if s.words == 0 {
		var zero T
		*record = zero
		return
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(record)), s.words)
	for i := range words {
		atomic.StoreUint64(&words[i], 0)
	}
}

// holdsPointers says whether the collector has to look into values of a type.
func holdsPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return t.Len() > 0 && holdsPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	default:
		return t.Kind() > reflect.Complex128
	}
}
