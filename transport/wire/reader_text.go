package wire

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// text reads the string that begins at the next byte, which is its quote. The
// bytes are borrowed: they lie in the body, or in scratch until the next
// string that needs it. They are always UTF-8.
func (r *reader) text() []byte {
	start := r.at + 1
	end := start + ordinary(r.data[start:])
	if end < len(r.data) && r.data[end] == '"' {
		r.at = end + 1
		return r.data[start:end]
	}
	return r.textOn(start, end)
}

// textOn goes on with a string at its first byte that is not ordinary.
func (r *reader) textOn(start, at int) []byte {
	for r.at = at; r.at < len(r.data); r.at += ordinary(r.data[r.at:]) {
		switch c := r.data[r.at]; {
		case c == '"':
			b := r.data[start:r.at]
			r.at++
			if !utf8.Valid(b) {
				return r.mend(b)
			}
			return b
		case c == '\\':
			return r.escapedText(start)
		case c < ' ':
			r.unexpected("in string literal")
			return nil
		}
		r.at++ // part of a character beyond ASCII
	}
	r.ended()
	return nil
}

// escapedText goes on with a string at its first escape.
func (r *reader) escapedText(start int) []byte {
	out := append(r.scratch[:0], r.data[start:r.at]...)
	for {
		n := ordinary(r.data[r.at:])
		out = append(out, r.data[r.at:r.at+n]...)
		r.at += n
		if r.at >= len(r.data) {
			r.ended()
			return nil
		}
		switch c := r.data[r.at]; {
		case c == '"':
			r.at++
			r.scratch = out
			if !utf8.Valid(out) {
				return r.mend(out)
			}
			return out
		case c == '\\':
			r.at++
			out = r.escape(out)
			if r.err != nil {
				return nil
			}
		case c < ' ':
			r.unexpected("in string literal")
			return nil
		default:
			out = append(out, c)
			r.at++
		}
	}
}

// escape appends what the escape stands for whose backslash was just read.
func (r *reader) escape(out []byte) []byte {
	if r.at >= len(r.data) {
		r.ended()
		return out
	}
	c := r.data[r.at]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return r.codePoint(out)
	default:
		r.unexpected("in string escape code")
		return out
	}
	r.at++
	return append(out, c)
}

// codePoint appends the character of an escape of four digits, or of two such
// escapes that form one character. Half a pair is U+FFFD.
func (r *reader) codePoint(out []byte) []byte {
	c := r.fourDigits()
	if utf16.IsSurrogate(c) && r.err == nil {
		before := r.at
		if r.at+1 < len(r.data) && r.data[r.at] == '\\' && r.data[r.at+1] == 'u' {
			r.at++
			c = utf16.DecodeRune(c, r.fourDigits())
		} else {
			c = utf8.RuneError
		}
		if c == utf8.RuneError && r.err == nil {
			r.at = before // the second stands for itself
		}
	}
	return utf8.AppendRune(out, c)
}

// fourDigits reads the u and the digits of an escape.
func (r *reader) fourDigits() rune {
	var c rune
	for range 4 {
		r.at++
		if r.at >= len(r.data) {
			r.ended()
			return 0
		}
		digit := hexValue[r.data[r.at]]
		if digit > 15 {
			r.unexpected(`in \u hexadecimal character escape`)
			return 0
		}
		c = c<<4 | rune(digit)
	}
	r.at++
	return c
}

// mend copies b with every byte that is not part of a character replaced.
func (r *reader) mend(b []byte) []byte {
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		c, size := utf8.DecodeRune(b)
		out = utf8.AppendRune(out, c)
		b = b[size:]
	}
	r.scratch = out
	return out
}

// number reads the number that begins at the next byte and gives its text, borrowed
// from the body. want names in an error what should have been here. Leading zeros and
// a bare point are no JSON; how large it is was not looked at.
func (r *reader) number(want string) []byte {
	c := r.peek()
	if c != '-' && (c < '0' || c > '9') {
		r.wrong(want)
		return nil
	}
	start := r.at
	if c == '-' {
		r.at++
	}
	if r.at < len(r.data) && r.data[r.at] == '0' {
		r.at++
	} else {
		r.digits("in numeric literal")
	}
	if r.at < len(r.data) && r.data[r.at] == '.' {
		r.at++
		r.digits("after decimal point in numeric literal")
	}
	if r.at < len(r.data) && r.data[r.at]|0x20 == 'e' {
		r.at++
		if r.at < len(r.data) && (r.data[r.at] == '+' || r.data[r.at] == '-') {
			r.at++
		}
		r.digits("in exponent of numeric literal")
	}
	return r.data[start:r.at]
}

// digits moves past at least one digit.
func (r *reader) digits(where string) {
	start := r.at
	for r.at < len(r.data) && r.data[r.at]-'0' < 10 {
		r.at++
	}
	if r.at == start {
		r.unexpected(where)
	}
}

// ordinary counts the bytes at the start of b that are neither quote, nor
// backslash, nor control character, nor part of a character beyond ASCII:
// eight at a time. A byte's high bit in odd is set when it is one of these;
// borrows of the subtractions can only reach bytes above the first that is.
func ordinary(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; n+8 <= len(b); n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		odd := ((x - ones*' ') | (x ^ ones*'"' - ones) | (x ^ ones*'\\' - ones) | x) & highs
		if odd != 0 {
			return n + bits.TrailingZeros64(odd)/8
		}
	}
	for n < len(b) && b[n] >= ' ' && b[n] < utf8.RuneSelf && b[n] != '"' && b[n] != '\\' {
		n++
	}
	return n
}

// texts keeps strings that outlive the body they came in. Short ones share
// pieces of memory, so a decision costs less than one allocation and a string
// that is held on to keeps at most textPiece bytes of others in memory.
type texts struct {
	piece []byte // written once, from its start; what is written never changes
	room  int    // how much the rest of the body can ask for, at most
}

// textPiece is what strings share at most, in bytes.
const textPiece = 4096

// keep copies a text. A long one has memory of its own, so that it can be let go of
// alone.
func (t *texts) keep(b []byte) string {
	t.room -= len(b)
	if len(b) > textPiece/4 {
		return string(b)
	}
	start := len(t.piece)
	if cap(t.piece)-start < len(b) {
		t.piece = make([]byte, 0, max(min(textPiece, t.room+len(b)), len(b)))
		start = 0
	}
	t.piece = append(t.piece, b...)
	return borrow(t.piece[start:])
}

// grown makes room for one more element of a list: double the length, but
// never more than the rest of the body can hold of them.
func grown[T any](list []T, rest, smallest int) []T {
	if len(list) < cap(list) {
		return list
	}
	size := len(list) + min(len(list)+1, rest/smallest+1)
	return append(make([]T, 0, size), list...)
}
