package engine

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
)

// load builds the state from a snapshot. Decision sections are decoded side by
// side and inserted in order.
func (s *state) load(ctx context.Context, rev uint64, sections iter.Seq2[uint16, []byte], history int, told *starting) error {
	l := loader{ctx: ctx, state: s, rev: rev, told: told, decoded: make(chan chan *decodedDecisions, 2*runtime.GOMAXPROCS(0))}
	inserted := make(chan error, 1)
	go func() { inserted <- l.insert() }()
	err := l.read(sections)
	close(l.decoded)
	if failed := <-inserted; err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.next.revision = Revision(rev)
	l.rebuildHistory(history)
	return nil
}

// mostSpread is how far the oldest alert, or decision, may be from the next one: a
// thousand a second for two years while one of them lived on. Ids take memory over all of
// the distance (12 bytes for a thousand), so a forged snapshot that
// claims more is refused instead of taking all memory.
const mostSpread = 1 << 36

// mostNumber is beyond every id that will ever be given.
const mostNumber = 1 << 62

type loader struct {
	ctx   context.Context
	state *state
	told  *starting
	rev   uint64
	floor uint64
	alert uint64 // last one read
	// The first ones read: memory is taken for the ids between them and the next.
	firstAlert, firstDecision uint64
	serial                    uint32                      // of the last machine read
	last                      uint64                      // decision, the last one inserted
	decoded                   chan chan *decodedDecisions // in order of the file
	begun                     uint64                      // when that one was
	scattered                 bool                        // numbers that were brought are not in the order of their revisions
	ends                      []endEvent                  // behind the floor

	allowlists []*Allowlist
	secrets    map[string][]byte
	exports    []*Export
	keys       []*loadedKey // of rotated bouncers

	allowances     []storedAllowance
	allowanceFloor uint64
	dated          bool // the snapshot tells of them
}

func (l *loader) read(sections iter.Seq2[uint16, []byte]) error {
	l.secrets = map[string][]byte{}
	seen, decisions := false, false
	var parts []byte // the beginning of the body that comes next
	for kind, body := range sections {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		l.told.bytes += int64(len(body))
		l.told.at(func() string { return l.told.snapshot(l.rev) })
		if kind == sectionPart {
			parts = append(parts, body...)
			continue
		}
		if parts != nil {
			body, parts = append(parts, body...), nil
		}
		kind, d, err := openSection(kind, body)
		if err != nil {
			return err
		}
		switch {
		case kind == sectionHeader && seen:
			return fmt.Errorf("%w: snapshot with two headers", errRecord)
		case kind == sectionHeader:
			seen = true
		case !seen:
			return fmt.Errorf("%w: snapshot section %d before the header", errRecord, kind)
		case kind == sectionDecisions:
			decisions = true
			l.decode(d)
			continue
		case decisions:
			return fmt.Errorf("%w: snapshot section %d after decisions", errRecord, kind) // which are inserted by another goroutine
		}
		if err := l.section(kind, d); err != nil {
			return err
		}
	}
	if !seen || parts != nil {
		return fmt.Errorf("%w: snapshot without header, or without its end", errRecord)
	}
	s := l.state
	s.next.allowlists, s.next.secrets, s.next.exports = newAllowlistSet(l.allowlists), l.secrets, newExportSet(l.exports)
	l.dateAllowances(s.next.allowlists)
	return l.makeRings()
}

// firstSections gives the present numbers of sections that have no version.
var firstSections = map[uint16]uint16{
	firstHeader: sectionHeader, firstAlerts: sectionAlerts, firstDecisions: sectionDecisions, firstMachines: sectionMachines,
	firstBouncers: sectionBouncers, firstAllowlists: sectionAllowlists, firstSecrets: sectionSecrets, firstPeople: firstPeople,
}

// openSection says what a section is and how its body is to be read.
func openSection(kind uint16, body []byte) (uint16, *decoder, error) {
	if now, older := firstSections[kind]; older {
		return now, &decoder{rest: body, version: firstVersion}, nil
	}
	d := &decoder{rest: body}
	if d.version = d.byte(); kind > sectionRequests || kind == 0 || d.version > recordVersion {
		return 0, nil, fmt.Errorf("%w: snapshot section %d, version %d, is unknown: it was written by a newer program", errRecord, kind, d.version)
	}
	if d.err != nil || d.version <= firstVersion {
		return 0, nil, fmt.Errorf("%w: snapshot section %d", errRecord, kind)
	}
	return kind, d, nil
}

// section reads a section of anything but decisions.
func (l *loader) section(kind uint16, d *decoder) error {
	switch kind {
	case sectionHeader:
		l.header(d)
		if d.version > firstVersion && d.err == nil {
			d.rest = nil // fields of a newer program
		}
	case firstPeople:
		l.readMachines(d)
		l.readBouncers(d)
		for n := d.count(5); n > 0 && d.err == nil; n-- {
			list := &Allowlist{}
			list.decode(d)
			l.allowlists = append(l.allowlists, list)
		}
		l.readSecrets(d)
	case sectionMachines:
		l.readMachines(d)
	case sectionBouncers:
		l.readBouncers(d)
	case sectionAllowlists:
		l.readAllowlists(d)
	case sectionGaps:
		for which, next := range [...]uint64{l.state.next.nextAlert, l.state.next.nextDecision} {
			l.state.next.gaps[which] = &gaps{}
			l.state.next.gaps[which].decode(d, next)
		}
	case sectionBookmarks:
		l.readBookmarks(d)
	case sectionExports:
		l.readExports(d)
	case sectionKeys:
		l.readKeys(d)
	case sectionAllowances:
		l.readAllowances(d)
	case sectionSecrets:
		l.readSecrets(d)
	case sectionOperators:
		l.readOperators(d)
	case sectionRequests:
		l.readRequests(d)
	case sectionAlerts:
		l.alerts(d)
	}
	if err := l.ctx.Err(); err != nil {
		return err
	}
	if d.err != nil || len(d.rest) != 0 {
		return fmt.Errorf("%w: snapshot section %d", errRecord, kind)
	}
	return nil
}

func (l *loader) header(d *decoder) {
	s := l.state
	s.next.nextAlert, s.next.nextDecision = d.uvarint(), d.uvarint()
	s.next.serial = uint32(d.uvarint())
	l.floor = d.uvarint()
	s.uuidKey = [2]uint64{d.uvarint(), d.uvarint()}
	s.at = d.varint()
	s.next.at = s.at
	s.setHands(s.at)
	if s.next.nextAlert > mostNumber || s.next.nextDecision > mostNumber {
		d.fail()
	}
}

func (l *loader) readMachines(d *decoder) {
	for n := d.count(8); n > 0 && d.err == nil && l.ctx.Err() == nil; n-- {
		behind := d.open()
		l.machine(d)
		d.close(behind)
	}
}

func (l *loader) readBouncers(d *decoder) {
	for n := d.count(64); n > 0 && d.err == nil && l.ctx.Err() == nil; n-- {
		behind := d.open()
		l.bouncer(d)
		d.close(behind)
	}
}

// readAllowlists reads pieces of lists. The list that a section goes on with is
// the last of the section before.
func (l *loader) readAllowlists(d *decoder) {
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		behind := d.open()
		l.allowlist(d)
		d.close(behind)
	}
}

func (l *loader) allowlist(d *decoder) {
	if !d.bool() {
		list := &Allowlist{}
		list.decode(d)
		l.allowlists = append(l.allowlists, list)
		return
	}
	if len(l.allowlists) == 0 {
		d.fail()
		return
	}
	last := l.allowlists[len(l.allowlists)-1]
	last.Items = append(last.Items, decodeItems(d)...)
}

func (l *loader) readSecrets(d *decoder) {
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		behind := d.open()
		name := d.string()
		l.secrets[name] = slices.Clone(d.bytes())
		d.close(behind)
	}
}

// machine reads one; serials ascend.
func (l *loader) machine(d *decoder) {
	row, m, s := &machineRow{serial: uint32(d.uvarint())}, &Machine{}, l.state
	behind := d.open()
	m.decode(d)
	d.close(behind)
	if d.err != nil || row.serial <= l.serial || row.serial > s.next.serial || s.next.machines.named(m.ID) != nil {
		d.fail()
		return
	}
	l.serial = row.serial
	s.inventories.acquire(m)
	row.value.Store(m)
	s.editMachines().add(row)
	l.told.machines++
}

// bouncer reads one and how far it got.
func (l *loader) bouncer(d *decoder) {
	var b Bouncer
	behind := d.open()
	b.decode(d)
	d.close(behind)
	at, cursor, acked := d.varint(), d.uvarint(), uint64(0)
	var past []pastSight
	var renewed Revision
	if d.version > firstVersion && len(d.rest) > 0 {
		past, acked = d.past(), d.uvarint()
	}
	if d.version > firstVersion && len(d.rest) > 0 {
		renewed = Revision(d.uvarint())
	}
	if d.err == nil && l.state.next.bouncers.named(b.Name) != nil {
		d.fail()
	}
	if d.err != nil {
		return
	}
	l.state.addBound(b.Sight, renewed)
	row := l.state.putBouncer(0, b)
	l.state.keepPast(row, past)
	row.lastPull.Store(at)
	row.putCursor(cursor)
	row.acked.Store(acked)
	l.told.bouncers++
}

func (l *loader) alerts(d *decoder) {
	// Words are interned by one goroutine at a time: alerts come before the
	// first decision, so the inserting goroutine still waits.
	var words dictionary
	s := l.state
	id, before := uint64(0), l.alert
	for n := d.count(10); n > 0 && d.err == nil; n-- {
		behind := d.open()
		id += d.uvarint()
		begun := d.uvarint()
		h := storedAlert{first: d.uvarint(), count: uint32(d.uvarint()), machine: uint32(d.uvarint())}
		h.createdAt = d.varint()
		h.startAt = h.createdAt + d.varint()
		h.simulated, h.community = d.bool(), d.bool()
		scenario := words.decode(d)
		if d.version > firstVersion && len(d.rest) > 0 && d.err == nil {
			if h.list = decodeIDs(d); len(h.list) == 0 {
				h.list = nil
			}
			h.batch = d.batch()
		}
		source, on, told := d.source(&words)
		d.close(behind)
		if l.firstAlert == 0 {
			l.firstAlert = id
		}
		if d.err != nil || id <= before || id >= s.next.nextAlert || s.next.nextAlert-l.firstAlert > mostSpread || begun == 0 || begun > l.rev ||
			!h.possible(s.next.nextDecision) {
			d.fail()
			return
		}
		before = id
		at := s.alerts.Set(id)
		at.begun.Store(begun)
		at.first, at.count, at.machine = h.first, h.count, h.machine
		if h.list != nil {
			at.listed = true
			s.lists.Set(id).Store(&h.list)
		}
		at.createdAt, at.startAt, at.simulated, at.community = h.createdAt, h.startAt, h.simulated, h.community
		at.scenario = s.strings.Acquire(scenario)
		s.putBatch(id, at, h.batch)
		if told {
			s.keepSource(at, source, on)
		} else {
			s.untold = append(s.untold, id)
		}
		l.told.alerts++
		if !at.community {
			s.tally.addAlert(s, at.scenario, 1)
		}
	}
	l.alert = before
}

// storedAlert is an alert as a snapshot holds it.
type storedAlert struct {
	first                uint64
	count, machine       uint32
	createdAt, startAt   int64
	simulated, community bool
	list                 []uint64 // of decisions that do not follow one another
	batch                Batch
}

// possible reports whether its decisions can be there, where next comes next.
func (h *storedAlert) possible(next uint64) bool {
	if h.list == nil {
		return h.first <= next && uint64(h.count) <= next-h.first
	}
	n := len(h.list)
	ascending := slices.IsSortedFunc(h.list, func(a, b uint64) int {
		if a < b {
			return -1
		}
		return 1
	})
	return n > 1 && uint64(n) == uint64(h.count) && h.list[0] == h.first && h.first > 0 && h.list[n-1] < next && ascending
}
