package index

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"
)

// Slot names a record of a Slab. 0 means none; the highest is [MaxSlot].
type Slot uint32

// MaxSlot is the highest slot ever given. It leaves one bit for [Event], and
// the two highest numbers of a word for tables to mark what is gone.
const MaxSlot Slot = 1<<31 - 1

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
type Slab[T any] struct {
	records array[T]
	given   atomic.Uint32 // the highest slot ever given
	live    atomic.Int64

	// The writer's own.
	free  []Slot // given back, the latest last
	known bool   // words has been set
	words int    // 64-bit words of a T without pointers; 0: assign whole
}

// At returns the record n. Any goroutine; n must come from New and not have
// been freed. The record may be kept for as long as the slot.
func (s *Slab[T]) At(n Slot) *T {
	return s.records.at(uint32(n))
}

// New gives a zeroed record: the one freed last, or else a new one at the end.
// The writer's alone. It panics when all of MaxSlot are in use.
func (s *Slab[T]) New() (Slot, *T) {
	s.live.Add(1)
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

// Free takes the record n back; its contents stay until it is given again.
// The writer's alone, and only when no reader can reach n (package comment).
func (s *Slab[T]) Free(n Slot) {
	if n == 0 || n >= s.End() {
		panic(fmt.Sprintf("BUG: slot %d freed, the slab ends at %d", n, s.End()))
	}
	s.live.Add(-1)
	s.free = append(s.free, n)
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
