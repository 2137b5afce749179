package transport

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	bothWays(t, testHealth)
}

func testHealth(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	got := h.ask("GET", "/health", "")
	h.wants(got, 200, `{"status":"up"}`)
	for name, value := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-cache", "Pragma": "no-cache",
		"Expires": "Thu, 01 Jan 1970 00:00:00 GMT", "Server": "", "Content-Encoding": "",
	} {
		if got.header.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.header.Get(name), value)
		}
	}
}

// TestUnmatched holds http-api.md section 1: unknown paths, other methods,
// slashes too many.
func TestUnmatched(t *testing.T) {
	t.Parallel()
	bothWays(t, testUnmatched)
}

func testUnmatched(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, c := range []struct {
		method, path    string
		status          int
		allow, location string
	}{
		{"GET", "/", 404, "", ""},
		{"GET", "/v1", 404, "", ""},
		{"GET", "/V1/alerts", 404, "", ""},
		{"GET", "//v1/alerts", 404, "", ""},
		{"GET", "/v1//alerts", 404, "", ""},
		{"GET", "/v1/decisions/1/2", 404, "", ""},
		{"POST", "/v1/decisions/stream/x", 404, "", ""},
		{"GET", "/v1/allowlists/check/192.0.2.0/24", 404, "", ""},
		{"GET", "/v1/usage-metrics/", 404, "", ""},
		{"PUT", "/v1/alerts", 405, "GET, HEAD, POST, DELETE", ""},
		{"OPTIONS", "/v1/alerts", 405, "GET, HEAD, POST, DELETE", ""},
		{"BREW", "/v1/alerts", 405, "GET, HEAD, POST, DELETE", ""},
		{"POST", "/v1/decisions", 405, "GET, HEAD, DELETE", ""},
		{"GET", "/v1/watchers/self", 405, "DELETE", ""},
		{"GET", "/v1/watchers", 405, "POST", ""},
		{"HEAD", "/v1/heartbeat", 405, "GET", ""},
		{"HEAD", "/health", 405, "GET", ""},
		{"HEAD", "/v1/allowlists", 405, "GET", ""},
		{"HEAD", "/v1/allowlists/x", 405, "GET", ""},
		{"HEAD", "/v1/refresh_token", 405, "GET", ""},
		{"POST", "/v1/allowlists/x", 405, "GET", ""},
		{"GET", "/v1/decisions/7", 405, "DELETE", ""},
		{"GET", "/v1/alerts/", 301, "", "/v1/alerts"},
		{"GET", "/v1/decisions/?ip=1.2.3.4&x=%20", 301, "", "/v1/decisions?ip=1.2.3.4&x=%20"},
		{"GET", "/v1/alerts/7/", 301, "", "/v1/alerts/7"},
		{"POST", "/v1/alerts/", 307, "", "/v1/alerts"},
		{"DELETE", "/v1/decisions/?ip=1.2.3.4", 307, "", "/v1/decisions?ip=1.2.3.4"},
		{"HEAD", "/v1/decisions/stream/", 307, "", "/v1/decisions/stream"},
		{"POST", "/v1/usage-metrics/", 307, "", "/v1/usage-metrics"},
	} {
		got := h.ask(c.method, c.path, "")
		if got.status != c.status || got.body != "" || got.header.Get("Allow") != c.allow || got.header.Get("Location") != c.location {
			t.Errorf("%s %s: %d allow %q location %q body %q, want %v", c.method, c.path, got.status, got.header.Get("Allow"), got.header.Get("Location"), got.body, c)
		}
		if kind := got.header.Get("Content-Type"); kind != "" {
			t.Errorf("%s %s: a type without a body: %s", c.method, c.path, kind)
		}
	}
}

// TestWords are paths in which a word could be taken for a parameter.
func TestWords(t *testing.T) {
	t.Parallel()
	bothWays(t, testWords)
}

func testWords(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.wants(h.asMachine("DELETE", "/v1/decisions/stream", ""), 400, `{"message":"decision_id must be valid integer"}`)
	h.wants(h.asMachine("GET", "/v1/allowlists/check", ""), 500, `{"message":"allowlist 'check' not found"}`)
	h.wants(h.asMachine("GET", "/v1/allowlists/checkers", ""), 500, `{"message":"allowlist 'checkers' not found"}`)
	h.wants(h.asMachine("GET", "/v1/allowlists/a%2Fb%20c", ""), 500, `{"message":"allowlist 'a/b c' not found"}`)
	h.wants(h.asMachine("GET", "/v1/allowlists/check/192.0.2.0%2F24", ""), 200, `{}`)
	h.wants(h.asMachine("GET", "/v1/allowlists/check/2001:db8::1", ""), 200, `{}`)
	h.wants(h.asMachine("HEAD", "/v1/allowlists/check/192.0.2.1", ""), 204, "")
	h.wants(h.asMachine("GET", "/v1/allowlists/a%00b", ""), 400, "")
	h.wants(h.asMachine("DELETE", "/v1/alerts/abc", ""), 400, `{"message":"alert_id must be valid integer"}`)
	h.wants(h.asMachine("GET", "/v1/alerts/99999999999999999999", ""), 400, `{"message":"alert_id must be valid integer"}`)
	h.wants(h.asMachine("GET", "/v1/alerts/+007", ""), 404, `{"message":"object not found"}`)
	h.wants(h.asMachine("DELETE", "/v1/decisions/-5", ""), 500, `{"message":"decision with id '-5' doesn't exist: unable to delete"}`)
}

func packed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.String()
}

func TestPackedBodies(t *testing.T) {
	t.Parallel()
	bothWays(t, testPackedBodies)
}

func testPackedBodies(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	alert := h.alertText("192.0.2.1")
	once, twice := packed(alert), packed(packed(alert))
	for _, c := range []struct {
		encoding, body string
		status         int
	}{
		{"gzip", once, 201},
		{" gzip ", once, 201},
		{"gzip, gzip", twice, 201},
		{"gzip,,", once, 201},
		{"deflate", alert, 201},
		{"GZIP", alert, 201},
		{"gzip, br", once, 415},
		{"br, gzip", once, 415},
		{"gzip", alert, 400},
		{"gzip", "", 400},
		{"gzip, gzip", once, 400},
		{"gzip, GZIP", twice, 201},
		{"gzip, gzip, gzip, gzip, gzip", once, 415},
	} {
		got := h.asMachine("POST", "/v1/alerts", c.body, "Content-Encoding: "+c.encoding)
		if got.status != c.status || (c.status != 201 && got.body != "") {
			t.Errorf("%q: %d %s, want %d", c.encoding, got.status, got.body, c.status)
		}
	}
	cut := h.asMachine("POST", "/v1/alerts", once[:len(once)-12], "Content-Encoding: gzip")
	h.wants(cut, 400, `{"message":"unexpected EOF"}`)
}

// TestTooLarge tries every way of sending too much.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	bothWays(t, testTooLarge)
}

func testTooLarge(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	fill := func(n int) string {
		return `{"machine_id":"a-machine","password":"a-password","_":"` + strings.Repeat("a", n) + `"}`
	}
	h.wants(h.ask("POST", "/v1/watchers", fill(smallBody)), 400, `{"message":"http: request body too large"}`)
	h.wants(h.ask("POST", "/v1/watchers/login", fill(smallBody)), 401, `{"code":401,"message":"missing: http: request body too large"}`)
	h.wants(h.ask("POST", "/v1/watchers/login", packed(fill(smallBody)), "Content-Encoding: gzip"), 401, `{"code":401,"message":"missing: http: request body too large"}`)
	if got := h.ask("POST", "/v1/watchers/login", fill(2_000_000)); got.status != 200 {
		t.Errorf("a body below the limit: %d %s", got.status, got.body)
	}
	bomb := packed(packed(strings.Repeat(" ", 60<<20)))
	h.wants(h.asMachine("POST", "/v1/alerts", bomb, "Content-Encoding: gzip, gzip"), 400, `{"message":"http: request body too large"}`)
	h.eventually("the budget is given back", func() bool { return h.server.front.MemoryInUse() == 0 })
}

// TestNoRoomForBodies sends a large body when the memory for them is used up, and
// one that there never is room for.
func TestNoRoomForBodies(t *testing.T) {
	t.Parallel()
	bothWays(t, testNoRoomForBodies)
}

func testNoRoomForBodies(t *wireTest) {
	t.Parallel()
	h := newHouse(t, func(b *build) {
		b.server.BodyMemory, b.server.patience.Body = 1<<20, time.Millisecond
	})
	h.wants(h.asMachine("POST", "/v1/alerts", `[`+strings.Repeat(" ", 3<<20)+`]`), 400, `{"message":"http: request body too large"}`)
	other := budget.Hold{Of: budget.Holder{Name: "another"}, From: h.server.front.KnownMemory()}
	if !other.Take(1 << 20) {
		t.Fatal("the memory is not free")
	}
	got := h.asMachine("POST", "/v1/alerts", `[`+strings.Repeat(" ", 300<<10)+`]`)
	other.Release()
	if got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	h.wants(h.asMachine("POST", "/v1/alerts", `[]`), 201, `[]`)
}

func TestHeads(t *testing.T) {
	t.Parallel()
	bothWays(t, testHeads)
}

func testHeads(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.ban("192.0.2.1")
	for _, c := range []struct {
		path   string
		status int
		kind   string
	}{
		{"/v1/decisions?ip=192.0.2.1", 200, "text/plain; charset=utf-8"},
		{"/v1/decisions", 200, "text/plain; charset=utf-8"},
		{"/v1/decisions?ip=zz", 500, "application/json; charset=utf-8"},
		{"/v1/decisions/stream?startup=true", 200, "text/plain; charset=utf-8"},
		{"/v1/decisions/stream?ip=zz", 200, "text/plain; charset=utf-8"},
	} {
		got := h.asBouncer("HEAD", c.path)
		if got.status != c.status || got.header.Get("Content-Type") != c.kind || got.body != "" {
			t.Errorf("HEAD %s: %d %s", c.path, got.status, got.header)
		}
	}
	if row := h.View().Bouncer("fw"); row.LastPull() != 0 || row.Load().IP.IsValid() {
		t.Error("a HEAD left a trace")
	}
	if got := h.asMachine("HEAD", "/v1/alerts/1", ""); got.status != 200 || got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("HEAD of an alert: %v", got)
	}
	if got := h.asMachine("HEAD", "/v1/alerts?x=y", ""); got.status != 500 {
		t.Errorf("HEAD with an unknown filter: %v", got)
	}
}

// TestPanic has a handler fail: one client is told, the next one is served.
func TestPanic(t *testing.T) {
	t.Parallel()
	bothWays(t, testPanic)
}

func testPanic(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, nil, nil)
	ctx.Request.SetRequestURI("/v1/refresh_token")
	h.server.routes.line("GET", "/v1/refresh_token").handle = func(*exchange) error { panic("on purpose") }
	h.server.front.Do(ctx)
	if ctx.Response.StatusCode() != 500 || len(ctx.Response.Body()) != 0 {
		t.Errorf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
	h.wants(h.ask("GET", "/health", ""), 200, `{"status":"up"}`)
}

// TestManyAlerts lists more than fits into one piece.
func TestManyAlerts(t *testing.T) {
	t.Parallel()
	bothWays(t, testManyAlerts)
}

func testManyAlerts(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.wants(h.asMachine("GET", "/v1/alerts?limit=0", ""), 200, "null")
	for i := range 300 {
		h.ban(fmt.Sprintf("192.0.2.%d", i%250+1))
	}
	all := h.asMachine("GET", "/v1/alerts?limit=0", "")
	if n := strings.Count(all.body, `"machine_id"`); n != 300 || all.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%d alerts of 300, %s", n, all.header)
	}
	if n := strings.Count(h.asMachine("GET", "/v1/alerts", "").body, `"machine_id"`); n != 100 {
		t.Errorf("%d alerts of 100", n)
	}
}

// TestManyDecisions lists more decisions than are put together first.
func TestManyDecisions(t *testing.T) {
	t.Parallel()
	bothWays(t, testManyDecisions)
}

func testManyDecisions(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.banMany(longList + 500)
	got := h.asBouncer("GET", "/v1/decisions")
	if n := strings.Count(got.body, `"id"`); n != longList+500 || !strings.HasSuffix(got.body, "}]") {
		t.Errorf("%d decisions", n)
	}
	if got := h.asBouncer("GET", "/v1/decisions?limit=3"); strings.Count(got.body, `"id"`) != 3 {
		t.Errorf("limit: %s", got.body)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	bothWays(t, testUnixSocket)
}

func testUnixSocket(t *wireTest) {
	t.Parallel()
	h := newHouse(t, func(b *build) {
		b.server.Listen = ""
		b.server.Socket = filepath.Join(t.TempDir(), "lapi.sock")
		b.gate.Rules.LocalRegistration = true
	})
	h.ban("192.0.2.1")
	client := h.overSocket()
	get := func(method, path, body string, header ...string) reply {
		return h.askBy(client, "http://socket", method, path, body, header...)
	}
	h.wants(get("GET", "/health", ""), 200, `{"status":"up"}`)
	h.wants(get("DELETE", "/v1/alerts/1", "", "Authorization: Bearer "+h.token(), "X-Forwarded-For: 203.0.113.9"), 200, `{"nbDeleted":"1"}`)
	h.wants(get("POST", "/v1/watchers", `{"machine_id":"x","password":"y"}`, "X-Forwarded-For: 203.0.113.9"), 201, "")
	h.wants(get("GET", "/v1/decisions?ip=192.0.2.1", "", "X-Api-Key: "+testKey), 200, "null")
	if ip := h.View().Bouncer("fw").Load().IP.String(); ip != "127.0.0.1" {
		t.Errorf("the socket's address is %s", ip)
	}
}

// TestEveryLine has each line of the table reached by its own method and path.
func TestEveryLine(t *testing.T) {
	t.Parallel()
	bothWays(t, testEveryLine)
}

func testEveryLine(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	h.addExport("x", nil)
	var seen []string
	for i := range h.server.routes.lines {
		line := &h.server.routes.lines[i]
		if line.path == "" {
			continue // of what matches none
		}
		path := strings.NewReplacer("{alert_id}", "1", "{decision_id}", "1", "{allowlist_name}", "x", "{ip_or_range}", "192.0.2.1", "{export_name}", "x").Replace(line.path)
		name := line.method + " " + line.label
		if slices.Contains(seen, name) {
			t.Errorf("%s stands twice", name)
		}
		seen = append(seen, name)
		if got := h.ask(line.method, path, ""); got.status == http.StatusNotFound || got.status == http.StatusMethodNotAllowed {
			t.Errorf("%s %s: %d", line.method, path, got.status)
		}
	}
}
