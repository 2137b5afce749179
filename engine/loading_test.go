package engine

import (
	"math/rand/v2"
	"testing"
)

// TestLoading compares the table of a start with a map, among hashes of which many
// begin alike, so that most things do not stand where they belong.
func TestLoading(t *testing.T) {
	t.Parallel()
	type thing struct{ hash, name uint64 }
	chance := rand.New(rand.NewPCG(4, 5))
	for range 200 {
		var l loading[thing]
		there := map[uint64]*thing{}
		crowd := 1 + chance.Uint64N(64)
		for name := range chance.Uint64N(400) {
			if old := there[name/2]; old != nil && chance.IntN(2) == 0 {
				l.remove(old.hash, old)
				delete(there, old.name)
			}
			one := &thing{hash: chance.Uint64N(crowd) | chance.Uint64N(3)<<60, name: name}
			l.insert(one.hash, one)
			there[name] = one
			for n := range name + 2 {
				want := there[n]
				hash := chance.Uint64()
				if want != nil {
					hash = want.hash
				}
				if got := l.find(hash, func(o *thing) bool { return o.name == n }); got != want {
					t.Fatalf("%d is found as %v and is %v", n, got, want)
				}
			}
		}
		if l.n != len(there) {
			t.Fatalf("%d are counted and %d there", l.n, len(there))
		}
		trie := l.trie(1)
		for _, one := range there {
			if trie.Find(one.hash, func(o *thing) bool { return o == one }) != one {
				t.Fatalf("%v is not in the index", one)
			}
		}
		if trie.Len() != len(there) {
			t.Fatalf("%d are in the index, and %d there", trie.Len(), len(there))
		}
	}
}
