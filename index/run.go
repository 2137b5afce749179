package index

import "slices"

// run is a stretch of a sequence that grows at one end and is cut at the other.
// A position counts from the beginning of the sequence and is never reused:
//
//	          from                to
//	            ▼                 ▼
//	[ · · · · · x x x ][ x x x x x x · · · ]     chunks
//	  ▲ first
//
// A copy of a run is a view of it that stays as it is: the writer writes at to
// and after, where the copy does not look, and leaves the copy its chunks. The
// zero run is empty.
type run[T any] struct {
	chunks   []*[chunkLen]T
	first    uint64 // position of the first chunk's first element
	from, to uint64
}

func (r *run[T]) len() int { return int(r.to - r.from) }

// at returns the element at a position from from to before to.
func (r *run[T]) at(position uint64) *T {
	offset := position - r.first
	return &r.chunks[offset>>chunkBits][offset&chunkMask]
}

func (r *run[T]) append(value T) {
	if r.to-r.first == uint64(len(r.chunks))*chunkLen {
		// Room behind the old length is shared with copies, which end before it.
		r.chunks = append(r.chunks, new([chunkLen]T))
	}
	*r.at(r.to) = value
	r.to++
}

// shed lets go of the chunks before from. Copies keep theirs, since the
// directory is copied, not changed.
func (r *run[T]) shed() {
	whole := (r.from - r.first) / chunkLen
	if whole > 0 {
		r.chunks = slices.Clone(r.chunks[whole:])
		r.first += whole * chunkLen
	}
}
