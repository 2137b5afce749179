package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/admin"
)

const password = "correct horse battery"

// bench is a console on a random port with an operator of each role, and a token for each.
type bench struct {
	t      *testing.T
	rig    *enginetest.Rig
	server *Server
	tokens map[engine.Role]string
	url    string
}

func newBench(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	return newBenchOn(t, enginetest.NewRig(t, nil), change)
}

// newBenchOn is one on an engine of its own kind.
func newBenchOn(t *testing.T, rig *enginetest.Rig, change func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, rig: rig, tokens: map[engine.Role]string{}}
	log := slog.New(slog.DiscardHandler)
	hash, err := admin.HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []engine.Role{viewer, operator, admins} {
		name := role.String() + "-1"
		if err := b.rig.AddOperator(t.Context(), &engine.Operator{Name: name, Role: role, PasswordHash: hash, CreatedAt: 1}); err != nil {
			t.Fatal(err)
		}
		b.tokens[role] = b.grant(name, 0)
	}
	o := &Options{
		Engine: b.rig.Engine, Verbs: admin.NewHandler(b.rig.Engine, "test", log), Logger: log, Listen: "127.0.0.1:0",
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
		Config:  func() any { return map[string]string{"store": "here"} }, Reload: func() error { return nil },
	}
	if change != nil {
		change(o)
	}
	if b.server, err = Listen(o); err != nil {
		t.Fatal(err)
	}
	b.url = b.server.scheme + "://" + b.server.Addr().String() + o.BasePath
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) grant(name string, expires int64) string {
	b.t.Helper()
	secret := admin.NewSecret()
	t := &engine.OperatorToken{Hash: hashOf(secret), CreatedAt: b.rig.Now().UnixNano(), ExpiresAt: expires}
	if _, err := b.rig.GrantToken(b.t.Context(), name, t); err != nil {
		b.t.Fatal(err)
	}
	return secret
}

// ask sends a request; headers are name, value, name, value.
func (b *bench) ask(method, path, token, body string, headers ...string) (int, string, http.Header) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return w.StatusCode, string(text), w.Header
}

// is asks as an admin and wants a status.
func (b *bench) is(status int, method, path, body string) map[string]any {
	b.t.Helper()
	got, text, _ := b.ask(method, path, b.tokens[admins], body)
	if got != status {
		b.t.Errorf("%s %s: %d %s, want %d", method, path, got, text, status)
	}
	out := map[string]any{}
	_ = json.Unmarshal([]byte(text), &out)
	return out
}

// Every route, with every role and without any: what is below the least role is refused before it
// is looked at, and what is not does not meet that refusal.
func TestEveryRouteForEveryRole(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for i := range routes {
		r := &routes[i]
		path := strings.NewReplacer("{id}", "4711", "{name}", "nobody", "{verb...}", "machines/list").Replace(r.path)
		for _, role := range []engine.Role{engine.RoleNone, viewer, operator, admins} {
			token := b.tokens[role]
			status, text, head := b.ask(r.method, path, token, "")
			want := "let in"
			switch {
			case r.role != anybody && role == engine.RoleNone:
				want = "401"
			case role < r.role:
				want = "403"
			}
			got := "let in"
			if status == 401 || status == 403 {
				got = fmt.Sprint(status)
			}
			if r.role == anybody {
				got = "let in" // its own credentials are looked at
			}
			if got != want {
				t.Errorf("%s %s as %q: %d %s, want %s", r.method, path, role, status, text, want)
			}
			if head.Get(requestID) == "" || head.Get("Cache-Control") != "no-store" || head.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s: %v", r.method, path, head)
			}
		}
	}
}

// Every verb of the socket, with every role.
func TestEveryVerbForEveryRole(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, verb := range b.server.options.Verbs.Verbs() {
		least := b.server.options.Verbs.Role(verb)
		for _, role := range []engine.Role{engine.RoleNone, viewer, operator, admins} {
			body := `{"Nonsense":1}` // is refused where the verb is reached
			if verb == "/backup" || verb == "/ready" || verb == "/status" {
				body = ""
			}
			status, text, _ := b.ask("POST", admin.RemotePath+verb, b.tokens[role], body)
			switch {
			case role == engine.RoleNone:
				if status != 401 {
					t.Errorf("%s as a stranger: %d %s", verb, status, text)
				}
			case least == engine.RoleNone:
				if status != 404 {
					t.Errorf("%s, which is not for others: %d %s", verb, status, text)
				}
			case role < least:
				if status != 403 || !strings.Contains(text, "this needs the role "+least.String()) {
					t.Errorf("%s as %s: %d %s", verb, role, status, text)
				}
			case status == 401 || strings.Contains(text, "this needs the role"):
				t.Errorf("%s as %s: %d %s", verb, role, status, text)
			}
		}
	}
}

// What is no route is 404 and 405, in the shape of all failures.
func TestNoRoutes(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for line, want := range map[string]int{
		"GET /admin/v1/nothing": 404, "PUT /admin/v1/decisions": 405, "DELETE /admin/v1/bouncers": 405, "GET /admin/v1/bouncers/": 404,
		"GET /admin/v1/decisions/x": 400, "GET /admin/v1/decisions/18446744073709551616": 400, "GET /admin/v1/decisions?color=red": 400,
		"GET /admin/v1/decisions?limit=0": 400, "GET /admin/v1/decisions?limit=501": 400, "GET /admin/v1/decisions?cursor=AAAA": 400,
		"GET /admin/v1/decisions?type=a&type=b": 400, "GET /admin/v1/decisions?state=odd": 400, "GET /admin/v1/decisions?ip=x": 400, "GET /admin/v1/decisions?%zz=1": 400,
		"DELETE /admin/v1/decisions": 400, "DELETE /admin/v1/decisions?all=true&value=x": 400, "GET /admin/v1/why": 400, "POST /admin/v1/verbs/movein": 404,
		"POST /admin/v1/verbs/nothing": 404, "GET /admin/v1/alerts?since=soon": 400, "GET /admin/v1/bouncers/nobody": 404, "DELETE /admin/v1/machines/nobody": 404,
	} {
		method, path, _ := strings.Cut(line, " ")
		status, text, head := b.ask(method, path, b.tokens[admins], "")
		var p problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || status != want || p.Status != want || p.Detail == "" || p.RequestID != head.Get(requestID) ||
			head.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s %v, want %d", line, status, text, head, want)
		}
	}
	if _, _, head := b.ask("PUT", "/admin/v1/decisions", "", ""); head.Get("Allow") != "GET, POST, DELETE" {
		t.Errorf("Allow is %q", head.Get("Allow"))
	}
}

// What a browser may be tricked into is refused: other names that lead here, other sites' pages.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.Hosts = []string{"lapi.example.net"} })
	for host, want := range map[string]int{"lapi.example.net": 200, "LAPI.example.net:8081": 200, "localhost": 200, "127.0.0.1:1": 200, "evil.example": 421, "lapi.example.net.evil.example": 421, "192.0.2.1": 421} {
		if status, text, _ := b.ask("GET", "/admin/v1/status", b.tokens[viewer], "", "Host", host); status != want {
			t.Errorf("host %s: %d %s", host, status, text)
		}
	}
	for _, headers := range [][]string{{"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "null"}} {
		if status, text, _ := b.ask("POST", "/admin/v1/login", "", `{}`, headers...); status != 403 {
			t.Errorf("%v: %d %s", headers, status, text)
		}
	}
}

// Every noun, from its beginning to its end, with the operator's name on what was done.
func TestNouns(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/bouncers", `{"name":"fw"}`)
	b.is(409, "POST", "/admin/v1/bouncers", `{"name":"fw"}`)
	b.is(400, "POST", "/admin/v1/bouncers", `{"name":"fw","colour":1}`)
	b.is(400, "POST", "/admin/v1/bouncers", `{"name":"fw"} {}`)
	b.is(200, "GET", "/admin/v1/bouncers/fw", "")
	if rotated := b.is(201, "POST", "/admin/v1/bouncers/fw/rotate", `{"key":"another-key"}`); rotated["key"] != "another-key" || rotated["grace_seconds"] != 3600. {
		t.Errorf("rotated: %v", rotated)
	}
	b.is(201, "POST", "/admin/v1/bouncers/fw/rotate", `{"grace":"0"}`)
	b.is(201, "POST", "/admin/v1/bouncers", `{"name":"other","key":"others-key"}`)
	b.is(409, "POST", "/admin/v1/bouncers/fw/rotate", `{"key":"others-key"}`)
	b.is(400, "POST", "/admin/v1/bouncers/fw/rotate", `{"grace":"-1h"}`)
	b.is(404, "POST", "/admin/v1/bouncers/nobody/rotate", `{}`)
	b.is(200, "DELETE", "/admin/v1/bouncers/fw", "")
	b.is(201, "POST", "/admin/v1/machines", `{"name":"edge-1"}`)
	b.is(200, "POST", "/admin/v1/machines/edge-1/validate", "")
	b.is(201, "POST", "/admin/v1/allowlists", `{"name":"office","description":"ours"}`)
	b.is(200, "POST", "/admin/v1/allowlists/office/items", `{"items":[{"value":"198.51.100.0/24","comment":"us","expires":"7d"}]}`)
	b.is(400, "POST", "/admin/v1/allowlists/office/items", `{"items":[]}`)
	b.is(409, "POST", "/admin/v1/decisions", `{"value":"198.51.100.7"}`)
	if out := b.is(200, "POST", "/admin/v1/decisions", `{"value":"192.0.2.7","dry_run":true}`); out["new"] != 1.0 {
		t.Errorf("a dry run says %v", out)
	}
	for i := range 7 {
		b.is(201, "POST", "/admin/v1/decisions", fmt.Sprintf(`{"value":"192.0.2.%d","duration":"4h","reason":"r%d"}`, i, i%2))
	}
	b.is(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.0/24"}`)
	b.is(201, "POST", "/admin/v1/decisions/import", `{"batch":"b1","items":[{"value":"203.0.113.1"},{"value":"203.0.113.0/28"}]}`)
	seen := map[float64]bool{}
	for cursor, pages := "", 0; ; pages++ {
		out := b.is(200, "GET", "/admin/v1/decisions?limit=3&cursor="+cursor, "")
		for _, item := range out["items"].([]any) {
			id := item.(map[string]any)["id"].(float64)
			if seen[id] {
				t.Errorf("decision %v is on two pages", id)
			}
			seen[id] = true
		}
		if cursor, _ = out["next"].(string); cursor == "" || pages > 10 {
			break
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d decisions are listed", len(seen))
	}
	count := func(query string) int {
		return len(b.is(200, "GET", "/admin/v1/decisions?"+query, "")["items"].([]any))
	}
	if a, r, o := count("ip=192.0.2.3"), count("scenario=r1"), count("scope=range&type=ban"); a != 2 || r != 3 || o != 2 {
		t.Errorf("by address %d, by scenario %d, by scope %d", a, r, o)
	}
	if out := b.is(200, "DELETE", "/admin/v1/decisions?scenario=r1&dry_run=true", ""); out["count"] != 3.0 {
		t.Errorf("it would end %v", out)
	}
	b.is(200, "DELETE", "/admin/v1/decisions?scenario=r1", "")
	ended := b.is(200, "GET", "/admin/v1/decisions?state=ended", "")["items"].([]any)
	if len(ended) != 3 || ended[0].(map[string]any)["ended_by"] != "named-operator admin-1" {
		t.Errorf("what has ended is %v", ended)
	}
	b.is(200, "DELETE", "/admin/v1/decisions/1", "")
	b.is(404, "DELETE", "/admin/v1/decisions/99", "")
	first := b.is(200, "GET", "/admin/v1/alerts?limit=2", "")
	second := b.is(200, "GET", "/admin/v1/alerts?limit=100&cursor="+first["next"].(string), "")
	if n := len(first["items"].([]any)) + len(second["items"].([]any)); n != 9 {
		t.Errorf("%d alerts are listed", n)
	}
	b.is(200, "GET", "/admin/v1/alerts/1", "")
	b.is(200, "DELETE", "/admin/v1/alerts/1", "")
	b.is(200, "GET", "/admin/v1/why?target=192.0.2.2", "")
	b.is(200, "GET", "/admin/v1/config", "")
	b.is(202, "POST", "/admin/v1/reload", "")
	if status, text, _ := b.ask("POST", "/admin/v1/backup", b.tokens[admins], ""); status != 200 || !strings.HasPrefix(text, "LAPIDBAK") {
		t.Errorf("a backup is %d, %d bytes", status, len(text))
	}
	b.is(200, "DELETE", "/admin/v1/allowlists/office/items?value=198.51.100.0/24", "")
	b.is(201, "POST", "/admin/v1/bouncers", `{"name":"sees","sight":{"allowlist":["office"]}}`)
	b.is(201, "POST", "/admin/v1/exports", `{"name":"leaves-out","format":"plain_text","allowlists":["office"]}`)
	named := func(status int, method, path, body, says string) {
		t.Helper()
		got, text, _ := b.ask(method, "/admin/v1/allowlists"+path, b.tokens[admins], body)
		if got != status || !strings.Contains(text, says+"the sight of the bouncer 'sees' and the export 'leaves-out'") {
			t.Errorf("%s %s: %d %s", method, path, got, text)
		}
	}
	named(409, "DELETE", "/office", "", "is named by ")
	named(200, "DELETE", "/office?force=true", "", "is still named by ")
	named(201, "POST", "", `{"name":"office","description":"a new one"}`, "is named by ")
	b.is(200, "DELETE", "/admin/v1/bouncers/sees", "")
	b.is(200, "DELETE", "/admin/v1/exports/leaves-out", "")
	if out := b.is(200, "DELETE", "/admin/v1/allowlists/office", ""); out["warnings"] != nil {
		t.Errorf("nobody names it: %v", out)
	}
	b.is(200, "DELETE", "/admin/v1/machines/edge-1", "")
	b.is(201, "POST", "/admin/v1/operators", `{"name":"carol","role":"viewer"}`)
	b.is(200, "PATCH", "/admin/v1/operators/carol", `{"role":"admin"}`)
	b.is(200, "PATCH", "/admin/v1/operators/carol", `{"disabled":true}`)
	for _, last := range [][2]string{{"PATCH", `{"role":"operator"}`}, {"PATCH", `{"disabled":true}`}, {"DELETE", ""}} {
		if _, text, _ := b.ask(last[0], "/admin/v1/operators/admin-1", b.tokens[admins], last[1]); !strings.Contains(text, "is the last admin: give another operator the role admin first") {
			t.Errorf("%v: %s", last, text)
		}
	}
	b.is(200, "PATCH", "/admin/v1/operators/admin-1", `{"password":"another-password"}`)
	b.is(200, "PATCH", "/admin/v1/operators/carol", `{"role":"viewer","disabled":false}`)
	token := b.is(201, "POST", "/admin/v1/operators/carol/tokens", `{"comment":"laptop","expires":"1h"}`)
	if status, _, _ := b.ask("GET", "/admin/v1/status", token["token"].(string), ""); status != 200 {
		t.Errorf("a new token gets %d", status)
	}
	b.is(200, "PATCH", "/admin/v1/operators/carol", `{"disabled":true}`)
	b.is(400, "PATCH", "/admin/v1/operators/carol", `{}`)
	if status, _, _ := b.ask("GET", "/admin/v1/status", token["token"].(string), ""); status != 401 {
		t.Errorf("a disabled operator's token gets %d", status)
	}
	b.is(200, "DELETE", "/admin/v1/operators/carol/tokens/1", "")
	b.is(200, "DELETE", "/admin/v1/operators/carol", "")
}

// A write that is sent twice with a key is done once; another with the key is refused, and what was
// a secret is not told again.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	send := func(key, path, body string) (int, string) {
		status, text, _ := b.ask("POST", path, b.tokens[admins], body, "Idempotency-Key", key)
		return status, text
	}
	one, text := send("k1", "/admin/v1/decisions", `{"value":"192.0.2.7"}`)
	two, again := send("k1", "/admin/v1/decisions", `{"value":"192.0.2.7"}`)
	if one != 201 || two != 201 || text != again {
		t.Errorf("%d %s, then %d %s", one, text, two, again)
	}
	if n := len(b.is(200, "GET", "/admin/v1/decisions", "")["items"].([]any)); n != 1 {
		t.Errorf("%d decisions", n)
	}
	if status, _ := send("k1", "/admin/v1/decisions", `{"value":"192.0.2.8"}`); status != 422 {
		t.Errorf("another request with the key gets %d", status)
	}
	send("k2", "/admin/v1/bouncers", `{"name":"fw"}`)
	if status, text := send("k2", "/admin/v1/bouncers", `{"name":"fw"}`); status != 409 || strings.Contains(text, "key\":") {
		t.Errorf("a secret's repetition gets %d %s", status, text)
	}
	for range 2 {
		if status, _ := send("k3", "/admin/v1/operators", `{"name":"o","role":"viewer","password":"short"}`); status != 400 {
			t.Errorf("a failure, and again, gets %d", status)
		}
	}
	if status, _ := send("k4", "/admin/v1/decisions/import", `{"items":[{"value":"192.0.2.8"}]}`); status != 400 {
		t.Errorf("an import with a key gets %d", status)
	}
	if status, _ := send(strings.Repeat("k", longestKey+1), "/admin/v1/decisions", `{}`); status != 400 {
		t.Errorf("a long key gets %d", status)
	}
}

// Who guesses has to wait, whichever name is tried, and then is let in again. Who has a good token at
// the same address is not kept out.
func TestGuesses(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for i := range freeTries {
		if status, text, _ := b.ask("GET", "/admin/v1/status", fmt.Sprint("lapid_", i), ""); status != 401 {
			t.Fatalf("guess %d: %d %s", i, status, text)
		}
	}
	status, _, head := b.ask("GET", "/admin/v1/status", "lapid_again", "")
	if status != 429 || head.Get("Retry-After") != "1" {
		t.Errorf("after %d guesses: %d, %q", freeTries, status, head.Get("Retry-After"))
	}
	if status, text, _ := b.ask("GET", "/admin/v1/status", b.tokens[viewer], ""); status != 200 {
		t.Errorf("a good token beside guesses: %d %s", status, text)
	}
	b.rig.Advance(2 * time.Second)
	if status, text, _ := b.ask("GET", "/admin/v1/status", "lapid_again", ""); status != 401 {
		t.Errorf("a guess after the pause: %d %s", status, text)
	}
	if status, text, _ := b.ask("GET", "/admin/v1/status", b.tokens[viewer], ""); status != 200 {
		t.Errorf("after the pause: %d %s", status, text)
	}
	var g guesses
	g.now = func() int64 { return 1 }
	for i := range 3 * mostGuessers {
		g.wrong(nameKey(fmt.Sprint(i)))
	}
	if len(g.of) != mostGuessers {
		t.Errorf("%d guessers are remembered", len(g.of))
	}
}

// Many guesses at once are not more than one after another.
func TestGuessesAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	var all sync.WaitGroup
	var checked atomic.Int64
	for i := range 24 {
		all.Go(func() {
			if status, _, _ := b.ask("POST", "/admin/v1/login", "", fmt.Sprintf(`{"name":"admin-1","password":"wrong %d"}`, i)); status == 401 {
				checked.Add(1)
			}
		})
	}
	all.Wait()
	if n := checked.Load(); n > freeTries+int64(cap(hashing)) {
		t.Errorf("%d passwords were tried at once, %d are free", n, freeTries)
	}
}

// What is given where it has no effect is refused, and then nothing is done.
func TestWritesWithoutEffect(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/bouncers", `{"name":"fw"}`)
	for _, at := range []string{"DELETE /admin/v1/bouncers/fw?dry_run=true", "POST /admin/v1/decisions?dry_run=true", "DELETE /admin/v1/allowlists/a/items?value=192.0.2.1&dry_run=true"} {
		method, path, _ := strings.Cut(at, " ")
		if status, text, _ := b.ask(method, path, b.tokens[admins], `{"value":"192.0.2.9"}`); status != 400 {
			t.Errorf("%s: %d %s", at, status, text)
		}
	}
	b.is(200, "GET", "/admin/v1/bouncers/fw", "")
	b.is(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.9"}`)
	for _, at := range []string{"decisions?value=192.0.2.9", "decisions?all=true", "decisions?all", "decisions?listed&ip=192.0.2.9", "decisions/1", "alerts?all=true"} {
		with := "?"
		if strings.Contains(at, with) {
			with = "&"
		}
		if out := b.is(200, "DELETE", "/admin/v1/"+at+with+"dry_run", ""); out["count"] != 1. || out["dry_run"] != true {
			t.Errorf("%s: a flag by its name alone: %v", at, out)
		}
		for _, wrong := range []string{"dry_run=", "dry_run=1", "dry_run&dry_run=false", "all="} {
			b.is(400, "DELETE", "/admin/v1/"+at+with+wrong, "")
		}
	}
	b.is(200, "POST", "/admin/v1/decisions/import/list?skip_invalid&dry_run", "192.0.2.10\n!")
	b.is(400, "POST", "/admin/v1/decisions/import/list?dry_run=", "192.0.2.10")
	b.is(400, "GET", "/admin/v1/decisions?community=", "")
	b.is(200, "GET", "/admin/v1/decisions?community&simulated", "")
	for _, key := range []string{"", "Idempotency-Key: half\r\n"} {
		for _, path := range []string{"decisions", "decisions/import/list"} {
			if path == "decisions" || key == "" {
				b.half(path, key)
			}
		}
	}
	for _, noun := range []string{"decisions", "alerts"} {
		if n := len(b.is(200, "GET", "/admin/v1/"+noun, "")["items"].([]any)); n != 1 {
			t.Errorf("%d %s are left", n, noun)
		}
	}
	if status, _, _ := b.ask("POST", "/admin/v1/verbs/alerts/judge", b.tokens[viewer], `{"Alert":{"events":[`+strings.Repeat("{},", maxVerb/3)+`{}]}}`); status < 400 || status >= 500 {
		t.Errorf("a long request of a verb that is read whole: %d", status)
	}
	if status, text, _ := b.ask("POST", "/admin/v1/decisions/import", b.tokens[admins], `{"items":[`+strings.Repeat("{},", admin.MaxChunk)+`{}]}`); status != 400 || !strings.Contains(text, "at once") {
		t.Errorf("too many values: %d %s", status, text)
	}
}

// half sends a part of what its head promises, which is refused as the client's fault.
func (b *bench) half(path, head string) {
	b.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(b.t.Context(), "tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /admin/v1/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n%sContent-Length: 100\r\n\r\n192.0.2.77\n", path, b.tokens[operator], head)
	_ = conn.(*net.TCPConn).CloseWrite()
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), "ends before the length") {
		b.t.Errorf("half of a body to %s: %s %v", path, answer, err)
	}
}

// A session begins with a password or a link, is a cookie that scripts cannot read, and ends with a
// logout, its time, and a change of its operator.
func TestSessions(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	login := func(body string) (int, string) {
		status, _, head := b.ask("POST", "/admin/v1/login", "", body)
		cookie, _, _ := strings.Cut(head.Get("Set-Cookie"), ";")
		if status == 200 && (!strings.Contains(head.Get("Set-Cookie"), "HttpOnly") || !strings.Contains(head.Get("Set-Cookie"), "SameSite=Strict")) {
			t.Errorf("the cookie is %q", head.Get("Set-Cookie"))
		}
		return status, cookie
	}
	in := func(cookie string) int {
		status, _, _ := b.ask("GET", "/admin/v1/status", "", "", "Cookie", cookie)
		return status
	}
	for body, want := range map[string]int{`{}`: 400, `{"name":"admin-1"}`: 400, `{"name":"admin-1","password":"wrong"}`: 401, `{"name":"nobody","password":"wrong"}`: 401, `{"link":"lapid_x"}`: 409} {
		if status, _ := login(body); status != want {
			t.Errorf("%s: %d, want %d", body, status, want)
		}
	}
	good := fmt.Sprintf(`{"name":"admin-1","password":%q}`, password)
	_, first := login(good)
	status, second := login(good)
	if status != 200 || first == second || in(first) != 200 || in(second) != 200 || in(first+"x") != 401 {
		t.Fatalf("%d %q %q", status, first, second)
	}
	if status, _, _ := b.ask("POST", "/admin/v1/logout", "", "", "Cookie", first); status != 204 || in(first) != 401 || in(second) != 200 {
		t.Errorf("a logout is %d", status)
	}
	role := func(o *engine.Operator) error { o.Role = engine.RoleOperator; return nil }
	if err := b.rig.ChangeOperator(t.Context(), "admin-1", role); err != nil || in(second) != 401 {
		t.Errorf("with another role: %v", err)
	}
	_, third := login(good)
	b.rig.Advance(idleAtMost + time.Second)
	if in(third) != 401 {
		t.Error("an idle session goes on")
	}
	secret := admin.NewSecret()
	link := func(o *engine.Operator) error {
		o.Link = engine.OperatorLink{Hash: hashOf(secret), ExpiresAt: b.rig.Now().Add(time.Minute).UnixNano()}
		return nil
	}
	if err := b.rig.ChangeOperator(t.Context(), "viewer-1", link); err != nil {
		t.Fatal(err)
	}
	status, text, head := b.ask("GET", "/login?link="+secret, "", "")
	cookie, _, _ := strings.Cut(head.Get("Set-Cookie"), ";")
	if status != 200 || !strings.Contains(text, "viewer-1") || in(cookie) != 200 {
		t.Errorf("a link: %d %s", status, text)
	}
	if status, _, _ := b.ask("GET", "/login?link="+secret, "", ""); status == 200 {
		t.Error("a link is good twice")
	}
}

// With read_only nothing is changed, over routes and verbs, and everything is read.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.ReadOnly, o.BasePath = true, "/lapid" })
	for i := range routes {
		if r := &routes[i]; r.writes {
			path := strings.NewReplacer("{id}", "1", "{name}", "viewer-1").Replace(r.path)
			if status, text, _ := b.ask(r.method, path, b.tokens[admins], `{}`); status != 403 {
				t.Errorf("%s %s: %d %s", r.method, path, status, text)
			}
		}
	}
	for verb, want := range map[string]int{"/machines/list": 200, "/operators/list": 200, "/backup": 200, "/machines/add": 403, "/decisions/add": 403, "/operators/link": 403} {
		if status, text, _ := b.ask("POST", admin.RemotePath+verb, b.tokens[admins], ""); status != want {
			t.Errorf("%s: %d %.200s", verb, status, text)
		}
	}
}

// Bodies have an end, and so has what one operator may have under way.
func TestBounds(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	long := `{"value":"` + strings.Repeat("x", maxBody) + `"}`
	if status, text, _ := b.ask("POST", "/admin/v1/decisions", b.tokens[admins], long); status != 413 {
		t.Errorf("%d %s", status, text)
	}
	p := places{room: maxAtWork, of: map[string]int{}}
	var leave []func()
	for range maxOfOne {
		l, err := p.take("a", maxOfOne)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	if _, err := p.take("a", maxOfOne); err == nil {
		t.Error("one operator has no bound")
	}
	for _, l := range leave {
		l()
	}
	if p.all != 0 || len(p.of) != 0 {
		t.Errorf("%d places are left, of %d", p.all, len(p.of))
	}
}

// A client over HTTP reads what one in this process reads, byte for byte.
func TestRemoteClient(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/machines", `{"name":"edge-1"}`)
	local := admin.Local(b.server.options.Verbs)
	defer local.Close()
	far, err := admin.DialRemote(t.Context(), &admin.RemoteOptions{URL: b.url, Token: b.tokens[viewer]})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	one, _ := local.Machines(t.Context())
	two, err := far.Machines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one.Now, two.Now = 0, 0
	a, _ := json.Marshal(one)
	c, _ := json.Marshal(two)
	if !bytes.Equal(a, c) {
		t.Errorf("%s\n%s", a, c)
	}
	if err := far.DeleteMachine(t.Context(), "edge-1"); err == nil || !strings.Contains(err.Error(), "this needs the role admin") {
		t.Errorf("a viewer's deletion: %v", err)
	}
	for url, token := range map[string]string{b.url: "lapid_wrong", "http://192.0.2.1:1": b.tokens[viewer], "nowhere": "", "ftp://localhost": ""} {
		if _, err := admin.DialRemote(t.Context(), &admin.RemoteOptions{URL: url, Token: token}); err == nil {
			t.Errorf("%s was dialled", url)
		}
	}
}

// TestUnknownParameters: no route of the API passes over a parameter that it does not know, but those of an export,
// which are its format's.
func TestUnknownParameters(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for i := range routes {
		r := &routes[i]
		path := strings.NewReplacer("{id}", "1", "{name}", "admin-1", "{verb...}", "bouncers/list").Replace(r.path)
		if !strings.HasPrefix(path, "/admin/v1/") || strings.HasSuffix(path, "/render") {
			continue
		}
		for _, query := range []string{"nonsense=1", "nonsense"} {
			if status, text, _ := b.ask(r.method, path+"?"+query, b.tokens[admins], ""); status != 400 || !strings.Contains(text, "nonsense") {
				t.Errorf("%s %s?%s: %d %s", r.method, path, query, status, text)
			}
		}
	}
}
