package engine

import (
	"fmt"
	"net/netip"
	"strings"
)

// Scope says what kind of thing a decision's value names. The four spellings
// ScopeIP … ScopeCountry are canonical; every other word is kept as it came.
type Scope = string

// Canonical scopes (http-api.md section 3).
const (
	ScopeIP      Scope = "Ip"
	ScopeRange   Scope = "Range"
	ScopeAS      Scope = "AS"
	ScopeCountry Scope = "Country"
)

// CanonicalScope respells ip, range, as and country, in any case, and returns
// every other scope as it is. It does not allocate.
func CanonicalScope(s string) Scope {
	switch len(s) {
	case 2:
		if strings.EqualFold(s, ScopeIP) {
			return ScopeIP
		}
		if strings.EqualFold(s, ScopeAS) {
			return ScopeAS
		}
	case 5:
		if strings.EqualFold(s, ScopeRange) {
			return ScopeRange
		}
	case 7:
		if strings.EqualFold(s, ScopeCountry) {
			return ScopeCountry
		}
	}
	return s
}

// HoldsAddress reports whether decisions of this scope, in any case, must
// carry an address or a range.
func HoldsAddress(s Scope) bool {
	return strings.EqualFold(s, ScopeIP) || strings.EqualFold(s, ScopeRange)
}

// ParseTarget reads an address or a CIDR range as the contract does: dotted
// IPv4 without leading zeros, any IPv6 spelling, host bits allowed and masked
// away. Blanks, zones and ports are refused. IPv4-mapped IPv6 is IPv4. The
// result is masked; a single address has the full prefix length.
//
// The error wraps ErrInvalid and reads "invalid ip address 'v'" or "invalid ip
// range 'v': invalid CIDR address: v".
func ParseTarget(v string) (netip.Prefix, error) {
	if p, ok := parseTarget(v); ok {
		return p, nil
	}
	if strings.Contains(v, "/") {
		return netip.Prefix{}, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("invalid ip range '%s': invalid CIDR address: %s", v, v)}
	}
	return netip.Prefix{}, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("invalid ip address '%s'", v)}
}

// parseTarget is ParseTarget without an error value to build: it does not
// allocate when v is good.
func parseTarget(v string) (netip.Prefix, bool) {
	slash := strings.IndexByte(v, '/')
	text := v
	if slash >= 0 {
		text = v[:slash]
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	if slash < 0 {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	bits, ok := prefixLength(v[slash+1:], a.BitLen())
	if !ok {
		return netip.Prefix{}, false
	}
	if a.Is4In6() {
		// A mapped range is the IPv4 range it maps; shorter than the mapping
		// itself it is an ordinary IPv6 range.
		if bits >= 96 {
			a, bits = a.Unmap(), bits-96
		}
	}
	return netip.PrefixFrom(a, bits).Masked(), true
}

// prefixLength reads a decimal prefix length without sign.
func prefixLength(s string, most int) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > most {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, len(s) > 0 && n <= most
}
