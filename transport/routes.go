package transport

import (
	"net/url"
	"strings"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"
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

// Body limits, on the inflated bytes (http-api.md section 1).
const (
	noBody    = 0
	smallBody = 2 << 20  // before credentials are known
	largeBody = 50 << 20 // from whom we know
)

// route is one line of the table.
type route struct {
	method  string
	path    string // as the router wants it; the part in braces is one segment
	who     caller
	body    int // limit in bytes; noBody: never read
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
		{"GET", healthPath, anyone, noBody, 0, (*Server).health, 0, "", 0},

		{"POST", "/v1/watchers", anyone, smallBody, 422, (*Server).register, 0, "", 0},
		{"POST", loginPath, anyone, smallBody, 401, (*Server).login, 0, "", 0},
		{"DELETE", "/v1/watchers/self", session, noBody, 0, (*Server).unregister, 0, "", 0},
		{"GET", "/v1/refresh_token", anyone, noBody, 0, (*Server).refresh, 0, "", 0},
		{"GET", "/v1/heartbeat", machine, noBody, 0, (*Server).heartbeat, 0, "", 0},

		{"GET", "/v1/alerts", machine, noBody, 0, (*Server).findAlerts, 0, "", 0},
		{"HEAD", "/v1/alerts", machine, noBody, 0, (*Server).headAlerts, 0, "", 0},
		{"POST", "/v1/alerts", machine, largeBody, 500, (*Server).addAlerts, 0, "", 0},
		{"DELETE", "/v1/alerts", machine, noBody, 0, (*Server).deleteAlerts, 0, "", 0},
		{"GET", "/v1/alerts/{alert_id}", machine, noBody, 0, (*Server).getAlert, 0, "", 0},
		{"HEAD", "/v1/alerts/{alert_id}", machine, noBody, 0, (*Server).getAlert, 0, "", 0},
		{"DELETE", "/v1/alerts/{alert_id}", machine, noBody, 0, (*Server).deleteAlert, 0, "", 0},

		{"GET", "/v1/decisions", bouncer, noBody, 0, (*Server).findDecisions, 0, "", 0},
		{"HEAD", "/v1/decisions", bouncer, noBody, 0, (*Server).headDecisions, 0, "", 0},
		{"GET", "/v1/decisions/stream", bouncer, noBody, 0, (*Server).stream, 0, "", 0},
		{"HEAD", "/v1/decisions/stream", bouncer, noBody, 0, (*Server).headStream, 0, "", 0},
		{"DELETE", "/v1/decisions", machine, noBody, 0, (*Server).endDecisions, 0, "", 0},
		{"DELETE", "/v1/decisions/{decision_id}", machine, noBody, 0, (*Server).endDecision, 0, "", 0},

		{"GET", "/v1/allowlists", machine, noBody, 0, (*Server).listAllowlists, 0, "", 0},
		{"GET", "/v1/allowlists/{allowlist_name}", machine, noBody, 0, (*Server).getAllowlist, 0, "", 0},
		{"POST", "/v1/allowlists/check", machine, largeBody, 400, (*Server).checkMany, 0, "", 0},
		{"GET", "/v1/allowlists/check/{ip_or_range}", machine, noBody, 0, (*Server).check, 0, "", 0},
		{"HEAD", "/v1/allowlists/check/{ip_or_range}", machine, noBody, 0, (*Server).headCheck, 0, "", 0},

		{"POST", "/v1/usage-metrics", either, largeBody, 422, (*Server).usage, 0, "", 0},
	}
}

// line is one line of the table.
func (s *Server) line(method, path string) *route {
	for i := range s.routes {
		if l := &s.routes[i]; l.method == method && l.path == path {
			return l
		}
	}
	panic("BUG: no route " + method + " " + path)
}

// methods in the order in which Allow names them.
var methods = []string{"GET", "HEAD", "POST", "DELETE"}

// newRouter puts the table into a router. Whatever the router would do by
// itself about paths that do not match is ours (unmatched).
func (s *Server) newRouter() *router.Router {
	r := router.New()
	r.RedirectTrailingSlash = false
	r.RedirectFixedPath = false
	r.HandleMethodNotAllowed = false
	r.HandleOPTIONS = false
	r.NotFound = s.unmatched
	for i := range s.routes {
		line := &s.routes[i]
		line.number = i
		line.label = strings.NewReplacer("{", ":", "}", "").Replace(line.path)
		line.prefix = len(line.path)
		if at := strings.IndexByte(line.path, '{'); at >= 0 {
			line.prefix = at
		}
		r.Handle(line.method, line.path, func(ctx *fasthttp.RequestCtx) { s.serve(ctx, line) })
	}
	return r
}

// unmatched answers paths that are not in the table: a slash too many is
// redirected, a known path with another method is 405, the rest 404
// (http-api.md section 1). Nobody is asked for credentials, nothing has a body.
func (s *Server) unmatched(ctx *fasthttp.RequestCtx) {
	path, method := string(ctx.URI().PathOriginal()), string(ctx.Method())
	x := s.begin(ctx, s.stray(method))
	defer s.finish(x)
	switch {
	case path == refusedURI, brokenEscape(path):
		text := textBadHead
		if path != refusedURI {
			text = "the path has a broken escape"
		}
		s.refuse(x, &answer{fasthttp.StatusBadRequest, text})
		ctx.SetConnectionClose()
		return
	case path == everything && method == fasthttp.MethodOptions:
		return // 200 and nothing, as net/http says about the whole of a server
	}
	if len(path) > 1 && path[len(path)-1] == '/' && s.has(method, path[:len(path)-1]) {
		redirect(ctx, path[:len(path)-1])
		return
	}
	if err := x.open(s); err != nil {
		s.refuse(x, err)
		return
	}
	switch allowed := s.allowed(path); {
	case allowed != "":
		ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
		ctx.Response.Header.Set(fasthttp.HeaderAllow, allowed)
	default:
		ctx.SetStatusCode(fasthttp.StatusNotFound)
	}
}

// brokenEscape reports a percent sign without two digits behind it.
func brokenEscape(path string) bool {
	_, err := url.PathUnescape(path)
	return err != nil
}

// has reports whether the table has a line for a method and a path.
func (s *Server) has(method, path string) bool {
	handler, _ := s.router.Lookup(method, path, nil)
	return handler != nil
}

// allowed lists the methods a path has.
func (s *Server) allowed(path string) string {
	var list []string
	for _, m := range methods {
		if s.has(m, path) {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}

// redirect sends the client to the path without its last slash, with the query
// it came with.
func redirect(ctx *fasthttp.RequestCtx, path string) {
	status := fasthttp.StatusTemporaryRedirect
	if ctx.IsGet() {
		status = fasthttp.StatusMovedPermanently
	}
	if query := ctx.URI().QueryString(); len(query) > 0 {
		path += "?" + string(query)
	}
	ctx.SetStatusCode(status)
	ctx.Response.Header.Set(fasthttp.HeaderLocation, path)
}
