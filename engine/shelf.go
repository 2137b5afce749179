package engine

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// shelf is what bouncers hold that may hold so many entries alone: of all that a question
// and a sight admit, the N that come first (shelf_rank.go). All who ask the same share it.
//
//	first, N at most │ next, a reserve │ all else, which is not looked at
//	                 ▲ its last        ▲ bar
//
// Nobody drives it: a poll that needs it brings it to the revision of its view, by the
// events of the history, one revision after the other; an event costs O(log N). When one
// of the first leaves, the best of the reserve comes in. When the reserve has run dry, one
// look at all decisions fills it: once in as many departures as it has room for, at most.
//
// What came in and went out is logged. What changed since a revision is a stretch of the
// log, with the comings and goings of each entry taken together. For a reader from before
// the log the shelf is made again as it was at that revision, and brought forward: which
// entries come first at a revision is a function of the decisions that ran there, and
// those are in memory as far back as the history reaches. So answers are the same whether
// a shelf was kept, dropped or lost with the process.
type shelf struct {
	most    int // N
	reserve int // for how many entries there is room beyond
	moves   int // how many are logged at least
	counts  *shelfCounts

	working atomic.Bool  // whoever has the lock may keep it for long
	bytes   atomic.Int64 // estimated
	held    atomic.Int64 // how many the first are
	used    uint64       // when it was, on the lock of shelves

	mu sync.Mutex
	standings
	made    bool
	dry     bool     // some of the first are missing at rev
	rev     Revision // all here is as of this revision
	base    Revision // the log reaches back to there
	entries map[shelfKey]*shelved
	first   ordered   // its last entry before all others
	next    ordered   // its best before all others
	bar     *standing // what does not come before it is in neither; nil: there is nothing else
	log     []shelfMove
	open    int          // where the moves of rev begin
	listed  []shelfEntry // of the first at some revision; shared, never changed
	listRev Revision

	// Scratch.
	walked  map[shelfKey]struct{} // in this revision
	folds   map[shelfKey]fold
	passed  map[shelfKey]slot // went out, if only for a while; by which decision it was told last
	passing bool              // what goes out is noted there
}

// shelfEntry is what a bouncer is told: of what, and by which decision.
type shelfEntry struct {
	key shelfKey
	rec slot
}

// shelved is an entry in first or next.
type shelved struct {
	standing
	at int  // in its heap
	in bool // in first
}

// shelfMove is that an entry came in, went out, or is told by another decision. A slot
// that is 0 says that it is not among the first.
type shelfMove struct {
	rev Revision
	key shelfKey
	fold
}

// fold is what moves of an entry come to.
type fold struct{ was, is slot }

const (
	// shelfReserve is how many entries the reserve has room for at least.
	shelfReserve = 4096
	// shelfLog is how many moves are kept at least.
	shelfLog = 8192
	// MostPassing is how many entries at most a delta of a question with a bound tells that
	// went out after its beginning, though they were not among the first there or are again:
	// those that did so first.
	MostPassing = 1 << 16
	// shelfQuick is how many events those look at who must be quick.
	shelfQuick = 1000
)

func newShelf(q *Query, of *shelves) *shelf {
	s := &shelf{most: min(q.Sight.MaxEntries, math.MaxInt32), counts: &of.counts, standings: standings{query: q.kept(), priority: q.Sight.Priority}}
	s.reserve, s.moves = max(s.most/4, of.leastReserve), of.leastLog
	s.first.before = func(a, b *shelved) bool { return s.compare(&a.standing, &b.standing) > 0 }
	s.next.before = func(a, b *shelved) bool { return s.compare(&a.standing, &b.standing) < 0 }
	s.walked, s.folds, s.passed = map[shelfKey]struct{}{}, map[shelfKey]fold{}, map[shelfKey]slot{}
	return s
}

func (s *shelf) compare(a, b *standing) int { return s.priority.compare(a, b) }

// enter takes the lock. Who must be quick gets it only if nobody keeps it for long.
func (s *shelf) enter(quick bool) bool {
	for quick && !s.mu.TryLock() {
		if s.working.Load() {
			return false
		}
		runtime.Gosched()
	}
	if !quick {
		s.mu.Lock()
	}
	return true
}

func (s *shelf) leave() {
	const perEntry, perMove = 250, 72
	s.held.Store(int64(s.first.len()))
	s.rest()
	s.bytes.Store(int64(len(s.entries))*perEntry + int64(cap(s.log))*perMove + int64(cap(s.listed))*48)
	s.mu.Unlock()
}

// outcome is how it went to look at a shelf.
type outcome uint8

const (
	shelfDone  outcome = iota
	shelfGone          // the history does not reach back that far
	shelfLater         // it takes longer than who asks may take
)

// changes fills d with what changed after a revision, up to the view's. An entry that is
// told by another decision is told again. What is over by now is not told as new.
//
// Whoever asks may have heard more than is known of him: an answer whose arrival was not
// shown, or was forgotten by a crash, is told again, by a later state. So of an entry that
// came in and went out again the end is told, and one that went out and came in again is new.
func (s *shelf) changes(d *Delta, v *View, after Revision, now int64, quick bool) outcome {
	if !s.enter(quick) {
		return shelfLater
	}
	defer s.leave()
	was, how := s.bring(v, after, quick)
	if how != shelfDone {
		return how
	}
	if was == nil {
		s.foldLog(after, v.revision)
	} else {
		s.foldFrom(was)
	}
	if Revision(v.state.history.Floor()) > after {
		return shelfGone // what is told of may have been forgotten meanwhile
	}
	for key, f := range s.folds {
		switch {
		case f.is == 0 && f.was != 0:
			d.Deleted = append(d.Deleted, v.told(&key, f.was, true))
		case f.isNews(v) && v.state.records.At(f.is).until > now:
			d.New = append(d.New, v.told(&key, f.is, false))
		}
	}
	s.tellPassed(d, v, now)
	slices.SortFunc(d.New, byEntry)
	slices.SortFunc(d.Deleted, byEntry)
	return shelfDone
}

// tellPassed tells of what went out on the way and is not told by what it is at the ends, and
// forgets both.
func (s *shelf) tellPassed(d *Delta, v *View, now int64) {
	for key, n := range s.passed {
		switch f := s.folds[key]; {
		case f.is == 0 && f.was == 0:
			d.Deleted = append(d.Deleted, v.told(&key, n, true))
		case f.is != 0 && !f.isNews(v) && v.state.records.At(f.is).until > now:
			d.New = append(d.New, v.told(&key, f.is, false))
		}
	}
	s.forgetFolds()
}

func (s *shelf) forgetFolds() {
	clear(s.folds)
	clear(s.passed)
}

// isNews reports whether an entry is new, or told by a decision that runs longer. One that
// runs shorter is not told: its end will be.
func (f fold) isNews(v *View) bool {
	at := v.state.records.At
	return f.is != 0 && f.is != f.was && (f.was == 0 || at(f.is).until > at(f.was).until)
}

// told is a decision as an entry that is told of it; over: as one that is no more.
func (v *View) told(key *shelfKey, n slot, over bool) Decision {
	r := v.state.records.At(n)
	if v.state.keyOf(r) != *key || over && !v.ended(r) {
		r = (&era{view: v}).spelt(r, key, over)
	}
	return Decision{v, r}
}

// unchanged reports whether nothing came in or went out. It is always quick, and false
// when that is not enough to know.
func (s *shelf) unchanged(v *View, since Revision) bool {
	if !s.enter(true) {
		return false
	}
	defer s.leave()
	if _, how := s.bring(v, since, true); how != shelfDone {
		return false
	}
	s.foldLog(since, v.revision)
	same := len(s.passed) == 0
	for _, f := range s.folds {
		same = same && !f.isNews(v)
	}
	s.forgetFolds()
	return same && Revision(v.state.history.Floor()) <= since
}

// listing gives the entries that come first at a revision, the view's or an earlier one, in
// order of their decisions' ids. The list is shared.
func (s *shelf) listing(v *View, at Revision) []shelfEntry {
	s.enter(false)
	defer s.leave()
	if at == v.revision && (!s.made || s.base <= at) {
		s.bring(v, at, false) // in vain where the history has left the view behind
	}
	s.look(v)
	if s.made && s.dry && s.rev >= at {
		s.refill(v)
	}
	if !s.made || at < s.base || at > s.rev { // of long ago: not worth a shelf
		s.working.Store(true)
		defer s.working.Store(false)
		list, _ := s.scan(v, at, nil, s.most)
		return listOf(v, list)
	}
	if s.listed != nil && s.listRev <= at && s.still(s.listRev) {
		return s.listed
	}
	s.foldLog(at, s.rev) // what came later is taken back
	list := make([]standing, 0, s.first.len())
	for _, e := range s.first.list {
		if _, moved := s.folds[e.key]; !moved {
			list = append(list, e.standing)
		}
	}
	for key, f := range s.folds {
		if f.was != 0 {
			list = append(list, standing{key: key, rec: f.was})
		}
	}
	behind := len(s.folds) > 0
	s.forgetFolds()
	all := listOf(v, list)
	if !behind {
		s.listed, s.listRev = all, at
	}
	return all
}

// still reports whether nothing was logged after a revision.
func (s *shelf) still(since Revision) bool {
	return s.base <= since && (len(s.log) == 0 || s.log[len(s.log)-1].rev <= since)
}

func listOf(v *View, list []standing) []shelfEntry {
	all := make([]shelfEntry, len(list))
	for i := range list {
		all[i] = shelfEntry{list[i].key, list[i].rec}
	}
	at := v.state.records.At
	slices.SortFunc(all, func(a, b shelfEntry) int {
		return cmp.Or(cmp.Compare(at(a.rec).id, at(b.rec).id), compareKeys(&a.key, &b.key))
	})
	return all
}

// bring makes the shelf so that it is at the view's revision, or later, and its log
// reaches back to another one. Where the log cannot do that, it gives the entries that
// came first at that revision. Called with the lock.
func (s *shelf) bring(v *View, after Revision, quick bool) (was []shelfEntry, how outcome) {
	s.look(v)
	if s.made && s.rev < v.revision {
		if how = s.advance(v, quick); how == shelfLater {
			return nil, shelfLater
		} else if how == shelfGone {
			s.made = false
		}
	}
	if s.made && s.dry {
		if quick {
			return nil, shelfLater
		}
		s.refill(v)
	}
	if s.made && s.base <= after {
		return nil, shelfDone
	}
	if quick {
		return nil, shelfLater
	}
	if !s.reaches(v, after) {
		return nil, shelfGone
	}
	s.build(v, after)
	was, s.passing = listOf(v, s.ofFirst()), true
	defer func() { s.passing = false }()
	if s.advance(v, false) == shelfGone {
		s.made = false
		s.forgetFolds()
		return nil, shelfGone
	}
	if s.base <= after {
		s.forgetFolds()
		was = nil
	}
	return was, shelfDone
}

func (s *shelf) ofFirst() []standing {
	list := make([]standing, len(s.first.list))
	for i, e := range s.first.list {
		list[i] = e.standing
	}
	return list
}

// foldLog takes together what the log has after a revision, up to another one.
func (s *shelf) foldLog(after, upto Revision) {
	from := sort.Search(len(s.log), func(i int) bool { return s.log[i].rev > after })
	for i := from; i < len(s.log) && s.log[i].rev <= upto; i++ {
		s.foldIn(&s.log[i])
	}
}

func (s *shelf) foldIn(m *shelfMove) {
	f, before := s.folds[m.key]
	if !before {
		f.was = m.was
	}
	f.is = m.is
	s.folds[m.key] = f
	s.pass(m)
}

// pass notes what goes out.
func (s *shelf) pass(m *shelfMove) {
	if m.is != 0 {
		return
	}
	if _, there := s.passed[m.key]; there || len(s.passed) < MostPassing {
		s.passed[m.key] = m.was
	}
}

// foldFrom compares what came first with what does now.
func (s *shelf) foldFrom(was []shelfEntry) {
	for _, e := range was {
		s.folds[e.key] = fold{was: e.rec}
	}
	for _, e := range s.first.list {
		f := s.folds[e.key]
		f.is = e.rec
		s.folds[e.key] = f
	}
}

// advance goes through the history up to a view. When it is quick and some of the first
// are missing, or when there is much to look at, the rest is left to who has time.
func (s *shelf) advance(v *View, quick bool) outcome {
	window, reaches := v.state.history.Window(uint64(s.rev), uint64(v.revision))
	if !reaches {
		return shelfGone
	}
	if quick && (window.Len() > shelfQuick || s.dry) {
		return shelfLater
	}
	if window.Len() > shelfQuick {
		s.working.Store(true)
		defer s.working.Store(false)
	}
	began := s.rev
	if s.dry {
		s.refill(v)
	}
	if s.query.shaped(v, uint64(s.rev)) {
		return s.advanceShaped(v, quick)
	}
	for i := range window.Len() {
		event := window.At(i)
		r := v.state.records.At(event.Slot())
		rev := Revision(revisionOf(event, r))
		if rev != s.rev && !s.turn(v, rev, quick) {
			return shelfLater
		}
		s.touch(v, event.Slot(), r, event.Ended())
	}
	if !s.turn(v, v.revision, quick) {
		return shelfLater
	}
	if Revision(v.state.history.Floor()) > began {
		return shelfGone // something on the way may have been forgotten
	}
	return shelfDone
}

// advanceShaped is advance where an entry may be a part of a decision, or spelled otherwise.
func (s *shelf) advanceShaped(v *View, quick bool) outcome {
	if quick && !s.calm(v) {
		return shelfLater
	}
	for {
		since := s.rev
		next, more := s.eventful(v, since)
		if !more {
			next = v.revision
		}
		if !s.turn(v, next, quick) {
			return shelfLater
		}
		if !more {
			return shelfDone
		}
		if !s.moved(v, since, next, s.placeMoved) {
			return shelfGone
		}
	}
}

// placeMoved puts an entry where it belongs now.
func (s *shelf) placeMoved(k *entryKey) {
	one := s.walkShaped(&s.now, k)
	s.place(k.targetKey, s.entries[k.targetKey], &one)
}

// calm reports whether no allowlist has changed since the shelf's revision: what that does
// may take long.
func (s *shelf) calm(v *View) bool {
	items, ok := v.allowlists.index.history.Window(uint64(s.rev), uint64(v.revision))
	return ok && items.Len() == 0 && v.allowlistsWin(uint64(s.rev)) == v.AllowlistsWin()
}

// turn ends one revision and begins the next. False: some of the first are missing, and
// who is quick leaves it at that.
func (s *shelf) turn(v *View, next Revision, quick bool) bool {
	if s.bar != nil && s.first.len() < s.most {
		if s.dry = true; quick {
			return false
		}
		s.refill(v)
	}
	clear(s.walked)
	s.settle()
	if s.passing {
		for i := s.open; i < len(s.log); i++ {
			s.pass(&s.log[i])
		}
	}
	s.trim()
	s.rev, s.open = next, len(s.log)
	return true
}

// touch takes into account that a decision began or ended in the revision.
func (s *shelf) touch(v *View, n slot, r *record, ended bool) {
	if !s.admits(v, r) {
		return
	}
	key := v.state.keyOf(r)
	e := s.entries[key]
	class := s.classOf(v, r)
	if !r.marked(markCrowded) { // the only one there ever was
		var one standing
		if !ended && r.runsAt(s.rev) {
			one = standing{key: key}
			one.join(n, r, class)
		}
		s.place(key, e, &one)
		return
	}
	if ended && (e == nil || e.rec != n && e.id != r.id && (e.class < class || s.priority != LocalFirst)) {
		return // it made no difference
	}
	if !ended && e != nil {
		if r.runsAt(s.rev) {
			one := e.standing
			one.join(n, r, class)
			s.place(key, e, &one)
		}
		return
	}
	if _, known := s.walked[key]; !known {
		s.walked[key] = struct{}{}
		one := s.walk(v, r, s.rev)
		s.place(key, e, &one)
	}
}

// place puts an entry where it belongs now. One without a decision is over.
func (s *shelf) place(key shelfKey, e *shelved, now *standing) {
	if e != nil {
		if e.standing == *now {
			return
		}
		s.take(e)
	}
	if now.rec != 0 && (s.bar == nil || s.compare(now, s.bar) < 0) {
		s.put(now)
	}
	if len(s.log)-s.open > 4*s.first.len()+s.moves {
		s.settle()
	}
}

// take takes an entry out, and lets the best of the reserve come in for it.
func (s *shelf) take(e *shelved) {
	delete(s.entries, e.key)
	if !e.in {
		s.next.remove(e)
		return
	}
	s.first.remove(e)
	s.note(e, e.rec, 0)
	if s.next.len() > 0 {
		s.enterFirst(s.next.pop())
	}
}

// put puts an entry in that comes before the bar.
func (s *shelf) put(one *standing) {
	e := &shelved{standing: *one}
	s.entries[e.key] = e
	switch {
	case s.first.len() < s.most:
		s.enterFirst(e)
	case s.compare(one, &s.first.first().standing) < 0:
		last := s.first.pop()
		last.in = false
		s.note(last, last.rec, 0)
		s.next.push(last)
		s.enterFirst(e)
	default:
		s.next.push(e)
	}
	if s.next.len() > 2*s.reserve {
		s.cut()
	}
}

func (s *shelf) enterFirst(e *shelved) {
	e.in = true
	s.first.push(e)
	s.note(e, 0, e.rec)
}

func (s *shelf) note(e *shelved, was, is slot) {
	s.log = append(s.log, shelfMove{s.rev, e.key, fold{was, is}})
}

// cut leaves half of a reserve that has become too large.
func (s *shelf) cut() {
	list := s.next.list
	slices.SortFunc(list, func(a, b *shelved) int { return s.compare(&a.standing, &b.standing) })
	keep := s.reserve
	bar := list[keep].standing
	s.bar = &bar
	for i, e := range list {
		if e.at = i; i >= keep {
			delete(s.entries, e.key)
		}
	}
	clear(list[keep:])
	s.next.list = list[:keep]
}

// settle takes together the moves of the revision, so that there are no more of them than
// entries that came or went.
func (s *shelf) settle() {
	moves := s.log[s.open:]
	if len(moves) < 2 {
		return
	}
	folds := make(map[shelfKey]fold, len(moves))
	for _, m := range moves {
		f, before := folds[m.key]
		if !before {
			f.was = m.was
		}
		f.is = m.is
		folds[m.key] = f
	}
	kept := moves[:0]
	for _, m := range moves {
		f, left := folds[m.key]
		if delete(folds, m.key); left && f.was != f.is {
			kept = append(kept, shelfMove{s.rev, m.key, f})
		}
	}
	s.log = s.log[:s.open+len(kept)]
}

// trim forgets the oldest moves, whole revisions.
func (s *shelf) trim() {
	most := max(4*s.first.len(), s.moves)
	if len(s.log) <= 2*most {
		return
	}
	upto := s.log[len(s.log)-most-1].rev
	n := sort.Search(len(s.log), func(i int) bool { return s.log[i].rev > upto })
	s.log, s.base = slices.Clone(s.log[n:]), upto
}

// build makes the shelf as it was at a revision.
func (s *shelf) build(v *View, at Revision) {
	s.working.Store(true)
	defer s.working.Store(false)
	s.counts.built.Add(1)
	s.made, s.dry, s.rev, s.base, s.bar, s.log, s.open = true, false, at, at, nil, nil, 0
	s.first.list, s.next.list, s.entries = nil, nil, map[shelfKey]*shelved{}
	s.listed = nil
	s.fill(v, nil)
	s.log = nil // they were there before
}

// refill looks for what comes next after all that is here.
func (s *shelf) refill(v *View) {
	s.working.Store(true)
	defer s.working.Store(false)
	s.counts.refilled.Add(1)
	s.fill(v, s.bar)
	s.dry = false
}

func (s *shelf) fill(v *View, from *standing) {
	list, beyond := s.scan(v, s.rev, from, s.most-s.first.len()+s.reserve)
	s.bar = nil
	for i := range list {
		s.put(&list[i])
	}
	s.bar = beyond
}

// scan gives the best entries at a revision of those that do not come before one, in
// order, and the best of those that it does not give.
func (s *shelf) scan(v *View, at Revision, from *standing, most int) (list []standing, beyond *standing) {
	best := bestOf{most: most, compare: s.compare}
	s.each(v, at, func(one *standing) {
		if from == nil || s.compare(one, from) >= 0 {
			best.add(one)
		}
	})
	best.end()
	return best.list, best.beyond
}
