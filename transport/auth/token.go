package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lapid/engine"
)

// session is what a verified token says.
type session struct {
	id      string
	expires int64  // Unix nanoseconds
	until   int64  // when the secret that signed it is over, Unix nanoseconds; 0: it is the present one
	secrets uint64 // what engine.View.SecretsChanged was when it was verified
	born    int64  // when the machine it was issued to was made; 0: it does not say
}

// bornClaim names the claim that tells a machine from the next one of the same
// id. It is text, because a number in JSON has no room for nanoseconds.
const bornClaim = "born"

// Grant is a token and the moment it stops being good.
type Grant struct {
	Token   string
	Expires time.Time // UTC, whole seconds
}

// longestToken is the longest token that is recognised quickly.
const longestToken = 1024

var (
	errNoToken   = notLoggedIn(NoToken, "cookie token is empty")
	errExpired   = notLoggedIn(ExpiredToken, "Token is expired")
	errOver      = notLoggedIn(ExpiredToken, "token is expired") // the contract has two spellings
	errNoExpiry  = &Refusal{Kind: BadToken, Reason: InvalidToken, Text: "missing exp field"}
	errNoMachine = notLoggedIn(InvalidToken, "token names no machine")
	errWrongAlg  = errors.New("invalid signing algorithm")
	bearer       = []byte("Bearer ")
)

// Machine tells which machine shows a token: as "Bearer <token>" in
// authorization or, when that is not usable, in the cookie. The machine must
// still be the one that logged in, and be validated: a machine that an operator
// removed is out at once, also when its id is another's by now.
func (g *Gate) Machine(authorization, cookie []byte) (string, error) {
	s, err := g.session(authorization, cookie)
	if err != nil {
		return "", err
	}
	return s.id, g.stands(s)
}

// Session is Machine for a machine that may be gone already. One that is there must be
// the one the token was issued to all the same.
func (g *Gate) Session(authorization, cookie []byte) (string, error) {
	s, err := g.session(authorization, cookie)
	if err != nil || g.engine.View().Machine(s.id) == nil {
		return s.id, err
	}
	return s.id, g.stands(s)
}

// stands checks that the machine of a token is still there, is the very one
// that logged in and not another that was given its id, and is trusted.
func (g *Gate) stands(s session) error {
	err := g.isThere(s)
	if err != nil && g.confirm != nil {
		if err := g.confirmed(context.Background()); err != nil {
			return err
		}
		return g.isThere(s)
	}
	return err
}

func (g *Gate) isThere(s session) error {
	switch m := g.engine.View().Machine(s.id); {
	case m == nil || s.born != 0 && s.born != m.CreatedAt:
		return notLoggedIn(UnknownMachine, "").of(s.id)
	case !m.Validated:
		return notLoggedIn(UnvalidatedMachine, "").of(s.id)
	}
	return nil
}

// MachineStands checks that a machine that has shown who it is elsewhere is there, and is trusted. The
// error is a *Refusal.
func (g *Gate) MachineStands(id string) error { return g.stands(session{id: id}) }

// session reads the token, if it is good at this moment.
func (g *Gate) session(authorization, cookie []byte) (session, error) {
	token := tokenOf(authorization, cookie)
	if len(token) == 0 {
		return session{}, errNoToken
	}
	if len(token) > longestToken {
		return g.verify(token)
	}
	mark := g.hash.sum(token)
	if s := g.tokens.get(mark); s != nil && s.secrets == g.engine.View().SecretsChanged() && (s.until == 0 || g.engine.Now() < s.until) {
		if s.expires <= g.engine.Now() {
			return session{}, errExpired
		}
		return *s, nil
	}
	s, err := g.verify(token)
	if err == nil {
		g.tokens.put(mark, s)
	}
	return s, err
}

// tokenOf picks the token: the header wins if it can be read at all.
func tokenOf(authorization, cookie []byte) []byte {
	if token, ok := bytes.CutPrefix(authorization, bearer); ok && len(token) > 0 {
		return token
	}
	return cookie
}

// verify does all the work for a token that is not known yet.
func (g *Gate) verify(token []byte) (session, error) {
	turn := g.engine.View().SecretsChanged()
	claims, until, err := g.parse(token, false)
	if err != nil {
		return session{}, err
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		if _, is := claims["exp"].(float64); is { // 0, which the library takes for none
			return session{}, errOver
		}
		return session{}, errNoExpiry
	}
	s, err := holder(claims)
	s.expires, s.until, s.secrets = expires.UnixNano(), until, turn
	return s, err
}

// holder reads from its claims whose a token is.
func holder(claims jwt.MapClaims) (session, error) {
	id, _ := claims["id"].(string)
	if id == "" {
		return session{}, errNoMachine
	}
	text, given := claims[bornClaim].(string)
	born, err := strconv.ParseInt(text, 10, 64)
	if given && err != nil {
		return session{}, errNoMachine
	}
	return session{id: id, born: born}, nil
}

func (g *Gate) clock() time.Time { return time.Unix(0, g.engine.Now()) }

// parse checks a token's signature and its times. With late it may have
// expired. until is when the secret that signed it is over, 0 for the present one.
func (g *Gate) parse(token []byte, late bool) (claims jwt.MapClaims, until int64, err error) {
	present, earlier := g.secrets()
	claims, err = g.signedBy(present, token, late)
	for i := 0; i < len(earlier) && errors.Is(err, jwt.ErrTokenSignatureInvalid); i++ {
		claims, err = g.signedBy(earlier[i].Value, token, late)
		until = earlier[i].Until
	}
	if err != nil {
		reason := InvalidToken
		if onlyExpired(err) {
			reason = ExpiredToken
		}
		return nil, 0, notLoggedIn(reason, tokenProblem(err))
	}
	return claims, until, nil
}

// secrets are the one that signs tokens and those before it that are still good: the given one
// alone, or the store's as it is now.
func (g *Gate) secrets() (present []byte, earlier []engine.EarlierSecret) {
	if g.given != nil {
		return g.given, nil
	}
	view, now := g.engine.View(), g.engine.Now()
	earlier = view.EarlierSecrets(engine.TokenSecret)
	return view.Secret(engine.TokenSecret), slices.DeleteFunc(earlier, func(s engine.EarlierSecret) bool { return s.Until <= now })
}

// signedBy checks a token by one secret.
func (g *Gate) signedBy(secret, token []byte, late bool) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithTimeFunc(g.clock), jwt.WithIssuedAt())
	_, err := parser.ParseWithClaims(string(token), claims, func(t *jwt.Token) (any, error) {
		if t.Method != jwt.SigningMethodHS256 {
			return nil, errWrongAlg
		}
		return secret, nil
	})
	if late && onlyExpired(err) {
		err = nil
	}
	return claims, err
}

// onlyExpired reports that nothing is wrong with a token but its age.
func onlyExpired(err error) bool {
	return errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenNotValidYet) && !errors.Is(err, jwt.ErrTokenUsedBeforeIssued)
}

// tokenProblem words a failure as clients are used to.
func tokenProblem(err error) string {
	switch {
	case errors.Is(err, errWrongAlg):
		return errWrongAlg.Error()
	case errors.Is(err, jwt.ErrTokenExpired):
		return errExpired.Text
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "Token is not valid yet"
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return "Token used before issued"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return "signature is invalid"
	}
	text := err.Error()
	for _, kind := range []error{jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable, jwt.ErrTokenInvalidClaims} {
		text = strings.TrimPrefix(text, kind.Error()+": ")
	}
	return text
}

// Refresh exchanges a token that was issued within the last hour, even if it
// has expired or never would, for a fresh one with the same claims.
func (g *Gate) Refresh(authorization, cookie []byte) (Grant, error) {
	token := tokenOf(authorization, cookie)
	if len(token) == 0 {
		return Grant{}, errNoToken
	}
	claims, _, err := g.parse(token, true)
	if err != nil {
		return Grant{}, err
	}
	issued, ok := claims["orig_iat"].(float64)
	now := g.clock().UTC()
	if !ok || math.IsNaN(issued) || issued < float64(now.Add(-g.life).Unix()) {
		return Grant{}, errOver
	}
	s, err := holder(claims)
	if err == nil {
		err = g.stands(s)
	}
	if err != nil {
		return Grant{}, err
	}
	return g.sign(claims, now)
}

// issue makes a token for a machine.
func (g *Gate) issue(m *engine.Machine) (Grant, error) {
	claims := jwt.MapClaims{"id": m.ID}
	if m.CreatedAt != 0 {
		claims[bornClaim] = strconv.FormatInt(m.CreatedAt, 10)
	}
	return g.sign(claims, g.clock().UTC())
}

func (g *Gate) sign(claims jwt.MapClaims, now time.Time) (Grant, error) {
	claims = maps.Clone(claims)
	expires := now.Truncate(time.Second).Add(g.life)
	claims["exp"], claims["orig_iat"] = expires.Unix(), now.Unix()
	secret, _ := g.secrets()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		return Grant{}, fmt.Errorf("signing a token: %w", err)
	}
	return Grant{token, expires}, nil
}

// Vouched is a token for a machine that another server has let in with a token of its own, on whose word the caller goes.
// The machine must be here, and be validated.
func (g *Gate) Vouched(id string) (Grant, error) {
	m := g.engine.View().Machine(id)
	if m == nil {
		return Grant{}, notLoggedIn(UnknownMachine, "").of(id)
	}
	if err := g.stands(session{id: id, born: m.CreatedAt}); err != nil {
		return Grant{}, err
	}
	return g.issue(m)
}
