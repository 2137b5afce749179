// Package visible shows what came from outside as what it is. A machine's name, a
// scenario or a user agent may hold bytes that a terminal obeys, marks that turn
// the direction of a line, or signs that cannot be seen; everything that is meant
// for an operator, tables, messages and log lines, passes through here first.
package visible

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is s on one line, with every sign that is not seen written as an escape
// of Go: control characters of both sets, line ends and tabs, marks of direction,
// characters without a width or a shape, blanks other than the common one, and
// bytes that are no UTF-8. The result holds nothing but characters that are seen,
// and the blank. What has nothing to escape is returned as it is.
func Text(s string) string {
	if !needs(s, false) {
		return s
	}
	return string(AppendText(make([]byte, 0, len(s)+16), s))
}

// AppendText appends Text(s) to dst.
func AppendText[T string | []byte](dst []byte, s T) []byte {
	if !needs(s, false) {
		return append(dst, s...)
	}
	dst, _ = appendShown(dst, s, 0, goEscape, false)
	return dst
}

// Label is Text for the name of a series: two texts never look the same. A backslash
// that could be taken for the beginning of an escape is written twice.
func Label(s string) string {
	if !needs(s, false) && strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s)+16)
	for s != "" {
		n := strings.IndexByte(s, '\\')
		if n < 0 {
			return string(AppendText(out, s))
		}
		out = AppendText(out, s[:n])
		next, _ := utf8.DecodeRuneInString(s[n+1:])
		if out = append(out, '\\'); len(s) > n+1 && (strings.ContainsRune(`\abfnrtvxuU`, next) || needs(s[n+1:], false)) {
			out = append(out, '\\')
		}
		s = s[n+1:]
	}
	return string(out)
}

// Lines is Text for a text of several lines: line ends and tabs stay.
func Lines(s string) string {
	if !needs(s, true) {
		return s
	}
	out, _ := appendShown(make([]byte, 0, len(s)+16), s, 0, goEscape, true)
	return string(out)
}

// Cell is s as a cell of a table for a spreadsheet, with an apostrophe in front of what it would compute: what
// comes from outside would be a formula of whoever opens the file. Other cells are returned as they are.
func Cell(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// Shown tells whether a character is seen as itself. Combining marks are: whole
// scripts are written with them.
func Shown(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r < 0x7f
	}
	switch r {
	case '\u2800': // a pattern of Braille without a dot
		return false
	case emoji, emoji - 1:
		return true
	}
	return strconv.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// emoji, and the one before it, choose between two looks of the symbol before
// them. They are let through behind a symbol, and there only once.
const emoji = '\ufe0f'

// escape appends the escape of a character, or of a single byte that is no
// UTF-8 when size is 1 and r is utf8.RuneError.
type escape func(dst []byte, r rune, b byte, size int) []byte

func goEscape(dst []byte, r rune, b byte, size int) []byte {
	if r == utf8.RuneError && size == 1 {
		return append(dst, '\\', 'x', hex[b>>4], hex[b&15])
	}
	q := strconv.AppendQuoteRuneToASCII(make([]byte, 0, 16), r)
	return append(dst, q[1:len(q)-1]...)
}

// jsonEscape is for text that is JSON already: there such a character stands
// within a string, and both forms mean the same.
func jsonEscape(dst []byte, r rune, _ byte, _ int) []byte {
	if r > 0xffff {
		r -= 0x10000
		return jsonEscape(jsonEscape(dst, 0xd800+r>>10, 0, 0), 0xdc00+r&0x3ff, 0, 0)
	}
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

const hex = "0123456789abcdef"

// needs tells whether anything has to be escaped.
func needs[T string | []byte](s T, lines bool) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c >= 0x7f) && (!lines || c != '\n' && c != '\t') {
			return true // perhaps
		}
	}
	return false
}

// appendShown appends what is seen of s and escapes the rest. before is the
// character that was shown last, 0 for none; so is what it returns.
func appendShown[T string | []byte](dst []byte, s T, before rune, esc escape, lines bool) ([]byte, rune) {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f || lines && (c == '\n' || c == '\t') {
			dst, before = append(dst, c), rune(c)
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = decode(s[i:min(i+utf8.UTFMax, len(s))])
		}
		ok := Shown(r) && (r != utf8.RuneError || size > 1)
		if ok && (r == emoji || r == emoji-1) {
			ok = before >= utf8.RuneSelf && unicode.Is(unicode.So, before) || before >= '0' && before <= '9' || before == '#' || before == '*'
		}
		if ok {
			dst, before = append(dst, s[i:i+size]...), r
		} else {
			dst, before = esc(dst, r, c, size), 0
		}
		i += size
	}
	return dst, before
}

func decode[T string | []byte](s T) (rune, int) {
	switch s := any(s).(type) {
	case string:
		return utf8.DecodeRuneInString(s)
	case []byte:
		return utf8.DecodeRune(s)
	}
	return utf8.RuneError, 1
}
