package transport

import (
	"encoding/binary"
	"sync/atomic"
)

// lineCell is the unit in which a ring of lines has room, in bytes: lines take one to
// four.
const lineCell = 64

// lineRing holds lines until one reader takes them. Any goroutine may put one: it reserves
// cells with one exchange of a number, copies, and marks the first cell. The reader takes what
// is marked, in order, and unmarks it, so a line that is being copied holds up those behind it
// for as long as that takes.
type lineRing struct {
	cells []byte
	marks []atomic.Uint32 // of the first cell of a line that is whole: its bytes and 1; else 0

	_    [64]byte
	head atomic.Uint64 // cells that were taken, since the beginning
	_    [64]byte
	tail atomic.Uint64 // cells that were reserved
	_    [64]byte
}

// newLineRing makes one with room for so many bytes, a multiple of lineCell.
func newLineRing(size int) *lineRing {
	return &lineRing{cells: make([]byte, size), marks: make([]atomic.Uint32, size/lineCell)}
}

// lineHead is how many bytes stand before a line: its moment.
const lineHead = 8

// put copies a line and a number of its own behind the others; false when there is no
// room. It does not wait, and does not allocate.
func (r *lineRing) put(at int64, line []byte) bool {
	size := lineHead + len(line)
	need, all := uint64((size+lineCell-1)/lineCell), uint64(len(r.marks))
	for {
		head := r.head.Load() // before tail: never beyond it
		tail := r.tail.Load()
		if tail-head+need > all {
			return false
		}
		if !r.tail.CompareAndSwap(tail, tail+need) {
			continue
		}
		begin := tail % all
		binary.LittleEndian.PutUint64(r.cells[begin*lineCell:], uint64(at)) // within one cell
		to := int(begin*lineCell) + lineHead
		n := copy(r.cells[to:], line)
		copy(r.cells, line[n:])
		r.marks[begin].Store(uint32(size) + 1)
		return true
	}
}

// take appends the oldest line to dst; false when there is none. One goroutine takes.
func (r *lineRing) take(dst []byte) (at int64, line []byte, ok bool) {
	head, all := r.head.Load(), uint64(len(r.marks))
	begin := head % all
	mark := r.marks[begin].Load()
	if mark == 0 {
		return 0, dst, false
	}
	size := int(mark - 1)
	at = int64(binary.LittleEndian.Uint64(r.cells[begin*lineCell:]))
	from, rest := int(begin*lineCell)+lineHead, size-lineHead
	n := min(rest, len(r.cells)-from)
	dst = append(dst, r.cells[from:from+n]...)
	dst = append(dst, r.cells[:rest-n]...)
	r.marks[begin].Store(0)
	r.head.Store(head + uint64((size+lineCell-1)/lineCell))
	return at, dst, true
}

// empty reports whether no line is whole that was not taken.
func (r *lineRing) empty() bool {
	return r.marks[r.head.Load()%uint64(len(r.marks))].Load() == 0
}
