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

// Reason is one word for why a caller was not let in: of a log line and a label of
// the metrics, so there are few of them, and none is made of what the caller sent.
type Reason string

// The reasons. Those of a Busy refusal say for what there is no room.
const (
	NoKey                Reason = "key_missing"
	UnknownKey           Reason = "key_unknown"
	BadCertificate       Reason = "certificate"
	NoToken              Reason = "token_missing"
	ExpiredToken         Reason = "token_expired"
	InvalidToken         Reason = "token_invalid"
	UnknownMachine       Reason = "machine_unknown"
	UnvalidatedMachine   Reason = "machine_not_validated"
	OtherMethod          Reason = "machine_method" // a password where a certificate is due, or the other way round
	TakenMachine         Reason = "machine_taken"
	WrongPassword        Reason = "password"
	BadLogin             Reason = "login_invalid"
	BadAgent             Reason = "user_agent"
	RegistrationFrom     Reason = "registration_address"
	RegistrationToken    Reason = "registration_token"
	InvalidRegistration  Reason = "registration_invalid"
	NoRoomForPassword    Reason = "passwords"
	NoRoomForValidation  Reason = "validation"
	BadHandshake         Reason = "handshake"      // of TLS; the server's
	ExportSecret         Reason = "export_secret"  // a device without the secret of an export; the server's
	ExportFrom           Reason = "export_address" // an export may not be had from there; the server's
	DeletionFromStranger Reason = "delete_address" // alerts may be deleted from trusted addresses only; the server's
)

// Reasons are all but those of Busy, with what they mean.
var Reasons = []struct {
	Reason Reason
	Means  string
}{
	{NoKey, "a bouncer shows no API key"},
	{UnknownKey, "a bouncer shows an API key that is nobody's"},
	{BadCertificate, "a client certificate is not taken"},
	{BadHandshake, "a TLS handshake failed"},
	{NoToken, "a machine shows no token"},
	{ExpiredToken, "a machine shows a token that is over"},
	{InvalidToken, "a machine shows a token that is none of ours"},
	{UnknownMachine, "a machine is not known"},
	{UnvalidatedMachine, "a machine is not validated"},
	{OtherMethod, "a machine logs in otherwise than it was added"},
	{WrongPassword, "a machine's password is wrong"},
	{BadLogin, "a login cannot be read"},
	{BadAgent, "a login needs a User-Agent of two parts"},
	{RegistrationFrom, "machines may not register from there"},
	{RegistrationToken, "a registration token is wrong"},
	{TakenMachine, "a machine registers with a name that is taken"},
	{InvalidRegistration, "a registration cannot be stored"},
	{ExportSecret, "a device shows no secret for an export, or a wrong one"},
	{ExportFrom, "an export may not be had from there"},
	{DeletionFromStranger, "alerts may not be deleted from there"},
}

// Refusal is why a caller was not let in. Text is for the caller; it is empty where
// Reason and Who say all (UnknownMachine, UnvalidatedMachine, TakenMachine), for which
// the server has the contract's sentences. Why, when there is one, is for the log
// only. Who is the name that the caller claims; both are as long as the caller likes.
// None holds a secret.
type Refusal struct {
	Kind   Kind
	Reason Reason
	Text   string
	Why    string
	Who    string
}

// Error is for a log.
func (r *Refusal) Error() string {
	text := r.Text
	if text == "" {
		text = string(r.Reason) + " " + r.Who
	}
	if r.Why != "" {
		return text + ": " + r.Why
	}
	return text
}

// Every bouncer without a good key is told the same.
var (
	errNoKey      = forbidden(NoKey, "")
	errUnknownKey = forbidden(UnknownKey, "")
)

func forbidden(reason Reason, why string) *Refusal {
	return &Refusal{Kind: Forbidden, Reason: reason, Text: "access forbidden", Why: why}
}

func notLoggedIn(reason Reason, text string) *Refusal {
	return &Refusal{Kind: NotLoggedIn, Reason: reason, Text: text}
}

// of notes the name that the caller claims.
func (r *Refusal) of(who string) *Refusal {
	r.Who = who
	return r
}
