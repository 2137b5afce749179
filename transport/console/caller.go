package console

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/audit"
)

// errStranger is all that is said of credentials that do not fit, whatever is wrong with them.
var errStranger = &fault{http.StatusUnauthorized, "these credentials are not, or no longer, those of an operator"}

// backgroundHeader is sent with what a page asks for by itself: nobody need be there.
const backgroundHeader = "Lapid-Background"

// identify finds out which operator asks: by token, session or certificate, in this order; the first that is shown counts.
func (s *Server) identify(q *request) error {
	view, now := s.options.Engine.View(), s.options.Engine.Now()
	place := addressKey(q.address)
	if text := q.Header.Get("Authorization"); text != "" {
		token, ok := strings.CutPrefix(text, "Bearer ")
		h := hashOf(token)
		o, t := view.TokenOwner(&h)
		if !ok || o == nil || o.Disabled || t.Expired(now) {
			// Who has the right one is not kept from it by others at its address. A token cannot be
			// guessed; who tries all the same, and only he, is slowed down.
			if err := s.pause(q, place); err != nil {
				s.stranger(q, "", "operator.enter", "token", "too many wrong ones")
				return err
			}
			if o == nil {
				s.guesses.wrong(place)
			}
			s.wrongToken(q, o, t)
			q.w.Header().Set("WWW-Authenticate", `Bearer realm="lapid", error="invalid_token"`)
			return errStranger
		}
		q.who, q.token = o, t.ID
	} else if c, err := q.Cookie(s.cookieName(q.Request)); err == nil {
		find := s.sessions.holder
		if q.Header.Get(backgroundHeader) != "" {
			find = s.sessions.watcher
		}
		if q.who, q.cookie = find(c.Value, view), c.Value; q.who == nil {
			s.stranger(q, "", "operator.enter", "session", "it is over")
			return &fault{http.StatusUnauthorized, "this session is over: log in again"}
		}
		return nil // it was noted when it logged in
	} else if q.who = s.certified(q, view); q.who == nil {
		q.w.Header().Set("WWW-Authenticate", `Bearer realm="lapid"`)
		return &fault{http.StatusUnauthorized, "who is asking? Send Authorization: Bearer TOKEN; lapid operators token NAME makes one"}
	}
	s.options.Engine.NoteLogin(q.who.Name, now)
	return nil
}

// wrongToken tells the audit of a token that lets nobody in, and whose it is or was.
func (s *Server) wrongToken(q *request, o *engine.Operator, t *engine.OperatorToken) {
	switch {
	case o == nil:
		s.stranger(q, "", "operator.enter", "token", "unknown token")
	case o.Disabled:
		s.note(q, audit.Note{By: engine.Actor{Kind: engine.ActorStranger, Name: o.Name}, Token: t.ID, Action: "operator.enter", Target: "token", Outcome: "refused: disabled"})
	default:
		s.note(q, audit.Note{By: engine.Actor{Kind: engine.ActorStranger, Name: o.Name}, Token: t.ID, Action: "operator.enter", Target: "token", Outcome: "refused: expired token"})
	}
}

// certified is the operator that a client's certificate names: its common name, where one of its
// units is allowed. The chain was verified by the handshake.
func (s *Server) certified(q *request, view *engine.View) *engine.Operator {
	r := q.Request
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	leaf := r.TLS.VerifiedChains[0][0]
	if !slices.ContainsFunc(leaf.Subject.OrganizationalUnit, func(u string) bool { return slices.Contains(s.options.AllowedUnits, u) }) {
		return nil
	}
	if s.options.Certified != nil {
		if err := s.options.Certified(r.TLS); err != nil {
			s.stranger(q, leaf.Subject.CommonName, "operator.enter", "certificate", "bad certificate")
			s.lines.say(s, "refused: a certificate of the console", "name", fmt.Sprintf("%.128q", leaf.Subject.CommonName), "address", q.address.String(), "error", err)
			return nil
		}
	}
	if o := view.Operator(leaf.Subject.CommonName); o != nil && !o.Disabled {
		return o
	}
	return nil
}

// pause refuses who has guessed wrong too often of late.
func (s *Server) pause(q *request, keys ...string) error {
	wait := s.guesses.wait(keys...)
	if wait <= 0 {
		return nil
	}
	q.w.Header().Set("Retry-After", fmt.Sprint(int64((wait+time.Second-1)/time.Second)))
	return &fault{http.StatusTooManyRequests, "too many wrong credentials came from here, or for this name: wait, as Retry-After says"}
}

// credentials are what a login brings: a name with its password, or the secret of a link.
type credentials struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	Link     string `json:"link"`
}

// loggedIn is who has a session now.
type loggedIn struct {
	Name string `json:"name"`
	Role string `json:"role"`
}

// loginCounts are the logins since the start, for any goroutine.
type loginCounts struct{ well, failed atomic.Uint64 }

func (c *loginCounts) count(err error) {
	if err == nil {
		c.well.Add(1)
	} else {
		c.failed.Add(1)
	}
}

// Logins is how many logins went well since the start, and how many failed. Any goroutine.
func (s *Server) Logins() (well, failed uint64) { return s.logins.well.Load(), s.logins.failed.Load() }

// login begins a session.
func (s *Server) login(q *request) error {
	var c credentials
	if err := q.read(&c); err != nil {
		return err
	}
	if err := s.cookieCanBeKept(q); err != nil {
		return err
	}
	var o *engine.Operator
	var err error
	how := "password"
	switch {
	case c.Link != "":
		how = "link"
		o, err = s.byLink(q, c.Link)
	case c.Name == "" || c.Password == "":
		return bad("a login needs name and password, or link")
	default:
		o, err = s.byPassword(q, c.Name, c.Password)
	}
	if err != nil {
		return err
	}
	s.setCookie(q, s.enter(q, o, how))
	return q.answer(http.StatusOK, loggedIn{o.Name, o.Role.String()})
}

// loginByLink begins a session for who follows a link.
func (s *Server) loginByLink(q *request) error {
	if q.URL.Query().Get("link") == "" {
		return bad("a link is asked for with lapid operators link NAME, on the machine of the server")
	}
	o, err := s.followLink(q)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, loggedIn{o.Name, o.Role.String()})
}

// followLink uses the link in a request's address up, and begins a session.
func (s *Server) followLink(q *request) (*engine.Operator, error) {
	// Another site's page must not try links in somebody's browser, and a preview must not use one up.
	if from := q.Header.Get("Sec-Fetch-Site"); q.Method != http.MethodGet || from != "" && from != "none" && from != "same-origin" {
		return nil, &fault{http.StatusForbidden, "a link is for the address bar of a browser"}
	}
	if err := s.cookieCanBeKept(q); err != nil {
		return nil, err // before the link is used up
	}
	o, err := s.byLink(q, q.URL.Query().Get("link"))
	if err != nil {
		return nil, err
	}
	s.setCookie(q, s.enter(q, o, "link"))
	return o, nil
}

// enter notes a login and makes its session.
func (s *Server) enter(q *request, o *engine.Operator, how string) (secret string) {
	s.entered(q, o, "operator.login", how)
	s.options.Engine.NoteLogin(o.Name, s.options.Engine.Now())
	s.log.Info("operator: logged in", "by", o.Name, "address", q.address.String())
	if c, err := q.Cookie(s.cookieName(q.Request)); err == nil {
		s.sessions.end(c.Value) // of who was here before in this browser
	}
	return s.sessions.begin(o, q.address.String(), fmt.Sprintf("%.200s", q.UserAgent()))
}

// hashing bounds how many passwords are checked at a time: each takes 19 MiB and a processor.
var hashing = make(chan struct{}, 2)

// byPassword takes as long for a name that is nobody's.
func (s *Server) byPassword(q *request, name, password string) (by *engine.Operator, err error) {
	defer func() { s.logins.count(err) }()
	keys := []string{addressKey(q.address), nameKey(fmt.Sprintf("%.*s", engine.LongestOperator, name))}
	if err := s.pause(q, keys...); err != nil {
		s.stranger(q, name, "operator.login", "password", "too many wrong ones")
		return nil, err
	}
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
	case <-q.Context().Done():
		return nil, &fault{http.StatusServiceUnavailable, "too many logins at once: try again in a moment"}
	}
	if err := s.pause(q, keys...); err != nil { // those that were checked meanwhile count
		return nil, err
	}
	o, hash := s.options.Engine.View().Operator(name), ""
	if o != nil {
		hash = o.PasswordHash
	}
	if !admin.PasswordFits(hash, password) || o.Disabled {
		s.guesses.wrong(keys...)
		s.stranger(q, name, "operator.login", "password", "wrong credentials")
		s.lines.say(s, "refused: a login of the console does not fit", "name", fmt.Sprintf("%.128q", name), "address", q.address.String())
		return nil, errStranger
	}
	s.guesses.right(keys...)
	return o, nil
}

// byLink uses a link up.
func (s *Server) byLink(q *request, secret string) (by *engine.Operator, err error) {
	defer func() { s.logins.count(err) }()
	place := addressKey(q.address)
	if err := s.pause(q, place); err != nil {
		return nil, err
	}
	h := hashOf(secret)
	ctx := engine.From(engine.As(q.Context(), engine.Actor{Kind: engine.ActorServer}), engine.Sender{Address: q.address})
	name, err := s.options.Engine.RedeemLink(ctx, &h, s.options.Engine.Now())
	if err != nil {
		if errors.Is(err, engine.ErrRefused) {
			s.guesses.wrong(place)
			s.stranger(q, "", "operator.login", "link", "not, or no longer, good")
		}
		return nil, err
	}
	if o := s.options.Engine.View().Operator(name); o != nil {
		return o, nil
	}
	return nil, errStranger
}

// logout ends the session that asks; a token has none.
func (s *Server) logout(q *request) error {
	if q.cookie != "" {
		s.sessions.end(q.cookie)
		s.entered(q, q.who, "operator.logout", "session")
		s.setCookie(q, "")
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}
