package transport

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// decide stores decisions of one type.
func (h *house) decide(kind string, values ...string) {
	h.t.Helper()
	stamp := engine.StampOf(h.Now())
	a := &engine.Alert{Scenario: "test/scenario", Source: engine.Source{Scope: engine.ScopeIP, Value: values[0]}, StartAt: stamp, StopAt: stamp}
	for _, v := range values {
		a.Decisions = append(a.Decisions, engine.NewDecision{Duration: "4h", Origin: engine.OriginManual, Scenario: "test/scenario", Scope: engine.ScopeIP, Type: kind, Value: v})
	}
	_, err := h.AddAlerts(h.t.Context(), testMachine, []*engine.Alert{a}, h.Engine.Now())
	h.must(err)
}

// behindProxies has the house believe the peers of these ranges.
func behindProxies(ranges ...string) func(*build) {
	return func(b *build) {
		for _, r := range ranges {
			b.gate.Rules.TrustedProxies = append(b.gate.Rules.TrustedProxies, netip.MustParsePrefix(r))
		}
	}
}

// What a proxy's client is told, by what is decided about its address and by who names it.
func TestDoor(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		h := newHouse(t, behindProxies("127.0.0.0/8", "192.0.2.0/24"))
		h.ban("198.51.100.1", "198.51.100.64/28", "2001:db8::1")
		h.decide("captcha", "198.51.100.2", "198.51.100.65", "198.51.100.4")
		h.decide("throttle", "198.51.100.3", "198.51.100.4")
		h.decide("Captcha", "198.51.100.5")
		h.decide("what\r\nSet-Cookie: x=1", "198.51.100.6")
		h.decide(strings.Repeat("long", 50), "198.51.100.7")
		h.decide("", "198.51.100.8")
		for _, c := range []struct {
			named  string // lines of a head
			status int
			kind   string
		}{
			{"X-Forwarded-For: 198.51.100.1", 403, "ban"},
			{"X-Real-Ip: 198.51.100.1", 403, "ban"},
			{"X-Forwarded-For: 198.51.100.77", 403, "ban"},
			{"X-Forwarded-For: 198.51.100.65", 403, "ban"}, // beside a captcha
			{"X-Forwarded-For: 2001:db8::1", 403, "ban"},
			{"X-Forwarded-For: ::ffff:198.51.100.1", 403, "ban"},
			{"X-Forwarded-For: 198.51.100.2", 401, "captcha"},
			{"X-Forwarded-For: 198.51.100.5", 401, "Captcha"},
			{"X-Forwarded-For: 198.51.100.3", 403, "throttle"},
			{"X-Forwarded-For: 198.51.100.4", 403, "throttle"}, // beside a captcha
			{"X-Forwarded-For: 198.51.100.6", 403, "what__Set-Cookie__x_1"},
			{"X-Forwarded-For: 198.51.100.7", 403, strings.Repeat("long", 16)},
			{"X-Forwarded-For: 198.51.100.8", 403, "other"},
			{"X-Forwarded-For: 203.0.113.1", 200, ""},
			{"X-Forwarded-For: 2001:db8::2", 200, ""},
			// What stands left of the first that is no proxy is anybody's word.
			{"X-Forwarded-For: 203.0.113.1, 198.51.100.1, 192.0.2.9", 403, "ban"},
			{"X-Forwarded-For: 198.51.100.1, 203.0.113.1, 192.0.2.9", 200, ""},
			{"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.1", 200, ""},
			// One that cannot be read is no leave to believe the other, whichever of them the client wrote.
			{"X-Forwarded-For: rubbish\r\nX-Real-Ip: 198.51.100.1", 400, ""},
			{"X-Forwarded-For: rubbish\r\nX-Real-Ip: 203.0.113.1", 400, ""},
			{"X-Forwarded-For: rubbish, 192.0.2.9\r\nX-Real-Ip: 203.0.113.1", 400, ""},
			{"X-Forwarded-For: 203.0.113.1,\r\nX-Real-Ip: 203.0.113.1", 400, ""},
			{"X-Forwarded-For: ,\r\nX-Real-Ip: 203.0.113.1", 400, ""},
			{"X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: rubbish\r\nX-Real-Ip: 203.0.113.1", 400, ""},
			{"X-Real-Ip: 203.0.113.1\r\nX-Forwarded-For: 198.51.100.1:4711", 400, ""},
			{"X-Forwarded-For: unknown\r\nX-Real-Ip: 203.0.113.1", 400, ""},
			{"X-Forwarded-For:\r\nX-Real-Ip: 203.0.113.1", 200, ""}, // as a proxy that sets the other empties it
			{"X-Forwarded-For: \r\nX-Real-Ip: 198.51.100.1", 403, "ban"},
			{"X-Forwarded-For: 203.0.113.1\r\nX-Real-Ip: 198.51.100.1", 200, ""},
			// Nobody is named: that is not the proxy, whose own address is free.
			{"X-Other: 1", 400, ""},
			{"X-Forwarded-For: rubbish", 400, ""},
			{"X-Forwarded-For: 198.51.100.1:4711", 400, ""},
			{"X-Forwarded-For: fe80::1%eth0", 400, ""},
			{"X-Real-Ip: 198.51.100.1, 203.0.113.1 x", 400, ""},
			{"X-Forwarded-For: " + strings.Repeat("1", 500), 400, ""},
			// The client's words are not the proxy's.
			{"X-Forwarded-For: 203.0.113.1\r\nIf-None-Match: *\r\nCookie: jwt=x\r\nAuthorization: Bearer x\r\nUpgrade-Insecure-Requests: 1\r\nAccept-Encoding: gzip\r\nUser-Agent: Mozilla/5.0", 200, ""},
		} {
			for _, target := range []string{"/auth", "/auth?ip=203.0.113.9&type=x&token=secret"} {
				l := h.line(t)
				l.send("GET", target, c.named+"\r\n", "")
				w, err := http.ReadResponse(l.r, nil)
				h.must(err)
				text, _ := io.ReadAll(w.Body)
				if w.StatusCode != c.status || w.Header.Get("Lapid-Decision") != c.kind || len(w.Header["Set-Cookie"]) > 0 {
					t.Errorf("%q: %d %v %s, want %d %q", c.named, w.StatusCode, w.Header, text, c.status, c.kind)
				}
				if challenge := w.Header.Get("Www-Authenticate"); (challenge == `Captcha realm="lapid"`) != (c.status == 401) {
					t.Errorf("%q: challenged by %q", c.named, challenge)
				}
				if c.status == 200 && len(text) > 0 || c.status == 400 && !strings.Contains(string(text), "X-Real-IP") || c.kind != "" && w.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%q: %d %s %v", c.named, w.StatusCode, text, w.Header)
				}
			}
		}
		if row := h.View().Bouncer("fw@127.0.0.1"); row != nil || h.View().Bouncer("fw") == nil {
			t.Error("the proxy has a second row")
		}
		n := 0
		h.View().EachBouncer(func(*engine.BouncerRow) bool { n++; return true })
		if n != 1 {
			t.Errorf("%d rows: one for each client?", n)
		}
	})
}

// Without a proxy that is believed nobody passes, whatever is decided, and every method asks the
// same; a body is not waited for.
func TestDoorIsShut(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		h := newHouse(t, nil)
		h.ban("198.51.100.1")
		for _, named := range []string{"X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 198.51.100.1", "X-Real-Ip: 203.0.113.1", "X-Other: 1"} {
			if got := h.asBouncer("GET", "/auth", named); got.status != 400 || !strings.Contains(got.body, "trusted_proxies") {
				t.Errorf("%s: %d %s", named, got.status, got.body)
			}
		}
		if got := h.ask("GET", "/auth", "", "X-Forwarded-For: 198.51.100.1"); got.status != 403 || got.header.Get("Lapid-Decision") != "" {
			t.Errorf("without a key: %d %v", got.status, got.header)
		}
		far := newHouse(t, behindProxies("127.0.0.1/32"))
		far.ban("198.51.100.1")
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
			for named, status := range map[string]int{"198.51.100.1": 403, "203.0.113.1": 200} {
				for _, body := range []string{"", "some text of the client's"} {
					got := far.ask(method, "/auth", body, "X-Api-Key: "+testKey, "X-Forwarded-For: "+named, "Content-Encoding: gzip")
					if got.status != status || (got.header.Get("Lapid-Decision") == "ban") != (status == 403) {
						t.Errorf("%s of %d bytes for %s: %d %s", method, len(body), named, got.status, got.body)
					}
				}
			}
		}
		for _, body := range []string{"Content-Length: 1000000\r\n\r\nthe beginning", "Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n400\r\nthe beginning", "Content-Length: 7\r\nExpect: 100-continue\r\n\r\n"} {
			c, r := far.dial()
			fmt.Fprintf(c, "POST /auth HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nX-Forwarded-For: 198.51.100.1\r\n%s", testKey, body)
			w, err := http.ReadResponse(bufio.NewReader(r), nil)
			far.must(err)
			if w.StatusCode != 403 || !w.Close {
				t.Errorf("beside a body that does not come (%q): %d, closed %v", body, w.StatusCode, w.Close)
			}
		}
	})
}

// What proxies send as they are configured in docs/doors.md, and as they are without more.
func TestDoorTakesWhatProxiesSend(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		h := newHouse(t, behindProxies("127.0.0.0/8"))
		h.ban("198.51.100.1")
		const key = "X-Api-Key: " + testKey + "\r\n"
		for name, ask := range map[string]string{
			"nginx":      "GET /auth HTTP/1.1\r\nHost: lapid\r\n" + key + "X-Forwarded-For: ADDRESS\r\nUser-Agent: curl/8\r\nAccept: */*\r\nCookie: session=1\r\nContent-Type: text/plain\r\n\r\n",
			"nginx, old": "GET /auth HTTP/1.0\r\nX-Forwarded-For: ADDRESS\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n" + key + "User-Agent: curl/8\r\n\r\n",
			"traefik": "GET /auth HTTP/1.1\r\nHost: lapi:8080\r\nUser-Agent: Mozilla/5.0 (X11)\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nAccept-Language: de\r\nCookie: a=b; jwt=c\r\nUpgrade-Insecure-Requests: 1\r\n" + key +
				"X-Forwarded-For: ADDRESS\r\nX-Forwarded-Host: example.org\r\nX-Forwarded-Method: POST\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Server: edge\r\nX-Forwarded-Uri: /a?b=%2F&c\r\nX-Real-Ip: ADDRESS\r\n\r\n",
			"traefik, preserveRequestMethod": "PATCH /auth HTTP/1.1\r\nHost: lapi:8080\r\nUser-Agent: Mozilla/5.0\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n" + key + "X-Forwarded-For: ADDRESS\r\nX-Forwarded-Method: PATCH\r\nAccept-Encoding: gzip\r\n\r\nbody",
			"caddy": "GET /auth?what=the&client=asked HTTP/1.1\r\nHost: lapi:8080\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nIf-None-Match: \"x\"\r\nVia: 2.0 Caddy\r\nX-Api-Key: " + testKey +
				"\r\nX-Forwarded-For: ADDRESS\r\nX-Forwarded-Host: example.org\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Uri: /?what=the&client=asked\r\n\r\n",
		} {
			for address, status := range map[string]int{"198.51.100.1": 403, "203.0.113.1": 200} {
				c, r := h.dial()
				fmt.Fprint(c, strings.ReplaceAll(ask, "ADDRESS", address))
				w, err := http.ReadResponse(r, nil)
				h.must(err)
				if w.StatusCode != status {
					t.Errorf("%s about %s: %d", name, address, w.StatusCode)
				}
			}
		}
	})
}

// doorOf is what a door has to say where a live query finds this: a status, and a type.
func doorOf(t *testing.T, found string) (status int, kind string) {
	t.Helper()
	var list []struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal([]byte(found), &list); err != nil {
		t.Fatal(found, err)
	}
	others := 0
	for i := range list {
		switch list[i].Type {
		case "ban":
			return 403, "ban"
		case "captcha":
		default:
			others, kind = others+1, list[i].Type
		}
	}
	switch {
	case len(list) == 0:
		return 200, ""
	case others == 0:
		return 401, "captcha"
	case len(list) > fewFound:
		return 403, otherType
	}
	return 403, kind
}

// A door answers as the live query of the same bouncer does: by its view, what is allowlisted,
// what has ended, and what is only simulated, few or many; and it is counted as one, under a name of its own.
func TestDoorSeesAsLiveQueries(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(b *build) {
		behindProxies("127.0.0.1/32")(b)
		b.engine = func(o *engine.Options) { yes := true; o.AllowlistsWin = &yes }
	})
	keys := map[string]*engine.Sight{testKey: nil, "of-captchas": {Types: []string{"captcha"}}, "of-other-lists": {Origins: []string{"lists"}}, "of-no-bans": {Types: []string{"captcha", "kind-7"}}}
	for key, sight := range keys {
		if sight == nil {
			continue
		}
		h.addBouncer(key, key, false)
		_, err := h.EditBouncer(t.Context(), key, func(b *engine.Bouncer) error { b.Sight = sight; return nil })
		h.must(err)
	}
	simulate := func(n int, value string) {
		stamp := engine.StampOf(h.Now())
		a := &engine.Alert{Scenario: "test/scenario", Simulated: true, Source: engine.Source{Scope: engine.ScopeIP, Value: value}, StartAt: stamp, StopAt: stamp}
		for range n {
			a.Decisions = append(a.Decisions, engine.NewDecision{Duration: "4h", Origin: engine.OriginManual, Scenario: "test/scenario", Scope: engine.ScopeIP, Type: "ban", Value: value})
		}
		_, err := h.AddAlerts(t.Context(), testMachine, []*engine.Alert{a}, h.Engine.Now())
		h.must(err)
	}
	many := func(kind string, n int, value string) {
		for range n {
			h.decide(kind, value)
		}
	}
	h.ban("198.51.100.0/24", "203.0.113.1")
	h.decide("captcha", "203.0.113.2")
	for i := range 80 {
		h.decide(fmt.Sprintf("kind-%d", i), "203.0.113.3")
	}
	many("captcha", 70, "203.0.113.4")
	simulate(1, "203.0.113.5")
	simulate(1, "203.0.113.6")
	h.decide("captcha", "203.0.113.6")
	simulate(80, "203.0.113.7")
	simulate(80, "203.0.113.8")
	many("captcha", 70, "203.0.113.8")
	many("captcha", 70, "203.0.113.9")
	h.ban("203.0.113.9")
	h.must(h.tryBan("1m", "203.0.113.10"))
	h.must(h.tryBan("1m", "203.0.113.11"))
	h.decide("captcha", "203.0.113.11")
	h.must(h.CreateAllowlist(t.Context(), "ours", "", h.Engine.Now()))
	_, _, err := h.AddToAllowlist(t.Context(), "ours", []engine.AllowlistItem{{Value: "198.51.100.7", Prefix: netip.MustParsePrefix("198.51.100.7/32")}}, h.Engine.Now())
	h.must(err)
	asked, found := 0, map[string]int{}
	compare := func(want map[string]int) {
		t.Helper()
		for key := range keys {
			for address, status := range want {
				live := h.ask("GET", "/v1/decisions?ip="+address, "", "X-Api-Key: "+key)
				code, kind := doorOf(t, live.body)
				got := h.ask("GET", "/auth", "", "X-Api-Key: "+key, "X-Forwarded-For: "+address)
				if asked++; code != 200 {
					found[key]++
				}
				if told := got.header.Get("Lapid-Decision"); got.status != code || told != kind && (code != 403 || kind == "ban" || kind == otherType) {
					t.Errorf("%s to %s: %d %q, instead of %d %q: %.200s", address, key, got.status, told, code, kind, live.body)
				}
				if key == testKey && code != status {
					t.Errorf("%s: a live query gives %.200s", address, live.body)
				}
			}
		}
	}
	compare(map[string]int{
		"198.51.100.8": 403, "198.51.100.7": 200, "203.0.113.1": 403, "203.0.113.2": 401, "203.0.113.3": 403, "203.0.113.4": 401, "203.0.113.5": 200, "203.0.113.6": 401,
		"203.0.113.7": 200, "203.0.113.8": 401, "203.0.113.9": 403, "203.0.113.10": 403, "203.0.113.11": 403, "192.0.2.1": 200,
	})
	h.Advance(2 * time.Minute)
	compare(map[string]int{"203.0.113.10": 200, "203.0.113.11": 401})
	text := h.scrape("/metrics")
	lines := []string{fmt.Sprintf(`cs_lapi_route_requests_total{method="GET",route="/auth"} %d`, asked)}
	for key := range keys {
		name := key
		if key == testKey {
			name = "fw"
		}
		each := asked / len(keys)
		lines = append(lines, fmt.Sprintf(`cs_lapi_bouncer_requests_total{bouncer=%q,method="GET",route="/auth"} %d`, name, each))
		if n := found[key]; n > 0 { // by live queries and by the door
			lines = append(lines, fmt.Sprintf(`cs_lapi_decisions_ok_total{bouncer=%q} %d`, name, 2*n))
		}
		lines = append(lines, fmt.Sprintf(`cs_lapi_decisions_ko_total{bouncer=%q} %d`, name, 2*(each-found[key])))
	}
	for _, want := range lines {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if found["of-captchas"] == 0 || found["of-no-bans"] <= found["of-captchas"] || found["of-other-lists"] != 0 || found[testKey] <= found["of-no-bans"] {
		t.Errorf("views differ less than they should: %v", found)
	}
}

// TestNothingIsAllocatedAtDoors: what is asked about every request of a site allocates nothing, on
// loops and beside them.
func TestNothingIsAllocatedAtDoors(t *testing.T) {
	h := newHouse(t, behindProxies("127.0.0.0/8", "0.0.0.0/32")) // the latter is who asks without a network
	h.ban("198.51.100.1", "198.51.100.64/28", "2001:db8::1")
	h.decide("captcha", "198.51.100.2")
	h.asBouncer("GET", "/auth", "X-Real-IP: 203.0.113.1")
	for address, want := range map[string]string{
		"203.0.113.1": "HTTP/1.1 200 OK", "198.51.100.1": "HTTP/1.1 403 ", "198.51.100.70": "HTTP/1.1 403 ", "2001:db8::1": "HTTP/1.1 403 ", "198.51.100.2": "HTTP/1.1 401 ",
	} {
		answer := h.onLoop("GET /auth HTTP/1.1\r\nHost: x\r\nUser-Agent: tester/1.0\r\nX-Api-Key: " + testKey + "\r\nX-Forwarded-For: " + address + "\r\nCookie: a=b\r\n\r\n")
		if out, done := answer(); !done || !strings.HasPrefix(string(out), want) || strings.Contains(want, "200") == strings.Contains(string(out), "Lapid-Decision: ") {
			t.Errorf("%s on a loop: %v %s", address, done, out)
		}
		if n := testing.AllocsPerRun(200, func() { answer() }); n != 0 && !raced {
			t.Errorf("%s: %v allocations on a loop", address, n)
		}
	}
	_, answer := h.handled("GET", "/auth", "X-Api-Key", testKey, "X-Forwarded-For", "203.0.113.1")
	answer()
	if n := testing.AllocsPerRun(200, answer); n != 0 && !raced {
		t.Errorf("%v allocations beside loops", n)
	}
}
