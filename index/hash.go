package index

import (
	"math/bits"
	"math/rand/v2"
)

// Two secrets of this process. Without them an attacker who chooses the
// addresses a decision is made for could choose ones that collide.
var secrets = [2]uint64{rand.Uint64(), rand.Uint64()}

// mix folds the product of two secretly shifted words: one multiplication, all
// 64 bits of the answer depend on all bits of both words.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a^secrets[0], b^secrets[1])
	return high ^ low
}

// Tables of all kinds read a hash in the same way: the highest byte chooses the
// shard, the 32 bits below it the place in the shard's table.
const shards = 256

func shard(hash uint64) int { return int(hash >> 56) }

// place scales 32 bits of a hash to a table of any size, not only powers of
// two, so that tables can grow by less than double.
func place(hash uint64, size int) int {
	return int(hash >> 24 & (1<<32 - 1) * uint64(size) >> 32)
}

// A table is rebuilt when more than crowded of its places were ever used, and
// then gets room for the entries it really holds with the load roomy. At three
// quarters a search without success is expected to look at 8.5 places, a line
// or two of the cache; an IPv4 entry takes 10.7 to 13.3 bytes, and growth moves
// an entry five times or so in its life.
const (
	crowdedNum, crowdedDen = 3, 4
	roomyNum, roomyDen     = 3, 5
	smallest               = 8 // places of the first table
)

// crowded says whether a table may not take one more entry.
func crowded(used, size int) bool {
	return (used+1)*crowdedDen > size*crowdedNum
}

// sparse says whether a table is worth making smaller.
func sparse(live, size int) bool {
	return size > smallest*8 && live*8 < size
}

// roomy returns the size of a table for so many entries and one more.
func roomy(live int) int {
	return max(smallest, (live+1)*roomyDen/roomyNum+1)
}
