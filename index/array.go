package index

import (
	"slices"
	"sync/atomic"
)

const (
	chunkBits = 12
	chunkLen  = 1 << chunkBits // elements; a table of ten million is 2 442 chunks
	chunkMask = chunkLen - 1
)

// array is a growing run of elements whose addresses never change. It grows a
// chunk at a time, so growth copies only the directory of chunks:
//
//	dir ──► [ *chunk │ *chunk │ … ]      element n is dir[n/chunkLen][n%chunkLen]
//
// The writer grows it; any goroutine may address an element once it knows the number.
// What lies in an element is the user's to make safe. The zero array is empty.
type array[T any] struct {
	dir atomic.Pointer[[]*[chunkLen]T]
}

// at returns element n, which must be below size.
func (a *array[T]) at(n uint32) *T {
	return &(*a.dir.Load())[n>>chunkBits][n&chunkMask]
}

// size returns how many elements there is room for.
func (a *array[T]) size() int {
	if dir := a.dir.Load(); dir != nil {
		return len(*dir) * chunkLen
	}
	return 0
}

// swap puts other chunks in the place of some, by number. Readers that came before
// keep the old ones.
func (a *array[T]) swap(chunks []uint32, other func() *[chunkLen]T) {
	dir := slices.Clone(*a.dir.Load())
	for _, c := range chunks {
		dir[c] = other()
	}
	a.dir.Store(&dir)
}

// reach makes room for element n.
func (a *array[T]) reach(n uint32) {
	for int(n) >= a.size() {
		var dir []*[chunkLen]T
		if old := a.dir.Load(); old != nil {
			dir = *old
		}
		// Room behind the old length is shared with the old directory, whose
		// readers do not look there.
		dir = append(dir, new([chunkLen]T))
		a.dir.Store(&dir)
	}
}
