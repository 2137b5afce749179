package wire

import (
	"bytes"
	"unsafe"
)

// form walks the pairs of a query string in their order. Pairs with a broken
// escape or a semicolon are passed over, as are empty ones; what is left of a
// query is never lost with them.
type form struct {
	rest []byte // not looked at yet; borrowed

	// The current pair, decoded. Borrowed from the query where nothing had to
	// be decoded, else a copy.
	name  []byte
	value []byte
}

// next moves to the next good pair.
func (f *form) next() bool {
	for len(f.rest) > 0 {
		var pair []byte
		if i := bytes.IndexByte(f.rest, '&'); i >= 0 {
			pair, f.rest = f.rest[:i], f.rest[i+1:]
		} else {
			pair, f.rest = f.rest, nil
		}
		if len(pair) > 0 && f.take(pair) {
			return true
		}
	}
	return false
}

func (f *form) take(pair []byte) bool {
	name, value, equals := pair, []byte(nil), -1
	coded := false
	for i, c := range pair {
		switch c {
		case ';':
			return false
		case '%', '+':
			coded = true
		case '=':
			if equals < 0 {
				equals = i
			}
		}
	}
	if equals >= 0 {
		name, value = pair[:equals], pair[equals+1:]
	}
	if !coded {
		f.name, f.value = name, value
		return true
	}
	var ok bool
	if f.name, ok = decoded(name); !ok {
		return false
	}
	f.value, ok = decoded(value)
	return ok
}

// decoded undoes form encoding: text itself when there is nothing to undo,
// else a copy; false for a broken escape.
func decoded(text []byte) ([]byte, bool) {
	if bytes.IndexByte(text, '%') < 0 && bytes.IndexByte(text, '+') < 0 {
		return text, true
	}
	return appendDecoded(make([]byte, 0, len(text)), text)
}

func appendDecoded(dst, text []byte) ([]byte, bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(text) {
				return nil, false
			}
			high, low := hexValue[text[i+1]], hexValue[text[i+2]]
			if high > 15 || low > 15 {
				return nil, false
			}
			c = high<<4 | low
			i += 2
		}
		dst = append(dst, c)
	}
	return dst, true
}

// QueryValue gives the decoded first value of a parameter of a query string
// and whether there is one. The value may point into raw.
func QueryValue(raw []byte, name string) (value []byte, given bool) {
	f := form{rest: raw}
	for f.next() {
		if string(f.name) == name {
			return f.value, true
		}
	}
	return nil, false
}

// hexValue is the value of a hexadecimal digit, 255 for every other byte.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = byte(10+i), byte(10+i)
	}
	return t
}()

// borrow shows bytes as a string without copying them. It is good for as long
// as the bytes stay as they are.
func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
