package engine

import (
	"math"
	"slices"
)

// Delta is what changed between two revisions as one bouncer may see it, each
// list by ascending id. It is reusable; Reset it before it is put away, for
// its decisions keep their view alive.
type Delta struct {
	New     []Decision // began, and run
	Deleted []Decision // ended, and nothing else holds their target
}

// Reset empties the delta and keeps its memory.
func (d *Delta) Reset() {
	clear(d.New)
	clear(d.Deleted)
	d.New, d.Deleted = d.New[:0], d.Deleted[:0]
}

// Changes fills d with what a bouncer that knows everything up to `after` must
// hear to know this view (http-api.md section 13). It returns false
// when the history does not reach back that far: the bouncer starts over, with
// Scan.
//
// With q.Dedup a decision is new only if none on its target that q admits runs
// longer, and deleted only if none that q admits runs at all: so no target is
// in both lists, and a target's end is told once, by whatever path it came.
// What began and ended since is told as deleted. Nothing is allocated but d's
// growth.
//
// When q.Sight has MaxEntries, what must be told is the difference of those entries that
// came first then and that do now; of equal targets only the one is told that runs longest,
// whatever q.Dedup says. That takes a lock, which others hold while they look at all
// decisions; with q.Quick it returns false instead of waiting for that (shelf.go).
//
// Where q.Sight bounds durations, everything that runs is new whenever that is due
// (sight_renewal.go). For a bouncer whose sight was another at the earlier revision there is
// ChangesFrom.
func (v *View) Changes(d *Delta, after Revision, q *Query) bool {
	if !v.changes(d, after, q) {
		return false
	}
	if v.renewed(after, q.Sight) {
		v.tellAgain(d, q)
	}
	return true
}

func (v *View) changes(d *Delta, after Revision, q *Query) bool {
	d.Reset()
	if after > v.revision {
		return false // a cursor from another history
	}
	window, ok := v.state.history.Window(uint64(after), uint64(v.revision))
	if !ok {
		return false
	}
	if window.Len() == 0 && !q.shaped(v, uint64(after)) {
		return true
	}
	if q.bounded() {
		if v.state.shelves.of(q).changes(d, v, after, q.Now, q.Quick) != shelfDone {
			return false
		}
		d.page(q)
		return true
	}
	if q.resolve(v.state).never {
		return true
	}
	q.match.longest.after = after
	if q.shaped(v, uint64(after)) {
		return v.shapedChanges(d, window, after, q, q)
	}
	for i := range window.Len() {
		event := window.At(i)
		r := v.state.records.At(event.Slot())
		if !q.admits(v.state, r) || !q.relatesStream(v, r) {
			continue
		}
		if event.Ended() {
			if !q.Dedup || !v.held(r, after, q) {
				d.Deleted = append(d.Deleted, Decision{v, r})
			}
		} else if v.running(r, q.Now) && (!q.Dedup || !v.outlasted(r, q)) {
			d.New = append(d.New, Decision{v, r})
		}
	}
	d.page(q)
	return true
}

// Unchanged reports whether nothing that q admits began or ended since a revision,
// whatever the time is now; false also when history does not reach back that far.
// Unlike Changes it takes no memory and stops at the first change, even at one that
// another decision hides. When q.Sight has MaxEntries it reports whether the same entries
// come first, and is false also when it would take long to know.
func (v *View) Unchanged(since Revision, q *Query) bool {
	window, ok := v.state.history.Window(uint64(since), uint64(v.revision))
	if !ok || since > v.revision || v.renewed(since, q.Sight) {
		return false
	}
	if q.bounded() {
		return window.Len() == 0 && !q.shaped(v, uint64(since)) || v.state.shelves.of(q).unchanged(v, since)
	}
	if q.resolve(v.state).never {
		return true
	}
	for i := range window.Len() {
		event := window.At(i)
		r := v.state.records.At(event.Slot())
		if q.admits(v.state, r) && q.relatesStream(v, r) && (event.Ended() || v.running(r, 0)) {
			return false
		}
	}
	return !q.shaped(v, uint64(since)) || v.sameAllowances(since, q)
}

// Distance returns how many changes came after a revision, up to this view:
// how long Changes will take. A revision that history does not reach any more,
// or that is of another history, is farther than any.
func (v *View) Distance(after Revision) int {
	window, ok := v.state.history.Window(uint64(after), uint64(v.revision))
	if !ok || after > v.revision {
		return math.MaxInt
	}
	return window.Len() + v.allowanceDistance(uint64(after))
}

// page puts the lists in order and applies the offset of the contract.
func (d *Delta) page(q *Query) {
	for _, list := range [...]*[]Decision{&d.New, &d.Deleted} {
		if !slices.IsSortedFunc(*list, byID) {
			slices.SortFunc(*list, byID)
		}
		if n := min(max(q.Offset, 0), len(*list)); n > 0 {
			*list = slices.Delete(*list, 0, n)
		}
	}
}

func (q *Query) relatesStream(v *View, r *record) bool {
	return (!q.Value.Given && !q.Address.IsValid()) || q.relates(v, r)
}

// endOf is when a record ends or ended, as this view knows it.
func (v *View) endOf(r *record) int64 {
	if v.ended(r) {
		return r.endedAt
	}
	return r.until
}

// outlasted reports whether another decision on the target, admitted by q,
// stands for this one: it ends later. An ended decision never stands for a running one,
// nor the other way round, whatever their times say: clocks may have been set back.
func (v *View) outlasted(r *record, q *Query) bool {
	if !r.marked(markCrowded) {
		return false
	}
	mine := v.spanOf(r, q)
	steps := 0
	for n := v.state.head(r); n != 0; {
		o := v.state.records.At(n)
		if o != r && v.shows(o) && v.state.sameTarget(o, r) && mine.shorter(v.spanOf(o, q)) && q.admits(v.state, o) && !v.forgotten(o, q) {
			return true
		}
		if steps++; steps > longChain {
			return mine.shorter(q.match.longest.of(v, r, q))
		}
		n = slot(o.next.Load())
	}
	return false
}

// forgotten reports whether no bouncer can still hold what a tombstone was about:
// no bouncer was told of it, or its decided end has passed and the history does not
// reach back to where it ended. It may be in memory yet, until readers have gone.
func (v *View) forgotten(r *record, q *Query) bool {
	if !r.marked(markPurged) || !v.ended(r) || v.alert(r.alert) != nil {
		return false
	}
	return bornOver(r) || r.until <= q.Now && r.endedRev.Load() <= q.match.floor
}

// spanOf is how far one record reaches.
func (v *View) spanOf(r *record, q *Query) span {
	return span{end: v.endOf(r), running: v.running(r, q.Now)}
}

// shorter reports whether the other reaches further.
func (s span) shorter(other span) bool {
	if s.running != other.running {
		return other.running
	}
	return s.end < other.end
}

// held reports whether the end of r need not be told: another decision on the
// target that q admits still runs, or ended later within the same delta and
// stands for it.
func (v *View) held(r *record, after Revision, q *Query) bool {
	if !r.marked(markCrowded) {
		return false
	}
	steps := 0
	for n := v.state.head(r); n != 0; {
		o := v.state.records.At(n)
		if o != r && v.shows(o) && v.state.sameTarget(o, r) && q.admits(v.state, o) {
			if !v.ended(o) || (v.endedSince(o, after) && o.endedAt > r.endedAt) {
				return true
			}
		}
		if steps++; steps > longChain {
			l := q.match.longest.of(v, r, q)
			return l.open || l.told > r.endedAt
		}
		n = slot(o.next.Load())
	}
	return false
}

// endedSince reports whether the delta tells of a record's end. Of one that was
// over on arrival nothing was ever told.
func (v *View) endedSince(r *record, after Revision) bool {
	return v.ended(r) && r.endedRev.Load() > uint64(after) && !bornOver(r)
}

// longChain is how many records of one target are walked for each decision;
// beyond, the whole chain is looked at once per question and remembered, so
// that a target with many thousands of decisions costs linear time.
const longChain = 64

// longest remembers, per target, what a question needs to know of a long chain.
type longest struct {
	after  Revision // where the delta begins
	chains map[slot]struct{}
	best   map[targetKey]span
}

type targetKey struct {
	hi, lo      uint64
	text        uint32
	scope, kind uint32
	flags, bits uint8
}

// span is how far the admitted decisions of one target reach.
type span struct {
	running bool  // some is in force at the moment of asking
	end     int64 // latest end of those in force or, when none is, of all
	open    bool  // some has not ended, be its time over or not
	told    int64 // latest end within the delta
}

func (l *longest) reset() {
	if len(l.chains) > 0 {
		clear(l.chains)
		clear(l.best)
	}
}

func (l *longest) of(v *View, r *record, q *Query) span {
	head := v.state.head(r)
	if _, known := l.chains[head]; !known {
		if l.chains == nil {
			l.chains, l.best = map[slot]struct{}{}, map[targetKey]span{}
		}
		l.chains[head] = struct{}{}
		l.learn(v, head, q)
	}
	return l.best[v.state.keyOf(r)]
}

func (l *longest) learn(v *View, head slot, q *Query) {
	v.chain(head, func(o *record) bool {
		if !v.shows(o) || !q.admits(v.state, o) || v.forgotten(o, q) {
			return true
		}
		k := v.state.keyOf(o)
		s, seen := l.best[k]
		if !seen {
			s.end, s.told = math.MinInt64, math.MinInt64
		}
		if one := v.spanOf(o, q); s.shorter(one) {
			s.running, s.end = one.running, one.end
		}
		s.open = s.open || !v.ended(o)
		if v.endedSince(o, l.after) {
			s.told = max(s.told, o.endedAt)
		}
		l.best[k] = s
		return true
	})
}
