package console

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/console/site"
)

// loginShown is the login's form.
type loginShown struct {
	Name string // as it was tried
	Next string // where to after it
}

// enterPage is the login: the form, or the end of the way for who follows a one-time link. Programs that
// follow a link get JSON.
func (s *Server) enterPage(q *request) error {
	if q.URL.Query().Get("link") == "" {
		if strings.Contains(q.Header.Get("Accept"), "application/json") {
			return s.loginByLink(q)
		}
		return s.page(q, "login", "Log in", loginShown{Next: within(q.URL.Query().Get("next"), "/")})
	}
	if !strings.Contains(q.Header.Get("Accept"), "text/html") {
		return s.loginByLink(q)
	}
	if _, err := s.followLink(q); err != nil {
		return s.againLogin(q, err, "")
	}
	http.Redirect(q.w, q.Request, s.options.BasePath+"/", http.StatusSeeOther)
	return nil
}

// loginForm begins a session with a name and a password.
func (s *Server) loginForm(q *request) error {
	if err := q.ParseForm(); err != nil {
		return bad("the form cannot be read: " + err.Error())
	}
	name, password := q.PostForm.Get("name"), q.PostForm.Get("password")
	err := s.cookieCanBeKept(q)
	var o *engine.Operator
	switch {
	case err != nil:
	case name == "" || password == "":
		err = bad("a login needs a name and a password")
	default:
		o, err = s.byPassword(q, name, password)
	}
	if err != nil {
		return s.againLogin(q, err, name)
	}
	s.setCookie(q, s.enter(q, o, "password"))
	http.Redirect(q.w, q.Request, s.options.BasePath+within(q.PostForm.Get("next"), "/"), http.StatusSeeOther)
	return nil
}

// againLogin shows the form again, with what was wrong. The password is not in it.
func (s *Server) againLogin(q *request, err error, name string) error {
	v := viewOf(q.Request)
	status, detail := statusOf(err)
	if errors.Is(err, errStranger) {
		detail = "This name and password, or this link, are not (or no longer) those of an operator."
	}
	v.status = status
	v.notices = append(v.notices, site.Notice{Text: detail, Bad: true})
	return s.page(q, "login", "Log in", loginShown{Name: name, Next: within(q.PostForm.Get("next"), "/")})
}

// cookieCanBeKept refuses a login whose cookie would go over the network in clear.
func (s *Server) cookieCanBeKept(q *request) error {
	at, ok := s.listener.Addr().(*net.TCPAddr)
	if s.encrypted(q.Request) || ok && at.IP.IsLoopback() || q.address.IsLoopback() {
		return nil
	}
	return &fault{http.StatusForbidden, "no session begins over plain HTTP: give the console a certificate (console.tls), or a proxy in console.trusted_proxies that encrypts and says X-Forwarded-Proto: https"}
}

// logoutForm ends the session that asks.
func (s *Server) logoutForm(q *request) error {
	if q.cookie != "" {
		s.sessions.end(q.cookie)
		s.entered(q, q.who, "operator.logout", "session")
		s.setCookie(q, "")
	}
	http.Redirect(q.w, q.Request, s.options.BasePath+"/login", http.StatusSeeOther)
	return nil
}

// look is one thing that a browser keeps of how pages look, under the name of its cookie.
type look struct {
	cookie, field string
	choices       []string // beside none, which is the usual
}

var (
	themeLook   = &look{"lapid-theme", "theme", []string{"light", "dark"}}
	densityLook = &look{"lapid-density", "density", []string{"compact"}}
)

// zoneCookie holds the name of a time zone.
const zoneCookie = "lapid-zone"

// lookOf is what a browser has chosen; "": nothing.
func lookOf(r *http.Request, l *look) string {
	if c, err := r.Cookie(l.cookie); err == nil && slices.Contains(l.choices, c.Value) {
		return c.Value
	}
	return ""
}

// zoneOf is the zone that a browser has chosen, else the server's.
func (s *Server) zoneOf(r *http.Request) *time.Location {
	if c, err := r.Cookie(zoneCookie); err == nil {
		if zone, err := namedZone(c.Value); err == nil {
			return zone
		}
	}
	if s.options.Zone != nil {
		return s.options.Zone
	}
	return time.UTC
}

// namedZone is one by its name, which is not that of the machine's own.
func namedZone(name string) (*time.Location, error) {
	if name != "" && name != "Local" && len(name) <= 64 {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone, nil
		}
	}
	return nil, bad(fmt.Sprintf("there is no time zone %.64q: give a name such as Europe/Berlin or UTC", name))
}

// looksForm keeps in the browser how pages look, so that the server writes them so from the start. What the form does not have
// stays.
func (s *Server) looksForm(q *request) error {
	if err := q.ParseForm(); err != nil {
		return bad("the form cannot be read: " + err.Error())
	}
	f := q.PostForm
	if zone := strings.TrimSpace(f.Get("zone")); zone != "" {
		if _, err := namedZone(zone); err != nil {
			return s.again(q, err, (*Server).settingsPage)
		}
		s.keepLook(q, zoneCookie, zone)
	} else if f.Has("zone") {
		s.keepLook(q, zoneCookie, "")
	}
	for _, l := range []*look{themeLook, densityLook} {
		if value := f.Get(l.field); slices.Contains(l.choices, value) {
			s.keepLook(q, l.cookie, value)
		} else if f.Has(l.field) {
			s.keepLook(q, l.cookie, "")
		}
	}
	http.Redirect(q.w, q.Request, s.options.BasePath+within(f.Get("back"), "/settings"), http.StatusSeeOther)
	return nil
}

// keepLook sets a cookie for a year, or takes it away.
func (s *Server) keepLook(q *request, name, value string) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: s.encrypted(q.Request), SameSite: http.SameSiteStrictMode, MaxAge: 365 * 24 * 3600}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(q.w, c)
}
