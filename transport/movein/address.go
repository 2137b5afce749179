package movein

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"lapid/engine"
)

// bounds are the integers that a database holds beside an address or a range, for its
// own comparing. They say nothing that the text does not: here they are a check.
type bounds struct{ start, end, startSuffix, endSuffix, size int64 }

// offset maps an unsigned number into a signed one of the same order.
const offset = 1<<63 - 1

// signed is a number as the database has it. The two largest fall together.
func signed(n uint64) int64 {
	if n == 1<<64-1 {
		return offset
	}
	return int64(n - offset)
}

// boundsOf computes the integers of a prefix.
func boundsOf(p netip.Prefix) bounds {
	first := p.Masked().Addr()
	if first.Is4() {
		b := first.As4()
		n := uint64(binary.BigEndian.Uint32(b[:]))
		last := n | (1<<32-1)>>p.Bits()
		return bounds{signed(n), signed(last), signed(0), signed(0), 4}
	}
	b := first.As16()
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	lastHigh, lastLow := high|^uint64(0)>>min(p.Bits(), 64), low|^uint64(0)>>max(p.Bits()-64, 0)
	return bounds{signed(high), signed(lastHigh), signed(low), signed(lastLow), 16}
}

// remarkOn says what is odd about a value and the integers beside it; "" is nothing. A
// value of a scope without addresses has zeros there, and rows of before 1.0.3 have
// numbers that mean something else, and no size.
func remarkOn(scope engine.Scope, value string, stored bounds, known bool) string {
	if !engine.HoldsAddress(scope) {
		return ""
	}
	p, err := engine.ParseTarget(value)
	if err != nil {
		return "the value is no address, so it never matches"
	}
	mapped := strings.Contains(value, ".") && strings.Contains(value, ":") // whose range is stored as one address
	if want := boundsOf(p); known && stored != want && !mapped {
		return "the integers beside the value are others than the value has; the value counts"
	}
	return ""
}
