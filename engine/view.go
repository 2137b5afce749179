package engine

import (
	"net/netip"
)

// View is the state after one revision. It never changes: what was committed
// later is not in it, however long it is held. Getting one is one atomic load,
// keeping one costs the memory of what has been forgotten since, so hold it
// for a request, not for a connection.
//
//	one address:      Find                  hosts and covering ranges
//	one decision:     Decision              by id
//	what changed:     Changes               history after a revision
//	everything:       Scan                  in batches
//	for rules:        Stored                what an address ever had
//	by name:          Machine, Bouncer, OldestBouncer, BouncerFor, Allowlisted
//
// All methods may be called from any goroutine at once.
type View struct {
	state    *state
	revision Revision
	number   uint64 // of this view, for graves

	nextAlert    uint64
	nextDecision uint64
	serial       uint32 // last machine serial given out
	at           int64  // time of the commit
	machines     *machineSet
	bouncers     *bouncerSet
	allowlists   *allowlistSet
	operators    *operatorSet
	secrets      map[string][]byte   // never changed in place
	gaps         [2]*gaps            // numbers of alerts and decisions that were never given; nil: none, and nothing was brought
	bookmarks    map[string]Revision // never changed in place
	modes        []modeChange        // never changed in place (wins.go)
	renewals     []renewal           // never changed in place
	exports      *exportSet          // never changed in place
	keysChanged  uint64              // see KeysChanged
	requests     *requestLog         // never changed in place; nil: there were none
	edited       Revision            // the last at which some bouncer's sight was another; 0: not since the start

	secretsChanged uint64 // see SecretsChanged
}

// Revision is the last commit this view shows.
func (v *View) Revision() Revision { return v.revision }

// shows reports whether the record is there in this view.
func (v *View) shows(r *record) bool { return r.begun <= uint64(v.revision) }

// running reports whether the record is in force in this view at now.
func (v *View) running(r *record, now int64) bool {
	if r.begun > uint64(v.revision) || r.until <= now {
		return false
	}
	ended := r.endedRev.Load()
	return ended == 0 || ended > uint64(v.revision)
}

// ended reports whether this view has seen the record end.
func (v *View) ended(r *record) bool {
	rev := r.endedRev.Load()
	return rev != 0 && rev <= uint64(v.revision)
}

// purged reports whether this view has seen the record's alert deleted. The
// record's own mark tells what is so now.
func (v *View) purged(r *record) bool { return r.marked(markPurged) && v.alert(r.alert) == nil }

// Decision finds a stored decision by id, running or not.
func (v *View) Decision(id DecisionID) (Decision, bool) {
	if uint64(id) >= v.nextDecision {
		return Decision{}, false
	}
	n := v.state.slotOf(uint64(id))
	if n == 0 {
		return Decision{}, false
	}
	r := v.state.records.At(n)
	if !v.shows(r) || v.purged(r) {
		return Decision{}, false
	}
	return Decision{v, r}, true
}

// Stored yields every stored decision whose address or range contains the
// whole of p: running, over, simulated, of any origin. It ends early when
// yield returns false.
func (v *View) Stored(p netip.Prefix, yield func(Decision) bool) {
	v.covering(p, func(r *record) bool {
		if !v.shows(r) || v.purged(r) {
			return true
		}
		return yield(Decision{v, r})
	})
}

// covering walks the chains of every target that contains p.
func (v *View) covering(p netip.Prefix, yield func(*record) bool) {
	if p.IsSingleIP() && !v.chain(v.state.hosts.Get(p.Addr()), yield) {
		return
	}
	var heads [40]slot
	for _, n := range v.state.ranges.Covering(heads[:0], p) {
		if !v.chain(n, yield) {
			return
		}
	}
}

// chain walks the records of one target, newest first; false when yield ended
// the walk.
func (v *View) chain(n slot, yield func(*record) bool) bool {
	for n != 0 {
		r := v.state.records.At(n)
		if !yield(r) {
			return false
		}
		n = slot(r.next.Load())
	}
	return true
}

// NextIDs are the ids that the next alert and the next decision get: above all that were
// ever given.
func (v *View) NextIDs() (AlertID, DecisionID) {
	return AlertID(v.nextAlert), DecisionID(v.nextDecision)
}

// Counts walks memory for how many alerts there are, and decisions of them, running or over.
func (v *View) Counts() (alerts, decisions int) {
	for id, h := range v.eachAlert {
		alerts++
		v.eachOf(id, h, func(*record) bool {
			decisions++
			return true
		})
	}
	return alerts, decisions
}
