package auth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"lapid/engine"
)

// Peer is the client certificate of a TLS connection. Make one per connection
// and keep it: it does not change.
type Peer struct {
	leaf  *x509.Certificate
	chain []*x509.Certificate // leaf first; empty when it was not verified
	print [sha256.Size]byte
}

// NewPeer reads a connection's client certificate, nil when there is none.
func NewPeer(state *tls.ConnectionState) *Peer {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	p := &Peer{leaf: state.PeerCertificates[0]}
	p.print = sha256.Sum256(p.leaf.Raw)
	if len(state.VerifiedChains) > 0 {
		p.chain = state.VerifiedChains[0]
	}
	return p
}

// admit checks whether a certificate may act in one of the units. The text of
// the error is what a machine is told.
func (g *Gate) admit(p *Peer, units []string, life time.Duration) error {
	if len(p.chain) == 0 {
		return errors.New("no verified cert in request")
	}
	if now := g.clock(); now.After(p.leaf.NotAfter) || now.Before(p.leaf.NotBefore) {
		return errors.New("client certificate expired or not yet valid")
	}
	inUnit := func(unit string) bool { return slices.Contains(units, unit) }
	if !slices.ContainsFunc(p.leaf.Subject.OrganizationalUnit, inUnit) {
		return fmt.Errorf("client certificate OU %v doesn't match expected OU %v", p.leaf.Subject.OrganizationalUnit, units)
	}
	return g.revoked.check(p, life)
}

// name is the name of a certificate's holder: CN@address.
func (p *Peer) name(client netip.Addr) string {
	return p.leaf.Subject.CommonName + "@" + client.String()
}

// CertifiedBouncer finds the row for a client certificate,
// CN@address, and makes it at the first contact. With readOnly nothing is
// made or changed, and the row is nil when there is none yet.
func (g *Gate) CertifiedBouncer(ctx context.Context, p *Peer, client netip.Addr, userAgent []byte, readOnly bool) (*engine.BouncerRow, error) {
	r := g.rules.Load()
	if err := g.admit(p, r.BouncerUnits, r.VerdictLife); err != nil {
		return nil, forbidden(BadCertificate, err.Error()).of(p.name(client))
	}
	client = g.placeOf(client)
	mark, view := g.markOf(p.print[:], client), g.engine.View()
	if known := g.bouncers.get(mark); known != nil && !known.row.Gone() {
		if !readOnly {
			g.describe(ctx, known.row, userAgent)
		}
		return known.row, nil
	}
	row, err := g.certifiedRow(ctx, view, p.name(client), client, userAgent, readOnly)
	if err == nil && row != nil && row.Load().IP.IsValid() {
		g.bouncers.put(mark, knownBouncer{row: row})
		if !readOnly {
			g.describe(ctx, row, userAgent)
		}
	}
	return row, err
}

// KnownCertified is CertifiedBouncer for a caller that cannot wait, as KnownBouncer is: nil
// also means that the issuer has to be asked, or a file of revocations to be looked at. It
// allocates nothing.
func (g *Gate) KnownCertified(p *Peer, client netip.Addr, userAgent []byte) *engine.BouncerRow {
	if !g.known(p, g.rules.Load().BouncerUnits) {
		return nil
	}
	known := g.bouncers.get(g.markOf(p.print[:], g.placeOf(client)))
	if known == nil || known.row.Gone() {
		return nil
	}
	if !hear(known.row, userAgent) && known.row.MayDescribe(g.engine.Now(), describeEvery) {
		return nil
	}
	return known.row
}

// known reports whether admit says yes, as far as can be told without waiting.
func (g *Gate) known(p *Peer, units []string) bool {
	if len(p.chain) == 0 {
		return false
	}
	if now := g.clock(); now.After(p.leaf.NotAfter) || now.Before(p.leaf.NotBefore) {
		return false
	}
	for _, unit := range p.leaf.Subject.OrganizationalUnit {
		if slices.Contains(units, unit) {
			return g.revoked.known(p)
		}
	}
	return false
}

func (g *Gate) certifiedRow(ctx context.Context, view *engine.View, name string, client netip.Addr, userAgent []byte, readOnly bool) (*engine.BouncerRow, error) {
	row := view.Bouncer(name)
	if row == nil && !readOnly {
		kind, version := whoSays(userAgent)
		now := g.engine.Now()
		made, err := g.admitRow(ctx, &note{What: noteCertified, Name: name, Address: client, Type: kind, Version: version, At: now})
		switch {
		case err == nil && made != nil:
			g.tellNew("a certificate comes from a new address: it has a row of its own", made, now)
			return made, nil
		case err == nil: // another server has it, and it is known here
		case cannotNote(err):
			return guest(view, &engine.Bouncer{Name: name, AuthType: engine.AuthTLS}), nil
		case errors.Is(err, engine.ErrInvalid):
			return nil, forbidden(BadCertificate, err.Error()).of(name)
		case !errors.Is(err, engine.ErrExists):
			return nil, err
		}
		row = g.engine.View().Bouncer(name)
	}
	if row != nil && row.Load().AuthType != engine.AuthTLS {
		return nil, forbidden(BadCertificate, "bouncer isn't allowed to auth by TLS").of(name)
	}
	return row, nil
}

// MayLogin tells whether a certificate is an agent's, which is asked before the
// login is read. The error is a *Refusal.
func (g *Gate) MayLogin(p *Peer, client netip.Addr) error {
	r := g.rules.Load()
	if err := g.admit(p, r.AgentUnits, r.VerdictLife); err != nil {
		return notLoggedIn(BadCertificate, err.Error()).of(p.name(client))
	}
	return nil
}

// CertifiedLogin gives a token for an agent's certificate. The
// machine is CN@address, made and validated at the first contact.
func (g *Gate) CertifiedLogin(ctx context.Context, p *Peer, scenarios []string, client netip.Addr, userAgent []byte) (Grant, error) {
	if err := g.MayLogin(p, client); err != nil {
		return Grant{}, err
	}
	m, err := g.certifiedMachine(ctx, p.name(client), client)
	if err != nil {
		return Grant{}, err
	}
	if m.AuthType != engine.AuthTLS {
		return Grant{}, notLoggedIn(OtherMethod, "machine "+m.ID+" attempted to auth with TLS cert but it is configured to use password").of(m.ID)
	}
	version, ok := agentVersion(userAgent)
	g.arrived(ctx, m, scenarios, client, version, ok)
	if !ok {
		return Grant{}, notLoggedIn(BadAgent, wrongPassword).of(m.ID)
	}
	return g.issue(m)
}

func (g *Gate) certifiedMachine(ctx context.Context, name string, client netip.Addr) (*engine.Machine, error) {
	if m := g.engine.View().Machine(name); m != nil {
		return m, nil
	}
	g.log.Info("creating a machine for a certificate", "machine", name)
	err := g.note(ctx, &note{What: noteMachine, Name: name, Address: client, At: g.engine.Now()})
	if errors.Is(err, engine.ErrInvalid) {
		return nil, notLoggedIn(BadCertificate, err.Error()).of(name)
	}
	if err != nil && !errors.Is(err, engine.ErrExists) {
		return nil, err
	}
	m := g.engine.View().Machine(name)
	if m == nil {
		return nil, fmt.Errorf("creating the machine %s: %w", name, engine.ErrBusy)
	}
	return m, nil
}

// Certified lets a client certificate in for something that is neither a bouncer's nor a
// machine's: it must be of one of the units, or, where there are none, of a bouncer's. The
// error is a *Refusal.
func (g *Gate) Certified(p *Peer, units []string) error {
	r := g.rules.Load()
	if len(units) == 0 {
		units = r.BouncerUnits
	}
	if err := g.admit(p, units, r.VerdictLife); err != nil {
		return &Refusal{Kind: Unauthorized, Reason: BadCertificate, Why: err.Error()}
	}
	return nil
}
