package inputs

import (
	"cmp"
	"hash/maphash"
	"net/netip"

	"lapid/engine"
)

// mostRepeats bounds what a dry run remembers of its input, in entries; what comes behind so many
// different ones is not compared with them. It costs some twenty bytes for each.
const mostRepeats = 4 << 20

// Repeats finds entries on a target, with a type, that came before. The zero value is ready
// to use. It keeps sums of 64 bits, so one in some billions of large inputs has a wrong one.
type Repeats struct {
	seed maphash.Seed
	seen map[uint64]struct{}
}

// Has notes an entry, and tells whether it came before. scope and kind are for one that has none.
func (r *Repeats) Has(e *Entry, scope, kind string) bool {
	if r.seen == nil {
		r.seed, r.seen = maphash.MakeSeed(), map[uint64]struct{}{}
	}
	scope, kind = cmp.Or(e.Scope, scope), cmp.Or(e.Type, kind)
	key := struct {
		target      netip.Prefix
		scope, text string
		kind        string
	}{kind: kind}
	if scope = engine.CanonicalScope(scope); engine.HoldsAddress(scope) {
		key.target, _ = engine.ParseTarget(e.Value)
	} else {
		key.scope, key.text = scope, e.Value
	}
	sum := maphash.Comparable(r.seed, key)
	if _, ok := r.seen[sum]; ok {
		return true
	}
	if len(r.seen) < mostRepeats {
		r.seen[sum] = struct{}{}
	}
	return false
}
