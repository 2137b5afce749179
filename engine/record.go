package engine

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"unsafe"

	"lapid/index"
)

// record is what memory holds for one decision: 64 bytes without a pointer, so that ten
// million of them are nothing to the collector, and one is read with one line of the
// cache. Words that many decisions share lie in a row of their own (wordings.go), and so
// does an address that is no IPv4 in its usual spelling (place). An address is a value,
// and its text is kept only when it is not the usual spelling.
//
// The committer writes a record before any view can name it. Afterwards only
// endedAt and the actor in mixed (then endedRev, in that order), next and the marks in
// mixed change.
type record struct {
	id       uint64
	alert    uint64
	begun    uint64 // revision that began it
	until    int64  // Unix nanoseconds, as decided
	endedAt  int64  // when it really ended; valid once endedRev is set
	endedRev atomic.Uint64
	// at is an IPv4 address; with flagPlaced the slot of a place instead, and without
	// flagAddress the number of the value's text.
	at    uint32
	words uint32        // slot of a row in state.wordings
	next  atomic.Uint32 // next older decision on the same target
	// mixed is, from the lowest bit: flags, constant (7 bits); marks (3); the prefix length of
	// an IPv4 address that is not placed (6); number in state.actors of the actor that
	// ended it before its time, valid as endedAt is (16).
	mixed atomic.Uint32
}

// Constant flags of a record. Those of storedFlags are on disk.
const (
	flagSimulated = 1 << iota // the alert was simulated
	flagAddress               // it names an address or a range
	flagV6                    // … of IPv6
	flagSlash                 // spelled with a prefix length
	flagUUID                  // it has a UUID of its own, in state.uuids
	flagPlaced                // its target lies in a place
	flagCopied                // it is the beginning of a copied

	storedFlags = flagPlaced - 1
	targetFlags = flagAddress | flagV6 | flagSlash
	flagsMask   = 1<<7 - 1
)

// Marks are set by the committer while readers look.
const (
	// markCrowded: the target has, or had, other decisions. Without it the
	// record is alone in its chain and no reader needs to walk.
	markCrowded = 1 << (7 + iota)
	// markPurged: its alert is gone. The record stays as a tombstone, so that
	// bouncers which may still hold it hear of its end.
	markPurged
	// markTimedOut: the decided end has passed, no deadline names it any more.
	markTimedOut

	marksMask = markCrowded | markPurged | markTimedOut
)

const (
	lengthAt = 10 // of the prefix length in mixed
	actorAt  = 16
)

// place is the target of a record that has no room for it: IPv6, or an address in another
// than the usual spelling.
type place struct {
	hi, lo uint64 // the address, IPv4 in the low 32 bits of lo
	text   uint32 // the value, when the address does not spell it
	bits   uint8  // prefix length
}

// copied is a record that is told otherwise than it is stored: on another target, or as
// over. It is a reader's own.
type copied struct {
	record // the first field: state.placeOf and wordsOf go from there to the others
	place
	scope uint32
}

func (r *record) flags() uint8 { return uint8(r.mixed.Load() & flagsMask) }

func (r *record) marked(m uint32) bool { return r.mixed.Load()&m != 0 }

func (r *record) mark(m uint32) { r.mixed.Store(r.mixed.Load() | m) }

// by is the number of the actor that ended it before its time.
func (r *record) by() uint16 { return uint16(r.mixed.Load() >> actorAt) }

func (r *record) setBy(actor uint16) {
	r.mixed.Store(r.mixed.Load()&(1<<actorAt-1) | uint32(actor)<<actorAt)
}

// setTarget stores what a new record is about and its flags: a masked prefix, or none, and
// the number of the text where the address does not spell it.
func (s *state) setTarget(r *record, k *targetKey, flags uint8) {
	switch {
	case flags&flagAddress == 0:
		r.at = k.text
		r.mixed.Store(uint32(flags))
	case flags&flagV6 == 0 && k.text == 0:
		r.at = uint32(k.lo)
		r.mixed.Store(uint32(flags) | uint32(k.bits)<<lengthAt)
	default:
		n, p := s.places.New()
		p.hi, p.lo, p.text, p.bits = k.hi, k.lo, k.text, k.bits
		r.at = uint32(n)
		r.mixed.Store(uint32(flags) | flagPlaced)
	}
}

// placeOf finds the place of a record with flagPlaced.
func (s *state) placeOf(r *record) *place {
	if r.flags()&flagCopied != 0 {
		return &(*copied)(unsafe.Pointer(r)).place
	}
	return s.places.At(slot(r.at))
}

// wordsOf are the words of a record.
func (s *state) wordsOf(r *record) Wording {
	w := s.wordings.at(r.words)
	if r.flags()&flagCopied != 0 {
		w.Scope = (*copied)(unsafe.Pointer(r)).scope
	}
	return w
}

// textOf is the number of the value's text, 0 when the address spells it.
func (s *state) textOf(r *record) uint32 {
	switch f := r.flags(); {
	case f&flagPlaced != 0:
		return s.placeOf(r).text
	case f&flagAddress == 0:
		return r.at
	}
	return 0
}

// onOf is what a record is about, without its words.
func (s *state) onOf(r *record) targetKey {
	mixed := r.mixed.Load()
	k := targetKey{flags: uint8(mixed) & targetFlags}
	switch {
	case mixed&flagPlaced != 0:
		p := s.placeOf(r)
		k.hi, k.lo, k.text, k.bits = p.hi, p.lo, p.text, p.bits
	case mixed&flagAddress == 0:
		k.text = r.at
	default:
		k.lo, k.bits = uint64(r.at), uint8(mixed>>lengthAt&63)
	}
	return k
}

// targetOf is the address or range of a record; invalid when it holds none.
func (s *state) targetOf(r *record) netip.Prefix {
	k := s.onOf(r)
	return k.prefix()
}

// hostOf reports whether a record stands in the table of hosts.
func (s *state) hostOf(r *record) bool {
	k := s.onOf(r)
	return k.host()
}

// keyOf names the target of a record: scope, type and the text of the value. Two records
// are on one target when they have one key.
func (s *state) keyOf(r *record) targetKey {
	k, w := s.onOf(r), s.wordsOf(r)
	k.scope, k.kind = w.Scope, w.Type
	return k
}

func (s *state) sameTarget(a, b *record) bool { return s.keyOf(a) == s.keyOf(b) }

// set makes the key's address a masked prefix.
func (k *targetKey) set(p netip.Prefix) {
	k.flags |= flagAddress
	k.bits = uint8(p.Bits())
	a := p.Addr()
	if a.Is4() {
		b := a.As4()
		k.lo = uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
		return
	}
	k.flags |= flagV6
	b := a.As16()
	for i := range 8 {
		k.hi = k.hi<<8 | uint64(b[i])
		k.lo = k.lo<<8 | uint64(b[i+8])
	}
}

// prefix is the address or range of a key; invalid for other scopes.
func (k *targetKey) prefix() netip.Prefix {
	if k.flags&flagAddress == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(k.address(), int(k.bits))
}

func (k *targetKey) address() netip.Addr {
	if k.flags&flagV6 == 0 {
		return netip.AddrFrom4([4]byte{byte(k.lo >> 24), byte(k.lo >> 16), byte(k.lo >> 8), byte(k.lo)})
	}
	var b [16]byte
	for i := range 8 {
		b[i] = byte(k.hi >> (56 - 8*i))
		b[i+8] = byte(k.lo >> (56 - 8*i))
	}
	return netip.AddrFrom16(b)
}

// host reports whether it is one address.
func (k *targetKey) host() bool {
	return k.flags&flagAddress != 0 && ((k.flags&flagV6 == 0 && k.bits == 32) || k.bits == 128)
}

// appendAddress spells the address or range as usual.
func (k *targetKey) appendAddress(dst []byte) []byte {
	if k.flags&flagV6 != 0 {
		if k.flags&flagSlash != 0 {
			return k.prefix().AppendTo(dst)
		}
		return k.address().AppendTo(dst)
	}
	dst = appendIPv4(dst, uint32(k.lo))
	if k.flags&flagSlash != 0 {
		dst = append(dst, '/')
		dst = strconv.AppendUint(dst, uint64(k.bits), 10)
	}
	return dst
}

// octets are the numbers of a dotted address: up to three digits and a dot, the
// first lowest, and in the fifth byte how many bytes these are.
var octets = func() (t [256]uint64) {
	for i := range t {
		text := strconv.Itoa(i) + "."
		t[i] = uint64(len(text)) << 32
		for at := range len(text) {
			t[i] |= uint64(text[at]) << (8 * at)
		}
	}
	return t
}()

// appendIPv4 is the common case of every answer. It has no branch that depends
// on an address: those of one answer have nothing in common, and a wrong guess
// costs as much as all else here.
func appendIPv4(dst []byte, a uint32) []byte {
	const longest = len("255.255.255.255.")
	dst = slices.Grow(dst, longest)
	b := dst[len(dst) : len(dst)+longest]
	n := uint64(0)
	o := octets[byte(a>>24)]
	binary.LittleEndian.PutUint32(b[n:], uint32(o))
	n += o >> 32
	o = octets[byte(a>>16)]
	binary.LittleEndian.PutUint32(b[n:], uint32(o))
	n += o >> 32
	o = octets[byte(a>>8)]
	binary.LittleEndian.PutUint32(b[n:], uint32(o))
	n += o >> 32
	o = octets[byte(a)]
	binary.LittleEndian.PutUint32(b[n:], uint32(o))
	n += o >> 32
	return dst[:len(dst)+int(n)-1]
}

// usualSpelling reports whether value is how p is spelled, with or without its
// length, so that the text need not be kept.
func usualSpelling(p netip.Prefix, value string) (slash, usual bool) {
	var buf [64]byte
	if p.IsSingleIP() && string(p.Addr().AppendTo(buf[:0])) == value {
		return false, true
	}
	return true, string(p.AppendTo(buf[:0])) == value
}

// heldAlert is what memory holds for one alert; its body lies on disk.
type heldAlert struct {
	createdAt int64
	startAt   int64
	begun     atomic.Uint64 // revision that brought it; stored when all else is there
	first     uint64        // id of its first decision; the others follow, unless listed
	count     uint32        // of decisions
	scenario  uint32
	machine   uint32 // serial of the machine, 0: none
	simulated bool
	listed    bool          // its decisions do not follow one another: state.lists has them
	community bool          // a pulled list, left out of the count of alerts
	batch     uint8         // kind of the batch it belongs to; state.batches has the name
	source    uint32        // row of state.sources and, in the highest bits, what at is (source.go)
	at        uint32        // the address that it is about
	gone      atomic.Uint64 // revision that deleted it; 0: stored
}

// slot is short for the index's name of a record.
type slot = index.Slot
