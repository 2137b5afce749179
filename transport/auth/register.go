package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/bcrypt"

	"lapid/engine"
)

// Application is a machine that wants to be known.
type Application struct {
	MachineID string
	Password  string
	Token     string // for registering without an operator; may be empty
}

const (
	// passwordCost is the contract's (http-api.md section 6).
	passwordCost = bcrypt.DefaultCost
	// longestMachineID keeps registrations from filling the memory.
	longestMachineID = 1024
)

// MayRegister reports whether registrations are taken from here at all. It is
// asked before the body is read.
func (g *Gate) MayRegister(client netip.Addr, overSocket bool) error {
	if g.rules.Load().LocalRegistration && !overSocket && !isLoopback(client) {
		return forbidden(RegistrationFrom, "registration from "+client.String())
	}
	return nil
}

// Register makes a machine known. It tells whether the machine is validated
// already, which the right registration token from the right address does;
// otherwise an operator has to. A registered machine is never changed: its id
// is taken. The error is a *Refusal or one of the engine's.
func (g *Gate) Register(ctx context.Context, a Application, client netip.Addr) (validated bool, err error) {
	p := party{place: PlaceOf(client)}
	if validated, err = g.MayApply(ctx, &a, client); err != nil {
		return false, err
	}
	hash, err := g.hashPassword(ctx, a.Password, p, validated)
	if err != nil {
		return false, err
	}
	if !validated && !g.engine.HasAdded(ctx, a.MachineID) { // one after the other, so that no place gets more than its share
		g.census.admitting.Lock()
		defer g.census.admitting.Unlock()
		if !takePending(g.engine.View()).room(p.place, g.pending) {
			return false, errPending
		}
	}
	now := g.engine.Now()
	err = g.engine.AddMachine(asMachine(ctx, a.MachineID), &engine.Machine{
		ID: a.MachineID, PasswordHash: hash, AuthType: engine.AuthPassword, Validated: validated,
		IP: client.String(), CreatedAt: now, UpdatedAt: now,
	}, false)
	if errors.Is(err, engine.ErrExists) {
		return false, taken(a.MachineID)
	}
	return validated, err
}

// MayApply is the part of Register that costs little: what it refuses is refused, and
// validated is whether Register would say so. The error is a *Refusal.
func (g *Gate) MayApply(ctx context.Context, a *Application, client netip.Addr) (validated bool, err error) {
	p := party{place: PlaceOf(client)}
	if r := g.rules.Load(); r.Registration != nil && a.Token != "" {
		if !sameSecret(a.Token, r.Registration.Token) {
			g.guesses.begin(p, g.engine.Now())
			return false, &Refusal{Kind: Unauthorized, Reason: RegistrationToken, Text: "invalid token for auto registration", Who: a.MachineID}
		}
		if !r.registers.holds(client) {
			return false, &Refusal{Kind: Unauthorized, Reason: RegistrationFrom, Text: "IP not in allowed range for auto registration", Who: a.MachineID}
		}
		validated = true
	}
	if len(a.Password) > 72 {
		return false, &Refusal{Kind: Invalid, Reason: InvalidRegistration, Text: "unable to hash", Who: a.MachineID, // the contract's words
			Why: fmt.Sprintf("the password has %d bytes, and 72 is the most that can be kept", len(a.Password))}
	}
	if len(a.MachineID) > longestMachineID {
		return false, &Refusal{Kind: Invalid, Reason: InvalidRegistration, Text: fmt.Sprintf("machine_id in body should be at most %d chars long", longestMachineID)}
	}
	if g.engine.HasAdded(ctx, a.MachineID) { // it is the machine that this very request has made
		return validated, nil
	}
	if g.engine.View().Machine(a.MachineID) != nil {
		return false, taken(a.MachineID)
	}
	if !validated && !g.census.now(g).room(p.place, g.pending) {
		return false, errPending
	}
	return validated, nil
}

// asMachine is a context for what a machine writes about itself.
func asMachine(ctx context.Context, id string) context.Context {
	return engine.As(ctx, engine.Actor{Kind: engine.ActorMachine, Name: id})
}

var errPending = &Refusal{Kind: Busy, Text: "too many machines wait for validation", Reason: NoRoomForValidation}

func taken(id string) *Refusal {
	return &Refusal{Kind: Forbidden, Reason: TakenMachine, Who: id}
}

// hashPassword hashes a password for a registration, with the right registration token
// (invited) or without.
func (g *Gate) hashPassword(ctx context.Context, password string, p party, invited bool) (hash []byte, err error) {
	c := unusual
	if !invited {
		g.guesses.begin(p, g.engine.Now())
		c = doubtful
	}
	busy := g.check(ctx, c, p, func() { hash, err = bcrypt.GenerateFromPassword([]byte(password), passwordCost) })
	if busy != nil {
		return nil, busy
	}
	if err != nil {
		return nil, &Refusal{Kind: Invalid, Reason: InvalidRegistration, Text: "unable to hash", Why: err.Error()}
	}
	return hash, nil
}

// sameSecret compares without telling by its time how much was right.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
