package engine

import (
	"encoding/binary"
	"iter"
	"slices"
)

// op is one operation of a commit. It is made for a request (or decoded from the
// journal), applied once by the committer, and then holds its own answer.
type op interface {
	number() byte
	append(dst []byte) []byte // the mirror of decode; answers are left out
	decode(d *decoder)
	apply(s *state, rev Revision)
}

// Numbers of operations. Never reused.
const (
	numberGenesis       = 1
	numberAddAlerts     = 2
	numberEndDecisions  = 3
	numberExpire        = 4
	numberDropAlerts    = 5
	numberPutMachine    = 6
	numberDropMachines  = 7
	numberPutBouncer    = 8
	numberDropBouncers  = 9
	numberVisits        = 10
	numberPutAllowlist  = 11
	numberDropAllowlist = 12
	numberAddUsage      = 13
	numberDropUsage     = 14
	numberPutSecret     = 15
	numberVisitsOf      = 16
	numberRequested     = 17

	numberSetBack = 18
	numberCompare = 20

	numberExtendAllowlist = 32
	numberReduceAllowlist = 33
	numberMoveBookmark    = 34
	numberDropBookmark    = 35
	numberBringAlerts     = 36
	numberRaiseIDs        = 37
	numberReviseAllowlist = 38
	numberAllowlistsWin   = 39
	numberReplaceList     = 40
	numberReviseExports   = 44

	numberPutOperator  = 48
	numberDropOperator = 49
	numberGrantToken   = 50
	numberRotateKey    = 53

	numberExtendDecisions = 54
	numberRotateSecret    = 55
)

func newOp(number byte) op {
	switch number {
	case numberGenesis:
		return &genesis{}
	case numberAddAlerts:
		return &addAlerts{}
	case numberEndDecisions:
		return &endDecisions{}
	case numberExpire:
		return &expire{}
	case numberDropAlerts:
		return &dropAlerts{}
	case numberPutMachine:
		return &putMachine{}
	case numberDropMachines:
		return &dropMachines{}
	case numberPutBouncer:
		return &putBouncer{}
	case numberDropBouncers:
		return &dropBouncers{}
	case numberVisits:
		return &visits{}
	case numberPutAllowlist:
		return &putAllowlist{}
	case numberDropAllowlist:
		return &dropAllowlist{}
	case numberAddUsage:
		return &addUsage{}
	case numberDropUsage:
		return &dropUsage{}
	case numberPutSecret:
		return &putSecret{}
	case numberVisitsOf:
		return &visitsOf{}
	case numberRequested:
		return &requested{}
	case numberSetBack:
		return &setBack{}
	case numberCompare:
		return &compare{}
	case numberExtendAllowlist:
		return &extendAllowlist{}
	case numberReduceAllowlist:
		return &reduceAllowlist{}
	case numberMoveBookmark:
		return &moveBookmark{}
	case numberDropBookmark:
		return &dropBookmark{}
	case numberBringAlerts:
		return &bringAlerts{}
	case numberRaiseIDs:
		return &raiseIDs{}
	case numberReviseAllowlist:
		return &reviseAllowlist{}
	case numberAllowlistsWin:
		return &allowlistsWin{}
	case numberReplaceList:
		return &replaceList{}
	case numberReviseExports:
		return &reviseExports{}
	case numberPutOperator:
		return &putOperator{}
	case numberDropOperator:
		return &dropOperator{}
	case numberGrantToken:
		return &grantToken{}
	case numberRotateKey:
		return &rotateKey{}
	case numberExtendDecisions:
		return &extendDecisions{}
	case numberRotateSecret:
		return &rotateSecret{}
	}
	return nil
}

// genesis is the first operation of every history: what makes this one
// different from others.
type genesis struct{ uuidKey [2]uint64 }

func (*genesis) number() byte { return numberGenesis }
func (o *genesis) append(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, o.uuidKey[0]), o.uuidKey[1])
}
func (o *genesis) decode(d *decoder)            { o.uuidKey = [2]uint64{d.uvarint(), d.uvarint()} }
func (o *genesis) apply(s *state, rev Revision) { s.uuidKey = o.uuidKey }

// addAlerts brings alerts of one machine with their decisions.
type addAlerts struct {
	machine string // "" for the server itself
	at      int64  // reception
	alerts  []incoming

	// first are the numbers of its first alert and decision, as the committer knows them when
	// the commit is written: readers take them, and apply is checked by them. Zero: an older
	// program wrote it and did not say.
	first numbers

	ids  []AlertID // the answer
	pace pace      // of the engine that was asked; nil when decoded. Not a part of the op
}

// incoming is one alert ready to be stored.
type incoming struct {
	body      []byte // as appendBody wrote it
	scenario  string
	startAt   int64
	simulated bool
	community bool
	plans     []plan
	notify    []Notice
	batch     Batch

	judged *Alert     // brought no decisions of its own, so allowlists apply; else nil
	lines  alertLines // what the log will say. Not a part of the op
}

func (*addAlerts) number() byte { return numberAddAlerts }

func (o *addAlerts) append(dst []byte) []byte {
	var words [4]dictionary
	dst = appendString(dst, o.machine)
	dst = binary.AppendVarint(dst, o.at)
	dst = binary.AppendUvarint(dst, uint64(len(o.alerts)))
	for i := range o.alerts {
		a := &o.alerts[i]
		from := len(dst)
		dst = appendBytes(dst, a.body)
		dst = appendString(dst, a.scenario)
		dst = binary.AppendVarint(dst, a.startAt)
		dst = appendBool(dst, a.simulated)
		dst = appendBool(dst, a.community)
		dst = endRow(appendBatch(appendNotices(dst, a.notify), a.batch), from)
		dst = binary.AppendUvarint(dst, uint64(len(a.plans)))
		for j := range a.plans {
			o.pace.step(j)
			from := len(dst)
			dst = endRow(a.plans[j].append(dst, &words, o.at), from)
		}
	}
	var end [numbersSize]byte
	o.first.put(end[:])
	return append(dst, end[:]...)
}

// numbers are of an alert and a decision.
type numbers struct{ alert, decision uint64 }

// numbersSize is how long they are at the end of the operation, where they are filled in
// last.
const numbersSize = 16

func (n numbers) put(end []byte) {
	binary.LittleEndian.PutUint64(end, n.alert)
	binary.LittleEndian.PutUint64(end[8:], n.decision)
}

// after is what comes next behind the operation.
func (o *addAlerts) after(next numbers) numbers {
	next.alert += uint64(len(o.alerts))
	for i := range o.alerts {
		next.decision += uint64(len(o.alerts[i].plans))
	}
	return next
}

func (o *addAlerts) decode(d *decoder) {
	var words [4]dictionary
	o.machine = d.string()
	o.at = d.varint()
	o.alerts = make([]incoming, d.count(6))
	for i := range o.alerts {
		a := &o.alerts[i]
		behind := d.open()
		a.body = slices.Clone(d.bytes())
		a.scenario = d.string()
		a.startAt = d.varint()
		a.simulated, a.community = d.bool(), d.bool()
		a.notify, a.batch = d.notices(), d.batch()
		d.close(behind)
		a.plans = make([]plan, d.count(6))
		for j := range a.plans {
			behind := d.open()
			a.plans[j].decode(d, &words, o.at)
			d.close(behind)
		}
	}
	if d.version > firstVersion && len(d.rest) >= numbersSize {
		var end [numbersSize]byte
		d.fixed(end[:])
		o.first = numbers{binary.LittleEndian.Uint64(end[:]), binary.LittleEndian.Uint64(end[8:])}
	}
}

func (o *addAlerts) apply(s *state, rev Revision) {
	machine := uint32(0)
	if row := s.next.machines.named(o.machine); row != nil {
		machine = row.serial
		if s.version > firstVersion {
			row.lastPush.Store(max(row.lastPush.Load(), o.at))
		}
	}
	o.ids = make([]AlertID, 0, len(o.alerts))
	for i := range o.alerts {
		o.ids = append(o.ids, s.addAlert(rev, machine, o.at, &o.alerts[i]))
	}
}

func (s *state) addAlert(rev Revision, machine uint32, at int64, in *incoming) AlertID {
	id := s.next.nextAlert
	s.next.nextAlert++
	h := s.keepAlert(rev, id, machine, at, in)
	h.first, h.count = s.next.nextDecision, uint32(len(in.plans))
	for j := range in.plans {
		s.pace.step(j)
		r := s.begin(rev, s.next.nextDecision, id, UUID{}, in.simulated, &in.plans[j])
		s.next.nextDecision++
		s.start(rev, s.slotOf(r.id), r)
	}
	h.begun.Store(uint64(rev))
	s.alerted(h)
	return AlertID(id)
}

// keepAlert notes an alert, which is there once its revision is stored as begun.
func (s *state) keepAlert(rev Revision, id uint64, machine uint32, at int64, in *incoming) *heldAlert {
	h := s.alerts.Set(id)
	h.createdAt, h.startAt, h.machine = at, in.startAt, machine
	h.simulated, h.community = in.simulated, in.community
	h.scenario = s.strings.Acquire(in.scenario)
	s.putBatch(id, h, in.batch)
	words, on := sourceOfBody(in.body)
	s.keepSource(h, words, on)
	if !h.community {
		s.tally.addAlert(s, h.scenario, 1)
	}
	s.rows.set(rowAlert, idKey(id), in.body)
	return h
}

// listDecisions notes which decisions an alert has. A list is kept of those that do not
// follow one another.
func (s *state) listDecisions(alert uint64, h *heldAlert, ids []uint64) {
	slices.Sort(ids)
	h.first, h.count = s.next.nextDecision, uint32(len(ids))
	if len(ids) == 0 {
		return
	}
	if h.first = ids[0]; ids[len(ids)-1]-ids[0] == uint64(len(ids)-1) {
		return
	}
	h.listed = true
	s.lists.Set(alert).Store(&ids)
}

// decisionsOf yields the ids of an alert's decisions, ascending.
func (s *state) decisionsOf(alert uint64, h *heldAlert) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if h.listed {
			for _, id := range *s.lists.At(alert).Load() {
				if !yield(id) {
					return
				}
			}
			return
		}
		for id := h.first; id < h.first+uint64(h.count); id++ {
			if !yield(id) {
				return
			}
		}
	}
}

// endDecisions ends the named decisions.
type endDecisions struct {
	at  int64
	ids []uint64 // ascending

	ended int      // the answer
	rev   Revision // … at which it was, if there were any
}

func (*endDecisions) number() byte { return numberEndDecisions }
func (o *endDecisions) append(dst []byte) []byte {
	return appendIDs(binary.AppendVarint(dst, o.at), o.ids)
}
func (o *endDecisions) decode(d *decoder) {
	o.at = d.varint()
	o.ids = decodeIDs(d)
}
func (o *endDecisions) apply(s *state, rev Revision) {
	for _, id := range o.ids {
		n := s.slotOf(id)
		if n == 0 {
			continue
		}
		if r := s.records.At(n); r.endedRev.Load() == 0 {
			s.end(rev, n, r, o.at)
			o.ended++
			o.rev = rev
		}
	}
}

// expire ends everything whose time was over at the commit's time. Programs that wrote
// records of version 1 said so; since then every commit does it.
type expire struct{ at int64 }

func (*expire) number() byte                   { return numberExpire }
func (o *expire) append(dst []byte) []byte     { return binary.AppendVarint(dst, o.at) }
func (o *expire) decode(d *decoder)            { o.at = d.varint() }
func (o *expire) apply(s *state, rev Revision) { s.expire(rev, o.at) }

// setBack takes the time of the history back, which otherwise never goes that way: the
// clock was truly set back, by more than the slack, and what follows is dated by it. It
// stands first in its commit.
type setBack struct{ to int64 }

func (*setBack) number() byte               { return numberSetBack }
func (o *setBack) append(dst []byte) []byte { return binary.AppendVarint(dst, o.to) }
func (o *setBack) decode(d *decoder)        { o.to = d.varint() }
func (o *setBack) apply(s *state, rev Revision) {
	s.lapseKeys()
	s.lapseSecrets()
	s.at = o.to
	s.turnBack(o.to)
}

// dropAlerts deletes alerts and what hangs on them.
type dropAlerts struct {
	at  int64
	ids []uint64 // ascending

	dropped int // the answer
}

func (*dropAlerts) number() byte { return numberDropAlerts }
func (o *dropAlerts) append(dst []byte) []byte {
	return appendIDs(binary.AppendVarint(dst, o.at), o.ids)
}
func (o *dropAlerts) decode(d *decoder) {
	o.at = d.varint()
	o.ids = decodeIDs(d)
}
func (o *dropAlerts) apply(s *state, rev Revision) {
	for _, id := range o.ids {
		h := s.alerts.At(id)
		if h == nil || h.begun.Load() == 0 || h.gone.Load() != 0 {
			continue
		}
		for d := range s.decisionsOf(id, h) {
			if n := s.slotOf(d); n != 0 {
				s.purge(rev, n, s.records.At(n), o.at)
			}
		}
		h.gone.Store(uint64(rev))
		if !h.community {
			s.tally.addAlert(s, h.scenario, -1)
		}
		s.graves.alerts = append(s.graves.alerts, alertGrave{id, s.graves.issued + 1})
		s.rows.delete(rowAlert, idKey(id))
		o.dropped++
	}
}

// appendIDs writes ascending ids as steps, so that an id next to the last costs a byte.
func appendIDs(dst []byte, ids []uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	before := uint64(0)
	for _, id := range ids {
		dst = binary.AppendUvarint(dst, id-before)
		before = id
	}
	return dst
}

func decodeIDs(d *decoder) []uint64 {
	ids := make([]uint64, d.count(1))
	before := uint64(0)
	for i := range ids {
		before += d.uvarint()
		ids[i] = before
	}
	return ids
}

// Kinds of rows on disk; never reused.
const (
	rowAlert byte = 1 // alert id → body; empty: it is lost, and that was accepted
	rowUsage byte = 2 // reception time, kind, name → usage metrics

	// Of the audit, which is made of the journal too, but by a reader of its own.
	rowAudit      byte = 3 // series, number → a row of it
	rowAuditHead  byte = 4 // nothing → where it stands
	rowAuditThing byte = 5 // noun, name → the fields that a thing had when it was told last

	rowReading byte = 6 // series, time → what was counted; made of nothing else (readings.go)

	// Of a relay alone, and not made of the journal.
	rowOwnBouncer byte = 7 // name of the row → where its bouncer is, and the row if it is the relay's own
)

func idKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

// idOf is the mirror.
func idOf(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
