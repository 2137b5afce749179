package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/console/site"
)

// sitePages are the pages of the console and what their forms send. They hold no truth of their own:
// what they show and do is asked of the routes of the API (Server.call), with the same rights.
// What only reads is a GET whose address says all of what is seen; what changes something is a POST,
// answered by a page that says what was done.
var sitePages = []route{
	{method: "GET", path: "/{$}", role: viewer, answer: (*Server).overviewPage},
	{method: "POST", path: "/login", role: anybody, answer: (*Server).loginForm, secret: true},
	{method: "POST", path: "/logout", role: viewer, answer: (*Server).logoutForm},
	{method: "POST", path: "/looks", role: viewer, answer: (*Server).looksForm},
	{method: "POST", path: "/attention/silence", role: operator, answer: (*Server).silenceForm},
	{method: "POST", path: "/attention/tell", role: operator, answer: (*Server).tellForm},
	{method: "POST", path: "/looks/columns", role: viewer, answer: (*Server).columnsForm},

	{method: "GET", path: "/activity", role: viewer, answer: (*Server).activityPage},
	{method: "GET", path: "/decisions", role: viewer, answer: (*Server).decisionsPage},
	{method: "GET", path: "/decisions/add", role: operator, answer: (*Server).newDecisionPage},
	{method: "POST", path: "/decisions/add", role: operator, answer: (*Server).addDecisionForm, writes: true, asks: "POST /admin/v1/decisions"},
	{method: "GET", path: "/decisions/import", role: operator, answer: (*Server).importPage},
	{method: "POST", path: "/decisions/import", role: operator, answer: (*Server).tryImportForm, writes: true, large: true, asks: "POST /admin/v1/decisions/import/list"},
	{method: "POST", path: "/decisions/import/do", role: operator, answer: (*Server).importForm, writes: true, large: true, asks: "POST /admin/v1/decisions/import/list"},
	{method: "POST", path: "/decisions/import/undo", role: operator, answer: (*Server).undoImportForm, writes: true, asks: "DELETE /admin/v1/decisions"},
	{method: "POST", path: "/decisions/end", role: operator, answer: (*Server).endDecisionsForm, writes: true, asks: "DELETE /admin/v1/decisions/{id}"},
	{method: "GET", path: "/decisions/end-matching", role: operator, answer: (*Server).endMatchingPage},
	{method: "POST", path: "/decisions/end-matching", role: operator, answer: (*Server).endMatchingForm, writes: true, asks: "DELETE /admin/v1/decisions"},
	{method: "GET", path: "/decisions/export", role: viewer, answer: (*Server).exportDecisions, long: true},
	{method: "POST", path: "/decisions/extend", role: operator, answer: (*Server).extendDecisionForm, writes: true, asks: "POST /admin/v1/decisions/extend"},
	{method: "POST", path: "/decisions/restore", role: operator, answer: (*Server).restoreDecisionsForm, writes: true, asks: "POST /admin/v1/decisions/restore"},
	{method: "GET", path: "/decisions/{id}", role: viewer, answer: (*Server).decisionPage},

	{method: "GET", path: "/alerts", role: viewer, answer: (*Server).alertsPage},
	{method: "GET", path: "/alerts/delete-matching", role: operator, answer: (*Server).deleteMatchingPage},
	{method: "POST", path: "/alerts/delete-matching", role: operator, answer: (*Server).deleteMatchingForm, writes: true, asks: "DELETE /admin/v1/alerts"},
	{method: "GET", path: "/alerts/export", role: viewer, answer: (*Server).exportAlerts, long: true},
	{method: "GET", path: "/alerts/{id}", role: viewer, answer: (*Server).alertPage},
	{method: "POST", path: "/alerts/{id}/delete", role: operator, answer: (*Server).deleteAlertForm, writes: true, asks: "DELETE /admin/v1/alerts/{id}"},
	{method: "GET", path: "/why", role: viewer, answer: (*Server).whyPage},

	{method: "GET", path: "/bouncers", role: viewer, answer: (*Server).bouncersPage},
	{method: "POST", path: "/bouncers/add", role: admins, answer: (*Server).addBouncerForm, writes: true, secret: true, asks: "POST /admin/v1/bouncers"},
	{method: "POST", path: "/bouncers/rotate", role: admins, answer: (*Server).rotateBouncerForm, writes: true, secret: true, asks: "POST /admin/v1/bouncers/{name}/rotate"},
	{method: "POST", path: "/bouncers/edit", role: admins, answer: (*Server).editBouncerForm, writes: true, asks: "PATCH /admin/v1/bouncers/{name}"},
	{method: "POST", path: "/bouncers/prune", role: admins, answer: (*Server).pruneBouncersForm, writes: true, asks: "POST /admin/v1/bouncers/prune"},
	{method: "POST", path: "/bouncers/delete", role: admins, answer: (*Server).deleteBouncerForm, writes: true, asks: "DELETE /admin/v1/bouncers/{name}"},
	{method: "GET", path: "/bouncers/{name}", role: viewer, answer: (*Server).bouncerPage},
	{method: "GET", path: "/machines", role: viewer, answer: (*Server).machinesPage},
	{method: "POST", path: "/machines/add", role: admins, answer: (*Server).addMachineForm, writes: true, secret: true, asks: "POST /admin/v1/machines"},
	{method: "POST", path: "/machines/validate", role: admins, answer: (*Server).validateMachineForm, writes: true, asks: "POST /admin/v1/machines/{name}/validate"},
	{method: "POST", path: "/machines/prune", role: admins, answer: (*Server).pruneMachinesForm, writes: true, asks: "POST /admin/v1/machines/prune"},
	{method: "POST", path: "/machines/delete", role: admins, answer: (*Server).deleteMachineForm, writes: true, asks: "DELETE /admin/v1/machines/{name}"},

	{method: "GET", path: "/allowlists", role: viewer, answer: (*Server).allowlistsPage},
	{method: "POST", path: "/allowlists/create", role: admins, answer: (*Server).createAllowlistForm, writes: true, asks: "POST /admin/v1/allowlists"},
	{method: "POST", path: "/allowlists/delete", role: admins, answer: (*Server).deleteAllowlistForm, writes: true, asks: "DELETE /admin/v1/allowlists/{name}"},
	{method: "GET", path: "/allowlists/{name}", role: viewer, answer: (*Server).allowlistPage},
	{method: "POST", path: "/allowlists/items/add", role: operator, answer: (*Server).addItemsForm, writes: true, asks: "POST /admin/v1/allowlists/{name}/items"},
	{method: "POST", path: "/allowlists/items/remove", role: operator, answer: (*Server).removeItemsForm, writes: true, asks: "DELETE /admin/v1/allowlists/{name}/items"},

	{method: "GET", path: "/audit", role: viewer, answer: (*Server).auditPage},
	{method: "GET", path: "/exports", role: viewer, answer: (*Server).exportsPage},
	{method: "POST", path: "/exports/add", role: admins, answer: (*Server).addExportForm, writes: true, secret: true, asks: "POST /admin/v1/exports"},
	{method: "POST", path: "/exports/edit", role: admins, answer: (*Server).editExportForm, writes: true, secret: true, asks: "PATCH /admin/v1/exports/{name}"},
	{method: "POST", path: "/exports/rotate", role: admins, answer: (*Server).rotateExportForm, writes: true, secret: true, asks: "POST /admin/v1/exports/{name}/rotate"},
	{method: "POST", path: "/exports/delete", role: admins, answer: (*Server).deleteExportForm, writes: true, asks: "DELETE /admin/v1/exports/{name}"},
	{method: "GET", path: "/exports/{name}", role: viewer, answer: (*Server).exportPage},
	{method: "GET", path: "/health-page", role: viewer, answer: (*Server).healthPage},
	{method: "POST", path: "/health-page/reload", role: admins, answer: (*Server).reloadForm, writes: true, asks: "POST /admin/v1/reload"},
	{method: "POST", path: "/health-page/secret", role: admins, answer: (*Server).rotateSecretForm, writes: true, asks: "POST /admin/v1/secret/rotate"},

	{method: "GET", path: "/cluster", role: viewer, answer: (*Server).clusterPage},

	{method: "GET", path: "/settings", role: viewer, answer: (*Server).settingsPage},
	{method: "POST", path: "/settings/sessions/end", role: viewer, answer: (*Server).endSessionForm},
	{method: "POST", path: "/settings/operators/add", role: admins, answer: (*Server).addOperatorForm, writes: true, secret: true, asks: "POST /admin/v1/operators"},
	{method: "POST", path: "/settings/operators/edit", role: admins, answer: (*Server).editOperatorForm, writes: true, asks: "PATCH /admin/v1/operators/{name}"},
	{method: "POST", path: "/settings/operators/delete", role: admins, answer: (*Server).deleteOperatorForm, writes: true, asks: "DELETE /admin/v1/operators/{name}"},
	{method: "POST", path: "/settings/tokens/add", role: admins, answer: (*Server).addTokenForm, writes: true, secret: true, asks: "POST /admin/v1/operators/{name}/tokens"},
	{method: "POST", path: "/settings/tokens/revoke", role: admins, answer: (*Server).revokeTokenForm, writes: true, asks: "DELETE /admin/v1/operators/{name}/tokens/{id}"},
}

// view is what is known of a page while its request is answered.
type view struct {
	server  *Server
	who     *engine.Operator // nil until it is known
	status  int              // 0: 200
	notices []site.Notice
	form    url.Values // what was sent and could not be done, to be shown again
}

// viewKey is where a request for a page has its view.
type viewKey struct{}

// viewOf is nil for what is no page.
func viewOf(r *http.Request) *view {
	v, _ := r.Context().Value(viewKey{}).(*view)
	return v
}

// asPage notes that failures of a request are to be pages too, where it asks for one.
func (s *Server) asPage(r *http.Request) *http.Request {
	for _, other := range []string{"/admin/", "/assets/", "/events", "/openapi."} {
		if strings.HasPrefix(r.URL.Path, s.options.BasePath+other) {
			return r
		}
	}
	return r.WithContext(context.WithValue(r.Context(), viewKey{}, &view{server: s}))
}

// asset gives a file to a browser, which keeps it: another content has another name.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	a := site.Find(r.PathValue("name"))
	if a == nil {
		refuse(w, r, &fault{http.StatusNotFound, "there is no such file"})
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.Type)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.Body
	if packs(r.Header.Values("Accept-Encoding")) {
		body = a.Gzip
		h.Set("Content-Encoding", "gzip")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyWithin))
	_, _ = w.Write(body)
}

// page answers with a page. name is its template.
func (s *Server) page(q *request, name, title string, data any) error {
	return s.show(q.w, q.Request, q.who, &site.Page{Name: name, Title: title, Data: data})
}

// show writes a page with its frame.
func (s *Server) show(w http.ResponseWriter, r *http.Request, who *engine.Operator, p *site.Page) error {
	v := viewOf(r)
	now := s.options.Engine.Now()
	p.Theme, p.Density, p.Zone, p.Now, p.Here = lookOf(r, themeLook), lookOf(r, densityLook), s.zoneOf(r), time.Unix(0, now), s.here(r)
	p.Cluster = s.clustered()
	p.Version, p.ReadOnly, p.Revision = s.version, s.options.ReadOnly, uint64(s.options.Engine.View().Revision())
	p.Notices = append(v.notices, p.Notices...)
	if who != nil {
		p.Who, p.Role = who.Name, who.Role.String()
		p.Operates, p.Admin = !p.ReadOnly && who.Role >= operator, !p.ReadOnly && who.Role >= admins
		p.Live = true
		if n, ok := s.notices.take(who.Name, r.URL.Query().Get("said")); ok {
			p.Notices = append(p.Notices, n)
		}
	}
	text, err := s.site.Render(p)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(max(v.status, http.StatusOK))
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // it fails when the client has gone away
	}
	return nil
}

// here is the address of a page, to come back to: of a form, the page that it was on.
func (s *Server) here(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		q := r.URL.Query()
		q.Del("said")
		here := strings.TrimPrefix(r.URL.Path, s.options.BasePath)
		if len(q) > 0 {
			here += "?" + q.Encode()
		}
		return here
	}
	return within(r.PostForm.Get("back"), "/") // of a form that was read; what is refused is not read for this
}

// within is a path of this console that a request names, or another when it names none: nobody is
// sent elsewhere by a link or a form.
func within(path, otherwise string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return otherwise
	}
	if u, err := url.Parse(path); err != nil || u.Host != "" || u.Scheme != "" {
		return otherwise
	}
	return path
}

// failure answers with a page for what was refused. Strangers are sent to the login.
func (v *view) failure(w http.ResponseWriter, r *http.Request, status int, detail string) {
	s := v.server
	if status == http.StatusUnauthorized && r.Method == http.MethodGet && r.Header.Get("Hx-Request") == "" {
		w.Header().Del("WWW-Authenticate") // a browser would ask by itself
		to := s.options.BasePath + "/login"
		if here := s.here(r); here != "/" && here != "/login" {
			to += "?" + url.Values{"next": {here}}.Encode()
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	v.status = status
	if c, err := r.Cookie(s.cookieName(r)); err == nil && v.who == nil && status != http.StatusUnauthorized {
		v.who = s.sessions.watcher(c.Value, s.options.Engine.View()) // of a path that is no route
	}
	p := &site.Page{Name: "failure", Title: http.StatusText(status), At: "-", Data: map[string]any{"Status": status, "Detail": detail, "Request": w.Header().Get(requestID)}}
	if v.who == nil {
		w.Header().Del("WWW-Authenticate")
		v.notices = append(v.notices, site.Notice{Text: detail, Bad: true})
		p = &site.Page{Name: "login", Title: "Log in", Data: loginShown{Next: s.here(r)}}
	}
	if err := s.show(w, r, v.who, p); err != nil {
		s.log.Error("a page of the console cannot be shown", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// again shows the page that a form was on, with what was sent and why it could not be done.
func (s *Server) again(q *request, err error, page func(*Server, *request) error) error {
	v := viewOf(q.Request)
	status, detail := statusOf(err)
	v.status, v.form = status, q.PostForm
	v.notices = append(v.notices, site.Notice{Text: detail, Bad: true})
	return page(s, q)
}

// done sends the browser to a page that says what was done, so that a reload does nothing again.
func (s *Server) done(q *request, otherwise string, n site.Notice) error {
	to := within(q.PostForm.Get("back"), otherwise)
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	parameters := u.Query()
	parameters.Set("said", s.notices.keep(q.who.Name, n))
	u.RawQuery = parameters.Encode()
	http.Redirect(q.w, q.Request, s.options.BasePath+u.String(), http.StatusSeeOther)
	return nil
}

// asked is what a page asks of a route of the API.
type asked struct {
	path  map[string]string // values in the path
	query url.Values
	match string // the ETag of what is changed, without its quotes; "": whatever it is
	body  any    // nil: none
	into  any    // the answer's JSON; nil: it is not looked at
}

// call asks a route of the API, by its method and path as they stand in routes, as who asks for the page.
// The route's role and read_only hold, and its error is returned.
func (s *Server) call(q *request, line string, a asked) error {
	route := apiRoutes()[line]
	if route == nil {
		return fmt.Errorf("there is no route %s", line)
	}
	if err := s.permit(q, route); err != nil {
		return err
	}
	method, path, _ := strings.Cut(line, " ")
	r := q.Clone(q.Context())
	r.Method, r.URL, r.Body, r.Header = method, &url.URL{Path: path, RawQuery: a.query.Encode()}, http.NoBody, http.Header{}
	if a.body != nil {
		text, err := json.Marshal(a.body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(text))
	}
	if a.match != "" {
		r.Header.Set("If-Match", `"`+a.match+`"`)
	}
	for name, value := range a.path {
		r.SetPathValue(name, value)
	}
	w := &noted{head: http.Header{}}
	if err := route.answer(s, &request{Request: r, w: w, who: q.who, cookie: q.cookie, token: q.token, address: q.address, admin: q.admin}); err != nil {
		return err
	}
	if a.into == nil {
		return nil
	}
	return json.Unmarshal(w.body.Bytes(), a.into)
}

// apiRoutes are the routes by method and path. It is made when it is asked for first: routes refers to pages.
var apiRoutes = sync.OnceValue(func() map[string]*route {
	all := map[string]*route{}
	for i := range routes {
		all[routes[i].method+" "+routes[i].path] = &routes[i]
	}
	return all
})

// noted is an answer that stays here.
type noted struct {
	head http.Header
	body bytes.Buffer
}

func (n *noted) Header() http.Header         { return n.head }
func (n *noted) WriteHeader(int)             {}
func (n *noted) Write(b []byte) (int, error) { return n.body.Write(b) }

// notices are what the last writes of each operator have done, until the page that says it is asked for: of
// an operator the last noticesOfOne, of so many operators at most. A secret is never among them.
type notices struct {
	mu   sync.Mutex
	next uint64
	of   map[string][]keptNotice
}

type keptNotice struct {
	id string
	site.Notice
}

const (
	noticesOfOne  = 8
	mostAddressed = 256
)

// keep notes one and returns what it is asked for by.
func (n *notices) keep(who string, one site.Notice) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil || len(n.of) >= mostAddressed && n.of[who] == nil {
		n.of = map[string][]keptNotice{}
	}
	n.next++
	id := fmt.Sprint(n.next)
	list := append(n.of[who], keptNotice{id, one})
	n.of[who] = list[max(len(list)-noticesOfOne, 0):]
	return id
}

// take finds one of an operator. It stays, for a page may be asked for twice.
func (n *notices) take(who, id string) (site.Notice, bool) {
	if id == "" {
		return site.Notice{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, one := range n.of[who] {
		if one.id == id {
			return one.Notice, true
		}
	}
	return site.Notice{}, false
}
