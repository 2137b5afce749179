package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// auditFields are what a page of the audit is narrowed by.
var auditFields = []string{"actor", "kind", "action", "target", "since", "before", "limit"}

// auditShown is a page of the audit.
type auditShown struct {
	Filter      map[string]string
	Chips       []chip
	Rows        []engine.AuditRow
	First, Next string
	Shown       string
	Spans       []string
	Own         bool   // only what who asks has done
	Refused     string // there is no audit
}

// AuditKind is the word for an actor's kind; templates ask for it.
func (*auditShown) AuditKind(k engine.ActorKind) string { return engine.AuditActorKind(k) }

// auditPage is who did what, the newest first. Who is no admin sees his own deeds.
func (s *Server) auditPage(q *request) error {
	w := q.words()
	_ = w.plain("said")
	query := engine.AuditQuery{Actor: w.plain("actor"), Kind: w.plain("kind"), Action: w.plain("action"), Target: w.plain("target")}
	if since := w.span("since"); since != 0 {
		query.Since = s.options.Engine.Now() - since
	}
	if text := w.plain("before"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 {
			w.wrong("before is the number of a row")
		}
		query.Before = n
	}
	limit := w.limit()
	if err := w.err(); err != nil {
		return err
	}
	parameters, filter, err := q.filters(auditFields)
	if err != nil {
		return err
	}
	d := auditShown{Filter: filter, Spans: []string{"1h", "24h", "7d", "30d"}, Own: q.who.Role < admins, Chips: s.chips("/audit", parameters, auditFields[:5])}
	if d.Own {
		query.Actor, query.Kind = q.who.Name, engine.AuditActorKind(engine.ActorNamedOperator)
	}
	err = q.auditRows(&query, limit+1, &d.Rows)
	if err != nil {
		d.Refused = err.Error()
	}
	if len(d.Rows) > limit {
		d.Rows = d.Rows[:limit]
		parameters.Set("before", fmt.Sprint(d.Rows[limit-1].Number))
		d.Next = s.link("/audit", parameters)
	}
	if query.Before != 0 {
		parameters.Del("before")
		d.First = s.link("/audit", parameters)
	}
	d.Shown = fmt.Sprintf("%s rows on this page", site.Count(len(d.Rows)))
	return s.page(q, "audit", "Audit", &d)
}

// healthShown is how the server itself is.
type healthShown struct {
	Engine   engine.Metrics
	Troubles []engine.Trouble
	Config   string // "": it is not told to who asks
	Up       int64
	Reloads  bool
}

func (s *Server) healthPage(q *request) error {
	ready, err := q.admin.Ready(q.Context())
	if err != nil {
		return err
	}
	d := healthShown{Engine: s.options.Engine.Metrics(), Troubles: ready.Troubles, Up: s.begun, Reloads: s.options.Reload != nil}
	if q.who.Role >= admins && s.options.Config != nil {
		var config any
		if err := s.call(q, "GET /admin/v1/config", asked{into: &config}); err != nil {
			return err
		}
		text, err := json.MarshalIndent(config, "", "  ")
		if err != nil {
			return err
		}
		d.Config = string(text)
	}
	return s.page(q, "health", "Health", &d)
}

// reloadForm has the configuration read again.
func (s *Server) reloadForm(q *request) error {
	if err := s.call(q, "POST /admin/v1/reload", asked{}); err != nil {
		return s.again(q, err, (*Server).healthPage)
	}
	return s.done(q, "/health-page", site.Notice{Text: "The configuration is read again; the log says what came of it."})
}

// settingsShown is what an operator sets: his own looks and sessions, and, of an admin, operators.
type settingsShown struct {
	Sessions  []sessionShown
	Operators []admin.OperatorObject
	Roles     []string
	Themes    [][2]string
	Zone      string // that this browser has chosen; "": none
	Form      url.Values
	Expiries  []string
}

func (s *Server) settingsPage(q *request) error {
	d := settingsShown{Roles: []string{"viewer", "operator", "admin"}, Themes: [][2]string{{"", "As the system has it"}, {"light", "Light"}, {"dark", "Dark"}}, Form: viewOf(q.Request).form, Expiries: []string{"30d", "90d", "365d", "never"}}
	if c, err := q.Cookie(zoneCookie); err == nil {
		d.Zone = c.Value
	}
	name := q.who.Name
	if q.who.Role >= admins {
		name = ""
		var list page[admin.OperatorObject]
		if err := s.call(q, "GET /admin/v1/operators", asked{into: &list}); err != nil {
			return err
		}
		d.Operators = list.Items
	}
	d.Sessions = s.sessions.list(name, q.cookie, s.options.Engine.View())
	return s.page(q, "settings", "Settings", &d)
}

// endSessionForm ends a session: one's own, or, of an admin, anybody's.
func (s *Server) endSessionForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	name := q.who.Name
	if q.who.Role >= admins {
		name = ""
	}
	if !s.sessions.endShown(name, f.Get("session")) {
		return s.again(q, &fault{http.StatusNotFound, "this session is over already, or not yours"}, (*Server).settingsPage)
	}
	s.entered(q, q.who, "operator.end_session", f.Get("session"))
	return s.done(q, "/settings", site.Notice{Text: "The session is ended."})
}

// addOperatorForm adds an operator, and shows a password that was made up, this once.
func (s *Server) addOperatorForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	var out struct{ Name, Password string }
	body := map[string]string{"name": strings.TrimSpace(f.Get("name")), "role": f.Get("role")}
	if err := s.call(q, "POST /admin/v1/operators", asked{body: body, into: &out}); err != nil {
		return s.again(q, err, (*Server).settingsPage)
	}
	return s.secret(q, "settings", &secretShown{"A new operator", out.Name, "The password", out.Password, "Hand it over by a way that others do not read. It cannot be shown again: only its hash is kept.", "/settings", false})
}

// editOperatorForm gives another role, or takes the right to log in away and gives it back.
func (s *Server) editOperatorForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	name, body, said := f.Get("name"), map[string]any{}, ""
	switch {
	case f.Get("disabled") != "":
		body["disabled"] = f.Get("disabled") == "yes"
		said = fmt.Sprintf("%s may log in again.", name)
		if f.Get("disabled") == "yes" {
			said = fmt.Sprintf("%s is disabled: sessions and tokens of it are refused.", name)
		}
	case f.Get("role") != "":
		body["role"] = f.Get("role")
		said = fmt.Sprintf("%s has the role %s now, and has to log in again.", name, f.Get("role"))
	}
	if err := s.call(q, "PATCH /admin/v1/operators/{name}", asked{path: map[string]string{"name": name}, body: body}); err != nil {
		return s.again(q, err, (*Server).settingsPage)
	}
	return s.done(q, "/settings", site.Notice{Text: said})
}

func (s *Server) deleteOperatorForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	if err := s.call(q, "DELETE /admin/v1/operators/{name}", asked{path: map[string]string{"name": f.Get("name")}}); err != nil {
		return s.again(q, err, (*Server).settingsPage)
	}
	return s.done(q, "/settings", site.Notice{Text: f.Get("name") + " is deleted, with all sessions and tokens."})
}

// addTokenForm makes a token and shows it, this once.
func (s *Server) addTokenForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	var out struct{ Token string }
	body := map[string]string{"comment": f.Get("comment"), "expires": strings.TrimSpace(f.Get("expires"))}
	if err := s.call(q, "POST /admin/v1/operators/{name}/tokens", asked{path: map[string]string{"name": f.Get("name")}, body: body, into: &out}); err != nil {
		return s.again(q, err, (*Server).settingsPage)
	}
	return s.secret(q, "settings", &secretShown{"A new token", f.Get("name"), "The token", out.Token, "Programs send it as Authorization: Bearer TOKEN. It cannot be shown again: only its hash is kept.", "/settings", false})
}

func (s *Server) revokeTokenForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	if err := s.call(q, "DELETE /admin/v1/operators/{name}/tokens/{id}", asked{path: map[string]string{"name": f.Get("name"), "id": f.Get("id")}}); err != nil {
		return s.again(q, err, (*Server).settingsPage)
	}
	return s.done(q, "/settings", site.Notice{Text: fmt.Sprintf("Token %s of %s is refused from now on.", f.Get("id"), f.Get("name"))})
}

// auditRows asks for rows of the audit.
func (q *request) auditRows(query *engine.AuditQuery, limit int, into *[]engine.AuditRow) error {
	for row, err := range q.admin.Audit(q.Context(), &admin.AuditRequest{Query: *query, Limit: limit}) {
		if err != nil {
			return err
		}
		*into = append(*into, *row)
	}
	return nil
}
