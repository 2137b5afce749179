package index

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/gaissmai/bart"
)

// Ranges maps prefixes to slots. It stands on bart's radix tree, in which one
// writer beside readers may change nothing in place. Therefore the tree maps a
// prefix to an anchor, a place of its own in an array of atomic slots:
//
//	tree ──► 192.0.2.0/24 ──► anchor 7 ──► slot
//
// The slot of a known prefix changes by one store, and no tree is touched.
// Prefixes that are new are collected, and Publish enters all new ones of a
// commit at once: few into a persistent copy of the tree, which shares all but
// the path with the old one, many into a clone. A prefix without a slot keeps
// its anchor until such anchors outnumber those in use; then Publish builds a
// tree of the latter.
//
// Prefixes are masked, and IPv4 ones are no mapped ones: the caller sees to it.
// One writer, many readers; the zero Ranges is empty and ready.
type Ranges struct {
	shown atomic.Pointer[forest]
	count atomic.Int64

	// The writer's own.
	added []planted // since the latest Publish, in order
	last  uint32    // the anchor given last; the first is 1
}

// forest is what readers see. Tree and array belong together, since a new array
// gives its anchors anew; neither pointer ever changes.
type forest struct {
	tree    *bart.Table[uint32]   // never changes
	anchors *array[atomic.Uint32] // the slots
	fresh   *keyed[cidr]          // anchors of prefixes that the tree has not yet
}

// planted is a new prefix and the anchor it was given.
type planted struct {
	prefix netip.Prefix
	anchor uint32
}

const (
	// cloneShare decides how the tree takes new prefixes: one by one if they
	// are fewer than this part of it, else by a clone. Copying the path of one
	// takes as long as cloning 60 to 80 prefixes: 21 to 27 µs and 0.34 µs on a
	// busy machine (BenchmarkRangesGrow). So one range costs a commit tens of
	// microseconds, and 100 000 into half a million some 0.3 s
	// (BenchmarkRangesPublish).
	cloneShare = 64

	// idleKept is how many anchors may be idle before they are compared with
	// those in use.
	idleKept = 1024
)

// Get returns the slot of exactly this prefix, 0 when it has none. Any
// goroutine.
func (r *Ranges) Get(p netip.Prefix) Slot {
	if f := r.shown.Load(); f != nil && p.IsValid() {
		if anchor := f.anchor(p); anchor != 0 {
			return Slot(f.anchors.at(anchor).Load())
		}
	}
	return 0
}

// Set gives a prefix a slot in place of the one it has; 0 removes it. Get sees
// it at once, Covering and Within at the next Publish if the prefix is new. The
// writer's alone. An invalid or unmasked prefix is the caller's mistake and
// panics.
func (r *Ranges) Set(p netip.Prefix, n Slot) {
	if !p.IsValid() || p != p.Masked() {
		panic(fmt.Sprintf("BUG: %v among the ranges", p))
	}
	f := r.shown.Load()
	if f == nil {
		f = &forest{new(bart.Table[uint32]), new(array[atomic.Uint32]), new(keyed[cidr])}
		r.shown.Store(f)
	}
	anchor := f.anchor(p)
	if anchor == 0 {
		if n != 0 {
			r.plant(f, p, n)
		}
		return
	}
	place := f.anchors.at(anchor)
	switch old := place.Load(); {
	case old == 0 && n != 0:
		r.count.Add(1)
	case old != 0 && n == 0:
		r.count.Add(-1)
	}
	place.Store(uint32(n))
}

// plant gives a prefix that has none an anchor.
func (r *Ranges) plant(f *forest, p netip.Prefix, n Slot) {
	r.last++
	f.anchors.reach(r.last)
	f.anchors.at(r.last).Store(uint32(n))
	key := cidrOf(p)
	f.fresh.set(key.hash(), key, r.last)
	r.added = append(r.added, planted{p, r.last})
	r.count.Add(1)
}

// Publish shows readers the prefixes that are new. Once per commit; when there
// are none it costs nothing. The writer's alone.
func (r *Ranges) Publish() {
	f := r.shown.Load()
	if f == nil {
		return
	}
	used := r.Len()
	switch idle := int(r.last) - used; {
	case idle > used+idleKept:
		r.shown.Store(r.clear(f))
	case len(r.added) > 0:
		r.shown.Store(&forest{r.grow(f.tree), f.anchors, new(keyed[cidr])})
	default:
		return
	}
	if clear(r.added); cap(r.added) > idleKept {
		r.added = nil // it was a large commit, and most are not
	}
	r.added = r.added[:0]
}

// grow returns a tree that has the new prefixes too.
func (r *Ranges) grow(tree *bart.Table[uint32]) *bart.Table[uint32] {
	if len(r.added)*cloneShare < tree.Size() {
		for _, new := range r.added {
			tree = tree.InsertPersist(new.prefix, new.anchor)
		}
		return tree
	}
	tree = tree.Clone()
	for _, new := range r.added {
		tree.Insert(new.prefix, new.anchor)
	}
	return tree
}

// clear returns a forest of the prefixes that have slots, with new anchors.
func (r *Ranges) clear(old *forest) *forest {
	f := &forest{new(bart.Table[uint32]), new(array[atomic.Uint32]), new(keyed[cidr])}
	r.last = 0
	keep := func(p netip.Prefix, anchor uint32) {
		if n := old.anchors.at(anchor).Load(); n != 0 {
			r.last++
			f.anchors.reach(r.last)
			f.anchors.at(r.last).Store(n)
			f.tree.Insert(p, r.last)
		}
	}
	for p, anchor := range old.tree.All() {
		keep(p, anchor)
	}
	for _, new := range r.added {
		keep(new.prefix, new.anchor)
	}
	return f
}

// Covering appends to dst the slots of all stored prefixes that contain p, p
// itself included, the longest first. It allocates nothing but what dst needs
// to grow. Any goroutine.
func (r *Ranges) Covering(dst []Slot, p netip.Prefix) []Slot {
	f := r.shown.Load()
	if f == nil {
		return dst
	}
	for _, anchor := range f.tree.Supernets(p) {
		if n := f.anchors.at(anchor).Load(); n != 0 {
			dst = append(dst, Slot(n))
		}
	}
	return dst
}

// Within hands over every stored prefix inside p, p itself included, until
// yield says false: in the order of addresses, the wider first. Any goroutine.
// The tree allocates three small slices at most, however much it holds.
func (r *Ranges) Within(p netip.Prefix, yield func(netip.Prefix, Slot) bool) {
	f := r.shown.Load()
	if f == nil {
		return
	}
	for inside, anchor := range f.tree.Subnets(p) {
		if n := f.anchors.at(anchor).Load(); n != 0 && !yield(inside, Slot(n)) {
			return
		}
	}
}

// Overlaps reports whether a stored prefix contains p or lies inside it; one that has lost
// its slot lately may count. It allocates nothing. Any goroutine.
func (r *Ranges) Overlaps(p netip.Prefix) bool {
	f := r.shown.Load()
	return f != nil && f.tree.OverlapsPrefix(p)
}

// Len returns how many prefixes have a slot. Any goroutine.
func (r *Ranges) Len() int { return int(r.count.Load()) }

// anchor returns the anchor of exactly this prefix, 0 when it has none.
func (f *forest) anchor(p netip.Prefix) uint32 {
	if anchor, ok := f.tree.Get(p); ok {
		return anchor
	}
	key := cidrOf(p)
	return f.fresh.get(key.hash(), key)
}

// cidr is a prefix as a key: family and length in one word.
type cidr struct {
	words
	kind uint64
}

func (c cidr) hash() uint64 { return mix(c.words.hash(), c.kind) }

func cidrOf(p netip.Prefix) cidr {
	a := p.Addr()
	if a.Is4() {
		return cidr{words{low: uint64(number4(a))}, uint64(p.Bits())}
	}
	return cidr{number6(a), 1<<8 | uint64(p.Bits())}
}
