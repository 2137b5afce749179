package index

import (
	"iter"
	"sync/atomic"
)

// pageBits is the logarithm of a page's length. Pages are the unit in which
// memory is given back, so they are small; a directory entry is one pointer.
const pageBits = 10

// Pages maps ids that are given out in ascending order, without gaps to speak
// of, to values: an array in pages, of which those whose ids have all gone are
// dropped. One writer; any number of readers.
//
//	to look up:  At(id)        nil when the id was never set or its page has gone
//	to insert:   Set(id)       the zeroed value to fill in
//	to remove:   Delete(id)    the caller says which ids are gone
//
// What a value means before it is filled in, and whether it may be changed
// beside readers, is the caller's affair: T's fields that change must be
// atomic.
type Pages[T any] struct {
	directory atomic.Pointer[pageDirectory[T]]
	// Owned by the writer.
	live []int32 // per page, ids set and not deleted; parallel to the directory
	n    int
}

type pageDirectory[T any] struct {
	first uint64 // number of the first page
	pages []atomic.Pointer[[1 << pageBits]T]
}

// At returns the value of an id, nil when there is none. Any goroutine. An id
// in a page that lives but was never set yields a zero value.
func (p *Pages[T]) At(id uint64) *T {
	d := p.directory.Load()
	if d == nil {
		return nil
	}
	i := id>>pageBits - d.first
	if i >= uint64(len(d.pages)) {
		return nil
	}
	page := d.pages[i].Load()
	if page == nil {
		return nil
	}
	return &page[id&(1<<pageBits-1)]
}

// Set makes room for id and returns its value. Writer only.
func (p *Pages[T]) Set(id uint64) *T {
	d := p.reach(id >> pageBits)
	i := id>>pageBits - d.first
	page := d.pages[i].Load()
	if page == nil {
		page = new([1 << pageBits]T)
		d.pages[i].Store(page)
	}
	p.live[i]++
	p.n++
	return &page[id&(1<<pageBits-1)]
}

// Delete says that id is gone; the last one gone takes its page along. The
// value itself is left as it is, for readers that still look. Writer only.
func (p *Pages[T]) Delete(id uint64) {
	d := p.directory.Load()
	i := id>>pageBits - d.first
	p.n--
	if p.live[i]--; p.live[i] == 0 {
		d.pages[i].Store(nil)
	}
}

// Len is how many ids are set. Writer only.
func (p *Pages[T]) Len() int { return p.n }

// Bounds returns the ids between which all set ones lie, [from, to). Any
// goroutine.
func (p *Pages[T]) Bounds() (from, to uint64) {
	d := p.directory.Load()
	if d == nil {
		return 0, 0
	}
	return d.first << pageBits, (d.first + uint64(len(d.pages))) << pageBits
}

// Ascending yields the ids from first to last, last excluded, of every page that
// lives: what lies between costs a look for each page of the directory, and nothing
// beyond it, however far apart first and last are. Any goroutine; ids set or deleted
// meanwhile may be met or not.
func (p *Pages[T]) Ascending(first, last uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		_, to := p.Bounds()
		to = min(to, last)
		for id := p.NextPage(first); id < to; id = p.NextPage(id) {
			for end := min(to, (id>>pageBits+1)<<pageBits); id < end; id++ {
				if !yield(id) {
					return
				}
			}
		}
	}
}

// Descending yields the same ids, the last one first.
func (p *Pages[T]) Descending(first, last uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		from, to := p.Bounds()
		from = max(from, first)
		for id := min(to, last); id > from; {
			begin := max(from, (id-1)>>pageBits<<pageBits)
			if p.At(begin) == nil {
				id = begin
			}
			for ; id > begin; id-- {
				if !yield(id - 1) {
					return
				}
			}
		}
	}
}

// Scattered yields every page that lives, with the id of its first value, pages that are far apart
// one after the other: who looks for the lowest or the highest of something soon has low or high
// ones to compare with, also when it rises or falls with the ids. Any goroutine; pages set or gone
// meanwhile may be met or not, and so may ids of them.
func (p *Pages[T]) Scattered(yield func(first uint64, page []T) bool) {
	d := p.directory.Load()
	if d == nil {
		return
	}
	n := uint64(len(d.pages))
	step := n*5/8 | 1 // near the golden ratio, so that three steps are as far apart as they can be
	for gcd(step, n) != 1 {
		step += 2
	}
	for i, left := uint64(0), n; left > 0; left-- {
		if page := d.pages[i].Load(); page != nil && !yield((d.first+i)<<pageBits, page[:]) {
			return
		}
		i = (i + step) % n
	}
}

// gcd is the greatest common divisor.
func gcd(a, b uint64) uint64 {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// NextPage returns the first id of the next page at or after id that lives,
// or to's bound: a scan skips what has gone a page at a time.
func (p *Pages[T]) NextPage(id uint64) uint64 {
	d := p.directory.Load()
	if d == nil {
		return id
	}
	i := id >> pageBits
	if i < d.first {
		i, id = d.first, d.first<<pageBits
	}
	for ; i-d.first < uint64(len(d.pages)); i, id = i+1, (i+1)<<pageBits {
		if d.pages[i-d.first].Load() != nil {
			return id
		}
	}
	return id
}

// reach returns a directory that holds page number n, growing by half at the
// end and forgetting dead pages at the front when it must be copied anyway.
func (p *Pages[T]) reach(n uint64) *pageDirectory[T] {
	d := p.directory.Load()
	if d != nil && n >= d.first && n-d.first < uint64(len(d.pages)) {
		return d
	}
	grown := &pageDirectory[T]{first: n}
	var live []int32
	if d != nil {
		skip := 0
		for n >= d.first && skip < len(d.pages) && d.pages[skip].Load() == nil {
			skip++
		}
		if skip < len(d.pages) {
			grown.first = min(n, d.first+uint64(skip))
			old := d.first + uint64(skip) - grown.first
			end := max(n+1, d.first+uint64(len(d.pages))) - grown.first
			grown.pages = make([]atomic.Pointer[[1 << pageBits]T], end+end/2)
			live = make([]int32, len(grown.pages))
			for i := skip; i < len(d.pages); i++ {
				grown.pages[old+uint64(i-skip)].Store(d.pages[i].Load())
				live[old+uint64(i-skip)] = p.live[i]
			}
		}
	}
	if grown.pages == nil {
		grown.pages = make([]atomic.Pointer[[1 << pageBits]T], 4)
		live = make([]int32, 4)
	}
	p.live = live
	p.directory.Store(grown)
	return grown
}
