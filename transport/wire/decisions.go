package wire

import (
	"encoding/binary"
	"strconv"

	"lapid/engine"
)

// The three fixed parts of a stream's answer, for a caller that writes one in
// pieces: StreamOpen, decisions joined by commas, StreamBetween, decisions
// joined by commas, StreamClose. The blanks are part of the contract.
const (
	StreamOpen    = `{"new": [`
	StreamBetween = `], "deleted": [`
	StreamClose   = `]}`
)

// AppendDecision appends one decision object; its duration is what is left
// at now, within the bounds of s, which may be nil. The stream shows the uuid, the live query does not. A decision
// that is over has a negative duration.
func AppendDecision(dst []byte, d engine.Decision, now int64, withUUID bool, s *engine.Sight) []byte {
	dst = appendHead(dst, s.Left(engine.Left(d.Until(), now)), uint64(d.ID()))
	dst = appendWords(dst, d.Origin(), d.Scenario(), d.Scope())
	dst = appendWord(dst, `","type":"`, d.Type())
	if withUUID {
		dst = appendUUID(append(dst, `","uuid":"`...), d.UUID())
	}
	return appendValue(dst, d)
}

// AppendDecisions appends a list of decisions as the live query shows them:
// null when there are none.
func AppendDecisions(dst []byte, ds []engine.Decision, now int64, s *engine.Sight) []byte {
	if len(ds) == 0 {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	dst = appendJoined(dst, ds, now, false, s)
	return append(dst, ']')
}

// AppendDelta appends a whole answer of the stream. It is for short ones;
// long ones are written in pieces by a StreamEncoder.
func AppendDelta(dst []byte, d *engine.Delta, now int64, s *engine.Sight) []byte {
	dst = append(dst, StreamOpen...)
	dst = appendJoined(dst, d.New, now, true, s)
	dst = append(dst, StreamBetween...)
	dst = appendJoined(dst, d.Deleted, now, true, nil)
	return append(dst, StreamClose...)
}

// appendJoined writes decisions with commas between them.
func appendJoined(dst []byte, ds []engine.Decision, now int64, withUUID bool, s *engine.Sight) []byte {
	for i, d := range ds {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendDecision(dst, d, now, withUUID, s)
	}
	return dst
}

// The pieces of a decision. Each begins with whatever ends the piece before,
// so that a decision is few appends: runs of constant bytes, and texts that are
// copied.

// appendHead opens a decision and writes the fields that are never text.
func appendHead(dst []byte, left int64, id uint64) []byte {
	dst = append(dst, `{"duration":"`...)
	dst = AppendDuration(dst, left)
	dst = append(dst, `","id":`...)
	return strconv.AppendUint(dst, id, 10)
}

// appendWords writes the three texts that repeat themselves from decision to
// decision.
func appendWords(dst []byte, origin, scenario, scope engine.Text) []byte {
	dst = appendWord(dst, `,"origin":"`, origin)
	dst = appendWord(dst, `","scenario":"`, scenario)
	return appendWord(dst, `","scope":"`, scope)
}

// appendWord writes a word without its closing quote.
func appendWord(dst []byte, key string, t engine.Text) []byte {
	dst = append(dst, key...)
	if t.Plain {
		return append(dst, t.S...)
	}
	return appendEscaped(dst, t.S)
}

// appendValue writes the last field and closes the decision.
func appendValue(dst []byte, d engine.Decision) []byte {
	dst = append(dst, `","value":"`...)
	start := len(dst)
	dst = d.AppendValue(dst)
	if !d.PlainValue() {
		dst = escapeFrom(dst, start)
	}
	return append(dst, `"}`...)
}

// escapeFrom escapes what was appended raw from start on: the escaped text is
// written behind it and moved down over it.
func escapeFrom(dst []byte, start int) []byte {
	end := len(dst)
	dst = appendEscaped(dst, dst[start:end])
	return dst[:start+copy(dst[start:], dst[end:])]
}

// appendUUID appends the identifier in its usual form, without quotes: groups
// of 8, 4, 4, 4 and 12 digits.
func appendUUID(dst []byte, u engine.UUID) []byte {
	var text [uuidSize]byte
	putUUID(&text, binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:]))
	return append(dst, text[:]...)
}

// hexDigitsOf gives the eight digits of a number, the first in the highest
// byte: every four bits move into a byte of their own, and those above nine
// take the step from '9' to 'a'. Twice as fast as one digit after the other.
func hexDigitsOf(n uint32) uint64 {
	const ones = 0x0101010101010101
	x := uint64(n)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (x + 6*ones) >> 4 & ones
	return x + '0'*ones + letters*('a'-'9'-1)
}
