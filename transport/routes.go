package transport

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"lapid/transport/conn"
)

// caller is who may ask.
type caller uint8

const (
	anyone  caller = iota
	bouncer        // an API key or a bouncer's certificate
	machine        // a token of a machine that exists
	session        // a token, whether or not its machine is still there
	either         // bouncer or machine, see quirks.go
)

// route is one line of the table.
type route struct {
	method  string
	path    string // the part in braces is one segment, the last
	who     caller
	body    *conn.BodyPlan
	missing int // status when required fields are missing
	handle  func(*Server, *exchange) error

	number int    // its line, for the counters
	label  string // path as dashboards know it
	prefix int    // length of the path before its parameter
}

// healthPath is the one line that looks at nothing.
const healthPath = "/health"

// loginPath is where machines show their password.
const loginPath = "/v1/watchers/login"

// table is the whole server.
func table() []route {
	return []route{
		{"GET", healthPath, anyone, &noneRead, 0, (*Server).health, 0, "", 0},

		{"POST", "/v1/watchers", anyone, &beforehand, 422, (*Server).register, 0, "", 0},
		{"POST", loginPath, anyone, &beforehand, 401, (*Server).login, 0, "", 0},
		{"DELETE", "/v1/watchers/self", session, &noneRead, 0, (*Server).unregister, 0, "", 0},
		{"GET", "/v1/refresh_token", anyone, &noneRead, 0, (*Server).refresh, 0, "", 0},
		{"GET", "/v1/heartbeat", machine, &noneRead, 0, (*Server).heartbeat, 0, "", 0},

		{"GET", "/v1/alerts", machine, &noneRead, 0, (*Server).findAlerts, 0, "", 0},
		{"HEAD", "/v1/alerts", machine, &noneRead, 0, (*Server).headAlerts, 0, "", 0},
		{"POST", "/v1/alerts", machine, &report, 500, (*Server).addAlerts, 0, "", 0},
		{"DELETE", "/v1/alerts", machine, &noneRead, 0, (*Server).deleteAlerts, 0, "", 0},
		{"GET", "/v1/alerts/{alert_id}", machine, &noneRead, 0, (*Server).getAlert, 0, "", 0},
		{"HEAD", "/v1/alerts/{alert_id}", machine, &noneRead, 0, (*Server).getAlert, 0, "", 0},
		{"DELETE", "/v1/alerts/{alert_id}", machine, &noneRead, 0, (*Server).deleteAlert, 0, "", 0},

		{"GET", "/v1/decisions", bouncer, &noneRead, 0, (*Server).findDecisions, 0, "", 0},
		{"HEAD", "/v1/decisions", bouncer, &noneRead, 0, (*Server).headDecisions, 0, "", 0},
		{"GET", "/v1/decisions/stream", bouncer, &noneRead, 0, (*Server).stream, 0, "", 0},
		{"HEAD", "/v1/decisions/stream", bouncer, &noneRead, 0, (*Server).headStream, 0, "", 0},
		{"DELETE", "/v1/decisions", machine, &noneRead, 0, (*Server).endDecisions, 0, "", 0},
		{"DELETE", "/v1/decisions/{decision_id}", machine, &noneRead, 0, (*Server).endDecision, 0, "", 0},

		{"GET", "/v1/allowlists", machine, &noneRead, 0, (*Server).listAllowlists, 0, "", 0},
		{"GET", "/v1/allowlists/{allowlist_name}", machine, &noneRead, 0, (*Server).getAllowlist, 0, "", 0},
		{"POST", "/v1/allowlists/check", machine, &report, 400, (*Server).checkMany, 0, "", 0},
		{"GET", "/v1/allowlists/check/{ip_or_range}", machine, &noneRead, 0, (*Server).check, 0, "", 0},
		{"HEAD", "/v1/allowlists/check/{ip_or_range}", machine, &noneRead, 0, (*Server).headCheck, 0, "", 0},

		{"POST", "/v1/usage-metrics", either, &report, 422, (*Server).usage, 0, "", 0},
	}
}

// methods in the order in which Allow names them.
var methods = []string{"GET", "HEAD", "POST", "DELETE"}

// unmatchedLabel is the route of requests that match no line of the table.
const unmatchedLabel = "invalid-endpoint"

// routes are the lines of the table, as they are looked for, and behind them one for
// each method, and one for all others, of what matches none. It is never changed.
type routes struct {
	lines     []route
	exact     map[string]map[string]*route // those without a parameter: method, path
	ending    map[string][]*route          // those whose last segment is one, by method
	hot       [conn.Changes + 1]*route     // those that loops answer, by kind
	unmatched map[string]*route            // by method; path is ""
}

func newRoutes() *routes {
	t := &routes{lines: table(), exact: map[string]map[string]*route{}, ending: map[string][]*route{}, unmatched: map[string]*route{}}
	others := append([]string{"PUT", "PATCH", "OPTIONS", "other"}, methods...)
	for _, m := range others {
		t.lines = append(t.lines, route{method: m, label: unmatchedLabel, body: &noneRead})
	}
	for i := range t.lines {
		l := &t.lines[i]
		l.number = i
		switch at := strings.IndexByte(l.path, '{'); {
		case l.path == "":
			t.unmatched[l.method] = l
			continue
		case at >= 0:
			l.prefix = at
			t.ending[l.method] = append(t.ending[l.method], l)
		default:
			l.prefix = len(l.path)
			if t.exact[l.method] == nil {
				t.exact[l.method] = map[string]*route{}
			}
			t.exact[l.method][l.path] = l
		}
		l.label = strings.NewReplacer("{", ":", "}", "").Replace(l.path)
	}
	t.hot[conn.Address], t.hot[conn.Changes] = t.line("GET", "/v1/decisions"), t.line("GET", "/v1/decisions/stream")
	return t
}

// line is one line of the table.
func (t *routes) line(method, path string) *route {
	l := t.exact[method][path]
	if l == nil {
		panic("BUG: no route " + method + " " + path)
	}
	return l
}

// find gives the line of a request. It does not allocate.
func (t *routes) find(r *conn.Request) *route {
	if l := t.hot[r.Kind]; l != nil {
		return l
	}
	if l := t.match(r.Method, r.Path); l != nil {
		return l
	}
	if l := t.unmatched[string(r.Method)]; l != nil {
		return l
	}
	return t.unmatched["other"]
}

// match gives the line of a method and a path; nil: there is none. A parameter is a
// segment that is not empty, as it came.
func (t *routes) match(method, path []byte) *route {
	if l := t.exact[string(method)][string(path)]; l != nil {
		return l
	}
	for _, l := range t.ending[string(method)] {
		if len(path) > l.prefix && string(path[:l.prefix]) == l.path[:l.prefix] && bytes.IndexByte(path[l.prefix:], '/') < 0 {
			return l
		}
	}
	return nil
}

// allowed lists the methods a path has.
func (t *routes) allowed(path []byte) string {
	var list []string
	for _, m := range methods {
		if t.match([]byte(m), path) != nil {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}

// everything is what OPTIONS asks about when it asks about the server.
const everything = "*"

// unmatched answers paths that are not in the table: a slash too many is
// redirected, a known path with another method is 405, the rest 404
// (http-api.md section 1). Nobody is asked for credentials, nothing has a body.
func (x *exchange) unmatched() error {
	r, a, t := x.request, x.answer, x.server.routes
	path := string(r.Path)
	switch {
	case r.Unreadable:
		a.Close()
		return &answer{http.StatusBadRequest, conn.TextBadHead}
	case brokenEscape(path):
		a.Close()
		return &answer{http.StatusBadRequest, "the path has a broken escape"}
	case path == everything && string(r.Method) == http.MethodOptions:
		return nil // 200 and nothing, as net/http says about the whole of a server
	}
	if n := len(path) - 1; n > 0 && path[n] == '/' && t.match(r.Method, r.Path[:n]) != nil {
		x.redirect(path[:n])
		return nil
	}
	if err := x.open(); err != nil {
		return err
	}
	if allowed := t.allowed(r.Path); allowed != "" {
		a.SetStatus(http.StatusMethodNotAllowed)
		a.SetHeader("Allow", allowed)
		return nil
	}
	a.SetStatus(http.StatusNotFound)
	return nil
}

// brokenEscape reports a percent sign without two digits behind it.
func brokenEscape(path string) bool {
	_, err := url.PathUnescape(path)
	return err != nil
}

// redirect sends the client to the path without its last slash, with the query
// it came with.
func (x *exchange) redirect(path string) {
	status := http.StatusTemporaryRedirect
	if string(x.request.Method) == http.MethodGet {
		status = http.StatusMovedPermanently
	}
	if query := x.request.Query; len(query) > 0 {
		path += "?" + string(query)
	}
	x.answer.SetStatus(status)
	x.answer.SetHeader("Location", path)
}
