package conn

import (
	"crypto/tls"
	"net/netip"
)

// Owner is what a Front asks and tells its server. Any goroutine calls it, and it must
// not wait.
type Owner interface {
	// Knows reports whether the store knows somebody at an address: of those who say
	// nothing such connections go last.
	Knows(client netip.Addr) bool
	// MayForward reports whether requests of a peer may name another client.
	MayForward(peer netip.Addr, socket bool) bool
	// PlaceOf gives the addresses that count as one when shares are given out.
	PlaceOf(client netip.Addr) netip.Prefix
	// Certificate is what Request.Certificate gives: it is made once for a connection
	// over TLS.
	Certificate(state *tls.ConnectionState) any

	// Message is the body of an answer that says what is wrong, and its type.
	Message(text string) (body, kind []byte)
	// Refused is told of everything for which there is no room.
	Refused(why Reason, client netip.Addr)
	// TurnedAway is told of a connection that got 503 and nothing else.
	TurnedAway()
	// Unread is told of an answer to what could not be read as a request.
	Unread(client netip.Addr, status int, text string)
	// BadHandshake is told of a TLS handshake that failed.
	BadHandshake(client netip.Addr, why error)
}

// Reason is why there is no room.
type Reason uint8

const (
	NoConnection     Reason = iota // too many connections, all of callers who have shown who they are
	CutConnection                  // a connection was closed for one more: nobody has shown who he is on it
	CutServed                      // the same, for one more with a goroutine
	CutHeld                        // the same: one that waited for news, and was told that there are none
	NoBodyMemory                   // large bodies of machines and bouncers
	NoStrangerMemory               // bodies of those who have not logged in

	Reasons = int(NoStrangerMemory) + 1
)
