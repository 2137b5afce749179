package transport

import (
	"strings"

	"lapid/transport/conn"
)

// tableLine is one line of the table and what answers it.
type tableLine struct {
	route
	handle handler
}

// handler answers a request whose caller was let in.
type handler func(*exchange) error

// table is the whole server.
func table(c *core) []tableLine {
	accounts, alerts, decisions := accounts{c}, alerts{c}, decisions{c}
	polls, lists, usage, exports, doors := polls{c}, allowlists{c}, usage{c}, exports{c}, doors{c}
	lines := append([]tableLine{
		{route{"GET", healthPath, anyone, &noneRead, 0, 0, "", 0}, isUp},

		{route{"POST", "/v1/watchers", anyone, &beforehand, 422, 0, "", 0}, c.writes(accounts.register, accounts.mayRegister)},
		{route{"POST", loginPath, anyone, &beforehand, 401, 0, "", 0}, accounts.login},
		{route{"DELETE", "/v1/watchers/self", session, &noneRead, 0, 0, "", 0}, c.writes(accounts.unregister, nil)},
		{route{"GET", "/v1/refresh_token", anyone, &noneRead, 0, 0, "", 0}, accounts.refresh},
		{route{"GET", "/v1/heartbeat", machine, &noneRead, 0, 0, "", 0}, accounts.heartbeat},

		{route{"GET", "/v1/alerts", machine, &noneRead, 0, 0, "", 0}, c.confirmed(alerts.find)},
		{route{"HEAD", "/v1/alerts", machine, &noneRead, 0, 0, "", 0}, c.confirmed(alerts.head)},
		{route{"POST", "/v1/alerts", machine, &report, 500, 0, "", 0}, c.writes(alerts.add, nil)},
		{route{"DELETE", "/v1/alerts", machine, &noneRead, 0, 0, "", 0}, c.writes(alerts.deleteMany, nil)},
		{route{"GET", "/v1/alerts/{alert_id}", machine, &noneRead, 0, 0, "", 0}, c.confirmed(alerts.get)},
		{route{"HEAD", "/v1/alerts/{alert_id}", machine, &noneRead, 0, 0, "", 0}, c.confirmed(alerts.get)},
		{route{"DELETE", "/v1/alerts/{alert_id}", machine, &noneRead, 0, 0, "", 0}, c.writes(alerts.deleteOne, nil)},

		{route{"GET", "/v1/decisions", bouncer, &noneRead, 0, 0, "", 0}, decisions.find},
		{route{"HEAD", "/v1/decisions", bouncer, &noneRead, 0, 0, "", 0}, decisions.head},
		{route{"GET", "/v1/decisions/stream", bouncer, &noneRead, 0, 0, "", 0}, polls.stream},
		{route{"HEAD", "/v1/decisions/stream", bouncer, &noneRead, 0, 0, "", 0}, polls.head},
		{route{"DELETE", "/v1/decisions", machine, &noneRead, 0, 0, "", 0}, c.writes(decisions.endMany, nil)},
		{route{"DELETE", "/v1/decisions/{decision_id}", machine, &noneRead, 0, 0, "", 0}, c.writes(decisions.endOne, nil)},

		{route{"GET", "/v1/allowlists", machine, &noneRead, 0, 0, "", 0}, c.confirmed(lists.all)},
		{route{"GET", "/v1/allowlists/{allowlist_name}", machine, &noneRead, 0, 0, "", 0}, c.confirmed(lists.get)},
		{route{"POST", "/v1/allowlists/check", machine, &report, 400, 0, "", 0}, c.confirmed(lists.checkMany)},
		{route{"GET", "/v1/allowlists/check/{ip_or_range}", machine, &noneRead, 0, 0, "", 0}, c.confirmed(lists.check)},
		{route{"HEAD", "/v1/allowlists/check/{ip_or_range}", machine, &noneRead, 0, 0, "", 0}, c.confirmed(lists.headCheck)},

		{route{"GET", exportsPath, anyone, &noneRead, 0, 0, "", 0}, exports.get},
		{route{"HEAD", exportsPath, anyone, &noneRead, 0, 0, "", 0}, exports.get},

		{route{"GET", doorPath, proxy, &noneRead, 0, 0, "", 0}, doors.ask},
		{route{anyMethod, doorPath, proxy, &noneRead, 0, 0, "", 0}, doors.ask},

		{route{"POST", "/v1/usage-metrics", either, &report, 422, 0, "", 0}, c.writes(usage.add, nil)},
	}, descriptions{c}.lines()...)
	if c.options.RelayAge != nil {
		return relayed(lines)
	}
	return lines
}

// methods in the order in which Allow names them.
var methods = []string{"GET", "HEAD", "POST", "DELETE"}

// routes are the lines of the table, as they are looked for, and behind them one for
// each method, and one for all others, of what matches none. It is never changed.
type routes struct {
	lines     []tableLine
	hot       [conn.Kinds]*tableLine // those that loops answer, by kind
	unmatched map[string]*tableLine  // by method; path is ""
}

func newRoutes(c *core) *routes {
	t := &routes{lines: table(c), unmatched: map[string]*tableLine{}}
	others := append([]string{"PUT", "PATCH", "OPTIONS", "other"}, methods...)
	for _, m := range others {
		t.lines = append(t.lines, tableLine{route{method: m, label: unmatchedLabel, body: &noneRead}, nil})
	}
	for i := range t.lines {
		l := &t.lines[i]
		l.number = i
		if l.path == "" {
			t.unmatched[l.method] = l
			continue
		}
		l.prefix = len(l.path)
		if at := strings.IndexByte(l.path, '{'); at >= 0 {
			l.prefix = at
		}
		l.label = strings.NewReplacer("{", ":", "}", "").Replace(l.path)
	}
	t.hot[conn.Address], t.hot[conn.Changes] = t.line("GET", "/v1/decisions"), t.line("GET", "/v1/decisions/stream")
	t.hot[conn.List], t.hot[conn.Verdict] = t.line("GET", exportsPath), t.line("GET", doorPath)
	return t
}

// line is one line of the table.
func (t *routes) line(method, path string) *tableLine {
	for i := range t.lines {
		if l := &t.lines[i]; l.method == method && l.path == path {
			return l
		}
	}
	panic("BUG: no route " + method + " " + path)
}

// named are the lines of the table, as requests are led to them.
func (t *routes) named() (list []conn.Route) {
	for i := range t.lines {
		if l := &t.lines[i]; l.path != "" {
			list = append(list, conn.Route{Method: l.method, Path: l.path})
		}
	}
	return list
}

// find gives the line of a request. It does not allocate.
func (t *routes) find(r *conn.Request) *tableLine {
	if l := t.hot[r.Kind]; l != nil {
		return l
	}
	if r.Line >= 0 {
		return &t.lines[r.Line]
	}
	if l := t.unmatched[string(r.Method)]; l != nil {
		return l
	}
	return t.unmatched["other"]
}

// allowed lists the methods a path has.
func (t *routes) allowed(r *conn.Request) string {
	var list []string
	for _, m := range methods {
		if r.Has(m, string(r.Path)) {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}
