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
	// longestMachineID keeps strangers from filling the memory.
	longestMachineID = 1024
)

// MayRegister reports whether registrations are taken from here at all. It is
// asked before the body is read.
func (g *Gate) MayRegister(client netip.Addr, overSocket bool) error {
	if g.rules.Load().LocalRegistration && !overSocket && !isLoopback(client) {
		return forbidden("registration from " + client.String())
	}
	return nil
}

// Register makes a machine known. It tells whether the machine is validated
// already, which the right registration token from the right address does;
// otherwise an operator has to. A registered machine is never changed: its id
// is taken. The error is a *Refusal or one of the engine's.
func (g *Gate) Register(ctx context.Context, a Application, client netip.Addr) (validated bool, err error) {
	if r := g.rules.Load(); r.Registration != nil && a.Token != "" {
		if !sameSecret(a.Token, r.Registration.Token) {
			return false, &Refusal{Kind: Unauthorized, Text: "invalid token for auto registration"}
		}
		if !r.registers.holds(client) {
			return false, &Refusal{Kind: Unauthorized, Text: "IP not in allowed range for auto registration"}
		}
		validated = true
	}
	if len(a.Password) > 72 {
		return false, &Refusal{Kind: Invalid, Text: "unable to hash"}
	}
	if len(a.MachineID) > longestMachineID {
		return false, &Refusal{Kind: Invalid, Text: fmt.Sprintf("machine_id in body should be at most %d chars long", longestMachineID)}
	}
	view := g.engine.View()
	if view.Machine(a.MachineID) != nil {
		return false, taken(a.MachineID)
	}
	if !validated && waiting(view) >= g.pending {
		return false, &Refusal{Kind: Busy, Text: "too many machines wait for validation"}
	}
	hash, err := g.hashPassword(ctx, a.Password, client)
	if err != nil {
		return false, err
	}
	now := g.engine.Now()
	err = g.engine.AddMachine(ctx, &engine.Machine{
		ID: a.MachineID, PasswordHash: hash, AuthType: engine.AuthPassword, Validated: validated,
		IP: client.String(), CreatedAt: now, UpdatedAt: now,
	}, false)
	if errors.Is(err, engine.ErrExists) {
		return false, taken(a.MachineID)
	}
	return validated, err
}

func taken(id string) *Refusal {
	return &Refusal{Kind: Forbidden, Text: "user '" + id + "': user already exist"}
}

// waiting counts the machines that an operator has not looked at yet.
func waiting(view *engine.View) int {
	n := 0
	for _, m := range view.Machines() {
		if !m.Validated {
			n++
		}
	}
	return n
}

func (g *Gate) hashPassword(ctx context.Context, password string, client netip.Addr) (hash []byte, err error) {
	l := &g.fast
	if g.guesses.tooMany(client, g.engine.Now()) {
		l = &g.slow
	}
	busy := l.do(ctx, func() { hash, err = bcrypt.GenerateFromPassword([]byte(password), passwordCost) })
	if busy != nil {
		return nil, busy
	}
	if err != nil {
		return nil, &Refusal{Kind: Invalid, Text: "unable to hash", Why: err.Error()}
	}
	return hash, nil
}

// sameSecret compares without telling by its time how much was right.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
