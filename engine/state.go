package engine

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"

	"lapid/index"
)

// state is everything the history has made true so far. The committer edits it
// in place; readers look at it through a View, whose revision tells them what
// to overlook: a record begun later is not there yet, one ended later is still
// running.
//
//	hosts, ranges, values   target → newest record on it; older ones follow by record.next
//	ids                     decision id → record
//	alerts                  alert id → what memory holds of it
//	deadlines               record → when its time is over
//	history                 revision → records that began or ended in it
type state struct {
	// Readers look while the committer writes.
	strings  index.Strings
	actors   index.Strings // the actors that ended decisions (actor.go)
	records  index.Slab[record]
	places   index.Slab[place] // targets that records have no room for
	wordings wordings          // the words that decisions share
	sources  sources           // what alerts say of where they come from
	hosts    index.Hosts
	ranges   index.Ranges
	values   index.Values // by the number of the value's text; the scope is compared on the record
	ids      index.Pages[atomic.Uint32]
	alerts   index.Pages[heldAlert]
	history  index.Revisions
	lists    index.Pages[atomic.Pointer[[]uint64]] // alert → its decisions, ascending, where they do not follow one another
	batches  index.Pages[atomic.Uint32]            // alert → number of its batch's name, where it belongs to one
	uuids    index.Pages[[2]uint64]                // decision → its UUID, where it has one of its own
	tally    tally
	shelves  shelves       // of what bouncers hold that hold so many entries at most
	clean    [2]uint32     // the words Ip and Range, always held
	uuidKey  [2]uint64     // set once, by the first commit
	visited  bouncerLedger // whose visits are to be written down
	heard    machineLedger
	logins   loginLedger
	notes    notes    // of the visitors, for other nodes; the committer's
	pasts    sync.Map // *BouncerRow → []pastSight, of those that are moved
	uncut    uncut    // ranges that are not told
	requests places   // of the ids of requests in the view's log

	compared Revision // the newest at which engines compare what they hold
	reborn   Revision // set at the start: where the history was then
	unlinked bool     // until its end: records are not in hosts, ranges and values (linking.go)

	// Owned by the committer.
	deadlines   *index.Deadlines
	turned      int64 // how far they were turned
	graves      graves
	rows        rows // cold bodies that apply wants written
	software    softwareTable
	sights      sightTable
	inventories inventories
	at          int64    // time of the last commit
	version     byte     // of the record that is applied, and by that its rule
	actor       Actor    // who causes what is applied
	gapsCopied  [2]bool  // of next, in this commit
	untold      []uint64 // while starting: alerts whose source a snapshot does not tell, ascending
	pace        pace     // of the engine; says nothing about what is applied
	flow        *flow    // of the engine, once it has started; likewise

	// The next view's parts, owned by the committer until it publishes.
	next View
}

// newState is an empty state. Until endLoading, bouncers and machines are found by
// their names alone and decisions by their ids, and nothing may be published.
func newState() *state {
	s := &state{version: recordVersion, unlinked: true}
	s.shelves.leastReserve, s.shelves.leastLog = shelfReserve, shelfLog
	s.nameKinds()
	s.clean = [2]uint32{s.strings.Acquire(ScopeIP), s.strings.Acquire(ScopeRange)}
	s.deadlines, s.turned = s.newDeadlines(), math.MinInt64+clockSlack
	s.next = View{
		state:        s,
		nextAlert:    1,
		nextDecision: 1,
		machines:     &machineSet{loading: &loading[machineRow]{}},
		bouncers:     &bouncerSet{loading: &loading[BouncerRow]{}},
		allowlists:   newAllowlistSet(nil),
		exports:      newExportSet(nil),
		operators:    newOperatorSet(nil),
	}
	return s
}

// endLoading makes the indexes of all that a start has read.
func (s *state) endLoading() {
	s.linkAll()
	s.next.bouncers.build()
	s.next.machines.build()
}

func (s *state) newDeadlines() *index.Deadlines {
	d := index.NewDeadlines(func(n slot) int64 { return s.records.At(n).until })
	d.Pause = func() { s.pace.rest() }
	return d
}

// text reads an interned word.
func (s *state) text(n uint32) Text {
	return Text{S: s.strings.At(n), Plain: s.strings.Plain(n)}
}

// decisionUUID derives a version 4 identifier from an id: unique, the same
// after every restart, and free of charge in memory. It promises no secrecy.
func (s *state) decisionUUID(id uint64) (hi, lo uint64) {
	hi = scramble(id + s.uuidKey[0])
	lo = scramble(id ^ hi + s.uuidKey[1])
	return hi&^0xf000 | 4<<12, lo&^(3<<62) | 2<<62
}

// scramble is a bijection on 64 bits whose outputs look unrelated.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// head returns the newest record on a record's target.
func (s *state) head(r *record) slot {
	switch k := s.onOf(r); {
	case k.host():
		return s.hosts.Get(k.address())
	case k.flags&flagAddress != 0:
		return s.ranges.Get(k.prefix())
	default:
		return s.values.Get(k.text)
	}
}

func (s *state) setHead(r *record, n slot) {
	switch k := s.onOf(r); {
	case k.host():
		s.hosts.Set(k.address(), n)
	case k.flags&flagAddress != 0:
		s.ranges.Set(k.prefix(), n)
	default:
		s.values.Set(k.text, n)
	}
}

// begin brings a planned decision into memory and into every index.
func (s *state) begin(rev Revision, id, alert uint64, uuid UUID, simulated bool, p *plan) *record {
	n, r := s.records.New()
	r.id, r.alert, r.begun, r.until = id, alert, uint64(rev), p.until
	var on targetKey
	if p.target.IsValid() {
		on.set(p.target)
		if p.slash {
			on.flags |= flagSlash
		}
	}
	if !p.usual {
		on.text = s.strings.Acquire(p.value)
	}
	flags := on.flags
	if simulated {
		flags |= flagSimulated
	}
	if uuid != (UUID{}) {
		flags |= flagUUID
		*s.uuids.Set(id) = uuid.halves()
	}
	s.setTarget(r, &on, flags)
	r.words = s.acquireWords(p.scope, p.kind, p.origin, p.scenario)
	s.link(n, r)
	s.ids.Set(r.id).Store(uint32(n))
	return r
}

// link puts a record in front of its target's chain.
func (s *state) link(n slot, r *record) {
	if s.unlinked {
		return
	}
	if old := s.head(r); old != 0 {
		s.crowd(n, old)
	}
	s.setHead(r, n)
}

// unlink takes a record out of its target's chain. Readers that stand on it
// find their way on: its own next is left as it is.
func (s *state) unlink(n slot, r *record) {
	at := s.head(r)
	if at == n {
		s.setHead(r, slot(r.next.Load()))
		return
	}
	for at != 0 {
		before := s.records.At(at)
		at = slot(before.next.Load())
		if at == n {
			before.next.Store(r.next.Load())
			return
		}
	}
	panic("BUG: a record is missing from its target's chain")
}

// start takes a new record's time into account: it is counted as running until
// its deadline, or, when it was over on arrival, ends unannounced.
func (s *state) start(rev Revision, n slot, r *record) {
	if r.until <= s.at {
		r.mark(markTimedOut)
		r.endedAt = r.until
		r.endedRev.Store(uint64(rev))
		return
	}
	s.tally.add(s, r, 1)
	s.began(r)
	s.deadlines.Add(n)
	s.history.Append(uint64(rev), n, false)
}

// turnTo begins a commit: the history's time goes on to at, or stands where it is when
// that is earlier, and what is over by then ends. back, which may be nil, takes it back
// before.
func (s *state) turnTo(rev Revision, at int64, back *setBack) {
	if back != nil {
		back.apply(s, rev)
	}
	s.at = max(s.at, at)
	s.actor = Actor{Kind: ActorExpiry}
	s.expire(rev, s.at)
	s.renew(rev)
	s.turnItems(rev, back != nil)
}

// turnItems does the same for what is over on allowlists.
func (s *state) turnItems(rev Revision, back bool) {
	s.next.allowlists = s.next.allowlists.turn(uint64(rev), s.at, s.history.Floor(), back)
}

// gapsOf is the set of numbers of alerts (0) or decisions (1) that were never given; nil:
// there are none.
func (v *View) gapsOf(which int) *gaps { return v.gaps[which] }

// editGaps is the next view's set, which may be changed.
func (s *state) editGaps(which int) *gaps {
	if !s.gapsCopied[which] {
		s.next.gaps[which], s.gapsCopied[which] = s.next.gaps[which].copy(), true
	}
	return s.next.gaps[which]
}

// complete ends a commit: what began and ended in it can be read by a view of its
// revision from now on.
func (s *state) complete(rev Revision) {
	s.ranges.Gather(s.pace.rest)
	s.history.Publish(uint64(rev))
	s.next.allowlists.complete(uint64(rev))
	s.next.revision, s.next.at = rev, s.at
	s.gapsCopied = [2]bool{}
}

// follows reports whether the numbers that a commit names are those that it will give here.
func (s *state) follows(c *commit) error {
	next := numbers{s.next.nextAlert, s.next.nextDecision}
	for i := range c.ops {
		switch o := c.ops[i].op; within(o).(type) {
		case *bringAlerts, *raiseIDs:
			return nil // what comes after them is known once they are applied
		default:
			add := addedBy(o)
			if add == nil || s.leavesOut(o) {
				continue
			}
			if add.first.alert != 0 && add.first != next {
				return fmt.Errorf("%w: it was made where alert %d and decision %d come next, and here %d and %d do", errRecord,
					add.first.alert, add.first.decision, next.alert, next.decision)
			}
			next = add.after(next)
		}
	}
	return nil
}

// replay applies a commit as it was decoded. An error says that it was made on another
// state; nothing is applied then.
func (s *state) replay(rev Revision, c *commit) error {
	if err := s.follows(c); err != nil {
		return err
	}
	s.version = c.version
	ops := c.ops
	if c.version == firstVersion {
		s.at = c.at
		s.turnItems(rev, true)
	} else {
		var back *setBack
		if len(ops) > 0 {
			if first, ok := ops[0].op.(*setBack); ok {
				back, ops = first, ops[1:]
			}
		}
		s.turnTo(rev, c.at, back)
	}
	for i := range ops {
		s.actor = ops[i].by
		ops[i].op.apply(s, rev)
	}
	s.version = recordVersion
	return nil
}

// end makes a running record end at the given time, by the actor of what is applied.
func (s *state) end(rev Revision, n slot, r *record, at int64) {
	if r.endedRev.Load() != 0 {
		return
	}
	r.endedAt = min(at, r.until)
	r.setBy(s.acquireActor(s.actor))
	r.endedRev.Store(uint64(rev))
	s.tally.add(s, r, -1)
	s.over()
	s.history.Append(uint64(rev), n, true)
}

// turnBack sets the deadlines' wheel to an earlier time, after the clock was set
// back: otherwise it would hand nothing out until the clock had caught up. It
// costs a look at every record. Steps within the slack are waited out.
func (s *state) turnBack(now int64) {
	if now >= s.turned-clockSlack {
		return
	}
	s.setHands(now)
	for id := range s.ids.Ascending(0, math.MaxUint64) {
		if n := s.slotOf(id); n != 0 && !s.records.At(n).marked(markTimedOut) {
			s.deadlines.Add(n)
		}
	}
}

// setHands makes an empty wheel that stands at a time: what is added waits where it is to,
// and is not dealt out by the first commit.
func (s *state) setHands(now int64) {
	s.deadlines = s.newDeadlines()
	s.deadlines.Due(now, nil)
	s.turned = now
}

// anyDue reports whether something is over by a time. It turns the wheel there, so the next
// commit must not be earlier.
func (s *state) anyDue(at int64) bool {
	if next, ok := s.next.allowlists.clock.nextDue(s.next.allowlists.index); ok && next <= at {
		return true
	}
	if next, ok := s.deadlines.Next(); !ok || next > at {
		return false
	}
	s.turned = max(s.turned, at)
	return s.deadlines.AnyDue(at)
}

// expire ends everything whose time is over.
func (s *state) expire(rev Revision, now int64) (ended int) {
	s.turnBack(now)
	s.turned = max(s.turned, now)
	turn := 0
	s.deadlines.Due(now, func(n slot) {
		s.pace.step(turn)
		turn++
		r := s.records.At(n)
		r.mark(markTimedOut)
		if r.endedRev.Load() == 0 {
			s.end(rev, n, r, r.until)
			ended++
		}
		if r.marked(markPurged) {
			s.graves.dig(n)
		}
	})
	return ended
}

// purge ends a record whose alert goes and makes it a tombstone.
func (s *state) purge(rev Revision, n slot, r *record, at int64) {
	s.end(rev, n, r, at)
	if r.marked(markPurged) {
		return // replayed over a snapshot that knew it already
	}
	r.mark(markPurged)
	if r.marked(markTimedOut) {
		s.graves.dig(n)
	}
}

// bury forgets a tombstone that is not needed any more: out of every index. Its slot
// is given back once no reader can stand on it.
func (s *state) bury(n slot) {
	r := s.records.At(n)
	s.unlink(n, r)
	s.ids.At(r.id).Store(0)
	s.ids.Delete(r.id)
}

// release gives a buried record's memory back.
func (s *state) release(n slot) {
	r := s.records.At(n)
	if r.flags()&flagUUID != 0 {
		s.uuids.Delete(r.id)
	}
	s.strings.Release(s.textOf(r))
	if r.flags()&flagPlaced != 0 {
		s.places.Free(slot(r.at))
	}
	s.releaseWords(r.words)
	s.actors.Release(uint32(r.by()))
	s.records.Free(n)
}

// slotOf finds a decision by id; 0 when there is none.
func (s *state) slotOf(id uint64) slot {
	if p := s.ids.At(id); p != nil {
		return slot(p.Load())
	}
	return 0
}

// lookup finds the newest record on an address or range, exactly.
func (s *state) lookup(p netip.Prefix) slot {
	if p.IsSingleIP() {
		return s.hosts.Get(p.Addr())
	}
	return s.ranges.Get(p)
}
