package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
)

// A commit as bytes:
//
//	version  1 byte   recordVersion
//	time     varint   Unix nanoseconds of the commit
//	ops      uvarint  how many; each: its number (1 byte), its length (uvarint), its body
//	senders  uvarint  how many, each a row: the place of its operation, address, token number.
//	                  Only where there are any; for the audit alone: nothing is applied by them
//
// Numbers are unsigned varints unless they can be negative, texts are a length
// and the bytes. Every encoder has its decoder beside it; operation numbers
// are never reused.
//
// # How a field is added
//
// Since version 2 a body begins with the actor of the operation, and every row in it (a
// machine, an item, a planned decision) with its length. A field goes to the end of a
// body or row. A reader skips what it does not know at an end, and takes zero for a
// field that is not there:
//
//	if len(d.rest) > 0 {
//		m.NewField = d.string()
//	}
//
// What cannot be said by such a field is a new operation.
//
// Version 1, without actors and lengths, is read for ever, and applied by its own rule:
// expiry is an operation, the time of a commit may be earlier than the one before, and
// a push leaves no trace on its machine.
const (
	recordVersion = 2
	firstVersion  = 1
)

// errRecord is what every unreadable record wraps.
var errRecord = errors.New("unreadable record")

// commit is one place in the history: operations that became true together.
type commit struct {
	version byte
	at      int64
	ops     []act
}

// act is an operation and its actor.
type act struct {
	by Actor
	op op
}

func appendCommitHead(dst []byte, at int64, ops int) []byte {
	dst = append(dst, recordVersion)
	dst = binary.AppendVarint(dst, at)
	return binary.AppendUvarint(dst, uint64(ops))
}

// appendCommit makes a commit of operations that are framed already, and adds it to dst.
func appendCommit(dst []byte, at int64, ops int, framed []byte, from []sentOp) []byte {
	return appendSenders(append(appendCommitHead(dst, at, ops), framed...), from)
}

// appendOp frames one operation.
func appendOp(dst []byte, by Actor, o op) []byte {
	body := drafts.Get().(*[]byte)
	*body = o.append(by.append((*body)[:0]))
	dst = slices.Grow(dst, 1+binary.MaxVarintLen64+len(*body))
	dst = append(dst, o.number())
	dst = binary.AppendUvarint(dst, uint64(len(*body)))
	dst = append(dst, *body...)
	putDraft(body)
	return dst
}

// drafts are buffers for what is written before its length is known.
var drafts = sync.Pool{New: func() any { return new([]byte) }}

// draftAtMost is how large a buffer may be that is kept; what only a large
// import needs is left to the collector.
const draftAtMost = 64 << 10

func putDraft(b *[]byte) {
	if cap(*b) <= draftAtMost {
		drafts.Put(b)
	}
}

// decodeCommit is the mirror. The commit keeps nothing of record's memory.
func decodeCommit(record []byte) (*commit, error) {
	d := decoder{rest: record}
	c := &commit{version: d.byte()}
	if (c.version < firstVersion || c.version > recordVersion) && d.err == nil {
		return nil, fmt.Errorf("%w: written by a newer version (record version %d)", errRecord, c.version)
	}
	d.version = c.version
	c.at = d.varint()
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		number := d.byte()
		body := decoder{rest: d.bytes(), version: c.version}
		if d.err != nil {
			break
		}
		a := act{op: newOp(number)}
		if a.op == nil {
			return nil, fmt.Errorf("%w: unknown operation %d: it was written by a newer program", errRecord, number)
		}
		if c.version > firstVersion {
			a.by.decode(&body)
		}
		a.op.decode(&body)
		if body.err == nil && len(body.rest) != 0 && c.version == firstVersion {
			body.fail()
		}
		if body.err != nil {
			return nil, fmt.Errorf("operation %d: %w", number, body.err)
		}
		c.ops = append(c.ops, a)
	}
	if d.err == nil && len(d.rest) != 0 && c.version == firstVersion {
		d.fail() // later on there may be more, of a newer program
	}
	return c, d.err
}

// decoder reads what the append functions wrote. After the first failure it
// yields zeroes; err tells.
type decoder struct {
	rest    []byte
	err     error
	version byte // of the record or section; rows have a length since 2
}

// open begins a row: up to close the decoder reads its bytes alone. What it returns is
// for close.
func (d *decoder) open() (behind []byte) {
	if d.version <= firstVersion {
		return nil
	}
	row := d.bytes()
	behind, d.rest = d.rest, row
	return behind
}

// close ends a row: what it has beyond the fields that were read is skipped.
func (d *decoder) close(behind []byte) {
	if d.version > firstVersion && d.err == nil {
		d.rest = behind
	}
}

// endRow makes a row of what dst has from an index on: it puts the length in front.
func endRow(dst []byte, from int) []byte {
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(dst)-from))
	dst = append(dst, length[:n]...)
	copy(dst[from+n:], dst[from:len(dst)-n])
	copy(dst[from:], length[:n])
	return dst
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errRecord
	}
	d.rest = nil
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) bool() bool { return d.byte() != 0 }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count reads how many things follow, each of at least size bytes: what the
// record cannot hold is refused before anything is made for it.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.rest)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

// bytes are borrowed from the record.
func (d *decoder) bytes() []byte {
	n := d.count(1)
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) fixed(dst []byte) {
	if len(d.rest) < len(dst) {
		d.fail()
		return
	}
	copy(dst, d.rest)
	d.rest = d.rest[len(dst):]
}

func (d *decoder) float() float32 {
	var b [4]byte
	d.fixed(b[:])
	return math.Float32frombits(binary.LittleEndian.Uint32(b[:]))
}

func (d *decoder) stamp() Stamp {
	at := d.varint()
	return Stamp{At: at, Offset: int16(d.varint())}
}

func (d *decoder) strings() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.string()
	}
	return list
}

// prefix reads what appendPrefix wrote; invalid when there was none.
func (d *decoder) prefix() netip.Prefix {
	switch d.byte() {
	case 4:
		var b [4]byte
		bits := int(d.byte())
		d.fixed(b[:])
		return d.masked(netip.PrefixFrom(netip.AddrFrom4(b), bits))
	case 6:
		var b [16]byte
		bits := int(d.byte())
		d.fixed(b[:])
		return d.masked(netip.PrefixFrom(netip.AddrFrom16(b), bits))
	}
	return netip.Prefix{}
}

// masked insists on what the indexes rely on.
func (d *decoder) masked(p netip.Prefix) netip.Prefix {
	if d.err == nil && (!p.IsValid() || p != p.Masked() || p.Addr().Is4In6()) {
		d.fail()
	}
	if d.err != nil {
		return netip.Prefix{}
	}
	return p
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendFloat(dst []byte, f float32) []byte {
	return binary.LittleEndian.AppendUint32(dst, math.Float32bits(f))
}

func appendStamp(dst []byte, s Stamp) []byte {
	return binary.AppendVarint(binary.AppendVarint(dst, s.At), int64(s.Offset))
}

func appendStrings(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

func appendPrefix(dst []byte, p netip.Prefix) []byte {
	switch {
	case !p.IsValid():
		return append(dst, 0)
	case p.Addr().Is4():
		b := p.Addr().As4()
		return append(append(dst, 4, byte(p.Bits())), b[:]...)
	default:
		b := p.Addr().As16()
		return append(append(dst, 6, byte(p.Bits())), b[:]...)
	}
}

// dictionary spells each word of a record once: the first time as 0 and the
// text, afterwards by its place.
type dictionary struct {
	words  []string          // by place, when reading
	count  uint64            // of different words, when writing
	first  string            // the word of place 1, and
	places map[string]uint64 // all of them once there are two: alerts of one decision need no map
	last   string            // imports repeat themselves: remember the last hit
	lastAt uint64
}

func (w *dictionary) append(dst []byte, s string) []byte {
	if w.lastAt != 0 && s == w.last {
		return binary.AppendUvarint(dst, w.lastAt)
	}
	if w.count == 0 {
		w.count, w.first, w.last, w.lastAt = 1, s, s, 1
		return appendString(append(dst, 0), s)
	}
	if w.places == nil {
		w.places = map[string]uint64{w.first: 1}
	}
	if at, ok := w.places[s]; ok {
		w.last, w.lastAt = s, at
		return binary.AppendUvarint(dst, at)
	}
	w.count++
	w.places[s] = w.count
	return appendString(append(dst, 0), s)
}

func (w *dictionary) decode(d *decoder) string {
	if at := w.place(d); at != 0 {
		return w.words[at-1]
	}
	return ""
}

// place is decode for one who keeps words: the word is words[place-1]. It is 0 after a failure
// alone.
func (w *dictionary) place(d *decoder) uint32 {
	at := d.uvarint()
	if at == 0 && d.err == nil {
		w.words = append(w.words, d.string())
		at = uint64(len(w.words))
	}
	if at > uint64(len(w.words)) {
		d.fail()
	}
	if d.err != nil {
		return 0
	}
	return uint32(at)
}
