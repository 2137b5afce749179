package engine

import (
	"cmp"
	"slices"

	"lapid/index"
)

// loading is how things are found by a hash while a start brings memory up: one
// table, changed in place, at a cache line or two for each look. An index.Trie, of
// which every version stays, would cost several times as much for each of a
// million rows; it is made at the end of all of them at once.
//
// For one goroutine. Hashes are of names that are unique: two things have the
// same one by chance alone.
type loading[T any] struct {
	table []index.Hashed[T] // of a power of two; nil items are free
	n     int
}

// find returns the first thing with the hash of which match says that it is the
// one, nil when there is none.
func (l *loading[T]) find(hash uint64, match func(*T) bool) *T {
	if l.n == 0 {
		return nil
	}
	mask := uint64(len(l.table) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		h := &l.table[at]
		if h.Item == nil {
			return nil
		}
		if h.Hash == hash && match(h.Item) {
			return h.Item
		}
	}
}

func (l *loading[T]) insert(hash uint64, item *T) {
	if l.n >= len(l.table)/2 {
		before := l.table
		l.table = make([]index.Hashed[T], max(2*len(before), 64))
		for _, h := range before {
			if h.Item != nil {
				l.put(h)
			}
		}
	}
	l.put(index.Hashed[T]{Hash: hash, Item: item})
	l.n++
}

func (l *loading[T]) put(h index.Hashed[T]) {
	mask := uint64(len(l.table) - 1)
	at := h.Hash & mask
	for l.table[at].Item != nil {
		at = (at + 1) & mask
	}
	l.table[at] = h
}

// remove takes out what is there. What stands behind it moves up, so that it is
// still found.
func (l *loading[T]) remove(hash uint64, item *T) {
	mask := uint64(len(l.table) - 1)
	at := hash & mask
	for l.table[at].Item != item {
		at = (at + 1) & mask
	}
	l.n--
	for next := (at + 1) & mask; l.table[next].Item != nil; next = (next + 1) & mask {
		home := l.table[next].Hash & mask
		if (next-home)&mask >= (next-at)&mask { // it may stand at the gap as well
			l.table[at] = l.table[next]
			at = next
		}
	}
	l.table[at] = index.Hashed[T]{}
}

// trie makes the index of all that is there. The table is used up.
func (l *loading[T]) trie(run uint64) index.Trie[T] {
	all := slices.DeleteFunc(l.table, func(h index.Hashed[T]) bool { return h.Item == nil })
	l.table, l.n = nil, 0
	return sortedTrie(run, all)
}

func sortedTrie[T any](run uint64, all []index.Hashed[T]) index.Trie[T] {
	slices.SortFunc(all, func(a, b index.Hashed[T]) int { return cmp.Compare(a.Hash, b.Hash) })
	return index.NewTrie(run, all)
}
