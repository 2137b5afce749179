package shadow

import (
	"net/http"
	"net/url"
	"strings"
)

// kind is what a request is about, as far as comparing goes.
type kind int

const (
	plainKind    kind = iota // status, and the body byte for byte
	statusKind               // status alone
	accountKind              // logins and registrations: status and message, no bodies are kept
	streamKind               // GET of the stream
	liveKind                 // GET /v1/decisions
	alertsKind               // GET /v1/alerts
	alertKind                // GET /v1/alerts/N
	pushKind                 // POST /v1/alerts
	deletionKind             // DELETE of alerts or decisions
)

// route is one line of the contract's table.
type route struct {
	name  string // as in reports: method and path
	kind  kind
	write bool   // it changes something at the server
	ids   string // what the number at the end of the path counts: "alert", "decision" or ""
}

// machine tells whether the contract lets nobody but machines in.
func (r *route) machine() bool {
	switch r.name {
	case "GET /v1/heartbeat", "DELETE /v1/watchers/self", "DELETE /v1/decisions", "DELETE /v1/decisions/{}":
		return true
	}
	return strings.Contains(r.name, "/v1/alerts") || strings.Contains(r.name, "/v1/allowlists")
}

// unmatched is every request that no line has.
var unmatched = &route{name: "unmatched", kind: plainKind}

// table is every route by method and path; {} stands for the last segment.
var table = map[string]*route{}

func init() {
	for _, r := range []route{
		{"GET /health", plainKind, false, ""},
		{"POST /v1/watchers", accountKind, true, ""},
		{"POST /v1/watchers/login", accountKind, true, ""},
		{"DELETE /v1/watchers/self", statusKind, true, ""},
		{"GET /v1/refresh_token", accountKind, true, ""},
		{"GET /v1/heartbeat", statusKind, true, ""},
		{"GET /v1/alerts", alertsKind, false, ""},
		{"HEAD /v1/alerts", statusKind, false, ""},
		{"POST /v1/alerts", pushKind, true, ""},
		{"DELETE /v1/alerts", deletionKind, true, ""},
		{"GET /v1/alerts/{}", alertKind, false, "alert"},
		{"HEAD /v1/alerts/{}", statusKind, false, "alert"},
		{"DELETE /v1/alerts/{}", deletionKind, true, "alert"},
		{"GET /v1/decisions", liveKind, false, ""},
		{"HEAD /v1/decisions", statusKind, false, ""},
		{"DELETE /v1/decisions", deletionKind, true, ""},
		{"DELETE /v1/decisions/{}", deletionKind, true, "decision"},
		{"GET /v1/decisions/stream", streamKind, false, ""},
		{"HEAD /v1/decisions/stream", statusKind, false, ""},
		{"GET /v1/allowlists", plainKind, false, ""},
		{"GET /v1/allowlists/{}", plainKind, false, ""},
		{"POST /v1/allowlists/check", plainKind, false, ""},
		{"GET /v1/allowlists/check/{}", plainKind, false, ""},
		{"HEAD /v1/allowlists/check/{}", statusKind, false, ""},
		{"POST /v1/usage-metrics", statusKind, true, ""},
	} {
		table[r.name] = &r
	}
}

// routeOf finds the line of a request, whose target is a path with or without a query.
func routeOf(method, target string) *route {
	path, _, _ := strings.Cut(target, "?")
	if r := table[method+" "+path]; r != nil {
		return r
	}
	if at := strings.LastIndexByte(path, '/'); at > 0 && at < len(path)-1 {
		if r := table[method+" "+path[:at]+"/{}"]; r != nil {
			return r
		}
	}
	return unmatched
}

// targetOf is what the client asked for, byte for byte, in the form a server gets it.
func targetOf(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // the form for proxies, with a host before it
}

// urlOf has net/http send a target as it is. One that begins with two slashes would be taken for
// a host; of that the path is escaped anew, which is the same for what it was parsed from.
func urlOf(base *url.URL, target string) (*url.URL, error) {
	if !strings.HasPrefix(target, "//") {
		return &url.URL{Scheme: base.Scheme, Host: base.Host, Opaque: target}, nil
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host = base.Scheme, base.Host
	return u, nil
}
