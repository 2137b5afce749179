package engine

import (
	"fmt"
	"slices"
	"sync"
)

// Sections of decisions are most of a snapshot. Each is decoded, and all in it that can be
// judged by itself is, on any goroutine: what words its records share is found out there
// too, so that the one goroutine that inserts, in the order of the file, looks up a few
// words for a whole section instead of five for each record.
//
//	reader ──► decode (any number side by side) ──► insert (one, in order)
//
// The indexes by target are made at the end of the start, of all records at once (linking.go).

// decodedDecisions is a section. It is used again for others.
type decodedDecisions struct {
	records  []storedRecord
	codec    recordCodec
	wordings []storedWording
	found    map[[4]uint32]uint32 // wording → its place in wordings
	recent   [wordingsRecent]uint32
	uuids    []UUID // of the records that have their own, in order
	alert    uint64 // the last one that was looked at
	held     *heldAlert
	err      error
}

// storedRecord is a record as a snapshot holds it.
type storedRecord struct {
	id, alert, begun   uint64
	until, endedAt     int64
	endedRev           uint64
	hi, lo             uint64
	wording            uint32 // place in the section's wordings
	text, by           uint32 // of the value, and of the actor as actorText: places in the section's words, 0: none
	marks, flags, bits byte
}

// storedWording is what records of a section share: scope, type, origin, scenario, by their
// places in the section's words.
type storedWording struct {
	places             [4]uint32
	records            uint32 // that have it
	running, simulated uint32 // of these, not ended; simulated are counted apart
}

// wordingsRecent is how many wordings are found without the map, a power of two.
const wordingsRecent = 256

var decodedPool = sync.Pool{New: func() any { return new(decodedDecisions) }}

// recycle makes an empty section, with room.
func (r *decodedDecisions) recycle() {
	r.records, r.wordings, r.uuids = r.records[:0], r.wordings[:0], r.uuids[:0]
	r.codec.recycle()
	clear(r.found)
	r.alert, r.held, r.err = 0, nil, nil
	decodedPool.Put(r)
}

// recycle makes a codec as if it was new, with room for words.
func (c *recordCodec) recycle() {
	words, actors := c.words, c.actors
	*c = recordCodec{}
	for i := range words {
		c.words[i].words = emptied(words[i].words)
	}
	c.actors.words = emptied(actors.words)
}

func emptied(words []string) []string {
	clear(words)
	return words[:0]
}

// decode has a section decoded, beside the sections before it.
func (l *loader) decode(d *decoder) {
	result := make(chan *decodedDecisions, 1)
	l.decoded <- result
	go func() {
		section := decodedPool.Get().(*decodedDecisions)
		section.decode(d, l.state)
		result <- section
	}()
}

// decode reads a section. Of the state it looks at what came before all decisions.
func (r *decodedDecisions) decode(d *decoder, s *state) {
	n := d.count(11)
	if n > sectionLength {
		d.fail()
		n = 0
	}
	r.records = slices.Grow(r.records, n)[:n]
	for i := range r.records {
		behind := d.open()
		r.record(d, &r.records[i])
		if d.close(behind); d.err != nil {
			break
		}
		if in := &r.records[i]; i > 0 && in.id <= r.records[i-1].id || !in.possible() || !r.ofItsAlert(in, s) {
			r.err = impossible(in.id)
			return
		}
	}
	if d.err == nil && len(d.rest) != 0 {
		d.fail()
	}
	if d.err != nil {
		r.err = fmt.Errorf("%w: snapshot section of decisions", d.err)
	}
}

func impossible(id uint64) error {
	return fmt.Errorf("%w: snapshot holds an impossible decision %d", errRecord, id)
}

// record is the mirror of recordCodec.append.
func (r *decodedDecisions) record(d *decoder, in *storedRecord) {
	c := &r.codec
	in.marks, in.flags, in.bits = d.byte(), d.byte(), d.byte()
	in.id = c.id + d.uvarint()
	in.alert = c.alert + uint64(d.varint())
	in.begun = c.begun + uint64(d.varint())
	in.until = c.until + d.varint()
	c.id, c.alert, c.begun, c.until = in.id, in.alert, in.begun, in.until
	ended := in.marks&storedEnded != 0
	in.endedRev, in.endedAt = 0, 0
	if ended {
		in.endedRev = d.uvarint()
		in.endedAt = in.until - d.varint()
	}
	in.hi, in.lo = 0, 0
	var b [16]byte
	if in.flags&flagV6 != 0 {
		d.fixed(b[:])
		in.hi, in.lo = little(b[:8]), little(b[8:])
	} else if in.flags&flagAddress != 0 {
		d.fixed(b[:4])
		in.lo = little(b[:8])
	}
	var places [4]uint32
	for i := range places {
		places[i] = c.words[i].place(d)
	}
	in.text, in.by = 0, 0
	if d.bool() {
		in.text = c.words[4].place(d)
	}
	if d.version > firstVersion && ended {
		if in.by = c.actors.place(d); d.err == nil && len(c.actors.words[in.by-1]) > 1+longestActor {
			d.fail()
		}
	}
	if in.marks&storedUUID != 0 {
		var uuid UUID
		d.fixed(uuid[:])
		r.uuids = append(r.uuids, uuid)
	}
	if d.err == nil {
		in.wording = r.wording(places, in)
	}
}

// wording counts one record more that has these words.
func (r *decodedDecisions) wording(places [4]uint32, in *storedRecord) uint32 {
	// Records of one section share few wordings, and seldom have the one before them.
	recent := &r.recent[(places[3]*31+places[2]*7+places[1]*3+places[0])%wordingsRecent]
	at := *recent
	if at >= uint32(len(r.wordings)) || r.wordings[at].places != places {
		at = r.findWording(places)
		*recent = at
	}
	w := &r.wordings[at]
	w.records++
	switch {
	case in.marks&storedEnded != 0:
	case in.flags&flagSimulated != 0:
		w.simulated++
	default:
		w.running++
	}
	return at
}

func (r *decodedDecisions) findWording(places [4]uint32) uint32 {
	if at, known := r.found[places]; known {
		return at
	}
	if r.found == nil {
		r.found = map[[4]uint32]uint32{}
	}
	at := uint32(len(r.wordings))
	r.found[places] = at
	r.wordings = append(r.wordings, storedWording{places: places})
	return at
}

func little(b []byte) (n uint64) {
	for i := range 8 {
		n |= uint64(b[i]) << (8 * i)
	}
	return n
}

// possible reports whether there can be such a decision: what the indexes and the history
// rely on.
func (in *storedRecord) possible() bool {
	if in.flags&^storedFlags != 0 || in.marks&^(storedEnded|storedPurged|storedUUID) != 0 || (in.marks&storedUUID != 0) != (in.flags&flagUUID != 0) {
		return false
	}
	if in.begun == 0 || in.marks&storedEnded != 0 && in.endedRev < in.begun {
		return false
	}
	if in.flags&flagAddress == 0 {
		return in.flags&(flagV6|flagSlash) == 0
	}
	if in.flags&flagV6 == 0 && in.bits == 32 {
		return true // as most
	}
	on := in.on()
	t := on.prefix()
	return t.IsValid() && t == t.Masked() && (in.flags&flagSlash != 0 || t.IsSingleIP())
}

// on is what a decision is about, without words and text.
func (in *storedRecord) on() targetKey {
	return targetKey{hi: in.hi, lo: in.lo, flags: in.flags & targetFlags, bits: in.bits}
}

// ofItsAlert reports whether a decision's alert is there and names it, or is as gone
// as the decision says. Alerts come before decisions.
func (r *decodedDecisions) ofItsAlert(in *storedRecord, s *state) bool {
	if r.held == nil || r.alert != in.alert {
		r.alert, r.held = in.alert, s.alerts.At(in.alert)
	}
	h := r.held
	stored := h != nil && h.begun.Load() != 0
	if in.marks&storedPurged != 0 {
		return !stored && in.marks&storedEnded != 0
	}
	if stored && h.listed {
		_, there := slices.BinarySearch(*s.lists.At(in.alert).Load(), in.id)
		return there
	}
	return stored && in.id >= h.first && in.id-h.first < uint64(h.count)
}

// insert takes decoded sections in order.
func (l *loader) insert() (err error) {
	for result := range l.decoded {
		section := <-result
		if err == nil {
			err = section.err
		}
		if err == nil {
			err = l.insertDecisions(section)
		}
		l.told.decisions.Add(int64(len(section.records)))
		section.recycle()
	}
	return err
}

func (l *loader) insertDecisions(section *decodedDecisions) error {
	if len(section.records) == 0 {
		return nil
	}
	if err := l.follows(section); err != nil {
		return err
	}
	s := l.state
	wordings := make([]uint32, len(section.wordings))
	for i := range section.wordings {
		wordings[i] = s.acquireStored(&section.wordings[i], &section.codec)
	}
	uuids := section.uuids
	first := s.records.Extend(len(section.records))
	for i := range section.records {
		in, n := &section.records[i], first+slot(i)
		if in.begun > l.rev || in.endedRev > l.rev {
			return impossible(in.id)
		}
		l.scattered = l.scattered || in.begun < l.begun
		l.begun = in.begun
		r := s.records.At(n)
		r.id, r.alert, r.begun, r.until = in.id, in.alert, in.begun, in.until
		on := in.on()
		if in.text != 0 {
			on.text = s.strings.Acquire(section.codec.words[4].words[in.text-1])
		}
		s.setTarget(r, &on, in.flags)
		r.words = wordings[in.wording]
		if in.marks&storedUUID != 0 {
			*s.uuids.Set(r.id) = uuids[0].halves()
			uuids = uuids[1:]
		}
		s.ids.Set(r.id).Store(uint32(n))
		if in.marks == 0 {
			s.deadlines.Add(n)
			continue
		}
		l.insertEnd(in, n, r, section)
	}
	return nil
}

// insertEnd is for records that have ended, or have a mark.
func (l *loader) insertEnd(in *storedRecord, n slot, r *record, section *decodedDecisions) {
	s := l.state
	if in.marks&storedEnded != 0 {
		r.endedAt = in.endedAt
		if in.by != 0 {
			r.setBy(s.acquireActorText(section.codec.actors.words[in.by-1]))
		}
		r.endedRev.Store(in.endedRev)
		if in.endedRev > l.floor && !bornOver(r) {
			l.ends = append(l.ends, endEvent{in.endedRev, n})
		}
	}
	if in.marks&storedPurged != 0 {
		r.mark(markPurged)
	}
	if in.endedRev == 0 || r.until > s.at {
		s.deadlines.Add(n)
		return
	}
	r.mark(markTimedOut)
	if r.marked(markPurged) {
		s.graves.dig(n)
	}
}

// follows reports whether a section can come after the ones before it.
func (l *loader) follows(section *decodedDecisions) error {
	first, last := section.records[0].id, section.records[len(section.records)-1].id
	if l.firstDecision == 0 {
		l.firstDecision = first
	}
	next := l.state.next.nextDecision
	if first <= l.last || next <= l.firstDecision || next-l.firstDecision > mostSpread {
		return impossible(first)
	}
	if last >= next {
		return impossible(last)
	}
	l.last = last
	return nil
}

// acquireStored returns the row of a wording, held as often as there are records that have
// it, and counts those in that run.
func (s *state) acquireStored(in *storedWording, c *recordCodec) uint32 {
	var texts [4]string
	for i := range texts {
		texts[i] = c.words[i].words[in.places[i]-1]
	}
	n := s.acquireWords(texts[0], texts[1], texts[2], texts[3])
	s.wordings.rows.At(slot(n)).holders += in.records - 1
	if in.running > 0 {
		s.tally.addWords(s, s.wordings.at(n), false, int64(in.running))
	}
	if in.simulated > 0 {
		s.tally.addWords(s, s.wordings.at(n), true, int64(in.simulated))
	}
	return n
}
