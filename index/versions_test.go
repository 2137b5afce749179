package index

import (
	"cmp"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// versioned is an item of the tests: few hashes, so that many collide.
type versioned struct {
	hash uint64
	name int
}

func hashOfVersioned(v *versioned) uint64 { return v.hash }

// trieTwin is what a version must hold.
type trieTwin map[*versioned]bool

func (w trieTwin) holds(t *testing.T, trie Trie[versioned], all []*versioned) {
	t.Helper()
	if trie.Len() != len(w) {
		t.Fatalf("%d items, want %d", trie.Len(), len(w))
	}
	for _, v := range all {
		if found := trie.Find(v.hash, func(o *versioned) bool { return o == v }); (found == v) != w[v] {
			t.Fatalf("item %d with hash %x: found %v, want %v", v.name, v.hash, found != nil, w[v])
		}
	}
}

// TestTrieAgainstMap changes a set at random, in runs of random length, and keeps
// every shown version with its twin: none may change, whatever follows.
func TestTrieAgainstMap(t *testing.T) {
	t.Parallel()
	for round := range 40 {
		r := rand.New(rand.NewPCG(7, uint64(round)))
		all := make([]*versioned, 200+r.IntN(400))
		for i := range all {
			h := r.Uint64()
			switch round % 4 { // of some rounds the hashes agree in most of their bits, or all
			case 1:
				h &= 3
			case 2:
				h &= 0xff << 56
			case 3:
				h = 42
			}
			all[i] = &versioned{h, i}
		}
		type version struct {
			trie Trie[versioned]
			twin trieTwin
		}
		var shown []version
		now, twin := Trie[versioned]{}, trieTwin{}
		for run := uint64(1); run <= 30; run++ {
			for range r.IntN(60) {
				v := all[r.IntN(len(all))]
				if twin[v] {
					now = now.Remove(run, v.hash, v)
					delete(twin, v)
				} else if run%10 == 9 { // something that is not there
					now = now.Remove(run, v.hash, v)
				} else {
					now = now.Insert(run, v.hash, v, hashOfVersioned)
					twin[v] = true
				}
			}
			shown = append(shown, version{now, cloned(twin)})
		}
		for _, s := range shown {
			s.twin.holds(t, s.trie, all)
		}
		var sorted []Hashed[versioned]
		for v := range twin {
			sorted = append(sorted, Hashed[versioned]{v.hash, v})
		}
		slices.SortFunc(sorted, func(a, b Hashed[versioned]) int { return cmp.Compare(a.Hash, b.Hash) })
		built := NewTrie(50, sorted)
		twin.holds(t, built, all)
		for i, h := range sorted { // and goes on from there
			if i%2 == 0 {
				built = built.Remove(51, h.Hash, h.Item)
			}
		}
		for i, h := range sorted {
			if i%2 == 0 {
				built = built.Insert(52, h.Hash, h.Item, hashOfVersioned)
			}
		}
		twin.holds(t, built, all)
		for _, v := range all {
			if twin[v] {
				now = now.Remove(99, v.hash, v)
			}
		}
		if now.root != nil || now.Len() != 0 {
			t.Fatal("what is empty still has nodes")
		}
	}
}

func cloned(w trieTwin) trieTwin {
	c := make(trieTwin, len(w))
	for k := range w {
		c[k] = true
	}
	return c
}

// TestSequenceAgainstMap is the same for sequences, whose order counts too.
func TestSequenceAgainstMap(t *testing.T) {
	t.Parallel()
	for round := range 40 {
		r := rand.New(rand.NewPCG(8, uint64(round)))
		type version struct {
			sequence Sequence[versioned]
			twin     map[uint64]*versioned
		}
		var shown []version
		now, twin := Sequence[versioned]{}, map[uint64]*versioned{}
		reach := uint64(1) << (4 + round%44) // of numbers, up to far beyond what is counted
		for run := uint64(1); run <= 30; run++ {
			for range r.IntN(60) {
				number := r.Uint64N(reach)
				if round%3 == 0 {
					number = reach - 1 - number%40 // crowded at the end
				}
				if r.IntN(3) == 0 {
					now = now.Delete(run, number)
					delete(twin, number)
				} else {
					v := &versioned{name: int(number)}
					now = now.Set(run, number, v)
					twin[number] = v
				}
			}
			c := make(map[uint64]*versioned, len(twin))
			for k, v := range twin {
				c[k] = v
			}
			shown = append(shown, version{now, c})
		}
		for _, s := range shown {
			sameSequence(t, s.sequence, s.twin, r.Uint64N(reach))
		}
		for number := range twin {
			now = now.Delete(99, number)
		}
		if now.root != nil || now.Len() != 0 || now.First() != nil {
			t.Fatal("what is empty still has nodes")
		}
	}
}

func sameSequence(t *testing.T, s Sequence[versioned], twin map[uint64]*versioned, from uint64) {
	t.Helper()
	var want, got []uint64
	for number, v := range twin {
		if s.At(number) != v {
			t.Fatalf("number %d is missing", number)
		}
		if number >= from {
			want = append(want, number)
		}
	}
	slices.Sort(want)
	s.From(from, func(number uint64, v *versioned) bool {
		if v != twin[number] {
			t.Fatalf("number %d has another item", number)
		}
		got = append(got, number)
		return true
	})
	n := 0
	s.All(func(*versioned) bool { n++; return true })
	if !slices.Equal(got, want) || n != len(twin) || s.Len() != len(twin) {
		t.Fatalf("from %d: %d numbers, want %d; %d in all, Len %d, want %d", from, len(got), len(want), n, s.Len(), len(twin))
	}
	if s.At(^uint64(0)) != nil || s.At(1<<60) != nil {
		t.Fatal("a number that was never set has an item")
	}
}

// TestVersionsBesideReaders has readers walk versions while the writer makes new
// ones of them: the race detector's test.
func TestVersionsBesideReaders(t *testing.T) {
	t.Parallel()
	type version struct {
		trie     Trie[versioned]
		sequence Sequence[versioned]
	}
	versions := make(chan version, 16)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for v := range versions {
				n := 0
				v.sequence.All(func(item *versioned) bool {
					n++
					if v.trie.Find(item.hash, func(o *versioned) bool { return o == item }) == nil {
						t.Errorf("item %d is listed, not found", item.name)
					}
					return true
				})
				if n != v.trie.Len() || n != v.sequence.Len() {
					t.Errorf("%d listed, %d and %d counted", n, v.trie.Len(), v.sequence.Len())
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(9, 9))
	var now version
	oldest := 0
	for number := range 3000 {
		run := uint64(number/10 + 1)
		v := &versioned{r.Uint64(), number}
		now.trie = now.trie.Insert(run, v.hash, v, hashOfVersioned)
		now.sequence = now.sequence.Set(run, uint64(number), v)
		if number%3 == 0 {
			gone := now.sequence.At(uint64(oldest))
			now.trie = now.trie.Remove(run, gone.hash, gone)
			now.sequence = now.sequence.Delete(run, uint64(oldest))
			oldest++
		}
		if number%10 == 9 {
			versions <- now
		}
	}
	close(versions)
	readers.Wait()
}

// TestTrieBytes holds what the documentation says of memory.
func TestTrieBytes(t *testing.T) {
	const n = 100_000
	r := rand.New(rand.NewPCG(1, 1))
	items := make([]versioned, n)
	for i := range items {
		items[i] = versioned{r.Uint64(), i}
	}
	var trie Trie[versioned]
	var sequence Sequence[versioned]
	empty := heapInUse()
	for i := range items {
		trie = trie.Insert(uint64(i), items[i].hash, &items[i], hashOfVersioned) // each shown
	}
	inTrie := heapInUse()
	for i := range items {
		sequence = sequence.Set(uint64(i), uint64(i), &items[i])
	}
	inSequence := heapInUse()
	perItem, perNumber := float64(inTrie-empty)/n, float64(inSequence-inTrie)/n
	t.Logf("%.1f bytes an item of a trie, %.1f of a sequence", perItem, perNumber)
	if perItem > 32 || perNumber > 12 {
		t.Errorf("%.1f bytes an item of a trie, %.1f of a sequence", perItem, perNumber)
	}
	runtime.KeepAlive(items)
	runtime.KeepAlive(trie)
	runtime.KeepAlive(sequence)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkTrieInsert(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var trie Trie[versioned]
	run := uint64(0)
	for b.Loop() {
		run++
		v := &versioned{r.Uint64(), 0}
		trie = trie.Insert(run, v.hash, v, hashOfVersioned)
	}
}
