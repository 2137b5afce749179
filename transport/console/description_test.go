package console

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/admin"
	"lapid/transport/audit"
	"lapid/transport/openapi"
	"lapid/transport/openapi/openapitest"
)

// TestRoutesAreDescribed holds the table and the description to each other, both ways.
func TestRoutesAreDescribed(t *testing.T) {
	t.Parallel()
	described := map[string]bool{}
	api := newDescribed(t)
	for _, o := range api.Operations() {
		described[o.String()] = o.Method != http.MethodHead // which comes with GET
	}
	for i := range routes {
		name := operationOf(&routes[i]).String()
		if !strings.HasPrefix(routes[i].path, "/admin/v1/") && !slices.Contains(openapi.Paths[:], routes[i].path) {
			continue // a page
		}
		if !described[name] {
			t.Errorf("%s is not in transport/openapi/openapi.yaml: describe it there", name)
		} else if role := api.Role(operationOf(&routes[i])); strings.HasPrefix(routes[i].path, "/admin/v1/") && role != max(routes[i].role, viewer).String() {
			t.Errorf("%s needs the role %s, and is described with %s", name, routes[i].role, role)
		}
		delete(described, name)
	}
	for name, is := range described {
		if _, path, _ := strings.Cut(name, " "); is && !slices.Contains(openapi.Paths[:], path) && path != "/health" {
			t.Errorf("%s is described, and there is no such route", name)
		}
	}
}

// operationOf is a route as the description names it.
func operationOf(r *route) openapitest.Operation {
	return openapitest.Operation{Method: r.method, Path: strings.ReplaceAll(r.path, "...}", "}")}
}

// newDescribed is the description of what is served here.
func newDescribed(t testing.TB) *openapitest.Checker {
	return openapitest.New(t, "machine", "bouncer", "shared", "export", "metrics")
}

// TestDescription: who gets the description of the API, and under which head.
func TestDescription(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.BasePath = "/lapid" })
	for _, f := range openapi.Files() {
		status, text, head := b.ask("GET", f.Path, "", "", "Accept-Encoding", "identity")
		if status != 200 || text != string(f.Body) || head.Get("Content-Type") != f.Type || head.Get("ETag") != f.Tag {
			t.Errorf("%s: %d %v, %d bytes of %d", f.Path, status, head, len(text), len(f.Body))
		}
		if policy := head.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || f.Policy != "" && policy != f.Policy || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy %s", f.Path, policy)
		}
		if got := head.Get("Access-Control-Allow-Origin"); (got == "*") != f.Shared {
			t.Errorf("%s: other sites %q", f.Path, got)
		}
		_, text, head = b.ask("GET", f.Path, "", "", "Accept-Encoding", "br, gzip")
		if r, err := gzip.NewReader(strings.NewReader(text)); err != nil || head.Get("Content-Encoding") != "gzip" || head.Get("ETag") != f.PackedTag {
			t.Errorf("%s packed: %v %v", f.Path, err, head)
		} else if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, f.Body) {
			t.Errorf("%s packed: %v", f.Path, err)
		}
		if status, text, _ := b.ask("GET", f.Path, "", "", "If-None-Match", `"x", W/`+f.Tag); status != 304 || text != "" {
			t.Errorf("%s that is there already: %d, %d bytes", f.Path, status, len(text))
		}
		if status, text, _ := b.ask("HEAD", f.Path, "", ""); status != 200 || text != "" {
			t.Errorf("HEAD %s: %d, %d bytes", f.Path, status, len(text))
		}
	}
	few := newBench(t, func(o *Options) { o.Description = openapi.Authenticated })
	off := newBench(t, func(o *Options) { o.Description = openapi.Off })
	for _, path := range openapi.Paths {
		want := 401
		if path == "/docs" {
			want = 303 // to the login, as any page
		}
		if status, _, _ := few.ask("GET", path, "", ""); status != want {
			t.Errorf("%s without a token: %d, want %d", path, status, want)
		}
		if status, _, head := few.ask("GET", path, few.tokens[viewer], ""); status != 200 || head.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s with a token: %d %v", path, status, head)
		}
		if status, _, _ := off.ask("GET", path, off.tokens[admins], ""); status != 404 {
			t.Errorf("%s where it is off: %d", path, status)
		}
	}
}

// TestPacks: when a client takes gzip.
func TestPacks(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "br, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000": false, "gzip;q=1": true, "x-gzip": false, "identity": false,
	} {
		if packs([]string{line}) != want {
			t.Errorf("%q: want %v", line, want)
		}
	}
}

// watched is a bench whose every exchange is held to the description.
type watched struct {
	*bench
	api *openapitest.Checker
}

// does asks as an admin, wants a status, and has the request checked too where it was obeyed.
func (w *watched) does(status int, method, target, body string, headers ...string) map[string]any {
	w.t.Helper()
	return w.as(w.tokens[admins], status, method, target, body, headers...)
}

func (w *watched) as(token string, status int, method, target, body string, headers ...string) map[string]any {
	w.t.Helper()
	got, text, head := w.ask(method, target, token, body, headers...)
	if got != status {
		w.t.Errorf("%s %s: %d %.300s, want %d", method, target, got, text, status)
	}
	x := &openapitest.Exchange{Method: method, Target: target, Request: []byte(body), Status: got, Header: head, Body: []byte(text)}
	problems := w.api.Answer(x)
	if got < 300 {
		problems = append(problems, w.api.Request(x)...)
	}
	for _, p := range problems {
		w.t.Error(p)
	}
	out := map[string]any{}
	_ = json.Unmarshal([]byte(text), &out)
	return out
}

// TestAnswersAreDescribed does with every route what operators do, and holds each exchange to the description. In the
// end every status that is described was met.
func TestAnswersAreDescribed(t *testing.T) {
	t.Parallel()
	w := &watched{bench: newBench(t, nil), api: newDescribed(t)}
	w.does(200, "POST", "/admin/v1/login", `{"name":"viewer-1","password":"`+password+`"}`)
	w.as("", 401, "POST", "/admin/v1/login", `{"name":"viewer-1","password":"wrong"}`)
	w.as("", 400, "POST", "/admin/v1/login", `{}`)
	w.does(204, "POST", "/admin/v1/logout", "")
	w.as("", 401, "GET", "/admin/v1/status", "")
	w.does(200, "GET", "/admin/v1/status", "")

	w.does(200, "POST", "/admin/v1/decisions", `{"value":"192.0.2.7","dry_run":true}`)
	w.does(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.7","duration":"4h","reason":"scans"}`, "Idempotency-Key", "one")
	ahead := attacked(t) // its lists are of revisions that are not here yet
	for _, path := range []string{"/admin/v1/decisions", "/admin/v1/alerts"} {
		_, list := ahead.listed(path, url.Values{"limit": {"1"}})
		w.does(410, "GET", path+"?limit=1&cursor="+list["next"].(string), "")
	}
	w.does(200, "GET", "/admin/v1/alerts?facets=origin&sort=-decisions&q=state:all&community=true", "")
	w.does(201, "POST", "/admin/v1/decisions", `{"scope":"Range","value":"198.51.100.0/24","type":"captcha"}`)
	w.does(400, "POST", "/admin/v1/decisions", `{"value":"x"}`)
	w.as(w.tokens[viewer], 403, "POST", "/admin/v1/decisions", `{}`)
	w.does(200, "POST", "/admin/v1/decisions/import", `{"dry_run":true,"items":[{"value":"203.0.113.1"}]}`)
	w.does(201, "POST", "/admin/v1/decisions/import", `{"batch":"partners","duration":"24h","items":[{"value":"203.0.113.1"},{"value":"203.0.113.2","type":"captcha","duration":"1h","reason":"x"}]}`)
	w.does(400, "POST", "/admin/v1/decisions/import", `{"items":[]}`)
	w.does(200, "POST", "/admin/v1/decisions/import/list?dry_run=true&format=values", "203.0.113.3\nx", "Content-Type", "text/plain")
	w.does(201, "POST", "/admin/v1/decisions/import/list?batch=feed", "203.0.113.3", "Content-Type", "text/plain")
	w.does(409, "POST", "/admin/v1/decisions/import/list?batch=feed", "203.0.113.3", "Content-Type", "text/plain")
	w.does(400, "POST", "/admin/v1/decisions/import/list", "x", "Content-Type", "text/plain")
	w.does(200, "GET", "/admin/v1/decisions?limit=2", "")
	next, _ := w.does(200, "GET", "/admin/v1/decisions?limit=1&state=all", "")["next"].(string)
	w.does(200, "GET", "/admin/v1/decisions?limit=2&state=all&facets=all&grouped=false&cursor="+next, "")
	w.does(200, "GET", "/admin/v1/decisions?ip=192.0.2.7&type=ban&scope=ip&origin=cscli&scenario=x&value=x", "")
	w.does(400, "GET", "/admin/v1/decisions?limit=0", "")
	for _, noun := range []string{"decisions", "alerts"} {
		for _, format := range []string{"csv", "json", "ndjson"} {
			w.does(200, "GET", "/admin/v1/"+noun+"/export?community=true&q=192.0.2.7&format="+format, "")
		}
		w.does(400, "GET", "/admin/v1/"+noun+"/export?format=xls", "")
	}
	w.does(200, "GET", "/admin/v1/decisions/1", "")
	w.does(404, "GET", "/admin/v1/decisions/4711", "")
	w.does(200, "GET", "/admin/v1/why?target=192.0.2.7&every_row=true", "")
	w.does(400, "POST", "/admin/v1/decisions/restore", `{}`)
	w.does(404, "POST", "/admin/v1/decisions/restore", `{"revision":1}`)
	w.does(200, "POST", "/admin/v1/decisions/extend", `{"id":1,"duration":"+4h","dry_run":true}`)
	w.does(200, "POST", "/admin/v1/decisions/extend", `{"origin":"cscli-import","type":"captcha","duration":"forever"}`)
	w.does(400, "POST", "/admin/v1/decisions/extend", `{"duration":"4h"}`)
	w.does(404, "POST", "/admin/v1/decisions/extend", `{"id":4711,"duration":"4h"}`)
	w.does(200, "DELETE", "/admin/v1/decisions/1?dry_run=true", "")
	w.does(200, "DELETE", "/admin/v1/decisions/1", "")
	w.does(404, "DELETE", "/admin/v1/decisions/4711", "")
	w.does(200, "GET", "/admin/v1/decisions?state=ended", "")
	w.does(200, "DELETE", "/admin/v1/decisions?batch=partners&dry_run=true", "")
	w.does(200, "DELETE", "/admin/v1/decisions?ip=203.0.113.0/24&contains_only=true", "")
	for _, noun := range []string{"decisions", "alerts"} {
		listed := map[string]string{"decisions": "listed=true&"}[noun]
		dry, _ := w.does(200, "DELETE", "/admin/v1/"+noun+"?"+listed+"q=203.0.113.9&dry_run=true", "")["as_of"].(string)
		w.does(200, "DELETE", "/admin/v1/"+noun+"?"+listed+"q=203.0.113.9&as_of="+dry, "")
		w.does(400, "DELETE", "/admin/v1/"+noun+"?"+listed+"q=203.0.113.9&as_of=x", "")
		w.does(410, "DELETE", "/admin/v1/"+noun+"?"+listed+"q=203.0.113.9&as_of=4711.1", "")
	}
	gone := w.does(200, "DELETE", "/admin/v1/decisions?all=true", "")
	w.does(200, "POST", "/admin/v1/decisions/restore", fmt.Sprintf(`{"revision":%v,"dry_run":true}`, gone["ended_at"]))
	w.does(200, "POST", "/admin/v1/decisions/restore", fmt.Sprintf(`{"revision":%v}`, gone["ended_at"]))
	w.does(400, "DELETE", "/admin/v1/decisions", "")
	w.does(200, "GET", "/admin/v1/why?target=192.0.2.7&ago=1m", "")
	w.does(200, "GET", "/admin/v1/why?target=198.51.100.0/24", "")
	w.does(400, "GET", "/admin/v1/why", "")

	w.does(200, "GET", "/admin/v1/alerts?limit=1&since=24h&community=true&hide_simulated=true", "")
	w.does(200, "GET", "/admin/v1/alerts?active=true&ip=192.0.2.7&batch=x", "")
	w.does(400, "GET", "/admin/v1/alerts?since=soon", "")
	w.does(200, "GET", "/admin/v1/alerts/1", "")
	w.does(200, "GET", "/admin/v1/alerts/3", "")
	w.does(404, "GET", "/admin/v1/alerts/4711", "")
	w.does(200, "DELETE", "/admin/v1/alerts/1", "")

	w.does(201, "POST", "/admin/v1/bouncers", `{"name":"edge-fw"}`)
	w.does(201, "POST", "/admin/v1/bouncers", `{"name":"edge-2","key":"a-key-of-thirty-two-characters-or-more","shared":true}`)
	w.does(409, "POST", "/admin/v1/bouncers", `{"name":"edge-fw"}`)
	w.does(200, "GET", "/admin/v1/bouncers?limit=1", "")
	w.does(200, "GET", "/admin/v1/bouncers/edge-fw", "")
	w.does(404, "GET", "/admin/v1/bouncers/nobody", "")
	w.does(200, "GET", "/admin/v1/why?target=198.51.100.7&bouncer=edge-fw", "")
	w.does(200, "PATCH", "/admin/v1/bouncers/edge-fw", `{"sight":{"origins":["crowdsec"],"max-entries":10,"priority":"newest","max-duration":"24h","canonical":true},"hold":"25s"}`)
	w.does(400, "PATCH", "/admin/v1/bouncers/edge-fw", `{"hold":"61s"}`)
	w.does(412, "PATCH", "/admin/v1/bouncers/edge-fw", `{"hold":"off"}`, "If-Match", `"nope"`)
	w.does(404, "PATCH", "/admin/v1/bouncers/nobody", `{"see_all":true}`)
	w.does(201, "POST", "/admin/v1/bouncers/edge-fw/rotate", `{"grace":"24h"}`)
	w.does(200, "GET", "/admin/v1/bouncers/edge-fw", "")
	w.does(409, "POST", "/admin/v1/bouncers/edge-fw/rotate", `{"key":"a-key-of-thirty-two-characters-or-more"}`)
	w.does(404, "POST", "/admin/v1/bouncers/nobody/rotate", `{}`)
	w.does(200, "POST", "/admin/v1/bouncers/prune", `{"silence":"24h","dry_run":true}`)
	w.does(400, "POST", "/admin/v1/bouncers/prune", `{"silence":"1s"}`)
	w.does(200, "DELETE", "/admin/v1/bouncers/edge-fw", "")

	w.does(201, "POST", "/admin/v1/machines", `{"name":"edge-1"}`)
	w.does(409, "POST", "/admin/v1/machines", `{"name":"edge-1","password":"x"}`)
	w.does(200, "GET", "/admin/v1/machines?limit=500", "")
	w.does(200, "GET", "/admin/v1/machines/edge-1", "")
	w.does(404, "GET", "/admin/v1/machines/nobody", "")
	w.does(200, "POST", "/admin/v1/machines/edge-1/validate", "")
	w.does(200, "POST", "/admin/v1/machines/prune", `{"silence":"24h","not_validated_only":true,"names":[]}`)
	w.does(400, "POST", "/admin/v1/machines/prune", `{}`)
	w.does(200, "DELETE", "/admin/v1/machines/edge-1", "")

	w.does(201, "POST", "/admin/v1/allowlists", `{"name":"office","description":"our own"}`)
	w.does(409, "POST", "/admin/v1/allowlists", `{"name":"office"}`)
	w.does(200, "POST", "/admin/v1/allowlists/office/items", `{"items":[{"value":"10.0.0.0/8","comment":"ours","expires":"7d"},{"value":"10.0.0.1"}]}`)
	w.does(200, "POST", "/admin/v1/allowlists/office/items", `{"items":[{"value":"10.0.0.0/8"}],"dry_run":true}`)
	w.does(409, "POST", "/admin/v1/decisions", `{"value":"10.0.0.7"}`)
	w.does(200, "GET", "/admin/v1/why?target=10.0.0.7", "")
	w.does(200, "GET", "/admin/v1/allowlists", "")
	w.does(200, "GET", "/admin/v1/allowlists/office", "")
	w.does(404, "GET", "/admin/v1/allowlists/nothing", "")
	w.does(200, "DELETE", "/admin/v1/allowlists/office/items?value=10.0.0.1&value=10.0.0.2", "")
	w.does(201, "POST", "/admin/v1/bouncers", `{"name":"sees","sight":{"allowlist":["office"]}}`)
	w.does(409, "DELETE", "/admin/v1/allowlists/office", "")
	w.does(200, "DELETE", "/admin/v1/allowlists/office?force=true", "")
	w.does(404, "DELETE", "/admin/v1/allowlists/office", "")

	w.does(201, "POST", "/admin/v1/operators", `{"name":"bob","role":"viewer"}`)
	w.does(409, "POST", "/admin/v1/operators", `{"name":"bob","role":"viewer","password":"`+password+`"}`)
	w.does(200, "GET", "/admin/v1/operators", "")
	w.does(200, "PATCH", "/admin/v1/operators/bob", `{"role":"operator","disabled":false,"password":"`+password+`"}`)
	w.does(400, "PATCH", "/admin/v1/operators/bob", `{}`)
	w.does(412, "PATCH", "/admin/v1/operators/bob", `{"disabled":true}`, "If-Match", `"nope"`)
	w.does(201, "POST", "/admin/v1/operators/bob/tokens", `{"comment":"pipeline","expires":"90d"}`)
	w.does(201, "POST", "/admin/v1/operators/bob/tokens", `{"expires":"never"}`)
	w.does(200, "GET", "/admin/v1/operators/bob", "")
	w.does(404, "GET", "/admin/v1/operators/nobody", "")
	w.does(200, "DELETE", "/admin/v1/operators/bob/tokens/1", "")
	w.does(404, "DELETE", "/admin/v1/operators/bob/tokens/99", "")
	w.does(200, "DELETE", "/admin/v1/operators/bob", "")

	more, _ := w.does(200, "GET", "/admin/v1/activity?limit=1", "")["next"].(string)
	w.does(200, "GET", "/admin/v1/activity?kind=alert,decision&address=203.0.113.0/24&cursor="+more, "")
	w.does(400, "GET", "/admin/v1/activity?kind=x", "")
	w.does(200, "GET", "/admin/v1/rates?since=7d&step=2h", "")
	w.does(400, "GET", "/admin/v1/rates?since=7d&step=1m", "")
	w.does(201, "POST", "/admin/v1/exports", `{"name":"edge","format":"plain_text"}`)
	w.does(409, "POST", "/admin/v1/exports", `{"name":"edge","format":"plain_text"}`)
	w.does(200, "PATCH", "/admin/v1/exports/edge", `{"limit":1000,"types":["ban"]}`)
	w.does(400, "PATCH", "/admin/v1/exports/edge", `{}`)
	w.does(412, "PATCH", "/admin/v1/exports/edge", `{"limit":1}`, "If-Match", `"nope"`)
	w.does(201, "POST", "/admin/v1/exports/edge/rotate", `{}`)
	w.does(200, "POST", "/admin/v1/exports/edge/rotate", `{"end":true}`)
	w.does(200, "GET", "/admin/v1/exports", "")
	w.does(200, "GET", "/admin/v1/exports/edge", "")
	w.does(404, "GET", "/admin/v1/exports/nothing", "")
	w.does(200, "GET", "/admin/v1/exports/edge/render?ipv4only=1", "")
	w.does(404, "GET", "/admin/v1/exports/nothing/render", "")
	w.does(200, "DELETE", "/admin/v1/exports/edge", "")

	w.as(w.tokens[viewer], 403, "GET", "/admin/v1/audit?actor=admin-1", "")
	kept := &watched{bench: newAudited(t), api: w.api}
	kept.does(201, "POST", "/admin/v1/allowlists", `{"name":"office"}`)
	kept.does(200, "GET", "/admin/v1/audit?limit=2&deeds=true&since=24h", "")
	kept.does(400, "GET", "/admin/v1/audit?since=soon", "")
	kept.does(200, "GET", "/admin/v1/activity?since=24h", "")
	kept.does(200, "GET", "/admin/v1/audit/export?format=cef", "")
	kept.does(200, "GET", "/admin/v1/audit/export", "")
	kept.does(400, "GET", "/admin/v1/audit/export?format=x", "")
	kept.does(200, "GET", "/admin/v1/audit/verify", "")
	kept.does(400, "GET", "/admin/v1/audit/verify?expect=x", "")

	w.does(200, "GET", "/admin/v1/config", "")
	w.does(200, "POST", "/admin/v1/backup", "")
	w.does(202, "POST", "/admin/v1/reload", "")
	for range 8 { // the first is the first of all
		w.does(200, "POST", "/admin/v1/secret/rotate", `{}`)
	}
	w.does(409, "POST", "/admin/v1/secret/rotate", `{}`)
	w.does(200, "POST", "/admin/v1/secret/rotate", `{"now":true}`)
	w.does(200, "POST", "/admin/v1/verbs/machines/list", `{}`)
	w.does(404, "POST", "/admin/v1/verbs/nothing", `{}`)
	for _, path := range openapi.Paths {
		w.as("", 200, "GET", path, "")
		w.as("", 304, "GET", path, "", "If-None-Match", "*")
	}
	w.complete()
}

// newAudited is a bench on an engine that keeps an audit, with one operator, who is an admin.
func newAudited(t *testing.T) *bench {
	b := newBench(t, func(o *Options) {
		r := enginetest.NewRig(t, func(e *engine.Options) { e.Audit = &engine.AuditOptions{} })
		if err := r.AddOperator(t.Context(), &engine.Operator{Name: "alice", Role: admins}); err != nil {
			t.Fatal(err)
		}
		o.Engine, o.Verbs = r.Engine, admin.NewHandler(r.Engine, "test", o.Logger)
		auditor := audit.New(&audit.Options{Engine: r.Engine, Logger: o.Logger})
		o.Audit, o.Verbs.Settle = auditor.Note, auditor.Settle
	})
	secret := admin.NewSecret()
	if _, err := b.server.options.Engine.GrantToken(t.Context(), "alice", &engine.OperatorToken{Hash: hashOf(secret)}); err != nil {
		t.Fatal(err)
	}
	b.tokens[admins] = secret
	return b
}

// unmet are statuses that are described and that nothing here meets, with the reason.
var unmet = map[string]string{
	"GET /admin/v1/metrics 200": "the figures are the program's, and here a stand-in",
}

// complete says which statuses are described and were not met.
func (w *watched) complete() {
	w.t.Helper()
	for _, o := range w.api.Operations() {
		if o.Method == http.MethodHead || o.Path == "/health" {
			continue
		}
		for _, status := range w.api.Statuses(o) {
			if !w.api.Met(o, status) && unmet[o.String()+" "+status] == "" {
				w.t.Errorf("%s with status %s is described, and nothing meets it", o, status)
			}
		}
	}
}
