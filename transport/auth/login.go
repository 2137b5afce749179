package auth

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"lapid/engine"
)

// Credentials are what a machine logs in with.
type Credentials struct {
	MachineID string
	Password  string
	Scenarios []string // what it runs; replaces what is known unless empty
}

// passwordKnown is how long a password that was right is recognised without
// bcrypt, in nanoseconds. Machines log in once an hour, the operator's command
// each time it is called.
const passwordKnown = int64(24 * time.Hour)

// wrongPassword is the answer to a wrong password, and to a User-Agent that a login may
// not have.
const wrongPassword = "incorrect Username or Password"

// Login checks a machine's password, in the order of http-api.md section 6,
// and gives it a token. Scenarios and address are noted as soon as the
// password is right, the version once the User-Agent makes sense. An unknown
// machine costs no bcrypt. The error is a *Refusal, Busy when too many passwords
// are being checked, so that there was no turn within Options.Patience, or ctx
// ended while waiting.
func (g *Gate) Login(ctx context.Context, c Credentials, client netip.Addr, userAgent []byte) (Grant, error) {
	m := g.engine.View().Machine(c.MachineID)
	if (m == nil || !m.Validated) && g.confirm != nil {
		if err := g.confirmed(ctx); err != nil {
			return Grant{}, err
		}
		m = g.engine.View().Machine(c.MachineID)
	}
	switch {
	case m == nil:
		return Grant{}, notLoggedIn(UnknownMachine, "").of(c.MachineID)
	case m.AuthType == engine.AuthTLS:
		return Grant{}, notLoggedIn(OtherMethod, "machine "+m.ID+" attempted to auth with password but it is configured to use tls").of(m.ID)
	case !m.Validated:
		return Grant{}, notLoggedIn(UnvalidatedMachine, "").of(m.ID)
	}
	right, err := g.passwordFits(ctx, m, c.Password, client)
	if err != nil {
		return Grant{}, err
	}
	if !right {
		return Grant{}, notLoggedIn(WrongPassword, wrongPassword).of(m.ID)
	}
	version, ok := agentVersion(userAgent)
	g.arrived(ctx, m, c.Scenarios, client, version, ok)
	if !ok {
		return Grant{}, notLoggedIn(BadAgent, wrongPassword).of(m.ID)
	}
	return g.issue(m)
}

// passwordFits compares a password, by bcrypt unless it is known to be right. A
// guess counts from the moment it is made, so that many at once are many.
func (g *Gate) passwordFits(ctx context.Context, m *engine.Machine, password string, client netip.Addr) (right bool, err error) {
	now := g.engine.Now()
	mark := g.loginMark(m, password)
	if until := g.logins.get(mark); until != nil && now < *until {
		return true, nil
	}
	c, p := unusual, party{place: PlaceOf(client)}
	if isUsual(m, p.place) {
		c, p.machine = expected, m.ID
	}
	if g.guesses.begin(p, now) {
		c = doubtful
	}
	err = g.check(ctx, c, p, func() {
		right = bcrypt.CompareHashAndPassword(m.PasswordHash, []byte(password)) == nil
	})
	if err != nil || right {
		g.guesses.takeBack(p, now)
	}
	if right {
		g.logins.put(mark, now+passwordKnown)
	}
	return right, err
}

// check waits for a turn as long as a client is likely to, and does
// the work. Work that was begun is finished, also when its caller has gone.
func (g *Gate) check(ctx context.Context, c class, p party, work func()) error {
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	return g.passwords.do(ctx, c, p, func() {
		g.labour(1)
		defer g.labour(-1)
		work()
	})
}

// isUsual reports whether a place is where a machine was seen last.
func isUsual(m *engine.Machine, place netip.Prefix) bool {
	a, err := netip.ParseAddr(m.IP)
	return err == nil && place.IsValid() && PlaceOf(a.Unmap()) == place
}

// loginMark is what a right password is recognised by; it changes with the
// machine's password.
func (g *Gate) loginMark(m *engine.Machine, password string) digest {
	var buf bytes.Buffer
	for _, part := range []string{m.ID, string(m.PasswordHash)} {
		buf.WriteString(part)
		buf.WriteByte(0)
	}
	buf.WriteString(password)
	return g.hash.sum(buf.Bytes())
}

// arrived notes what a login tells about its machine. Nothing is written when
// nothing changed, and a store that cannot be written keeps no machine out.
func (g *Gate) arrived(ctx context.Context, m *engine.Machine, scenarios []string, client netip.Addr, version string, hasVersion bool) {
	list, address := g.engine.FitScenarios(m.ID, strings.Join(scenarios, ",")), client.String()
	if (list == "" || list == m.Scenarios) && address == m.IP && (!hasVersion || version == m.Version) {
		return
	}
	err := g.note(ctx, &note{What: noteLogin, Name: m.ID, Scenarios: list, Version: version, HasVersion: hasVersion, Address: client, At: g.engine.Now()})
	if err != nil {
		g.log.Warn("cannot note a login", "machine", m.ID, "error", err)
	}
}

// agentVersion is the part behind the only slash of a User-Agent.
func agentVersion(userAgent []byte) (string, bool) {
	_, version := splitAgent(userAgent)
	return strings.ToValidUTF8(string(version), "\uFFFD"), version != nil
}
