package console

import (
	"cmp"
	"encoding/hex"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

// sessions are the operators that have logged in with a password or a link, in memory: a restart
// ends them. A session ends after idleAtMost without a request and after sessionAtMost in any case, and
// at once when its operator is deleted or disabled or has another role or password.
//
// At most mostSessions there are, and mostOfOne of one operator; the one that was idle longest ends for a new one.
type sessions struct {
	now func() int64
	mu  sync.Mutex
	of  map[engine.SecretHash]*session // by the hash of the cookie
}

type session struct {
	name     string
	role     engine.Role
	password string // its hash at the login
	created  int64  // of the operator, so that another of the name is not taken for it
	begun    int64
	last     int64
	address  string // of the login
	agent    string // likewise, as the browser calls itself
}

const (
	idleAtMost    = 30 * time.Minute
	sessionAtMost = 12 * time.Hour
	mostSessions  = 1024
	mostOfOne     = 16
)

// begin makes a session and returns its secret.
func (s *sessions) begin(o *engine.Operator, address, agent string) string {
	secret, now := admin.NewSecret(), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[engine.SecretHash]*session{}
	}
	s.makeRoom(mostOfOne, func(one *session) bool { return one.name == o.Name })
	s.makeRoom(mostSessions, func(*session) bool { return true })
	s.of[hashOf(secret)] = &session{o.Name, o.Role, o.PasswordHash, o.CreatedAt, now, now, address, agent}
	return secret
}

// makeRoom ends the session that was idle longest, of those that count, when there are as many as
// there may be. mu is held.
func (s *sessions) makeRoom(most int, counts func(*session) bool) {
	idle, n := engine.SecretHash{}, 0
	for h, one := range s.of {
		if !counts(one) {
			continue
		}
		if n == 0 || one.last < s.of[idle].last {
			idle = h
		}
		n++
	}
	if n >= most {
		delete(s.of, idle)
	}
}

// holder is the operator of a session that goes on; nil: there is none. It counts as a use.
func (s *sessions) holder(secret string, v *engine.View) *engine.Operator {
	return s.find(secret, v, true)
}

// watcher is the same for what a browser does by itself, which keeps no session from being idle.
func (s *sessions) watcher(secret string, v *engine.View) *engine.Operator {
	return s.find(secret, v, false)
}

func (s *sessions) find(secret string, v *engine.View, use bool) *engine.Operator {
	h, now := hashOf(secret), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of[h]
	if one == nil {
		return nil
	}
	o := v.Operator(one.name)
	if !one.goesOn(o, now) {
		delete(s.of, h)
		return nil
	}
	if use {
		one.last = now
	}
	return o
}

// goesOn is whether a session is neither over nor its operator another by now.
func (one *session) goesOn(o *engine.Operator, now int64) bool {
	return now-one.last <= int64(idleAtMost) && now-one.begun <= int64(sessionAtMost) && o != nil && !o.Disabled &&
		o.Role == one.role && o.PasswordHash == one.password && o.CreatedAt == one.created
}

// sessionShown is a session as operators see it.
type sessionShown struct {
	ID             string // the beginning of the hash of its secret: no use to anybody
	Name           string
	Begun, Last    int64
	Address, Agent string
	Own            bool // it is the one that asks
}

// list are those that go on, of one operator or of all (""), the last used first. own is the secret of who asks.
func (s *sessions) list(name, own string, v *engine.View) (list []sessionShown) {
	now, mine := s.now(), hashOf(own)
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, one := range s.of {
		if (name == "" || one.name == name) && one.goesOn(v.Operator(one.name), now) {
			list = append(list, sessionShown{hex.EncodeToString(h[:8]), one.name, one.begun, one.last, one.address, one.agent, h == mine})
		}
	}
	slices.SortFunc(list, func(a, b sessionShown) int { return cmp.Or(cmp.Compare(b.Last, a.Last), cmp.Compare(a.ID, b.ID)) })
	return list
}

// endShown ends one by its ID, of one operator or of whomever (""). False: there is none.
func (s *sessions) endShown(name, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, one := range s.of {
		if hex.EncodeToString(h[:8]) == id && (name == "" || one.name == name) {
			delete(s.of, h)
			return true
		}
	}
	return false
}

// end ends one.
func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, hashOf(secret))
}

func hashOf(secret string) engine.SecretHash { return engine.SecretHash(admin.HashSecret(secret)) }

// encrypted is whether the browser speaks TLS: with this server, or with a trusted proxy that says so.
func (s *Server) encrypted(r *http.Request) bool {
	if s.scheme == "https" {
		return true
	}
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && s.trusts(at.Addr().Unmap().WithZone("")) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// cookieName begins with __Host- where the browser can hold it to that: over TLS.
func (s *Server) cookieName(r *http.Request) string {
	if s.encrypted(r) {
		return "__Host-lapid"
	}
	return "lapid"
}

// setCookie gives a session's secret to the browser; "" takes it back.
func (s *Server) setCookie(q *request, secret string) {
	c := &http.Cookie{Name: s.cookieName(q.Request), Value: secret, Path: "/", HttpOnly: true, Secure: s.encrypted(q.Request), SameSite: http.SameSiteStrictMode, MaxAge: int(sessionAtMost / time.Second)}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(q.w, c)
}
