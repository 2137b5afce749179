package auth

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lapid/engine"
)

// session is what a verified token says.
type session struct {
	id      string
	expires int64 // Unix nanoseconds
}

// Grant is a token and the moment it stops being good.
type Grant struct {
	Token   string
	Expires time.Time // UTC, whole seconds
}

// longestToken is the longest token that is recognised quickly.
const longestToken = 1024

var (
	errNoToken   = notLoggedIn("cookie token is empty")
	errExpired   = notLoggedIn("Token is expired")
	errOver      = notLoggedIn("token is expired") // the contract has two spellings
	errNoExpiry  = &Refusal{Kind: BadToken, Text: "missing exp field"}
	errNoMachine = notLoggedIn("token names no machine")
	errWrongAlg  = errors.New("invalid signing algorithm")
	bearer       = []byte("Bearer ")
)

// Machine tells which machine shows a token: as "Bearer <token>" in
// authorization or, when that is not usable, in the cookie. The machine must
// still exist: a machine that an operator removed is out at once.
func (g *Gate) Machine(authorization, cookie []byte) (string, error) {
	id, err := g.Session(authorization, cookie)
	if err != nil {
		return "", err
	}
	if g.engine.View().Machine(id) == nil {
		return "", notLoggedIn("machine " + id + " does not exist")
	}
	return id, nil
}

// Session is Machine for those who may be gone already.
func (g *Gate) Session(authorization, cookie []byte) (string, error) {
	token := tokenOf(authorization, cookie)
	if len(token) == 0 {
		return "", errNoToken
	}
	now := g.engine.Now()
	if len(token) > longestToken {
		s, err := g.verify(token)
		return s.id, err
	}
	mark := g.hash.sum(token)
	if s := g.tokens.get(mark); s != nil {
		if s.expires <= now {
			return "", errExpired
		}
		return s.id, nil
	}
	s, err := g.verify(token)
	if err != nil {
		return "", err
	}
	g.tokens.put(mark, s)
	return s.id, nil
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
	claims, err := g.parse(token, false)
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
	id, _ := claims["id"].(string)
	if id == "" {
		return session{}, errNoMachine
	}
	return session{id, expires.UnixNano()}, nil
}

func (g *Gate) clock() time.Time { return time.Unix(0, g.engine.Now()) }

// parse checks a token's signature and its times. With late it may have
// expired.
func (g *Gate) parse(token []byte, late bool) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithTimeFunc(g.clock), jwt.WithIssuedAt())
	_, err := parser.ParseWithClaims(string(token), claims, func(t *jwt.Token) (any, error) {
		if t.Method != jwt.SigningMethodHS256 {
			return nil, errWrongAlg
		}
		return g.secret, nil
	})
	if err != nil && !(late && onlyExpired(err)) {
		return nil, notLoggedIn(tokenProblem(err))
	}
	return claims, nil
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
	claims, err := g.parse(token, true)
	if err != nil {
		return Grant{}, err
	}
	issued, ok := claims["orig_iat"].(float64)
	now := g.clock().UTC()
	if !ok || math.IsNaN(issued) || issued < float64(now.Add(-g.life).Unix()) {
		return Grant{}, errOver
	}
	id, _ := claims["id"].(string)
	if id == "" {
		return Grant{}, errNoMachine
	}
	if g.engine.View().Machine(id) == nil {
		return Grant{}, notLoggedIn("machine " + id + " does not exist")
	}
	return g.sign(claims, now)
}

// issue makes a token for a machine.
func (g *Gate) issue(m *engine.Machine) (Grant, error) {
	return g.sign(jwt.MapClaims{"id": m.ID}, g.clock().UTC())
}

func (g *Gate) sign(claims jwt.MapClaims, now time.Time) (Grant, error) {
	claims = maps.Clone(claims)
	expires := now.Truncate(time.Second).Add(g.life)
	claims["exp"], claims["orig_iat"] = expires.Unix(), now.Unix()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(g.secret)
	if err != nil {
		return Grant{}, fmt.Errorf("signing a token: %w", err)
	}
	return Grant{token, expires}, nil
}
