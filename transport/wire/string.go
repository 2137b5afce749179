package wire

import "unicode/utf8"

// hexDigits are those of \u escapes.
const hexDigits = "0123456789abcdef"

// plain marks the bytes that stand for themselves in a JSON string: printable
// ASCII but for the quote, the backslash and the three that HTML would mind.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

// AppendString appends s as a JSON string with its quotes. Bytes that are not
// UTF-8 become \ufffd.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendEscaped appends the inside of a JSON string: runs of plain bytes are
// copied, each odd byte hands over to appendOdd.
func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	start := 0
	for i := 0; i < len(s); {
		if plain[s[i]] {
			i++
			continue
		}
		if c := s[i]; c >= utf8.RuneSelf {
			if size := ordinaryRune(s[i:]); size != 0 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		var size int
		dst, size = appendOdd(dst, s[i:])
		i += size
		start = i
	}
	return append(dst, s[start:]...)
}

// ordinaryRune gives the length of the non-ASCII character at the start of s,
// or 0 when it may not be written as it is.
func ordinaryRune[T string | []byte](s T) int {
	r, size := decodeRune(s)
	if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' {
		return 0
	}
	return size
}

// appendOdd appends the escape of the character at the start of s and tells
// how many bytes of s it stood in.
func appendOdd[T string | []byte](dst []byte, s T) ([]byte, int) {
	c := s[0]
	switch c {
	case '"', '\\':
		return append(dst, '\\', c), 1
	case '\b':
		return append(dst, `\b`...), 1
	case '\f':
		return append(dst, `\f`...), 1
	case '\n':
		return append(dst, `\n`...), 1
	case '\r':
		return append(dst, `\r`...), 1
	case '\t':
		return append(dst, `\t`...), 1
	}
	if c < utf8.RuneSelf {
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15]), 1
	}
	switch r, size := decodeRune(s); r {
	case '\u2028':
		return append(dst, `\u2028`...), size
	case '\u2029':
		return append(dst, `\u2029`...), size
	}
	return append(dst, `\ufffd`...), 1
}

// decodeRune is the first character of a text or of bytes.
func decodeRune[T string | []byte](s T) (rune, int) {
	// At most four bytes are looked at; the conversion of so few stays on the
	// stack.
	return utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
}

// escapedLen is the number of bytes appendEscaped writes for s. It lets a
// limit be checked without writing anything.
func escapedLen(s string) int {
	n := 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case plain[c]:
			n++
			i++
		case c >= utf8.RuneSelf:
			size := ordinaryRune(s[i:])
			if size == 0 {
				_, size = decodeRune(s[i:])
				n += len(`\ufffd`)
			} else {
				n += size
			}
			i += size
		default:
			switch c {
			case '"', '\\', '\b', '\f', '\n', '\r', '\t':
				n += 2
			default:
				n += 6
			}
			i++
		}
	}
	return n
}
