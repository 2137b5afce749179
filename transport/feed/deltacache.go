package feed

import (
	"hash/maphash"
	"math"
	"sync/atomic"

	"lapid/engine"
)

// deltaCache remembers the last few deltas that were encoded: bouncers that follow
// closely come from the same revision within the same second. They are arrays of
// pointers; nothing waits, a newer answer overwrites an older one, and what is
// overwritten is encoded again when it is asked for. An answer holds at most
// longDelta decisions, so all of it takes a few megabytes at most.
type deltaCache struct {
	seed    maphash.Seed
	buckets [16]deltaBucket
}

// deltaBucket has room for some that fall on the same place: bouncers of several views or
// questions poll in turn.
type deltaBucket [4]atomic.Pointer[cachedDelta]

type cachedDelta struct {
	edition
	answer []byte // never changed
}

func (d *deltaCache) bucket(raw []byte, sight uint64, after engine.Revision) *deltaBucket {
	at := maphash.Bytes(d.seed, raw) + uint64(after) + sight
	return &d.buckets[at%uint64(len(d.buckets))]
}

// get returns the answer to the same question, or nil. The answer may be of an
// earlier revision if same says that nothing was changed since. It does not
// allocate.
func (d *deltaCache) get(p *Poll, after engine.Revision, l look, same func(engine.Revision) bool) []byte {
	bucket, to := d.bucket(p.Raw, l.sight, after), p.View.Revision()
	for i := range bucket {
		known := bucket[i].Load()
		if known == nil || known.after != after || known.second != p.second() || known.sight != l.sight || known.before != l.before || known.raw != string(p.Raw) {
			continue
		}
		if known.to == to || same(known.to) {
			return known.answer
		}
	}
	return nil
}

// put remembers an answer in the place of the oldest of its bucket.
func (d *deltaCache) put(p *Poll, after engine.Revision, l look, answer []byte) {
	bucket := d.bucket(p.Raw, l.sight, after)
	place, oldest := 0, engine.Revision(math.MaxUint64)
	for i := range bucket {
		known := bucket[i].Load()
		if known == nil {
			place = i
			break
		}
		if known.to < oldest {
			place, oldest = i, known.to
		}
	}
	bucket[place].Store(&cachedDelta{p.edition(after, l), answer})
}
