package transport

import (
	"errors"
	"net/netip"

	"lapid/transport/conn"
	"lapid/transport/wire"
)

// Body limits, on the inflated bytes (http-api.md section 1), and what an element of
// them takes once it is read: the most that was measured (TestBombs), for lists of empty
// objects, and in a login, which has a list of names and nothing else. Elements of
// real reports take less.
const (
	noBody    = 0
	smallBody = 2 << 20  // before credentials are known
	largeBody = 50 << 20 // from whom we know

	perElement = 128
	perName    = 32
)

var (
	noneRead   = conn.BodyPlan{Most: noBody, Element: perElement}
	beforehand = conn.BodyPlan{Most: smallBody, Element: perName, BeforeLogin: true}
	report     = conn.BodyPlan{Most: largeBody, Element: perElement}
)

// open looks at how the body is packed, before anybody is asked for credentials. What a proxy
// sends along is its client's, and is not looked at.
func (x *exchange) open() error {
	if x.route.path == healthPath || x.route.who == proxy {
		return nil
	}
	return x.bodyError(x.request.Unpack(x.route.body, x))
}

// body reads the whole body. The bytes are good until the exchange is over. The error
// is the contract's for a body that is broken, cut off, or so large that its first JSON
// value, which is all that counts, does not end in time.
func (x *exchange) body() ([]byte, error) {
	if x.whole != nil {
		return x.whole, nil
	}
	body, err := x.request.ReadBody()
	if errors.Is(err, conn.ErrTooLarge) && wire.Settled(body) {
		err = nil
	}
	if err == nil {
		err = x.request.Afford(body)
	}
	if err == nil {
		x.whole = body
	}
	return body, x.bodyError(err)
}

// bodyError is what the contract says about an error of reading a body.
func (x *exchange) bodyError(err error) error {
	if err == nil {
		return nil // and nothing is allocated
	}
	var refused *conn.Refusal
	var broken *conn.BrokenBody
	switch {
	case errors.Is(err, conn.ErrTooLarge):
		return wire.ErrTooLarge
	case errors.Is(err, conn.ErrNoMemory):
		return x.noMemory()
	case errors.As(err, &refused):
		return &answer{refused.Status, refused.Text}
	case errors.As(err, &broken):
		return &wire.Error{Kind: wire.KindSyntax, Text: broken.Text}
	}
	return err
}

// noMemory refuses a body; that there is no room was told.
func (x *exchange) noMemory() error {
	x.told = true
	return errBodies
}

// Shown implements conn.Payer. Nobody is written down by that.
func (x *exchange) Shown() string {
	r, gate := x.request, x.core.gate
	switch {
	case x.route.who == anyone:
		return ""
	case x.machine != "":
		return "m" + x.machine
	case x.bouncer != nil:
		return "b" + x.bouncer.Load().Name
	}
	if id, err := gate.Machine(r.Authorization, r.Cookie); err == nil {
		return "m" + id
	}
	if row := gate.KnownBouncer(r.Key, x.client, r.Agent); row != nil {
		return "b" + row.Load().Name
	}
	return ""
}

// Stranger implements conn.Payer.
func (x *exchange) Stranger() (client netip.Addr, known bool) {
	return x.client, x.request.Socket || x.core.gate.Knows(x.client)
}
