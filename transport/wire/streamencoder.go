package wire

import (
	"encoding/binary"
	"slices"
	"strconv"

	"lapid/engine"
)

// StreamEncoder appends decisions as the stream shows them, for answers of very
// many: the bytes are those of AppendDecision with the uuid, in half of the
// time (BenchmarkStreamEncoder). What it does otherwise:
//
//   - The words between id and uuid repeat themselves from decision to
//     decision, so they are kept escaped, with their keys, as one phrase that is
//     copied.
//   - Room for a whole decision is made sure of once. Everything is then
//     written at its place, numbers without a branch for each digit.
//
// An encoder is for one goroutine and one view: phrases are known by numbers
// that mean the same words only there. It takes 96 KiB,
// a small one 6.
//
// Copies of constant texts that are not a whole word long are calls and cost as
// much as the numbers between them; so they are written as 8 or 16 bytes of which
// the last are overwritten. The uuid is the dearest part left, a fifth of all:
// half of it is deriving it from the id.
type StreamEncoder struct {
	now     int64
	sight   *engine.Sight // whose bounds durations have; nil: none
	shift   uint8         // of the hash: 64 less the logarithm of the phrases' number
	phrases []phrase
}

// phrase is what stands between the id and the uuid. Longer ones than there is
// room for are written anew each time.
type phrase struct {
	words engine.Wording
	size  uint8 // of text; 0: nothing is here
	text  [phraseRoom]byte
}

const (
	phraseRoom  = 175 // makes a phrase three cache lines
	manyPhrases = 9   // logarithm: more than there are pairs of scenario and origin
	fewPhrases  = 5
)

// NewStreamEncoder makes an encoder for the decisions of one view and the
// moment in which their durations are reckoned, Unix nanoseconds, within the bounds of a
// sight, which may be nil. A small one keeps fewer phrases.
func NewStreamEncoder(now int64, small bool, s *engine.Sight) *StreamEncoder {
	bits := manyPhrases
	if small {
		bits = fewPhrases
	}
	return &StreamEncoder{now: now, sight: s, shift: uint8(64 - bits), phrases: make([]phrase, 1<<bits)}
}

// Constant bytes of a decision, with so much behind them that they can be
// written as one word of the machine; the next part comes over that.
var (
	opening  = [16]byte([]byte(`{"duration":"   `))
	idKey    = [8]byte([]byte(`","id": `))
	valueKey = [16]byte([]byte(`","value":"     `))
)

// Room for the parts of a decision that are not its phrase and not a long
// value.
const (
	openingSize  = 13
	idKeySize    = 7
	valueKeySize = 11
	uuidSize     = 36

	headRoom  = openingSize + 24 + idKeySize + 20 // with a duration and an id
	tailRoom  = uuidSize + len(valueKey)
	usualRoom = headRoom + phraseRoom + tailRoom
)

// Append appends one decision.
func (e *StreamEncoder) Append(dst []byte, d engine.Decision) []byte {
	dst = slices.Grow(dst, usualRoom)
	b := (*[usualRoom]byte)(dst[len(dst) : len(dst)+usualRoom])
	*(*[16]byte)(b[:]) = opening
	n := openingSize + putDuration(b[openingSize:], e.sight.Left(engine.Left(d.Until(), e.now)))
	*(*[8]byte)(b[n:]) = idKey
	n += idKeySize
	n += putNumber(b[n:], uint64(d.ID()))
	if p := e.phrase(d); p != nil {
		n += copy(b[n:], p.text[:p.size])
	} else {
		dst = slices.Grow(appendPhrase(dst[:len(dst)+n], d), usualRoom)
		b, n = (*[usualRoom]byte)(dst[len(dst):len(dst)+usualRoom]), 0
	}
	first, second := d.UUIDHalves()
	putUUID((*[uuidSize]byte)(b[n:]), first, second)
	n += uuidSize
	*(*[16]byte)(b[n:]) = valueKey
	start := len(dst) + n + valueKeySize
	dst = d.AppendValue(dst[:start])
	if !d.PlainValue() {
		dst = escapeFrom(dst, start)
	}
	return append(dst, '"', '}')
}

// phrase finds a decision's phrase, or puts it in the place of another. nil: it
// is too long.
func (e *StreamEncoder) phrase(d engine.Decision) *phrase {
	w := d.Wording()
	hash := (uint64(w.Scenario)<<32 | uint64(w.Origin)<<16 ^ uint64(w.Scope)<<8 ^ uint64(w.Type)) * 0x9e3779b97f4a7c15
	p := &e.phrases[hash>>e.shift]
	if p.words == w && p.size != 0 {
		return p
	}
	text := appendPhrase(p.text[:0], d) // longer than its room: it is elsewhere
	if len(text) > phraseRoom {
		p.size = 0
		return nil
	}
	p.words, p.size = w, uint8(len(text))
	return p
}

// appendPhrase appends what stands between the id and the uuid.
func appendPhrase(dst []byte, d engine.Decision) []byte {
	dst = appendWords(dst, d.Origin(), d.Scenario(), d.Scope())
	dst = appendWord(dst, `","type":"`, d.Type())
	return append(dst, `","uuid":"`...)
}

// small are the numbers below a thousand: the bytes of up to three digits, the
// first lowest, and above them, in the fifth byte, how many they are. padded
// are always three.
var small, padded = func() (s [1000]uint64, p [1000]uint32) {
	for i := range s {
		text := strconv.Itoa(i)
		s[i] = uint64(len(text)) << 32
		for at := range len(text) {
			s[i] |= uint64(text[at]) << (8 * at)
		}
		p[i] = uint32('0'+i/100) | uint32('0'+i/10%10)<<8 | uint32('0'+i%10)<<16
	}
	return s, p
}()

// putSmall writes a number below a thousand and the byte that follows it; four
// bytes may be overwritten.
func putSmall(b []byte, n uint64, next byte) int {
	s := small[n]
	size := s >> 32 & 3
	binary.LittleEndian.PutUint32(b, uint32(s)|uint32(next)<<(8*size))
	return int(size) + 1
}

// putDuration writes what AppendDuration appends; 24 bytes may be overwritten.
func putDuration(b []byte, nanoseconds int64) int {
	seconds := uint64(nanoseconds+second/2) / second
	hours := seconds / 3600
	if nanoseconds < 0 || hours == 0 || hours >= 1000 {
		return len(AppendDuration(b[:0], nanoseconds))
	}
	rest := uint32(seconds - hours*3600)
	n := putSmall(b, hours, 'h')
	n += putSmall(b[n:], uint64(rest/60), 'm')
	return n + putSmall(b[n:], uint64(rest%60), 's')
}

// putNumber writes a number; 20 bytes may be overwritten.
func putNumber(b []byte, n uint64) int {
	if n >= 1e9 {
		return len(strconv.AppendUint(b[:0], n, 10))
	}
	b = b[:16]
	low := uint32(n)
	high := low / 1e6 // numbers of one answer ascend: these branches are foreseen
	middle := low / 1e3 % 1e3
	low %= 1e3
	switch {
	case high != 0:
		s := small[high]
		size := s >> 32 & 3
		binary.LittleEndian.PutUint32(b, uint32(s))
		binary.LittleEndian.PutUint32(b[size:], padded[middle])
		binary.LittleEndian.PutUint32(b[size+3:], padded[low])
		return int(size) + 6
	case middle != 0:
		s := small[middle]
		size := s >> 32 & 3
		binary.LittleEndian.PutUint32(b, uint32(s))
		binary.LittleEndian.PutUint32(b[size:], padded[low])
		return int(size) + 3
	}
	binary.LittleEndian.PutUint32(b, uint32(small[low]))
	return int(small[low] >> 32)
}

// putUUID writes the identifier whose halves these are in its usual form:
// groups of 8, 4, 4, 4 and 12 digits.
func putUUID(text *[uuidSize]byte, hi, lo uint64) {
	big := binary.BigEndian
	second, third := hexDigitsOf(uint32(hi)), hexDigitsOf(uint32(lo>>32))
	big.PutUint64(text[0:], hexDigitsOf(uint32(hi>>32)))
	big.PutUint32(text[9:], uint32(second>>32))
	big.PutUint32(text[14:], uint32(second))
	big.PutUint32(text[19:], uint32(third>>32))
	big.PutUint32(text[24:], uint32(third))
	big.PutUint64(text[28:], hexDigitsOf(uint32(lo)))
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
}
