package console

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// visitor is a browser without scripts.
type visitor struct {
	*bench
	client *http.Client
	base   string
}

func (b *bench) visitor() *visitor {
	jar, _ := cookiejar.New(nil)
	return &visitor{b, &http.Client{Jar: jar}, b.url}
}

// enter logs in as the operator of a role.
func (v *visitor) enter(role engine.Role) *visitor {
	v.t.Helper()
	if text := v.send("/login", "name", role.String()+"-1", "password", password); !strings.Contains(text, "<h1>Overview</h1>") {
		v.t.Fatalf("a login as %s leads to %.300s", role, text)
	}
	return v
}

// get reads a page, which must be there.
func (v *visitor) get(path string) string {
	v.t.Helper()
	return v.read(http.MethodGet, path, nil, http.StatusOK)
}

// send sends a form: names and values. The page that comes of it must be there.
func (v *visitor) send(path string, fields ...string) string {
	v.t.Helper()
	return v.read(http.MethodPost, path, form(fields), http.StatusOK)
}

func form(fields []string) url.Values {
	f := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		f.Add(fields[i], fields[i+1])
	}
	return f
}

func (v *visitor) read(method, path string, f url.Values, want int) string {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, strings.NewReader(f.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if f != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", v.server.scheme+"://"+r.URL.Host)
	}
	w, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	if w.StatusCode != want {
		v.t.Errorf("%s %s: %d, want %d\n%.2000s", method, path, w.StatusCode, want, text)
	}
	return string(text)
}

// has wants texts in a page.
func has(t *testing.T, where, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("%s: %q is not in it\n%.3000s", where, text, page)
		}
	}
}

// Everything that reads and every form works without scripts.
func TestPagesWithoutScripts(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		o.LookupURL = "https://example.net/ip/{ip}"
		o.Zone, _ = time.LoadLocation("Europe/Berlin")
	})
	v := b.visitor()
	has(t, "a stranger", v.get("/decisions?type=ban"), `name="password"`, `value="/decisions?type=ban"`)
	v.read(http.MethodPost, "/login", form([]string{"name", "admin-1", "password", "wrong"}), http.StatusUnauthorized)
	v.enter(admins)
	for _, path := range []string{"/", "/activity", "/decisions", "/decisions/add", "/decisions/import", "/alerts", "/why", "/bouncers", "/machines", "/allowlists", "/audit", "/exports", "/health-page", "/settings"} {
		v.get(path)
	}
	has(t, "a dry run", v.send("/decisions/add", "value", "192.0.2.7", "type", "ban", "duration", "4h", "do", "try"), "It would begin", `value="192.0.2.7"`)
	has(t, "a ban", v.send("/decisions/add", "value", "192.0.2.7", "type", "ban", "duration", "4h", "reason", "by hand"), "192.0.2.7 is decided", "by hand")
	has(t, "a search", v.get("/decisions?q=hand+type:ban&sort=-until"), "192.0.2.7", `aria-sort="descending"`, "1 in all", "How to search")
	has(t, "a bad search", v.read(http.MethodGet, "/decisions?q=nonsense:x", nil, 400), "of the search", `value="nonsense:x"`)
	has(t, "a bad ban", v.read(http.MethodPost, "/decisions/add", form([]string{"value", "nonsense", "type", "ban", "duration", "4h"}), 400), `value="nonsense"`, "notice bad")
	has(t, "why", v.get("/why?target=192.0.2.7"), "verdict decided", "by hand")
	has(t, "why nonsense", v.read(http.MethodGet, "/why?target=decision:99", nil, 404), "notice bad")
	has(t, "a decision", v.get("/decisions/1"), "End it now", "192.0.2.7")
	has(t, "an alert", v.get("/alerts/1"), "192.0.2.7", "cscli alerts inspect -d 1")
	has(t, "an unban", v.send("/decisions/end", "id", "1"), "has ended", ">Undo<")
	has(t, "an undo", v.send("/decisions/add", "value", "192.0.2.7", "scope", "Ip", "type", "ban", "duration", "3h", "reason", "by hand", "bypass", "yes"), "is decided")
	has(t, "another end", v.send("/decisions/extend", "id", "2", "duration", "+4h"), "192.0.2.7 runs until", "as another decision")
	has(t, "no end", v.read(http.MethodPost, "/decisions/extend", form([]string{"id", "2", "duration", "soon"}), 400), "is no extension")
	has(t, "one that is over", v.send("/decisions/extend", "id", "2", "duration", "+4h"), "It is over")
	for _, value := range []string{"203.0.113.8", "203.0.113.9"} {
		v.send("/decisions/add", "value", value, "type", "ban", "duration", "4h", "reason", "by hand")
	}
	page := v.send("/decisions/end", "id", "4", "id", "5")
	has(t, "two unbans", page, "2 decisions have ended", ">Undo<")
	undo := regexp.MustCompile(`name="revision" value="(\d+)"`).FindAllStringSubmatch(page, -1)
	if len(undo) != 2 {
		t.Fatalf("%d revisions in %.2000s", len(undo), page)
	}
	has(t, "their undo", v.send("/decisions/restore", "revision", undo[0][1], "revision", undo[1][1]), "2 decisions run again", "203.0.113.9")
	has(t, "again", v.send("/decisions/restore", "revision", undo[0][1]), "1 are decided anew already")
	has(t, "no undo", v.read(http.MethodPost, "/decisions/restore", form([]string{"revision", "x"}), 400), "a revision is a number")
	has(t, "nothing to undo", v.read(http.MethodPost, "/decisions/restore", form([]string{"revision", "1"}), 404), "notice bad")
	has(t, "a list", v.send("/allowlists/create", "name", "office", "description", "ours"), "office is created")
	has(t, "a preview", v.send("/allowlists/items/add", "name", "office", "values", "192.0.2.0/24", "do", "try"), "would end 1 decisions")
	has(t, "an item", v.send("/allowlists/items/add", "name", "office", "values", "192.0.2.0/24\n198.51.100.7", "comment", "us", "expires", "7d"), "2 added to office, 1 decisions have ended", ">Undo<")
	has(t, "an item out", v.send("/allowlists/items/remove", "name", "office", "value", "198.51.100.7"), "1 taken out")
	has(t, "a list's end", v.send("/allowlists/delete", "name", "office"), "office is deleted")
	has(t, "a bouncer", v.send("/bouncers/add", "name", "edge-fw"), "shown this once", `class="secret"`)
	has(t, "the same", v.read(http.MethodPost, "/bouncers/add", form([]string{"name", "edge-fw"}), 409), `value="edge-fw"`)
	has(t, "bouncers", v.get("/bouncers"), "edge-fw", "never pulled")
	has(t, "another key", v.send("/bouncers/rotate", "name", "edge-fw", "grace", "24h"), "shown this once", "stays good for 24h", `class="secret"`)
	has(t, "another at once", v.send("/bouncers/rotate", "name", "edge-fw", "grace", "0"), "open nothing from now on")
	has(t, "too long a grace", v.read(http.MethodPost, "/bouncers/rotate", form([]string{"name", "edge-fw", "grace", "91d"}), 400), "from 0 to 90d")
	has(t, "nobody", v.read(http.MethodPost, "/bouncers/rotate", form([]string{"name", "nobody", "grace", "1h"}), 404), "notice bad")
	has(t, "its end", v.send("/bouncers/delete", "name", "edge-fw"), "Deleted: edge-fw")
	has(t, "a machine", v.send("/machines/add", "name", "edge-1"), "shown this once")
	has(t, "validated", v.send("/machines/validate", "name", "edge-1"), "edge-1 is validated")
	has(t, "its end", v.send("/machines/delete", "name", "edge-1"), "edge-1 is deleted")
	has(t, "an alert's end", v.send("/alerts/1/delete"), "Alert 1 is deleted")
	has(t, "an operator", v.send("/settings/operators/add", "name", "carol", "role", "viewer"), "shown this once")
	has(t, "a token", v.send("/settings/tokens/add", "name", "carol", "comment", "laptop", "expires", "90d"), "lapid_")
	has(t, "no token", v.send("/settings/tokens/revoke", "name", "carol", "id", "1"), "is refused from now on")
	has(t, "a role", v.send("/settings/operators/edit", "name", "carol", "role", "operator"), "carol has the role operator now")
	has(t, "disabled", v.send("/settings/operators/edit", "name", "carol", "disabled", "yes"), "carol is disabled")
	has(t, "gone", v.send("/settings/operators/delete", "name", "carol"), "carol is deleted")
	has(t, "the last admin", v.read(http.MethodPost, "/settings/operators/delete", form([]string{"name", "admin-1"}), 409), "is the last admin")
	has(t, "a reload", v.send("/health-page/reload"), "is read again")
	has(t, "an export", v.send("/exports/add", "name", "edge", "format", "plain_text", "auth", "basic"), "shown this once", "Its user is edge", "/exports/edge of the Local API")
	has(t, "the same again", v.read(http.MethodPost, "/exports/add", form([]string{"name", "edge", "format", "plain_text", "auth", "basic"}), 409), `value="edge"`)
	has(t, "exports", v.get("/exports"), `href="/exports/edge"`, "never pulled")
	has(t, "its preview", v.get("/exports/edge?preview=yes"), "As a device would get it now", "203.0.113.9")
	fields := []string{"name", "edge", "format", "plain_text", "types", "captcha", "origins", "", "scenarios_containing", "", "family", "ipv4", "limit", "1 000", "order", "newest", "auth", "basic", "user", "edge", "aggregate", "yes"}
	has(t, "its change", v.send("/exports/edit", fields...), "edge is changed", `value="1000"`, `value="captcha"`, `<option value="newest" selected`, `name="aggregate" value="yes" checked`)
	has(t, "no change", v.read(http.MethodPost, "/exports/edit", form(fields), 400), "say what is to change")
	has(t, "a bad change", v.read(http.MethodPost, "/exports/edit", form([]string{"name", "edge", "limit", "many"}), 400), "is no number of entries", `value="many"`)
	has(t, "another secret of it", v.send("/exports/rotate", "name", "edge"), "shown this once", "stays good until it is ended")
	has(t, "the old one", v.send("/exports/rotate", "name", "edge", "end", "yes"), "Only the newest secret is good")
	has(t, "its end", v.send("/exports/delete", "name", "edge"), "edge is deleted")
	has(t, "another secret", v.send("/health-page/secret", "when", "later"), "stay good until they end")
	has(t, "another at once", v.send("/health-page/secret", "when", "now"), "all that were given have ended")
	has(t, "looks", v.send("/looks", "theme", "dark", "back", "/settings"), `data-theme="dark"`)
	has(t, "other looks", v.send("/looks", "density", "compact", "zone", "Asia/Kolkata", "back", "/settings"), `data-theme="dark"`, `data-density="compact"`, `data-zone="Asia/Kolkata"`, "times are Asia/Kolkata", `value="Asia/Kolkata"`)
	has(t, "no zone", v.read(http.MethodPost, "/looks", form([]string{"zone", "../etc/passwd"}), 400), "there is no time zone", "times are Asia/Kolkata")
	has(t, "the theme alone", v.send("/looks", "theme", "", "back", "/why?target=192.0.2.7"), `data-theme=""`, `data-density="compact"`, "times are Asia/Kolkata", `href="https://example.net/ip/192.0.2.7"`)
	has(t, "looks as usual", v.send("/looks", "density", "", "zone", "", "back", "/settings"), `data-density=""`, "times are Europe/Berlin")
	has(t, "no page", v.read(http.MethodGet, "/nothing", nil, 404), "there is nothing at this path")
	has(t, "a logout", v.send("/logout"), `name="password"`)
	has(t, "after it", v.get("/"), `name="password"`)
}

// Each page and form, with every role and without any.
func TestEveryPageForEveryRole(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for i := range sitePages {
		r := &sitePages[i]
		path := strings.NewReplacer("{id}", "4711", "{name}", "nobody", "{$}", "").Replace(r.path)
		for _, role := range []engine.Role{engine.RoleNone, viewer, operator, admins} {
			status, text, head := b.ask(r.method, path, b.tokens[role], "", "Accept", "text/html")
			refused := status == http.StatusForbidden && strings.Contains(text, "this needs the role")
			switch {
			case r.role == anybody:
			case role == engine.RoleNone && r.method == "GET":
				if status != http.StatusSeeOther || !strings.HasPrefix(head.Get("Location"), "/login") {
					t.Errorf("%s %s as a stranger: %d %s", r.method, path, status, head.Get("Location"))
				}
			case role == engine.RoleNone:
				if status != http.StatusUnauthorized {
					t.Errorf("%s %s as a stranger: %d", r.method, path, status)
				}
			case refused != (role < r.role), status >= http.StatusInternalServerError:
				t.Errorf("%s %s as %s: %d %.300s", r.method, path, role, status, text)
			}
		}
	}
	for role, absent := range map[engine.Role][]string{viewer: {"/decisions/add", "/decisions/end", "/bouncers/add"}, operator: {"/bouncers/add", "/machines/add", "/allowlists/create"}} {
		for _, page := range []string{"/", "/decisions", "/bouncers", "/machines", "/allowlists", "/settings", "/alerts"} {
			_, text, _ := b.ask("GET", page, b.tokens[role], "")
			for _, action := range absent {
				if strings.Contains(text, action) {
					t.Errorf("%s shows %s to %s", page, action, role)
				}
			}
		}
	}
}

// What a form changes is a route's to change: the audit calls it that, and read_only keeps it as it is.
func TestFormsAskRoutes(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.ReadOnly = true })
	for i := range sitePages {
		r := &sitePages[i]
		if !r.writes {
			continue
		}
		if asked := apiRoutes()[r.asks]; asked == nil || !asked.writes || asked.role != r.role || asked.secret != r.secret || r.action() != asked.action() {
			t.Errorf("%s %s asks %q: %+v", r.method, r.path, r.asks, asked)
		}
		path := strings.NewReplacer("{id}", "4711", "{name}", "nobody").Replace(r.path)
		if status, text, _ := b.ask(r.method, path, b.tokens[admins], "", "Accept", "text/html"); status != http.StatusForbidden || !strings.Contains(text, "read_only") {
			t.Errorf("%s %s where nothing may be changed: %d %.300s", r.method, path, status, text)
		}
	}
}

// unread fails a test that reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// The body of a request that is refused is not looked at, whatever it says that it is.
func TestRefusedBodies(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, kind := range []string{"multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/json"} {
		for path, want := range map[string]int{"/nothing": 404, "/decisions/4711": 405, "/decisions/add": 401, "/settings/operators/delete": 401} {
			for _, site := range []string{"same-origin", "cross-site"} {
				r := httptest.NewRequestWithContext(t.Context(), "POST", b.url+path, unread{t})
				r.Header.Set("Content-Type", kind)
				r.Header.Set("Sec-Fetch-Site", site)
				if site == "cross-site" {
					want = 403
				}
				w := httptest.NewRecorder()
				b.server.ServeHTTP(w, r)
				if w.Code != want {
					t.Errorf("POST %s of %s from %s: %d, want %d", path, kind, site, w.Code, want)
				}
			}
		}
	}
}

// Who listens is looked at again: a token that was revoked, an operator who may not log in any more.
func TestListenersAreLookedAtAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	hears := func() *listener {
		q := &request{Request: httptest.NewRequestWithContext(t.Context(), "GET", "/events", http.NoBody)}
		q.Header.Set("Authorization", "Bearer "+b.tokens[viewer])
		q.w = httptest.NewRecorder()
		if err := b.server.identify(q); err != nil {
			t.Fatal(err)
		}
		return &listener{server: b.server, q: q}
	}
	l := hears()
	if !l.goesOn() {
		t.Fatal("nobody may listen")
	}
	b.is(200, "DELETE", fmt.Sprintf("/admin/v1/operators/%s/tokens/%d", l.q.who.Name, l.q.token), "")
	if l.goesOn() {
		t.Error("a token that was revoked listens on")
	}
}
