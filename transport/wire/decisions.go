package wire

import (
	"strconv"

	"lapid/engine"
)

// The three fixed pieces of a stream's answer, for whoever writes one in
// pieces: StreamOpen, decisions joined by commas, StreamBetween, decisions
// joined by commas, StreamClose. The blanks are part of the contract.
const (
	StreamOpen    = `{"new": [`
	StreamBetween = `], "deleted": [`
	StreamClose   = `]}`
)

// AppendDecision appends one decision object; its duration is what is left at
// now. The stream shows the uuid, the live query does not.
func AppendDecision(dst []byte, d engine.Decision, now int64, withUUID bool) []byte {
	dst = appendHead(dst, left(d.Until(), now), uint64(d.ID()))
	dst = appendWords(dst, d.Origin(), d.Scenario(), d.Scope())
	dst = appendKind(dst, d.Type())
	if withUUID {
		dst = appendUUID(append(dst, `,"uuid":"`...), d.UUID())
		dst = append(dst, '"')
	}
	return append(appendValue(dst, d), '}')
}

// AppendDecisions appends a list of decisions as the live query shows them:
// null when there are none.
func AppendDecisions(dst []byte, ds []engine.Decision, now int64) []byte {
	if len(ds) == 0 {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	dst = appendJoined(dst, ds, now, false)
	return append(dst, ']')
}

// AppendDelta appends a whole answer of the stream.
func AppendDelta(dst []byte, d *engine.Delta, now int64) []byte {
	dst = append(dst, StreamOpen...)
	dst = appendJoined(dst, d.New, now, true)
	dst = append(dst, StreamBetween...)
	dst = appendJoined(dst, d.Deleted, now, true)
	return append(dst, StreamClose...)
}

func appendJoined(dst []byte, ds []engine.Decision, now int64, withUUID bool) []byte {
	for i, d := range ds {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendDecision(dst, d, now, withUUID)
	}
	return dst
}

// appendHead opens a decision and writes the fields that are never text.
func appendHead(dst []byte, left int64, id uint64) []byte {
	dst = append(dst, `{"duration":"`...)
	dst = AppendDuration(dst, left)
	dst = append(dst, `","id":`...)
	return strconv.AppendUint(dst, id, 10)
}

func appendWords(dst []byte, origin, scenario, scope engine.Text) []byte {
	dst = append(dst, `,"origin":`...)
	dst = AppendText(dst, origin)
	dst = append(dst, `,"scenario":`...)
	dst = AppendText(dst, scenario)
	dst = append(dst, `,"scope":`...)
	return AppendText(dst, scope)
}

func appendKind(dst []byte, kind engine.Text) []byte {
	dst = append(dst, `,"type":`...)
	return AppendText(dst, kind)
}

func appendValue(dst []byte, d engine.Decision) []byte {
	dst = append(dst, `,"value":"`...)
	start := len(dst)
	dst = d.AppendValue(dst)
	if !d.PlainValue() {
		dst = escapeFrom(dst, start)
	}
	return append(dst, '"')
}

// escapeFrom escapes what was appended raw from start on: the escaped text is
// written behind it and moved down over it.
func escapeFrom(dst []byte, start int) []byte {
	end := len(dst)
	dst = appendEscaped(dst, dst[start:end])
	return dst[:start+copy(dst[start:], dst[end:])]
}

// appendUUID appends the identifier in its usual form, without quotes.
func appendUUID(dst []byte, u engine.UUID) []byte {
	var text [36]byte
	at := 0
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text[at] = '-'
			at++
		}
		text[at], text[at+1] = hexDigits[b>>4], hexDigits[b&15]
		at += 2
	}
	return append(dst, text[:]...)
}
