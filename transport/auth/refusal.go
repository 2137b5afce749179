package auth

// Kind says which answer of the contract a refusal is.
type Kind uint8

// The ways of being refused (http-api.md sections 5 and 6).
const (
	// Forbidden: bouncers without a good key or certificate, registrations
	// from elsewhere, machine ids that are taken.
	Forbidden Kind = iota
	// Unauthorized: registration tokens and addresses that do not fit.
	Unauthorized
	// NotLoggedIn: everything about logins and tokens; its answer carries a
	// code and a challenge.
	NotLoggedIn
	// BadToken: a token that verifies but is no session.
	BadToken
	// Invalid: a password that cannot be hashed, an id that is too long.
	Invalid
	// Busy: too many passwords are being checked, or too many machines wait for
	// validation; come back later.
	Busy
)

// Refusal is why somebody was not let in. Text is for the caller; Why, when
// there is one, is for the log only. Neither holds a secret. Reason, of those who
// are Busy, is one word for what there is no room for.
type Refusal struct {
	Kind   Kind
	Text   string
	Why    string
	Reason string
}

func (r *Refusal) Error() string {
	if r.Why != "" {
		return r.Text + ": " + r.Why
	}
	return r.Text
}

// errForbidden is what every bouncer without a good key is told.
var errForbidden = &Refusal{Kind: Forbidden, Text: "access forbidden"}

func forbidden(why string) *Refusal {
	return &Refusal{Kind: Forbidden, Text: errForbidden.Text, Why: why}
}

func notLoggedIn(text string) *Refusal { return &Refusal{Kind: NotLoggedIn, Text: text} }
