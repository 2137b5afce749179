package auth

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"github.com/yl2chen/cidranger"
)

// loopback is the address of every client on the Unix socket.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// ClientAddress gives the address that a request comes from (http-api.md section 4): the
// peer of the connection, unless the peer is a trusted proxy that names
// another in X-Forwarded-For or, failing that, X-Real-IP. Several lines of a
// header must have been joined with commas. On the Unix socket the peer is
// 127.0.0.1. The bytes are only looked at; nothing is allocated.
func (g *Gate) ClientAddress(peer netip.Addr, overSocket bool, xff, xRealIP []byte) netip.Addr {
	if len(xff) > 0 || len(xRealIP) > 0 {
		if a := g.NamedAddress(peer, overSocket, xff, xRealIP); a.IsValid() {
			return a
		}
	}
	if overSocket {
		peer = loopback
	}
	return peer.Unmap()
}

// NamedAddress is the address that a peer names in its headers, as ClientAddress reads them:
// invalid when the peer is no trusted proxy, and when its headers name none.
func (g *Gate) NamedAddress(peer netip.Addr, overSocket bool, xff, xRealIP []byte) netip.Addr {
	if !g.MayForward(peer, overSocket) {
		return netip.Addr{}
	}
	proxies := g.rules.Load().proxies
	if a := rightmostUntrusted(proxies, xff); a.IsValid() {
		return a
	}
	return rightmostUntrusted(proxies, xRealIP)
}

// MayForward reports whether a peer is a proxy that may name the client; if not,
// no header needs to be looked for.
func (g *Gate) MayForward(peer netip.Addr, overSocket bool) bool {
	if overSocket {
		peer = loopback
	}
	proxies := g.rules.Load().proxies
	return len(proxies) > 0 && covers(proxies, peer.Unmap())
}

// rightmostUntrusted reads a list of addresses from right to left up to the
// first that is no trusted proxy, or the last one left. An entry that is no
// address spoils the list.
func rightmostUntrusted(proxies []netip.Prefix, list []byte) netip.Addr {
	for len(list) > 0 {
		comma := bytes.LastIndexByte(list, ',')
		a := parseAddress(bytes.TrimSpace(list[comma+1:]))
		if !a.IsValid() || comma < 0 || !covers(proxies, a) {
			return a
		}
		list = list[:comma]
	}
	return netip.Addr{}
}

// longestAddress is more than any spelling of an address needs.
const longestAddress = 46

func parseAddress(text []byte) netip.Addr {
	if len(text) == 0 || len(text) > longestAddress {
		return netip.Addr{}
	}
	// The string lives only as long as the call and is not kept by it.
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(text), len(text)))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}
	}
	return a.Unmap()
}

// covers reports whether one of few prefixes holds the address.
func covers(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// MayDeleteAlerts reports whether alerts may be deleted from here: exactly
// 127.0.0.1 and ::1, whatever the operator trusts, and every client on the
// Unix socket whatever address a header claims.
func (g *Gate) MayDeleteAlerts(client netip.Addr, overSocket bool) bool {
	return overSocket || isLoopback(client) || g.rules.Load().trusted.holds(client)
}

// isLoopback is stricter than the field's idea of it: 127.0.0.2 does not count.
func isLoopback(a netip.Addr) bool { return a == loopback || a == netip.IPv6Loopback() }

// addressSet is a fixed list of addresses and ranges, asked now and then.
type addressSet struct{ ranger cidranger.Ranger }

func newAddressSet(prefixes []netip.Prefix) (addressSet, error) {
	s := addressSet{cidranger.NewPCTrieRanger()}
	for _, p := range prefixes {
		p = p.Masked()
		network := net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		if err := s.ranger.Insert(cidranger.NewBasicRangerEntry(network)); err != nil {
			return s, fmt.Errorf("keeping the range %s: %w", p, err)
		}
	}
	return s, nil
}

func (s addressSet) holds(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	found, err := s.ranger.Contains(net.IP(a.AsSlice()))
	return err == nil && found
}
