package index

// Sequence is an array of items by ascending number, with gaps, of which every
// version stays as it was, in the manner of Trie and with the same rules: runs
// are numbered, and changes of one run are made in place until a reader has seen
// them. For what must be listed in the order in which it came.
//
//	to look up:  At, First             one node for each five bits of the number
//	to walk:     All, From             in order
//	to change:   Set, Delete           copies the way there, a kilobyte or so
//
// Nine bytes an item when there are no gaps; thirty-two numbers in a row that
// have gone cost nothing any more. The zero Sequence is empty.
type Sequence[T any] struct {
	root   *sequenceNode[T]
	height int // levels below the root
	n      int
}

const (
	sequenceBits = 5
	sequenceWays = 1 << sequenceBits
	sequenceMask = sequenceWays - 1
)

// sequenceNode is a leaf, with items, or has kids.
type sequenceNode[T any] struct {
	run   uint64 // in which it was made
	live  int    // kids or items that are there
	kids  *[sequenceWays]*sequenceNode[T]
	items *[sequenceWays]*T
}

// Len returns how many items there are.
func (s Sequence[T]) Len() int { return s.n }

// At returns the item of a number, nil when there is none.
func (s Sequence[T]) At(number uint64) *T {
	if s.root == nil || !s.reaches(number) {
		return nil
	}
	n := s.root
	for level := s.height; level > 0; level-- {
		if n = n.kids[number>>(level*sequenceBits)&sequenceMask]; n == nil {
			return nil
		}
	}
	return n.items[number&sequenceMask]
}

// First returns the item with the lowest number, nil when there is none.
func (s Sequence[T]) First() (first *T) {
	s.From(0, func(_ uint64, item *T) bool { first = item; return false })
	return first
}

// All yields every item in order, until yield returns false.
func (s Sequence[T]) All(yield func(*T) bool) {
	s.From(0, func(_ uint64, item *T) bool { return yield(item) })
}

// From yields every item of that number or a higher one, in order, until yield
// returns false.
func (s Sequence[T]) From(number uint64, yield func(uint64, *T) bool) {
	if s.root != nil && s.reaches(number) {
		s.root.walk(s.height, 0, number, yield)
	}
}

// Set returns a sequence in which the number has the item, in place of the one
// it may have had.
func (s Sequence[T]) Set(run, number uint64, item *T) Sequence[T] {
	for !s.reaches(number) {
		if s.root != nil {
			root := &sequenceNode[T]{run: run, live: 1, kids: new([sequenceWays]*sequenceNode[T])}
			root.kids[0] = s.root
			s.root = root
		}
		s.height++
	}
	if s.At(number) == nil {
		s.n++
	}
	s.root = s.root.set(run, s.height, number, item)
	return s
}

// Delete returns a sequence in which the number has no item.
func (s Sequence[T]) Delete(run, number uint64) Sequence[T] {
	if s.At(number) == nil {
		return s
	}
	s.n--
	if s.root = s.root.set(run, s.height, number, nil); s.root == nil {
		s.height = 0
	}
	return s
}

// reaches reports whether the number has a place below the root.
func (s Sequence[T]) reaches(number uint64) bool {
	bits := (s.height + 1) * sequenceBits
	return bits >= 64 || number>>bits == 0
}

// own returns a node that this run may change: n itself or a copy.
func (n *sequenceNode[T]) own(run uint64, level int) *sequenceNode[T] {
	if n != nil && n.run == run {
		return n
	}
	c := &sequenceNode[T]{run: run}
	if n != nil {
		c.live = n.live
	}
	if level > 0 {
		c.kids = new([sequenceWays]*sequenceNode[T])
		if n != nil {
			*c.kids = *n.kids
		}
		return c
	}
	c.items = new([sequenceWays]*T)
	if n != nil {
		*c.items = *n.items
	}
	return c
}

// set gives a number its item, or takes it away, and returns the node, nil when
// it is empty then.
func (n *sequenceNode[T]) set(run uint64, level int, number uint64, item *T) *sequenceNode[T] {
	n = n.own(run, level)
	at := number >> (level * sequenceBits) & sequenceMask
	before, after := false, false
	if level > 0 {
		before = n.kids[at] != nil
		n.kids[at] = n.kids[at].set(run, level-1, number, item)
		after = n.kids[at] != nil
	} else {
		before = n.items[at] != nil
		n.items[at] = item
		after = item != nil
	}
	switch {
	case after && !before:
		n.live++
	case before && !after:
		n.live--
	}
	if n.live == 0 {
		return nil
	}
	return n
}

// walk yields what lies below a node, whose numbers begin with base, from a
// number on; false when yield ended it.
func (n *sequenceNode[T]) walk(level int, base, from uint64, yield func(uint64, *T) bool) bool {
	width := level * sequenceBits
	first := uint64(0)
	if from > base {
		first = (from - base) >> width
	}
	for i := first; i < sequenceWays; i++ {
		number := base + i<<width
		if level == 0 {
			if item := n.items[i]; item != nil && !yield(number, item) {
				return false
			}
		} else if kid := n.kids[i]; kid != nil && !kid.walk(level-1, number, from, yield) {
			return false
		}
	}
	return true
}
