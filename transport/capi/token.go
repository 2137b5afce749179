package capi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"lapid/engine"
)

// tokenSecret is the name under which the engine keeps the token.
const tokenSecret = "capi.token"

// lastMinute of a token is as if it was over.
const lastMinute = time.Minute

// token is what a login gave. As it is kept.
type token struct {
	Text    string    `json:"token"`
	Expires time.Time `json:"expires"`
	Of      string    `json:"of"`   // base and login that it belongs to
	Told    uint64    `json:"told"` // a digest of the scenarios that the login told
}

func (t *token) good(now time.Time) bool {
	return t.Text != "" && now.Before(t.Expires.Add(-lastMinute))
}

// claims are what a token says of this server. They are read and not checked: the service
// checks them.
type claims struct {
	Expires      float64         `json:"exp"`
	Organization json.RawMessage `json:"organization_id"` // there: enrolled in the console
	Plan         string          `json:"subscription_type"`
}

func (c *claims) enrolled() bool { return len(c.Organization) > 0 }

// claimsOf reads a token; false where it is none that may be used after a restart.
func claimsOf(text string) (c claims, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return c, false
	}
	var head struct {
		Algorithm string `json:"alg"`
	}
	for i, into := range []any{&head, &c} {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "="))
		if err != nil || json.Unmarshal(b, into) != nil {
			return claims{}, false
		}
	}
	return c, slices.Contains(algorithms, head.Algorithm) && c.Expires > 0 && c.Expires < math.MaxInt32*1000
}

// algorithms are those that a token's signature may have.
var algorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "none"}

// alone has one caller at a time log in.
func (s *session) alone(ctx context.Context) (done func(), err error) {
	select {
	case s.logging <- struct{}{}:
		return func() { <-s.logging }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bearer is a token that is good for another minute; it logs in where there is none.
func (s *session) bearer(ctx context.Context) (string, error) {
	done, err := s.alone(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	if s.load(); s.stale.Swap(false) {
		s.token = token{}
	}
	if s.token.good(s.o.Now()) {
		return s.token.Text, nil
	}
	if err := s.login(ctx); err != nil {
		return "", fmt.Errorf("logging in to the Central API as %s: %w", s.o.Credentials.Login, err)
	}
	return s.token.Text, nil
}

// drop forgets a token that the service does not take, unless another has come meanwhile.
func (s *session) drop(ctx context.Context, text string) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	if s.token.Text == text {
		s.token = token{}
	}
	return nil
}

// renewFor drops a token whose login told other scenarios than machines have now: what
// lists the service gives depends on them.
func (s *session) renewFor(ctx context.Context, list []string) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	if s.load(); s.token.Told != digestOf(list) {
		s.token = token{}
	}
	return nil
}

// load takes the token of an earlier run, once.
func (s *session) load() {
	if s.loaded {
		return
	}
	s.loaded = true
	var kept token
	ok := json.Unmarshal(s.o.Engine.View().Secret(tokenSecret), &kept) == nil
	if !ok {
		kept = s.movedToken()
	}
	if kept.Of != s.whose() {
		return
	}
	if c, ok := claimsOf(kept.Text); ok {
		kept.Expires = time.Unix(int64(c.Expires), 0)
		s.token = kept
		s.tellAccount()
	}
}

// tellAccount notes what the token says of this server, and has a line when that is
// another thing than before.
func (s *session) tellAccount() {
	c, _ := claimsOf(s.token.Text) // what cannot be read says nothing
	a := Account{Enrolled: c.enrolled(), Plan: c.Plan}
	if s.o.Figures.of(a) {
		s.o.Logger.Info("the Central API says what this server is there", "enrolled_in_the_console", a.Enrolled, "subscription_type", a.Plan)
	}
}

func (s *session) whose() string { return s.o.Credentials.URL + " " + s.o.Credentials.Login }

// login logs in, five times where the service or the way to it fails, and keeps the token.
// The session is the caller's alone.
func (s *session) login(ctx context.Context) error {
	wait := 20 * time.Second
	for try := 1; ; try++ {
		err := s.loginOnce(ctx)
		if err == nil || try == 5 || !worthAgain(err) || ctx.Err() != nil {
			return err
		}
		s.o.Logger.Warn("the Central API does not let this server log in: it is asked again", "error", err, "try", try)
		if err := s.pause(ctx, wait/2+s.o.Jitter(wait)); err != nil {
			return err
		}
		wait = min(2*wait, time.Minute)
	}
}

// worthAgain tells whether a login that failed may succeed a moment later.
func worthAgain(err error) bool {
	var refused *Refusal
	if errors.As(err, &refused) {
		switch refused.Status {
		case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

func (s *session) loginOnce(ctx context.Context) error {
	t, err := s.newToken(ctx, scenarios(s.o.Engine.View()))
	if err != nil {
		return err
	}
	s.token = t
	s.tellAccount()
	return s.keep(ctx)
}

// newToken logs in once.
func (s *session) newToken(ctx context.Context, told []string) (token, error) {
	var answer struct {
		Expire string `json:"expire"`
		Token  string `json:"token"`
	}
	body := struct {
		Machine   string   `json:"machine_id"`
		Password  string   `json:"password"`
		Scenarios []string `json:"scenarios"`
	}{s.o.Credentials.Login, s.o.Credentials.Password, told}
	err := s.send(ctx, &request{method: http.MethodPost, path: "v3/watchers/login", body: &body, read: readJSON(&answer)}, nil)
	if err != nil {
		return token{}, err
	}
	expires, err := time.Parse(time.RFC3339, answer.Expire)
	if err != nil || answer.Token == "" || strings.ContainsFunc(answer.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return token{}, errNoToken
	}
	return token{Text: answer.Token, Expires: expires, Of: s.whose(), Told: digestOf(told)}, nil
}

// keep stores the token for the next start. A disk that refuses does not keep the server
// from using it.
func (s *session) keep(ctx context.Context) error {
	b, err := json.Marshal(&s.token)
	if err != nil {
		return err
	}
	if err := s.o.Engine.KeepSecret(engine.As(ctx, central), tokenSecret, b); err != nil {
		s.o.Logger.Warn("the token of the Central API cannot be kept: the next start logs in again", "error", err)
	}
	return nil
}

// scenarios are those of all machines, each once, in order of appearance.
func scenarios(v *engine.View) []string {
	list, seen := []string{}, map[string]bool{}
	v.EachMachine(func(m *engine.Machine) bool {
		for name := range strings.SplitSeq(m.Scenarios, ",") {
			if name = strings.TrimSpace(name); name != "" && !seen[name] {
				seen[name] = true
				list = append(list, name)
			}
		}
		return len(list) < mostScenarios
	})
	return list
}

func digestOf(list []string) uint64 {
	h := fnv.New64a()
	for _, text := range list {
		_, _ = h.Write(append([]byte(text), 0))
	}
	return h.Sum64()
}

// mostScenarios bounds a login: fleets run the same few hundred.
const mostScenarios = 10_000
