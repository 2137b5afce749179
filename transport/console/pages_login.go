package console

import (
	"errors"
	"net"
	"net/http"
	"strings"

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

// themeCookie holds light or dark; anything else is as the system has it.
const themeCookie = "lapid-theme"

func themeOf(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// looksForm keeps in the browser how pages look, so that the server writes them so from the start.
func (s *Server) looksForm(q *request) error {
	if err := q.ParseForm(); err != nil {
		return bad("the form cannot be read: " + err.Error())
	}
	theme := q.PostForm.Get("theme")
	c := &http.Cookie{Name: themeCookie, Value: theme, Path: "/", HttpOnly: true, Secure: s.encrypted(q.Request), SameSite: http.SameSiteStrictMode, MaxAge: 365 * 24 * 3600}
	if theme != "light" && theme != "dark" {
		c.Value, c.MaxAge = "", -1
	}
	http.SetCookie(q.w, c)
	http.Redirect(q.w, q.Request, s.options.BasePath+within(q.PostForm.Get("back"), "/settings"), http.StatusSeeOther)
	return nil
}
