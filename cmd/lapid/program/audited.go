package program

import (
	"net/netip"
	"strings"

	"lapid/engine"
	"lapid/transport/audit"
	"lapid/transport/auth"
)

// auditDenied has the audit count a caller of the Local API who was not let in.
func (p *program) auditDenied(now int64, why auth.Reason, from netip.Addr, who string) {
	address := ""
	if from.IsValid() {
		address = from.String()
	}
	p.auditor.Note(audit.Note{At: now, By: engine.Actor{Kind: engine.ActorStranger, Name: who}, Address: address, Action: deniedAction(why), Outcome: "refused: " + string(why)})
}

// deniedAction is what a caller wanted, by why it was not let in.
func deniedAction(why auth.Reason) string {
	switch why {
	case auth.NoKey, auth.UnknownKey:
		return "bouncer.enter"
	case auth.RegistrationFrom, auth.RegistrationToken, auth.TakenMachine, auth.InvalidRegistration:
		return "machine.register"
	case auth.DeletionFromStranger:
		return "alert.delete"
	case auth.BadHandshake, auth.BadCertificate:
		return "connection.enter"
	case auth.NoToken, auth.InvalidToken:
		return "machine.enter"
	}
	return "machine.login"
}

// auditFailed has the audit count an operator's write that was not done.
func (p *program) auditFailed(by engine.Actor, from engine.Sender, action, why string) {
	address := ""
	if from.Address.IsValid() {
		address = from.Address.String()
	}
	p.auditor.Note(audit.Note{At: p.engine.Now(), By: by, Address: address, Token: from.Token, Action: action, Outcome: strings.TrimSpace(why)})
}
