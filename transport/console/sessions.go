package console

import (
	"net/http"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

// sessions are the operators that have logged in with a password or a link, in memory: a restart
// ends them. A session ends after idleAtMost without a request and after sessionAtMost in any case, and
// at once when its operator is deleted or disabled or has another role or password.
//
// At most mostSessions there are; the one that was idle longest ends for a new one.
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
}

const (
	idleAtMost    = 30 * time.Minute
	sessionAtMost = 12 * time.Hour
	mostSessions  = 1024
)

// begin makes a session and returns its secret.
func (s *sessions) begin(o *engine.Operator) string {
	secret, now := admin.NewSecret(), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[engine.SecretHash]*session{}
	}
	for len(s.of) >= mostSessions {
		idle, first := engine.SecretHash{}, true
		for h, one := range s.of {
			if first || one.last < s.of[idle].last {
				idle, first = h, false
			}
		}
		delete(s.of, idle)
	}
	s.of[hashOf(secret)] = &session{o.Name, o.Role, o.PasswordHash, o.CreatedAt, now, now}
	return secret
}

// holder is the operator of a session that goes on; nil: there is none.
func (s *sessions) holder(secret string, v *engine.View) *engine.Operator {
	h, now := hashOf(secret), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of[h]
	if one == nil {
		return nil
	}
	o := v.Operator(one.name)
	if now-one.last > int64(idleAtMost) || now-one.begun > int64(sessionAtMost) || o == nil || o.Disabled ||
		o.Role != one.role || o.PasswordHash != one.password || o.CreatedAt != one.created {
		delete(s.of, h)
		return nil
	}
	one.last = now
	return o
}

// end ends one.
func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, hashOf(secret))
}

func hashOf(secret string) engine.SecretHash { return engine.SecretHash(admin.HashSecret(secret)) }

// cookieName begins with __Host- where the browser can hold it to that: over TLS.
func (s *Server) cookieName() string {
	if s.scheme == "https" {
		return "__Host-lapid"
	}
	return "lapid"
}

// setCookie gives a session's secret to the browser; "" takes it back.
func (s *Server) setCookie(w http.ResponseWriter, secret string) {
	c := &http.Cookie{Name: s.cookieName(), Value: secret, Path: "/", HttpOnly: true, Secure: s.scheme == "https", SameSite: http.SameSiteStrictMode, MaxAge: int(sessionAtMost / time.Second)}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
