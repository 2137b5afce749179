package index

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/gaissmai/bart"
)

// Ranges maps prefixes to slots. It stands on bart's radix tree, in which one
// writer beside readers may change nothing in place. Therefore the tree maps a
// prefix to an anchor, a place of its own in an array of atomic slots:
//
//	tree ──► 192.0.2.0/24 ──► anchor 7 ──► slot
//
// The slot of a known prefix changes by one store, and no tree is touched. A
// prefix that is new waits in a small table of fresh ones, by its bits and length.
// What becomes of those is the writer's choice, at the end of each commit:
//
//	Publish  enters them into a tree of their own at once: readers see none before
//	Gather   has readers look into the table too, if it has prefixes near what is asked
//	         for (lengths): one look for each length, until more than freshKept have come
//	         together; then they are entered, in stretches, between which others have
//	         the processor
//
// A tree takes few by a persistent copy, which shares all but the path with the old
// one, and many by being built anew. A prefix without a slot keeps its anchor until
// such anchors outnumber those in use; then a tree of the latter is built.
//
// Prefixes are masked, and IPv4 ones are no mapped ones: the caller sees to it.
// One writer, many readers; the zero Ranges is empty and ready.
type Ranges struct {
	shown atomic.Pointer[forest]
	count atomic.Int64

	// The writer's own.
	added  []planted // in no tree yet, in order
	opened int       // so many of them have their lengths noted
	last   uint32    // the anchor given last; the first is 1
}

// forest is what readers see. Tree and array belong together, since a new array
// gives its anchors anew; neither pointer ever changes.
type forest struct {
	tree    *bart.Table[uint32]   // never changes
	anchors *array[atomic.Uint32] // the slots
	fresh   *keyed[cidr]          // anchors of prefixes that the tree has not yet
	lengths *lengths              // of those that are gathered
}

// newForest is one without prefixes.
func newForest() *forest {
	return &forest{new(bart.Table[uint32]), new(array[atomic.Uint32]), new(keyed[cidr]), new(lengths)}
}

// planted is a new prefix and the anchor it was given.
type planted struct {
	prefix netip.Prefix
	anchor uint32
}

const (
	// cloneShare decides how the tree takes new prefixes: one by one if they
	// are fewer than this part of it, else by being built anew. Copying the path of
	// one takes as long as entering 60 to 80 prefixes: 21 to 27 µs and 0.34 µs on a
	// busy machine (BenchmarkRangesGrow).
	cloneShare = 64

	// freshKept is how many prefixes may be gathered. They fit into the processor's
	// caches; a lookup near one pays some ten nanoseconds for each length among them.
	freshKept = 1024

	// copiesAtOnce and entriesAtOnce are stretches of work on a tree, some 50 µs each.
	copiesAtOnce, entriesAtOnce = 2, 128

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
// it at once, Covering, Within and Overlaps after the next Publish or Gather if the
// prefix is new; before Gather they may, as with hosts. The writer's alone. An invalid or unmasked prefix is the caller's mistake and
// panics.
func (r *Ranges) Set(p netip.Prefix, n Slot) {
	if !p.IsValid() || p != p.Masked() {
		panic(fmt.Sprintf("BUG: %v among the ranges", p))
	}
	f := r.shown.Load()
	if f == nil {
		f = newForest()
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

// Publish shows readers the prefixes that are new, and has them all in the tree. Once
// per commit; when there are none it costs nothing. The writer's alone.
func (r *Ranges) Publish() { r.publish(0, nil) }

// Gather shows readers the prefixes that are new. It is as Publish, but most commits pay
// nothing for the tree: the fresh ones gather until they are many. pause, which may be
// nil, is called between stretches of work of some 50 µs. The writer's alone, who calls
// Settle now and then.
func (r *Ranges) Gather(pause func()) { r.publish(freshKept, pause) }

// Settle enters what has gathered into the tree, so that readers look at that alone again.
// pause is as in Gather. The writer's alone; when there is nothing it costs nothing.
func (r *Ranges) Settle(pause func()) { r.publish(0, pause) }

// publish leaves at most so many prefixes beside the tree.
func (r *Ranges) publish(kept int, pause func()) {
	f := r.shown.Load()
	if f == nil {
		return
	}
	if pause == nil {
		pause = func() {}
	}
	used := r.Len()
	switch idle := int(r.last) - used; {
	case idle > used+idleKept:
		r.shown.Store(r.clear(f, pause))
	case len(r.added) > kept:
		r.shown.Store(&forest{r.grow(f.tree, pause), f.anchors, new(keyed[cidr]), new(lengths)})
	default:
		for _, new := range r.added[r.opened:] {
			f.lengths.note(new.prefix)
		}
		r.opened = len(r.added)
		return
	}
	if clear(r.added); cap(r.added) > idleKept {
		r.added = nil // it was a large commit, and most are not
	}
	r.added, r.opened = r.added[:0], 0
}

// grow returns a tree that has the new prefixes too.
func (r *Ranges) grow(tree *bart.Table[uint32], pause func()) *bart.Table[uint32] {
	if len(r.added)*cloneShare < tree.Size() {
		for i, new := range r.added {
			tree = tree.InsertPersist(new.prefix, new.anchor)
			rest(i, copiesAtOnce, pause)
		}
		return tree
	}
	grown, i := new(bart.Table[uint32]), 0 // a clone could not be made in stretches
	for p, anchor := range tree.All() {
		grown.Insert(p, anchor)
		rest(i, entriesAtOnce, pause)
		i++
	}
	for i, new := range r.added {
		grown.Insert(new.prefix, new.anchor)
		rest(i, entriesAtOnce, pause)
	}
	return grown
}

// rest pauses at the end of a stretch.
func rest(i, stretch int, pause func()) {
	if i%stretch == stretch-1 {
		pause()
	}
}

// clear returns a forest of the prefixes that have slots, with new anchors.
func (r *Ranges) clear(old *forest, pause func()) *forest {
	f, i := newForest(), 0
	r.last = 0
	keep := func(p netip.Prefix, anchor uint32) {
		if n := old.anchors.at(anchor).Load(); n != 0 {
			r.last++
			f.anchors.reach(r.last)
			f.anchors.at(r.last).Store(n)
			f.tree.Insert(p, r.last)
		}
		rest(i, entriesAtOnce, pause)
		i++
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
	late := f.lengths.upTo(p)
	for q, anchor := range f.tree.Supernets(p) {
		for late.longest() > q.Bits() {
			dst = f.freshOn(dst, p, late.take())
		}
		if n := f.anchors.at(anchor).Load(); n != 0 {
			dst = append(dst, Slot(n))
		}
	}
	for late.longest() >= 0 {
		dst = f.freshOn(dst, p, late.take())
	}
	return dst
}

// freshOn appends the slot of the fresh prefix of a length that contains p, if there is one.
func (f *forest) freshOn(dst []Slot, p netip.Prefix, length int) []Slot {
	key := cidrOf(netip.PrefixFrom(p.Addr(), length).Masked())
	if anchor := f.fresh.get(key.hash(), key); anchor != 0 {
		if n := f.anchors.at(anchor).Load(); n != 0 {
			dst = append(dst, Slot(n))
		}
	}
	return dst
}

// Within hands over every stored prefix inside p, p itself included, until
// yield says false: in the order of addresses, the wider first. Any goroutine.
// The tree allocates three small slices at most, however much it holds; prefixes that
// are gathered are looked through, two microseconds at most.
func (r *Ranges) Within(p netip.Prefix, yield func(netip.Prefix, Slot) bool) {
	f := r.shown.Load()
	if f == nil {
		return
	}
	hand := func(inside netip.Prefix, anchor uint32) bool {
		n := f.anchors.at(anchor).Load()
		return n == 0 || yield(inside, Slot(n))
	}
	late := f.freshIn(p)
	for inside, anchor := range f.tree.Subnets(p) {
		for len(late) > 0 && comparePrefixes(late[0].prefix, inside) < 0 {
			if !hand(late[0].prefix, late[0].anchor) {
				return
			}
			late = late[1:]
		}
		if !hand(inside, anchor) {
			return
		}
	}
	for _, l := range late {
		if !hand(l.prefix, l.anchor) {
			return
		}
	}
}

// freshIn lists the fresh prefixes inside p in the order of Within.
func (f *forest) freshIn(p netip.Prefix) (late []planted) {
	if f.lengths.none() || !p.IsValid() {
		return nil
	}
	f.fresh.each(func(key cidr, anchor uint32) bool {
		if q := key.prefix(); q.Bits() >= p.Bits() && p.Contains(q.Addr()) {
			late = append(late, planted{q, anchor})
		}
		return true
	})
	slices.SortFunc(late, func(a, b planted) int { return comparePrefixes(a.prefix, b.prefix) })
	return late
}

// comparePrefixes orders by address, the wider first.
func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// Overlaps reports whether a stored prefix contains p or lies inside it; one that has lost
// its slot lately may count. It allocates nothing but for prefixes that are gathered. Any
// goroutine.
func (r *Ranges) Overlaps(p netip.Prefix) bool {
	f := r.shown.Load()
	if f == nil || !p.IsValid() {
		return false
	}
	if f.tree.OverlapsPrefix(p) {
		return true
	}
	var one [1]Slot
	for late := f.lengths.upTo(p); late.longest() >= 0; {
		if len(f.freshOn(one[:0], p, late.take())) > 0 {
			return true
		}
	}
	return len(f.freshIn(p)) > 0
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

// prefix is the prefix of the key.
func (c cidr) prefix() netip.Prefix {
	if c.kind>>8 == 0 {
		return netip.PrefixFrom(addr4(uint32(c.low)), int(c.kind))
	}
	return netip.PrefixFrom(addr6(c.words), int(c.kind&(1<<8-1)))
}

// lengths are those that gathered prefixes have, a bit each: 0 to 32 of IPv4, 0 to 128 of
// IPv6. And heads tells of most addresses at once that no long prefix among them is near.
// The writer notes them, any goroutine looks.
type lengths struct {
	four  atomic.Uint64
	six   [3]atomic.Uint64
	heads atomic.Pointer[heads] // nil: none is long
}

// heads has a bit set for the first bits of each prefix that is at least as long: 16 bits
// of IPv4, a hash of 32 of IPv6.
type heads [1 << 16 / 64]atomic.Uint64

const head4, head6 = 16, 32

func headOf(a netip.Addr) (head uint32, length int) {
	if a.Is4() {
		return number4(a) >> 16, head4
	}
	return uint32(number6(a).high>>32) * 0x9e3779b1 >> 16, head6
}

func (l *lengths) note(p netip.Prefix) {
	if head, length := headOf(p.Addr()); p.Bits() >= length {
		if l.heads.Load() == nil {
			l.heads.Store(new(heads))
		}
		setBit(&l.heads.Load()[head>>6], head&63)
	}
	if p.Addr().Is4() {
		setBit(&l.four, uint32(p.Bits()))
	} else {
		setBit(&l.six[p.Bits()>>6], uint32(p.Bits()&63))
	}
}

// setBit is for the only writer of a word.
func setBit(word *atomic.Uint64, n uint32) {
	if bit := uint64(1) << n; word.Load()&bit == 0 {
		word.Store(word.Load() | bit)
	}
}

func (l *lengths) none() bool {
	return l.four.Load()|l.six[0].Load()|l.six[1].Load()|l.six[2].Load() == 0
}

// upTo are the lengths that a prefix containing p may have.
func (l *lengths) upTo(p netip.Prefix) (d descent) {
	if !p.IsValid() || l.none() {
		return d
	}
	longest := p.Bits()
	if head, length := headOf(p.Addr()); longest >= length {
		if h := l.heads.Load(); h == nil || h[head>>6].Load()&(1<<(head&63)) == 0 {
			longest = length - 1
		}
	}
	if p.Addr().Is4() {
		d.words[0] = l.four.Load()
	} else {
		for i := range d.words {
			d.words[i] = l.six[i].Load()
		}
	}
	last := longest >> 6
	clear(d.words[last+1:])
	d.words[last] &= 2<<(longest&63) - 1
	return d
}

// descent goes through lengths, the longest first.
type descent struct{ words [3]uint64 }

// longest is the one that comes next, -1 when there are no more.
func (d *descent) longest() int {
	for i := len(d.words) - 1; i >= 0; i-- {
		if w := d.words[i]; w != 0 {
			return i<<6 + bits.Len64(w) - 1
		}
	}
	return -1
}

// take takes it.
func (d *descent) take() int {
	n := d.longest()
	d.words[n>>6] &^= 1 << (n & 63)
	return n
}
