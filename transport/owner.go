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
type owner struct{ *core }

var _ conn.Owner = owner{}

func (o owner) Knows(client netip.Addr) bool { return o.gate.Knows(client) }

func (o owner) MayForward(peer netip.Addr, socket bool) bool {
	return o.gate.MayForward(peer, socket)
}

func (o owner) PlaceOf(client netip.Addr) netip.Prefix { return auth.PlaceOf(client) }

// Certificate gives an *auth.Peer, nil when the client showed none.
func (o owner) Certificate(state *tls.ConnectionState) any { return auth.NewPeer(state) }

func (o owner) Message(text string) (body, kind []byte) {
	return wire.AppendMessage(nil, text), jsonType
}

func (o owner) Refused(why conn.Reason, client netip.Addr) { o.refusals.add(why, client) }

func (o owner) TurnedAway() { o.counting.shares[0].answered(http.StatusServiceUnavailable) }

func (o owner) Unread(client netip.Addr, status int, text string) {
	o.counting.shares[0].answered(status)
	o.denials.add(unread(client, status, text), o.engine.Now())
	if o.access != nil {
		o.access.unread(client, status, text, o.engine.Now())
	}
}

func (o owner) BadHandshake(client netip.Addr, why error) {
	o.denied(o.engine.Now(), auth.BadHandshake, client, "")
	o.denials.add(&denial{reason: auth.BadHandshake, class: handshakeClass(why), address: client, why: shortly(why.Error())}, o.engine.Now())
}
