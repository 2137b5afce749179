package transport

import (
	"net/http"
	"net/netip"
	"strings"

	"lapid/engine"
)

// doors is the line for proxies that have no bouncer and ask about each request of theirs:
// nginx by auth_request, Traefik and Caddy by forward_auth. What counts is the status:
//
//	200  nothing is decided about the client's address
//	401  a captcha is
//	403  a ban is, or anything else: what a proxy has no page for does not pass
//	400  whom it asks about is not known: its peer is no trusted proxy, or names nobody
//
// Lapid-Decision names the type in 401 and 403. The proxy is a bouncer: it has a row, of its
// own address, and sees what that row may see, as it would by a live query. Its clients' words,
// a query, a body, conditions, are passed over: they are not its own.
type doors struct{ *core }

const doorPath = "/auth"

var (
	decisionName   = []byte("Lapid-Decision")
	challengeName  = []byte("Www-Authenticate")
	challengeValue = []byte(`Captcha realm="lapid"`)
	noStore        = []byte("no-store")
	captchaText    = []byte("a captcha is needed\n")
	bannedText     = []byte("forbidden\n")
)

// Types with a status of their own. otherType stands for those that cannot be named.
const (
	banType     = "ban"
	captchaType = "captcha"
	otherType   = "other"
)

// ask answers whether a proxy's client may pass. It allocates nothing, and may run on a loop.
func (s doors) ask(x *exchange) error {
	r := x.request
	if r.HasBody() {
		x.answer.Close() // nothing of it is read, and what came behind it is not found
	}
	client, err := s.named(x)
	if err != nil {
		return err
	}
	kind, decided := s.strictest(x, client)
	s.counting.live(x.bouncer, decided)
	if last := x.bouncer.LastPull(); !r.IsHead() && (last == 0 || x.now-last >= visitEvery) {
		x.bouncer.Visit(x.now)
	}
	if !decided {
		x.shared(textType, nil)
		return nil
	}
	x.told = true // no fault
	x.applied = appendTypeName(x.applied[:0], kind)
	x.answer.Tell(decisionName, x.applied)
	x.answer.Tell(cacheName, noStore)
	if strings.EqualFold(kind, captchaType) {
		x.answer.Tell(challengeName, challengeValue)
		x.answer.Copy(http.StatusUnauthorized, textType, captchaText)
		return nil
	}
	x.answer.Copy(http.StatusForbidden, textType, bannedText)
	return nil
}

// named is about whom a proxy asks. It is never the proxy itself for want of another: that
// address is free, and so would be everybody. Nor is it the other header's for want of one that
// can be read: who spoils the one may have written the other.
func (s doors) named(x *exchange) (netip.Addr, error) {
	r := x.request
	real := r.Real
	if len(r.Forwarded) > 0 {
		real = nil
	}
	client := s.gate.NamedAddress(r.Peer, r.Socket, r.Forwarded, real)
	switch {
	case client.IsValid():
		return client, nil
	case !r.MayWait():
		return client, errLater
	case !s.gate.MayForward(r.Peer, r.Socket):
		return client, &answer{http.StatusBadRequest, x.client.String() + " is not among api.server.trusted_proxies, so whom it asks about is not believed: name it there, and reload"}
	case len(r.Forwarded) > 0:
		return client, &answer{http.StatusBadRequest, "X-Forwarded-For is no list of addresses, so whom it asks about is not known: have the proxy send addresses alone in it, or empty it and send X-Real-IP"}
	}
	return client, &answer{http.StatusBadRequest, "neither X-Forwarded-For nor X-Real-IP names the address of a client: have the proxy send one of them"}
}

// strictest is the type that decides about an address, as far as the bouncer may see: a ban
// before anything else, and a captcha last; false when nothing is decided.
func (s doors) strictest(x *exchange, client netip.Addr) (kind string, decided bool) {
	q, view := &x.query, s.engine.View()
	q.Reset()
	q.Now, q.Entries, q.Address = x.now, true, netip.PrefixFrom(client, client.BitLen())
	q.Sight, _ = view.SightAt(x.bouncer, view.Revision())
	found, few := view.FindFew(x.found[:0], q, fewFound)
	x.found = found
	if !few {
		return s.strictestOfMany(x, view), true
	}
	for i := range found {
		switch one := found[i].Type().S; {
		case strings.EqualFold(one, banType):
			return banType, true
		case i == 0 || strings.EqualFold(kind, captchaType):
			kind = one
		}
	}
	return kind, len(found) > 0
}

// strictestOfMany is strictest where more is decided than is put together at once.
func (s doors) strictestOfMany(x *exchange, view *engine.View) string {
	for _, kind := range [...]string{banType, captchaType} {
		x.query.Type = engine.Word{Given: true, Text: kind}
		found, few := view.FindFew(x.found[:0], &x.query, fewFound)
		x.found = found
		if !few || len(found) > 0 {
			return kind
		}
	}
	return otherType
}

// longestTypeName cuts what of a type is told.
const longestTypeName = 64

// appendTypeName writes a type, which a machine has chosen, as the value of a header.
func appendTypeName(dst []byte, kind string) []byte {
	if kind == "" {
		kind = otherType
	}
	for _, b := range []byte(kind[:min(len(kind), longestTypeName)]) {
		switch {
		case '0' <= b && b <= '9', 'A' <= b && b <= 'Z', 'a' <= b && b <= 'z', b == '-', b == '.':
		default:
			b = '_'
		}
		dst = append(dst, b)
	}
	return dst
}
