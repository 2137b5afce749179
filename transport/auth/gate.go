package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/transport/peer"
)

// Sizes of what is remembered. Each entry is about a hundred bytes and takes
// the place of an older one when there is no room.
const (
	knownBouncers = 1 << 16 // keys and certificates, by address
	knownTokens   = 1 << 14
	knownLogins   = 1 << 13
)

// Options are the gate's settings. What may change while the server runs is in
// Rules.
type Options struct {
	// Secret signs the tokens of machines. At least 64 bytes; kept by the
	// gate, must not be changed afterwards. nil: the store's (engine.TokenSecret), which
	// must be there, as it is at each moment; those before it stay good for their grace.
	Secret []byte
	// TokenLife is how long a token is good. 0: engine.TokenLife. It is also how old
	// a token may be when it is exchanged for a new one.
	TokenLife time.Duration
	// PasswordWorkers is how many passwords are checked at once. 0: half of
	// the processors, at least one.
	PasswordWorkers int
	// Labour is told 1 when a worker begins with a password and -1 when it ends. It
	// must not wait. nil: it is not told.
	Labour func(change int)
	// Patience is how long a login or a registration may wait for its turn.
	// 0: 8 seconds; log processors give a request ten seconds and more.
	Patience time.Duration
	// PendingMachines is how many machines may wait for validation at once.
	// 0: ten thousand. One address, or /64 of IPv6, may have a sixteenth of what
	// is free, ten at least. Registrations beyond are told to come back later.
	PendingMachines int
	// IPv6Prefix is of how many bits of an IPv6 address bouncers with one key, or
	// certificate name, share a row: 64 for one row per network. 0 or 128: each
	// address has its own, as the contract has it.
	IPv6Prefix int
	// Peers are the other servers that share the history: what is seen of a machine or a bouncer
	// here is noted by the one that writes. nil: there are none.
	Peers *peer.Node
	// Confirm returns when the history here is as new as it was anywhere when Confirm was called,
	// or an error when that cannot be said in time. It is asked before somebody who is not known is
	// refused. nil: the history is the engine's alone.
	Confirm func(context.Context) error
	// Rules are what the operator decided about addresses and certificates.
	Rules Rules
	// Logger gets a line for each thing an operator should know. nil: none.
	Logger *slog.Logger
}

// Rules are what an operator may change while the server runs. The zero Rules
// trust the local machine alone.
type Rules struct {
	// TrustedProxies may name the client in X-Forwarded-For and X-Real-IP.
	TrustedProxies []netip.Prefix
	// TrustedIPs may delete alerts.
	TrustedIPs []netip.Prefix
	// LocalRegistration lets machines register from 127.0.0.1, ::1 and the
	// Unix socket only.
	LocalRegistration bool
	// Registration lets machines in without an operator. nil: off.
	Registration *Registration
	// AgentUnits and BouncerUnits are the organisational units whose
	// certificates may act as machines and as bouncers. Empty: no certificate may.
	AgentUnits   []string
	BouncerUnits []string
	// CRLPath is a file of PEM revocation lists. "": none.
	CRLPath string
	// VerdictLife is how long it is remembered whether a certificate is
	// revoked. 0: one hour.
	VerdictLife time.Duration
}

// Registration says which machines are validated by registering.
type Registration struct {
	Token         string
	AllowedRanges []netip.Prefix
}

// ErrWeakSecret is given for a token secret that is too short.
var ErrWeakSecret = errors.New("the token secret has less than 64 bytes")

// shortestSecret is the contract's (http-api.md section 6).
const shortestSecret = 64

// Gate tells who is asking. Make one with NewGate; all methods may be called
// from any goroutine.
type Gate struct {
	engine *engine.Engine
	log    *slog.Logger
	rules  atomic.Pointer[rules] // replaced whole
	turn   atomic.Uint64         // how often

	// Recognising bouncers.
	hash     hasher
	bouncers *cache[knownBouncer]
	prefix   int // of IPv6 addresses that share a row; 0: none

	toldMinute, toldNew atomic.Int64 // see tellNew

	// Recognising machines.
	given     []byte // the secret that signs tokens; nil: the store's
	life      time.Duration
	tokens    *cache[session]
	logins    *cache[int64] // passwords that were right, until when
	passwords *passwordQueue
	patience  time.Duration
	labour    func(int)
	guesses   guesses
	pending   int
	census    census

	peers   *peer.Node                  // nil: none
	confirm func(context.Context) error // nil: there is nothing to confirm

	revoked *revocations
}

// rules are Rules made ready.
type rules struct {
	Rules
	proxies   []netip.Prefix
	trusted   addressSet
	registers addressSet
}

// NewGate makes a gate in front of an engine. It starts no goroutine.
func NewGate(e *engine.Engine, o *Options) (*Gate, error) {
	secret := o.Secret
	if secret == nil {
		secret = e.View().Secret(engine.TokenSecret)
	}
	if len(secret) < shortestSecret {
		return nil, ErrWeakSecret
	}
	h, err := newHasher()
	if err != nil {
		return nil, err
	}
	g := &Gate{
		engine:   e,
		log:      o.Logger,
		hash:     h,
		bouncers: newCache[knownBouncer](knownBouncers),
		given:    o.Secret,
		life:     o.TokenLife,
		tokens:   newCache[session](knownTokens),
		logins:   newCache[int64](knownLogins),
		pending:  o.PendingMachines,
		peers:    o.Peers,
		confirm:  o.Confirm,
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if o.IPv6Prefix > 0 && o.IPv6Prefix < 128 {
		g.prefix = o.IPv6Prefix
	}
	if g.life <= 0 {
		g.life = engine.TokenLife
	}
	if g.pending <= 0 {
		g.pending = 10_000
	}
	workers := o.PasswordWorkers
	if workers <= 0 {
		workers = max(1, runtime.NumCPU()/2)
	}
	g.passwords, g.patience = newPasswordQueue(workers), o.Patience
	if g.labour = o.Labour; g.labour == nil {
		g.labour = func(int) {}
	}
	if g.patience <= 0 {
		g.patience = 8 * time.Second
	}
	g.revoked = newRevocations(g.log, g.engine.Now)
	if err := g.Replace(o.Rules); err != nil {
		return nil, err
	}
	return g, nil
}

// Turn is how often rules were put in force: whoever was let in before may not be now.
func (g *Gate) Turn() uint64 { return g.turn.Load() }

// Replace puts new rules in force. When it fails the old ones stay.
func (g *Gate) Replace(r Rules) error {
	ready := &rules{Rules: r, proxies: slices.Clone(r.TrustedProxies)}
	for i, p := range ready.proxies {
		ready.proxies[i] = p.Masked()
	}
	var err error
	if ready.trusted, err = newAddressSet(r.TrustedIPs); err != nil {
		return fmt.Errorf("trusted addresses: %w", err)
	}
	if r.Registration != nil {
		if ready.registers, err = newAddressSet(r.Registration.AllowedRanges); err != nil {
			return fmt.Errorf("registration ranges: %w", err)
		}
	}
	for _, unit := range slices.Concat(r.AgentUnits, r.BouncerUnits) {
		if unit == "" {
			return errors.New("allowed_ou configuration contains invalid empty string")
		}
	}
	if ready.VerdictLife <= 0 {
		ready.VerdictLife = time.Hour
	}
	if err := g.revoked.use(r.CRLPath); err != nil {
		return err
	}
	g.rules.Store(ready)
	g.turn.Add(1)
	return nil
}
