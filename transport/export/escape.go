package export

import (
	"net/netip"
	"strconv"
)

// longestWord is how much of a text of a decision is told, in bytes.
const longestWord = 64

// appendPlain writes what a machine said into a file that a device runs or parses: all but
// letters, digits and . _ - / : is replaced, and the end cut off. Nothing of it can end a
// line, a string or a command, in any of the formats.
func appendPlain(dst []byte, s string) []byte {
	for i := range min(len(s), longestWord) {
		b := s[i]
		if !plainByte(b) {
			b = '_'
		}
		dst = append(dst, b)
	}
	return dst
}

func plainByte(b byte) bool {
	switch {
	case '0' <= b && b <= '9', 'a' <= b|0x20 && b|0x20 <= 'z':
		return true
	}
	return b == '.' || b == '_' || b == '-' || b == '/' || b == ':'
}

// appendBare writes a host without and a range with its length.
func appendBare(dst []byte, e *Entry) []byte {
	if e.host() {
		return appendAddress(dst, e)
	}
	return appendCIDR(dst, e)
}

// appendCIDR writes the length always.
func appendCIDR(dst []byte, e *Entry) []byte {
	return strconv.AppendUint(append(appendAddress(dst, e), '/'), uint64(e.bits), 10)
}

// appendAddress writes the first address.
func appendAddress(dst []byte, e *Entry) []byte {
	if e.six {
		return e.first().AppendTo(dst)
	}
	for shift := 56; shift > 32; shift -= 8 {
		dst = append(append(dst, octets[byte(e.hi>>shift)]...), '.')
	}
	return append(dst, octets[byte(e.hi>>32)]...)
}

// octets are the numbers of a dotted address.
var octets = func() (t [256]string) {
	for i := range t {
		t[i] = strconv.Itoa(i)
	}
	return t
}()

// appendSpan writes first and last address.
func appendSpan(dst []byte, e *Entry) []byte {
	return e.last().AppendTo(append(appendAddress(dst, e), '-'))
}

// broadcast is refused by nginx, and with it the whole of its configuration.
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// appendUnits writes seconds as 1w2d3h4m5s, of the units that are given.
func appendUnits(dst []byte, s int64, weeks bool) []byte {
	for _, u := range [...]struct {
		unit byte
		size int64
	}{{'w', 7 * 86400}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}} {
		if n := s / u.size; n > 0 && (weeks || u.unit != 'w') {
			dst = append(strconv.AppendInt(dst, n, 10), u.unit)
			s %= u.size
		}
	}
	return dst
}
