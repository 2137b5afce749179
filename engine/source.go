package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"lapid/index"
	"lapid/persist"
)

// SourceWords are what the source of an alert says of where it comes from. Memory has them, so that
// alerts and decisions are found and counted by them without a look at the disk.
type SourceWords struct {
	Scope    string
	Country  string // two letters, or what was sent
	AsNumber string // digits, as a rule
	AsName   string
}

// sources keeps the words that alerts share, each combination once: there are some thousands of
// networks among a million alerts. A row holds its texts, and stays as long as an alert has it. Row 0 is that of no words at all, and is not held.
//
// One writer, many readers; a reader comes from an alert.
type sources struct {
	rows   index.Slab[sourceRow]
	places index.Slab[sourcePlace]

	found map[sourceKey]slot // the committer's own
}

// sourceKey is four words by their numbers.
type sourceKey struct{ scope, country, asNumber, asName uint32 }

type sourceRow struct {
	sourceKey
	holders uint32 // alerts; the committer's own
}

// sourcePlace is the address of a source that is no single IPv4 address.
type sourcePlace struct {
	hi, lo uint64 // IPv4 in the low 32 bits of lo
	v6     bool
	bits   uint8
}

// How heldAlert.at is to be read, in the two highest bits of heldAlert.source.
const (
	sourceAddressless = iota << sourceAt
	sourceIPv4        // one address
	sourcePlaced      // the slot of a place

	sourceAt      = 30
	sourceRowMask = 1<<sourceAt - 1
)

// rowOf is the row of an alert's words, 0 for none.
func (h *heldAlert) rowOf() uint32 { return h.source & sourceRowMask }

// sourceKeyOf are the words of an alert.
func (s *state) sourceKeyOf(h *heldAlert) sourceKey {
	if n := h.rowOf(); n != 0 {
		return s.sources.rows.At(slot(n)).sourceKey
	}
	return sourceKey{}
}

// sourceWordsOf are they as texts.
func (s *state) sourceWordsOf(h *heldAlert) SourceWords {
	k := s.sourceKeyOf(h)
	return SourceWords{s.strings.At(k.scope), s.strings.At(k.country), s.strings.At(k.asNumber), s.strings.At(k.asName)}
}

// sourceAddressOf is the address or range of an alert's source; invalid when it has none.
func (s *state) sourceAddressOf(h *heldAlert) netip.Prefix {
	var k targetKey
	switch h.source &^ sourceRowMask {
	case sourceIPv4:
		k = targetKey{flags: flagAddress, lo: uint64(h.at), bits: 32}
	case sourcePlaced:
		p := s.sources.places.At(slot(h.at))
		k = targetKey{flags: flagAddress, hi: p.hi, lo: p.lo, bits: p.bits}
		if p.v6 {
			k.flags |= flagV6
		}
	}
	return k.prefix()
}

// keepSource notes the source of an alert, before the alert is there.
func (s *state) keepSource(h *heldAlert, words SourceWords, at netip.Prefix) {
	h.source = s.acquireSource(words)
	if !at.IsValid() {
		return
	}
	var k targetKey
	if k.set(at); k.host() && k.flags&flagV6 == 0 {
		h.source, h.at = h.source|sourceIPv4, uint32(k.lo)
		return
	}
	n, p := s.sources.places.New()
	p.hi, p.lo, p.bits, p.v6 = k.hi, k.lo, k.bits, k.flags&flagV6 != 0
	h.source, h.at = h.source|sourcePlaced, uint32(n)
}

func (s *state) acquireSource(w SourceWords) uint32 {
	if w == (SourceWords{}) {
		return 0
	}
	t := &s.sources
	key := sourceKey{s.strings.Acquire(w.Scope), s.strings.Acquire(w.Country), s.strings.Acquire(w.AsNumber), s.strings.Acquire(w.AsName)}
	n, known := t.found[key]
	if known {
		s.releaseSourceTexts(key) // the row has them
	} else {
		var row *sourceRow
		n, row = t.rows.New()
		row.sourceKey, row.holders = key, 0
		if t.found == nil {
			t.found = map[sourceKey]slot{}
		}
		t.found[key] = n
	}
	t.rows.At(n).holders++
	return uint32(n)
}

// dropSource forgets it, once no reader can see the alert.
func (s *state) dropSource(h *heldAlert) {
	t := &s.sources
	if h.source&^sourceRowMask == sourcePlaced {
		t.places.Free(slot(h.at))
	}
	n := slot(h.rowOf())
	if n == 0 {
		return
	}
	row := t.rows.At(n)
	if row.holders--; row.holders > 0 {
		return
	}
	delete(t.found, row.sourceKey)
	s.releaseSourceTexts(row.sourceKey)
	t.rows.Free(n)
}

func (s *state) releaseSourceTexts(k sourceKey) {
	for _, text := range [...]uint32{k.scope, k.country, k.asNumber, k.asName} {
		s.strings.Release(text)
	}
}

// sourceOfBody reads what is kept of a source out of an alert's body, which is one of an alert that
// memory has; nothing, when it cannot be read.
func sourceOfBody(body []byte) (words SourceWords, at netip.Prefix) {
	d := decoder{rest: body}
	if d.byte() != 1 {
		return words, at
	}
	var uuid UUID
	d.fixed(uuid[:])
	d.varint()
	for range 7 { // the texts before
		d.bytes()
	}
	d.varint()
	d.varint()
	d.bool()
	d.bool()
	d.stamp()
	d.stamp()
	words.Scope = d.string()
	value, ip := d.bytes(), d.bytes()
	d.bytes()
	words.AsName, words.AsNumber, words.Country = d.string(), asNumber(d.string()), d.string()
	if d.err != nil {
		return SourceWords{}, at
	}
	if HoldsAddress(words.Scope) {
		var ok bool
		if at, ok = parseTarget(string(value)); !ok {
			at, _ = parseTarget(string(ip))
		}
	}
	return words, at
}

// appendSource writes the tail of an alert's row in a snapshot.
func (s *state) appendSource(dst []byte, words *dictionary, h *heldAlert) []byte {
	w := s.sourceWordsOf(h)
	for _, text := range [...]string{w.Scope, w.Country, w.AsNumber, w.AsName} {
		dst = words.append(dst, text)
	}
	return appendPrefix(dst, s.sourceAddressOf(h))
}

// source is the mirror. told is false for an alert of an older program, whose body has to be asked.
func (d *decoder) source(words *dictionary) (w SourceWords, at netip.Prefix, told bool) {
	if d.version <= firstVersion || len(d.rest) == 0 || d.err != nil {
		return w, at, false
	}
	for _, text := range [...]*string{&w.Scope, &w.Country, &w.AsNumber, &w.AsName} {
		*text = words.decode(d)
	}
	return w, d.prefix(), true
}

// askBodies reads the sources of alerts that a snapshot of an older program did not tell, out of their
// bodies. That is done once: the next snapshot tells them. A body that is lost tells nothing.
func (e *Engine) askBodies(ctx context.Context, told *starting) error {
	s, ids := e.state, e.state.untold
	if len(ids) == 0 {
		return nil
	}
	told.begin(fmt.Sprintf("reading where %d alerts come from, once", len(ids)))
	at := 0
	err := e.store.ScanRows(rowAlert, idKey(ids[0]), idKey(ids[len(ids)-1]+1), false, func(key, body []byte) (bool, error) {
		if len(key) != 8 {
			return true, nil
		}
		for id := idOf(key); at < len(ids) && ids[at] < id; at++ {
		}
		if at < len(ids) && ids[at] == idOf(key) {
			words, prefix := sourceOfBody(body)
			s.keepSource(s.alerts.At(ids[at]), words, prefix)
		}
		return at < len(ids), ctx.Err()
	})
	s.untold = nil
	if errors.Is(err, persist.ErrCorrupt) {
		e.log.Error("some alerts are not found by country and network, for their bodies cannot be read", "error", err)
		return nil
	}
	return err
}

// asNumber is a network's number without the letters in front that some write; "" for 0, which is none.
func asNumber(text string) string {
	if len(text) > 2 && equalFoldASCII(text[:2], "as") {
		text = text[2:]
	}
	if text == "0" {
		return ""
	}
	return text
}

// Source is what the alert of the decision says of where it comes from; zero where that is gone.
func (d Decision) Source() SourceWords {
	if h := d.view.state.alerts.At(d.rec.alert); h != nil {
		return d.view.state.sourceWordsOf(h)
	}
	return SourceWords{}
}

// Machine is the id of the machine that sent the decision's alert, "" when there is none, or it is gone.
func (d Decision) Machine() string {
	if h := d.view.state.alerts.At(d.rec.alert); h != nil {
		return d.view.machineID(h.machine)
	}
	return ""
}
