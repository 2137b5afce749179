package auth

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/dchest/siphash"
)

// ways is how many places a digest may be kept in.
const ways = 4

// digest recognises a secret without keeping it.
type digest struct{ lo, hi uint64 }

// hasher makes digests that mean nothing outside this process.
type hasher struct{ k0, k1 uint64 }

func newHasher() (hasher, error) {
	var seed [16]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return hasher{}, fmt.Errorf("making a hash key: %w", err)
	}
	return hasher{binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])}, nil
}

func (h hasher) sum(p []byte) digest {
	lo, hi := siphash.Hash128(h.k0, h.k1, p)
	return digest{lo, hi}
}

// cache remembers what was found out about recent secrets. It is an array of
// pointers in groups of four: a reader looks at four of them and never waits,
// a writer overwrites one. It never grows; when a group is full one of its
// entries makes room, and the worst that costs is finding out again.
type cache[V any] struct {
	slots []atomic.Pointer[cached[V]]
	turn  atomic.Uint32
}

// cached is one entry; it is not changed after it was stored.
type cached[V any] struct {
	key   digest
	value V
}

// newCache makes room for size entries; size must be a power of two, at least
// four.
func newCache[V any](size int) *cache[V] {
	return &cache[V]{slots: make([]atomic.Pointer[cached[V]], size)}
}

func (c *cache[V]) group(key digest) []atomic.Pointer[cached[V]] {
	at := key.lo & uint64(len(c.slots)-1) &^ (ways - 1)
	return c.slots[at : at+ways]
}

// get returns what is kept for the digest, or nil. It does not allocate.
func (c *cache[V]) get(key digest) *V {
	group := c.group(key)
	for i := range group {
		if e := group[i].Load(); e != nil && e.key == key {
			return &e.value
		}
	}
	return nil
}

// put keeps a value, in the place of an older one for the same digest if there
// is one.
func (c *cache[V]) put(key digest, value V) {
	group, at := c.group(key), -1
	for i := range group {
		e := group[i].Load()
		if e != nil && e.key == key {
			at = i
			break
		}
		if e == nil && at < 0 {
			at = i
		}
	}
	if at < 0 {
		at = int(c.turn.Add(1) % ways)
	}
	group[at].Store(&cached[V]{key, value})
}

// clear forgets everything.
func (c *cache[V]) clear() {
	for i := range c.slots {
		c.slots[i].Store(nil)
	}
}
