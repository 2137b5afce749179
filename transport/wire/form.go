package wire

import (
	"bytes"
	"net/netip"
	"sync"
	"unsafe"

	"lapid/engine"
)

// form walks the pairs of a query string in their order. Pairs with a broken
// escape or a semicolon are passed over, as are empty ones; what is left of a
// query is never lost with them.
type form struct {
	rest []byte // not looked at yet; borrowed

	// The current pair. Its name is decoded, its value is still as it came.
	name  []byte
	coded []byte
	plain bool // there is nothing to decode in the value
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

// take splits a pair at its first equals sign; a name without one has an
// empty value. False is for a pair that is passed over: with a broken
// escape, or a semicolon, which some programs take for a separator.
func (f *form) take(pair []byte) bool {
	f.name, f.coded = pair, nil
	codes := [2]bool{} // in name and value
	part := 0
	for i, c := range pair {
		switch c {
		case ';':
			return false
		case '=':
			if part == 0 {
				f.name, f.coded, part = pair[:i], pair[i+1:], 1
			}
		case '%':
			if i+2 >= len(pair) || hexValue[pair[i+1]] > 15 || hexValue[pair[i+2]] > 15 {
				return false
			}
			codes[part] = true
		case '+':
			codes[part] = true
		}
	}
	if codes[0] {
		f.name = appendDecoded(nil, f.name)
	}
	f.plain = !codes[1]
	return true
}

// value gives the decoded value of the current pair: borrowed where nothing
// had to be decoded, else a copy.
func (f *form) value() []byte {
	if f.plain {
		return f.coded
	}
	return appendDecoded(make([]byte, 0, len(f.coded)), f.coded)
}

// target reads the value as an address or a range, which costs no memory
// unless it is none.
func (f *form) target() (netip.Prefix, error) {
	if f.plain || len(f.coded) > longestCodedTarget {
		return engine.ParseTarget(borrow(f.value()))
	}
	scratch := targetScratch.Get().(*[longestCodedTarget]byte)
	defer targetScratch.Put(scratch)
	return engine.ParseTarget(borrow(appendDecoded(scratch[:0], f.coded)))
}

// longestCodedTarget is the length of the longest IPv6 range with every byte
// escaped, and then some.
const longestCodedTarget = 160

// targetScratch holds *[longestCodedTarget]byte. ParseTarget keeps nothing of
// its argument, and the texts of its errors are copies.
var targetScratch = sync.Pool{New: func() any { return new([longestCodedTarget]byte) }}

// appendDecoded undoes the encoding of a text whose escapes are whole.
func appendDecoded(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			c = hexValue[text[i+1]]<<4 | hexValue[text[i+2]]
			i += 2
		}
		dst = append(dst, c)
	}
	return dst
}

// QueryValue gives the decoded first value of a parameter of a query string
// and whether there is one. The value may point into raw. It looks at the
// whole string, and allocates only where something was escaped.
func QueryValue(raw []byte, name string) (value []byte, given bool) {
	f := form{rest: raw}
	for f.next() {
		if string(f.name) == name {
			return f.value(), true
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
