package index

import "sort"

// Trie is a set of items found by a hash, of which every version stays as it
// was: a changed one shares with the one before all but the few nodes on the way
// to the change. It is for items that must be found in a view that is held, and of
// which there may be a million.
//
//	to look up:  Find(hash, match)           a few nodes, whatever the size
//	to change:   Insert, Remove              copies the way there, half a kilobyte
//
// A run of changes of which no reader has seen anything yet is made in place: the
// caller numbers its runs, ascending, and hands the number of the current one to
// Insert and Remove. Once a Trie was shown to a reader, the next change must have
// a higher number. So building a set costs no copies, and changing one that is
// read costs one copy of each node however many changes share a run.
//
// The zero Trie is empty. One writer, of the newest version alone; any number of
// readers of any version. Order follows the hash: a caller that needs another keeps
// it elsewhere (Sequence).
type Trie[T any] struct {
	root *trieNode[T]
	n    int
}

// Measured at a hundred thousand and a million items with random hashes: 20 to 25
// bytes an item, nine or ten nodes deep (TestTrieBytes).
const (
	trieBits  = 2 // of the hash, per inner node
	trieWays  = 1 << trieBits
	trieLeaf  = 16 // items of a leaf; a fuller one becomes an inner node
	trieDepth = 64 / trieBits
	trieRoom  = 4 // by how much a leaf grows
)

// trieNode is a leaf, or has kids. Tags are the lowest bytes of the items' hashes,
// so that a search looks at hardly any item but the right one. A leaf at the end
// of the hash takes any number of items; its tags are not used.
type trieNode[T any] struct {
	run   uint64 // in which it was made
	tags  [trieLeaf]uint8
	items []*T
	kids  *[trieWays]*trieNode[T]
}

// Len returns how many items there are.
func (t Trie[T]) Len() int { return t.n }

// Find returns the first item met with the hash of which match says that it is
// the one, nil when there is none. Items whose hashes agree in one byte and the
// place only may be asked about too. It does not allocate.
func (t Trie[T]) Find(hash uint64, match func(*T) bool) *T {
	n, depth := t.root, 0
	for n != nil && n.kids != nil {
		n = n.kids[trieWay(hash, depth)]
		depth++
	}
	if n == nil {
		return nil
	}
	for i, item := range n.items {
		if (depth == trieDepth || n.tags[i] == uint8(hash)) && match(item) {
			return item
		}
	}
	return nil
}

// Insert returns a set that has the item too, under its hash. hashOf gives the
// hash of items that are there already, the same as when they were inserted.
func (t Trie[T]) Insert(run, hash uint64, item *T, hashOf func(*T) uint64) Trie[T] {
	return Trie[T]{t.root.insert(run, 0, hash, item, hashOf), t.n + 1}
}

// Remove returns a set without the item, which was inserted under the hash. It is no
// error when the item is not there.
func (t Trie[T]) Remove(run, hash uint64, item *T) Trie[T] {
	if t.Find(hash, func(o *T) bool { return o == item }) == nil {
		return t
	}
	return Trie[T]{t.root.remove(run, 0, hash, item), t.n - 1}
}

// Hashed is an item with its hash.
type Hashed[T any] struct {
	Hash uint64
	Item *T
}

// NewTrie builds the set of items that are sorted by hash, a tenth of the work of
// inserting them one by one.
func NewTrie[T any](run uint64, sorted []Hashed[T]) Trie[T] {
	return Trie[T]{buildTrie(run, 0, sorted), len(sorted)}
}

func buildTrie[T any](run uint64, depth int, sorted []Hashed[T]) *trieNode[T] {
	if len(sorted) == 0 {
		return nil
	}
	n := &trieNode[T]{run: run}
	if len(sorted) <= trieLeaf || depth == trieDepth {
		n.items = make([]*T, 0, len(sorted))
		for _, h := range sorted {
			n.add(uint8(h.Hash), h.Item)
		}
		return n
	}
	n.kids = new([trieWays]*trieNode[T])
	for way := range n.kids {
		end := sort.Search(len(sorted), func(i int) bool { return trieWay(sorted[i].Hash, depth) > way })
		n.kids[way] = buildTrie(run, depth+1, sorted[:end])
		sorted = sorted[end:]
	}
	return n
}

func trieWay(hash uint64, depth int) int {
	return int(hash >> (64 - trieBits*(depth+1)) & (trieWays - 1))
}

// own returns a node that this run may change: n itself or a copy.
func (n *trieNode[T]) own(run uint64) *trieNode[T] {
	if n == nil {
		return &trieNode[T]{run: run}
	}
	if n.run == run {
		return n
	}
	c := &trieNode[T]{run: run, tags: n.tags}
	if n.kids != nil {
		kids := *n.kids
		c.kids = &kids
	} else {
		c.items = append(make([]*T, 0, len(n.items)+1), n.items...)
	}
	return c
}

func (n *trieNode[T]) insert(run uint64, depth int, hash uint64, item *T, hashOf func(*T) uint64) *trieNode[T] {
	n = n.own(run)
	if n.kids == nil && len(n.items) >= trieLeaf && depth < trieDepth {
		items := n.items
		n.items, n.kids = nil, new([trieWays]*trieNode[T])
		for _, old := range items {
			h := hashOf(old)
			way := trieWay(h, depth)
			n.kids[way] = n.kids[way].insert(run, depth+1, h, old, hashOf)
		}
	}
	if n.kids != nil {
		way := trieWay(hash, depth)
		n.kids[way] = n.kids[way].insert(run, depth+1, hash, item, hashOf)
		return n
	}
	n.add(uint8(hash), item)
	return n
}

func (n *trieNode[T]) add(tag uint8, item *T) {
	if len(n.items) < trieLeaf {
		n.tags[len(n.items)] = tag
	}
	if len(n.items) == cap(n.items) {
		n.items = append(make([]*T, 0, len(n.items)+trieRoom), n.items...)
	}
	n.items = append(n.items, item)
}

// remove takes an item out that is there; nil when nothing is left.
func (n *trieNode[T]) remove(run uint64, depth int, hash uint64, item *T) *trieNode[T] {
	n = n.own(run)
	if n.kids == nil {
		n.take(item)
		if len(n.items) == 0 {
			return nil
		}
		return n
	}
	way := trieWay(hash, depth)
	n.kids[way] = n.kids[way].remove(run, depth+1, hash, item)
	return n.merged(depth)
}

// take puts the last item in the place of the one that goes.
func (n *trieNode[T]) take(item *T) {
	last := len(n.items) - 1
	for i, o := range n.items {
		if o == item {
			n.items[i] = n.items[last]
			if last < trieLeaf {
				n.tags[i] = n.tags[last]
			}
			break
		}
	}
	n.items[last] = nil
	n.items = n.items[:last]
}

// merged makes a leaf of an inner node whose leaves hold little, and have tags; nil
// when they hold nothing.
func (n *trieNode[T]) merged(depth int) *trieNode[T] {
	total := 0
	for _, kid := range n.kids {
		if kid == nil {
			continue
		}
		if total += len(kid.items); kid.kids != nil || total > trieLeaf/2 || depth+1 == trieDepth {
			return n
		}
	}
	if total == 0 {
		return nil
	}
	kids := n.kids
	n.kids = nil
	for _, kid := range kids {
		if kid != nil {
			for i, item := range kid.items {
				n.add(kid.tags[i], item)
			}
		}
	}
	return n
}
