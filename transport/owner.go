package transport

import (
	"crypto/tls"
	"net/http"
	"net/netip"

	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/wire"
)

// owner is the server as its front sees it.
type owner struct{ s *Server }

var _ conn.Owner = owner{}

func (o owner) Knows(client netip.Addr) bool { return o.s.gate.Knows(client) }

func (o owner) MayForward(peer netip.Addr, socket bool) bool {
	return o.s.gate.MayForward(peer, socket)
}

func (o owner) PlaceOf(client netip.Addr) netip.Prefix { return auth.PlaceOf(client) }

// Certificate gives an *auth.Peer, nil when the client showed none.
func (o owner) Certificate(state *tls.ConnectionState) any { return auth.NewPeer(state) }

func (o owner) Message(text string) (body, kind []byte) {
	return wire.AppendMessage(nil, text), jsonType
}

func (o owner) Refused(why conn.Reason, client netip.Addr) { o.s.refused(why, client) }

func (o owner) TurnedAway() { o.s.counting.shares[0].answered(http.StatusServiceUnavailable) }

func (o owner) Unread(client netip.Addr, status int, text string) {
	o.s.counting.shares[0].answered(status)
	o.s.tellUnread(client, status, text)
	if o.s.access != nil {
		o.s.access.unread(client, status, text, o.s.engine.Now())
	}
}

func (o owner) BadHandshake(client netip.Addr, why error) {
	o.s.denied(&denial{reason: auth.BadHandshake, class: handshakeClass(why), address: client, why: shortly(why.Error())}, o.s.engine.Now())
}
