package engine

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"

	"lapid/index"
)

// record is what memory holds for one decision: 96 bytes without a pointer, so
// that ten million of them are nothing to the collector. Words are numbers in
// state.strings; an address is a value, and its text is kept only when it is
// not the usual spelling.
//
// The committer writes a record before any view can name it. Afterwards only
// endedAt and by (then endedRev, in that order), next and marks change.
type record struct {
	id       uint64
	alert    uint64
	begun    uint64 // revision that began it
	until    int64  // Unix nanoseconds, as decided
	endedAt  int64  // when it really ended; valid once endedRev is set
	endedRev atomic.Uint64
	hi, lo   uint64 // the address, IPv4 in the low 32 bits of lo
	scope    uint32
	kind     uint32
	origin   uint32
	scenario uint32
	text     uint32        // the value, when the address does not spell it
	next     atomic.Uint32 // next older decision on the same target
	marks    atomic.Uint32
	flags    uint8  // constant
	bits     uint8  // prefix length
	by       uint16 // state.actors: the actor that ended it before its time; valid as endedAt is
}

// Constant flags of a record.
const (
	flagSimulated = 1 << iota // the alert was simulated
	flagAddress               // hi, lo and bits name an address or a range
	flagV6                    // … of IPv6
	flagSlash                 // spelled with a prefix length
	flagUUID                  // it has a UUID of its own, in state.uuids
)

// Marks are set by the committer while readers look.
const (
	// markCrowded: the target has, or had, other decisions. Without it the
	// record is alone in its chain and no reader needs to walk.
	markCrowded = 1 << iota
	// markPurged: its alert is gone. The record stays as a tombstone, so that
	// bouncers which may still hold it hear of its end.
	markPurged
	// markTimedOut: the decided end has passed, no deadline names it any more.
	markTimedOut
)

func (r *record) marked(m uint32) bool { return r.marks.Load()&m != 0 }

func (r *record) mark(m uint32) { r.marks.Store(r.marks.Load() | m) }

// setTarget stores a masked prefix.
func (r *record) setTarget(p netip.Prefix) {
	r.flags |= flagAddress
	r.bits = uint8(p.Bits())
	a := p.Addr()
	if a.Is4() {
		b := a.As4()
		r.lo = uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
		return
	}
	r.flags |= flagV6
	b := a.As16()
	for i := range 8 {
		r.hi = r.hi<<8 | uint64(b[i])
		r.lo = r.lo<<8 | uint64(b[i+8])
	}
}

// target is setTarget's mirror; invalid when the record holds no address.
func (r *record) target() netip.Prefix {
	if r.flags&flagAddress == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(r.address(), int(r.bits))
}

func (r *record) address() netip.Addr {
	if r.flags&flagV6 == 0 {
		return netip.AddrFrom4([4]byte{byte(r.lo >> 24), byte(r.lo >> 16), byte(r.lo >> 8), byte(r.lo)})
	}
	var b [16]byte
	for i := range 8 {
		b[i] = byte(r.hi >> (56 - 8*i))
		b[i+8] = byte(r.lo >> (56 - 8*i))
	}
	return netip.AddrFrom16(b)
}

// host reports whether the record stands in the table of hosts.
func (r *record) host() bool {
	return r.flags&flagAddress != 0 && ((r.flags&flagV6 == 0 && r.bits == 32) || r.bits == 128)
}

// appendAddress spells the target as usual.
func (r *record) appendAddress(dst []byte) []byte {
	if r.flags&flagV6 != 0 {
		if r.flags&flagSlash != 0 {
			return r.target().AppendTo(dst)
		}
		return r.address().AppendTo(dst)
	}
	dst = appendIPv4(dst, uint32(r.lo))
	if r.flags&flagSlash != 0 {
		dst = append(dst, '/')
		dst = strconv.AppendUint(dst, uint64(r.bits), 10)
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

// sameTarget reports whether two records name one target: scope, type and the
// text of the value.
func (r *record) sameTarget(o *record) bool {
	return r.scope == o.scope && r.kind == o.kind && r.text == o.text &&
		r.hi == o.hi && r.lo == o.lo && r.bits == o.bits &&
		r.flags|flagSimulated|flagUUID == o.flags|flagSimulated|flagUUID
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
	gone      atomic.Uint64 // revision that deleted it; 0: stored
}

// slot is short for the index's name of a record.
type slot = index.Slot
