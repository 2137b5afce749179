package shadow

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// hopHeaders belong to one connection and are not passed on (RFC 9110, 7.6.1). Expect is
// among them: net/http answers it when the body is read.
var hopHeaders = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect"}

// dropHops takes away what is for the next hop alone, also what Connection names.
func dropHops(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopHeaders {
		h.Del(name)
	}
}

// passedHeaders are the headers of a client's request as the next server gets them:
// all of them, but those of the hop, and without one that net/http would make up.
func passedHeaders(r *http.Request) http.Header {
	h := r.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	dropHops(h)
	if _, there := h["User-Agent"]; !there {
		h["User-Agent"] = []string{""} // net/http would send its own name
	}
	return h
}

// peerOf is the address at the other end of the client's connection.
func peerOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// forwardTo has the old server know who came: the peer, behind those that the request names
// already. The old server believes it when the shadow is among its trusted_proxies.
func forwardTo(h http.Header, peer netip.Addr) {
	before := h.Get("X-Forwarded-For") // the first line alone is looked at there
	if before == "" {
		before = h.Get("X-Real-Ip") // which counts where there is none
	}
	if before != "" {
		before += ", "
	}
	h["X-Forwarded-For"] = []string{before + peer.String()}
}

// forwardToOurs has lapid know who came. It trusts what comes from the shadow, so a client that is no
// trusted proxy must not name others.
func forwardToOurs(h http.Header, peer netip.Addr, trusted []netip.Prefix) {
	for _, p := range trusted {
		if p.Contains(peer) {
			forwardTo(h, peer)
			return
		}
	}
	h.Del("X-Real-Ip")
	h["X-Forwarded-For"] = []string{peer.String()}
}

// loopbackListener tells whether an address is for this machine alone.
func loopbackListener(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
