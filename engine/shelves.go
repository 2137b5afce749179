package engine

import (
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// shelvesAtMost is how many shelves are kept, and shelvesBytes what they take at most,
	// as estimated. Beyond, the one that was used longest ago is dropped; whoever comes
	// back to it has it made again, with one look at all decisions. One that alone takes
	// more is kept while no other is wanted.
	shelvesAtMost = 64
	shelvesBytes  = 256 << 20
)

// shelves are those of one state, by what is asked. Any goroutine; the lock is held for
// moments, and no other is taken with it.
type shelves struct {
	mu      sync.Mutex
	known   map[string]*shelf
	counted map[string]*census
	clock   uint64
	counts  shelfCounts

	leastReserve, leastLog int // shelfReserve, shelfLog; others in tests
}

// shelfCounts are since the start.
type shelfCounts struct{ built, refilled, dropped atomic.Uint64 }

// ShelfMetrics is what there is of the lists of views that have a bound (Sight.MaxEntries).
type ShelfMetrics struct {
	Shelves  int    // lists that are kept up, each for all who ask the same
	Entries  int64  // that they tell, all together
	Bytes    int64  // of memory, estimated
	Built    uint64 // made by a look at all decisions, since the start
	Refilled uint64 // whose reserve had run dry, which takes such a look too
	Dropped  uint64 // to make room for others
}

// of finds the shelf of a question whose sight has a bound, or makes an empty one.
func (t *shelves) of(q *Query) *shelf {
	q.match.key = q.appendKey(q.match.key[:0])
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.known[string(q.match.key)]
	if s == nil {
		if t.known == nil {
			t.known = map[string]*shelf{}
		}
		s = newShelf(q, t)
		t.known[string(q.match.key)] = s
	}
	t.clock++
	s.used = t.clock
	t.makeRoom()
	return s
}

// makeRoom drops what was used longest ago, but not what is used now. Called with the
// lock.
func (t *shelves) makeRoom() {
	bytes := int64(0)
	for _, s := range t.known {
		bytes += s.bytes.Load()
	}
	for len(t.known) > 1 && (len(t.known) > shelvesAtMost || bytes > shelvesBytes) {
		oldest, name := uint64(0), ""
		for key, s := range t.known {
			if name == "" || s.used < oldest {
				oldest, name = s.used, key
			}
		}
		bytes -= t.known[name].bytes.Load()
		delete(t.known, name)
		t.counts.dropped.Add(1)
	}
}

// metrics reads what there is.
func (t *shelves) metrics() ShelfMetrics {
	m := ShelfMetrics{Built: t.counts.built.Load(), Refilled: t.counts.refilled.Load(), Dropped: t.counts.dropped.Load()}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.known {
		m.Shelves++
		m.Entries += s.held.Load()
		m.Bytes += s.bytes.Load()
	}
	return m
}

// forget drops all shelves, as a restart does.
func (t *shelves) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.known)
	clear(t.counted)
}

// bounded reports whether the question is answered from a shelf.
func (q *Query) bounded() bool { return q.Sight != nil && q.Sight.MaxEntries > 0 }

// words are the query's lists.
func (q *Query) words() [6]*Words {
	return [...]*Words{&q.Scopes, &q.Scope, &q.Origins, &q.Containing, &q.NotContaining, &q.UUIDs}
}

// texts are its single words.
func (q *Query) texts() [4]*Word { return [...]*Word{&q.Value, &q.Type, &q.Origin, &q.Scenario} }

// appendKey writes what is asked, without a place and a moment: the same bytes for the
// same question.
func (q *Query) appendKey(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, q.Sight.Fingerprint())
	address := q.Address
	dst = appendBool(appendBool(appendBool(dst, q.Simulated), q.Inside), q.Entries)
	dst = append(dst, byte(address.Bits()), byte(address.Addr().BitLen()))
	b := address.Addr().As16()
	dst = append(dst, b[:]...)
	for _, w := range q.words() {
		dst = appendStrings(appendBool(dst, w.Given), w.List)
	}
	for _, w := range q.texts() {
		dst = appendString(appendBool(dst, w.Given), w.Text)
	}
	return dst
}

// kept is a copy of what is asked, without a place and a moment, that borrows nothing.
func (q *Query) kept() Query {
	c := Query{Sight: q.Sight, Address: q.Address, Inside: q.Inside, Simulated: q.Simulated, Limit: -1, Dedup: true, Entries: q.Entries}
	to, from := c.words(), q.words()
	for i := range from {
		to[i].Given = from[i].Given
		for _, text := range from[i].List {
			to[i].List = append(to[i].List, strings.Clone(text))
		}
	}
	words, texts := c.texts(), q.texts()
	for i := range texts {
		*words[i] = Word{texts[i].Given, strings.Clone(texts[i].Text)}
	}
	return c
}
