package feed

import (
	"hash/maphash"
	"sync/atomic"

	"lapid/engine"
)

// deltaCache remembers the last few deltas that were encoded: bouncers that follow
// closely come from the same revision within the same second. It is an array of
// pointers; nothing waits, a newer answer overwrites an older one, and what is
// overwritten is encoded again when it is asked for. An answer holds at most
// longDelta decisions, so all of it takes a few megabytes at most.
type deltaCache struct {
	seed  maphash.Seed
	slots [32]atomic.Pointer[cachedDelta]
}

type cachedDelta struct {
	edition
	answer []byte // never changed
}

func (d *deltaCache) slot(raw []byte, sight uint64, after engine.Revision) *atomic.Pointer[cachedDelta] {
	at := maphash.Bytes(d.seed, raw) + uint64(after) + sight
	return &d.slots[at%uint64(len(d.slots))]
}

// get returns the answer to the same question, or nil. The answer may be of an
// earlier revision if same says that nothing was changed since. It does not
// allocate.
func (d *deltaCache) get(p *Poll, after engine.Revision, l look, same func(engine.Revision) bool) []byte {
	known, to := d.slot(p.Raw, l.sight, after).Load(), p.View.Revision()
	if known == nil || known.after != after || known.second != p.second() || known.sight != l.sight || known.before != l.before || known.raw != string(p.Raw) {
		return nil
	}
	if known.to != to && !same(known.to) {
		return nil
	}
	return known.answer
}

func (d *deltaCache) put(p *Poll, after engine.Revision, l look, answer []byte) {
	d.slot(p.Raw, l.sight, after).Store(&cachedDelta{p.edition(after, l), answer})
}
