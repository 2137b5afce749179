package transport

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"lapid/transport/auth"
)

// TestDenials: of an address each reason is told at once, then once a minute with
// its count, and of addresses beyond those remembered one line for all.
func TestDenials(t *testing.T) {
	t.Parallel()
	d, now := newDenials(slog.New(slog.DiscardHandler)), int64(1_000_000*time.Second)
	address := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) }
	note := func(a netip.Addr, why auth.Reason) (deniedLine, bool) {
		return d.note(&denial{reason: why, address: a}, now)
	}
	for i := range 1000 {
		if line, tell := note(address(0), auth.UnknownKey); tell != (i == 0) || tell && line.times != 1 {
			t.Fatalf("%d: %+v %v", i, line, tell)
		}
		now += int64(time.Millisecond)
	}
	if line, tell := note(address(0), auth.WrongPassword); !tell || line.reason != auth.WrongPassword {
		t.Errorf("another reason: %+v %v", line, tell)
	}
	if lines := d.sweep(now, false); len(lines) != 0 {
		t.Errorf("too early: %+v", lines)
	}
	now += int64(time.Minute)
	if lines := d.sweep(now, false); len(lines) != 1 || lines[0].times != 999 || lines[0].address != address(0) || lines[0].others {
		t.Errorf("after a minute: %+v", lines)
	}
	if line, tell := note(address(0), auth.UnknownKey); tell {
		t.Errorf("at once again: %+v", line)
	}
	now += int64(time.Minute)
	if line, tell := note(address(0), auth.UnknownKey); !tell || line.times != 2 {
		t.Errorf("a minute later: %+v %v", line, tell)
	}
	now += 2 * int64(time.Minute)
	if d.sweep(now, false); len(d.known)+len(d.crowd) != 0 {
		t.Errorf("nobody is forgotten: %d", len(d.known))
	}

	told, others := 0, 0
	for i := range 100_000 {
		if line, tell := note(address(i), auth.UnknownKey); tell && line.others {
			others++
		} else if tell {
			told++
		}
	}
	if told != deniedAtMost || others != 1 || len(d.known) != deniedAtMost || len(d.crowd) != 1 {
		t.Errorf("a hundred thousand addresses: %d lines and %d, %d and %d remembered", told, others, len(d.known), len(d.crowd))
	}
	if lines := d.sweep(now, true); len(lines) != 1 || !lines[0].others || lines[0].times != 100_000-deniedAtMost-1 {
		t.Errorf("at the end: %+v", lines)
	}
	if n := d.counts[auth.UnknownKey].Load(); n != 101_002 {
		t.Errorf("%d counted", n)
	}
	now -= int64(time.Hour) // a clock that is set back must not silence anything
	if _, tell := note(address(0), auth.UnknownKey); !tell {
		t.Error("silent for an hour")
	}
	for _, v6 := range []string{"2001:db8::1", "2001:db8::2:1"} {
		if _, tell := note(netip.MustParseAddr(v6), auth.NoKey); !tell && v6 == "2001:db8::1" || tell && v6 != "2001:db8::1" && len(d.known) < deniedAtMost {
			t.Errorf("%s: %v", v6, tell)
		}
	}
}

// TestEveryDenialIsTold refuses callers in every way: each has one line, and is
// counted, and no line has a secret.
func TestEveryDenialIsTold(t *testing.T) {
	t.Parallel()
	bothWays(t, testEveryDenialIsTold)
}

func testEveryDenialIsTold(t *wireTest) {
	t.Parallel()
	var log lockedBuffer
	h := newHouse(t, func(b *build) {
		b.server.Logger = slog.New(slog.NewTextHandler(&log, nil))
		b.gate.Rules.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		b.gate.Rules.Registration = &auth.Registration{Token: "the-token-of-registration-which-is-long"}
	})
	login := func(id, password, agent string) {
		body := fmt.Sprintf(`{"machine_id":%q,"password":%q,"scenarios":[]}`, id, password)
		r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/v1/watchers/login", strings.NewReader(body))
		h.must(err)
		r.Header.Set("User-Agent", agent)
		w, err := http.DefaultClient.Do(r)
		h.must(err)
		w.Body.Close()
	}
	register := func(id, token string) {
		h.ask("POST", "/v1/watchers", fmt.Sprintf(`{"machine_id":%q,"password":"secret-password","registration_token":%q}`, id, token))
	}
	for _, c := range []struct {
		reason auth.Reason
		who    string
		ask    func()
	}{
		{auth.NoKey, "", func() { h.ask("GET", "/v1/decisions", "") }},
		{auth.UnknownKey, "", func() { h.ask("GET", "/v1/decisions/stream", "", "X-Api-Key: secret-key") }},
		{auth.NoToken, "", func() { h.ask("GET", "/v1/heartbeat", "") }},
		{auth.InvalidToken, "", func() { h.ask("GET", "/v1/alerts", "", "Authorization: Bearer secret-token") }},
		{auth.UnknownMachine, "nobody", func() { login("nobody", "secret-password", "a/b") }},
		{auth.UnvalidatedMachine, "stranger", func() { login("stranger", testPassword, "a/b") }},
		{auth.WrongPassword, testMachine, func() { login(testMachine, "secret-password", "a/b") }},
		{auth.BadAgent, testMachine, func() { login(testMachine, testPassword, "ab") }},
		{auth.BadLogin, "", func() { h.ask("POST", "/v1/watchers/login", `{"password":"secret-password"`) }},
		{auth.RegistrationToken, "m9", func() { register("m9", "secret-token-of-registration-secret") }},
		{auth.RegistrationFrom, "m9", func() { register("m9", "the-token-of-registration-which-is-long") }},
		{auth.TakenMachine, testMachine, func() { register(testMachine, "") }},
		{auth.DeletionFromStranger, testMachine, func() { h.asMachine("DELETE", "/v1/alerts", "", "X-Forwarded-For: 192.0.2.9") }},
	} {
		for range 5 {
			c.ask()
		}
		text := log.String()
		line := regexp.MustCompile(`(?m)^.*level=WARN msg="refused: .*reason=`+string(c.reason)+` .*$`).FindAllString(text, -1)
		if len(line) != 1 || !strings.Contains(line[0], " times=1") || !strings.Contains(line[0], "who="+c.who) && c.who != "" {
			t.Errorf("%s: %q", c.reason, line)
		}
		if series := fmt.Sprintf("lapid_denied_total{reason=%q} 5\n", c.reason); !strings.Contains(h.scrape("/metrics"), series) {
			t.Errorf("no series %s", series)
		}
	}
	h.Advance(time.Minute)
	h.eventually("the rest is told", func() bool {
		return strings.Contains(log.String(), "reason=key_unknown address=127.0.0.1 times=4 request=\"GET /v1/decisions/stream\" user_agent=tester/1.0")
	})
	if text := log.String(); strings.Contains(text, "secret") || strings.Contains(text, "the-token-of") || strings.Contains(text, testPassword) {
		t.Errorf("a secret is in the log: %s", text)
	}
	metrics := h.scrape("/metrics")
	for _, code := range []string{`code="401"`, `code="403"`} {
		if !strings.Contains(metrics, "lapid_responses_total{"+code) {
			t.Errorf("no answers with %s", code)
		}
	}
	if n := strings.Count(metrics, "\nlapid_denied_total{"); n != len(auth.Reasons) {
		t.Errorf("%d series of denials, and there are %d reasons", n, len(auth.Reasons))
	}
}

// TestDeniedCertificates: handshakes that fail and certificates that are refused
// have a line; whoever only connects has none.
func TestDeniedCertificates(t *testing.T) {
	t.Parallel()
	bothWays(t, testDeniedCertificates)
}

func testDeniedCertificates(t *wireTest) {
	t.Parallel()
	var log lockedBuffer
	certificates := newCertificates(t)
	h := newHouse(t, func(b *build) {
		certificates.serve(b)
		b.server.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	address := strings.TrimPrefix(h.url, "http://")
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
	}
	ask := func(own *tls.Certificate, change func(*tls.Config)) {
		settings := certificates.settings(own)
		change(settings)
		transport := &http.Transport{TLSClientConfig: settings}
		defer transport.CloseIdleConnections()
		_, _ = h.tryBy(&http.Client{Transport: transport}, "https://"+address, "GET", "/v1/decisions", "")
	}
	handshake := func(why string) {
		t.Helper()
		h.eventually("it is told: "+why, func() bool {
			return regexp.MustCompile(`msg="refused: a TLS handshake failed" reason=handshake address=127.0.0.1 times=\d+ class=\w+ why=".*` + why).MatchString(log.String())
		})
		h.Advance(time.Minute)
	}
	ask(certificates.late, func(*tls.Config) {})
	handshake("expired")
	ask(nil, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	handshake("unsupported versions")
	c, err := net.Dial("tcp", address)
	h.must(err)
	_, _ = c.Write([]byte("GET /v1/decisions HTTP/1.1\r\nX-Api-Key: secret-key\r\n\r\n"))
	handshake("does not look like a TLS handshake")
	c.Close()
	for who, own := range map[string]*tls.Certificate{"x@127.0.0.1": certificates.other, "bad@127.0.0.1": certificates.revoked} {
		ask(own, func(*tls.Config) {})
		h.eventually("the certificate is told of "+who, func() bool {
			return strings.Contains(log.String(), "reason=certificate address=127.0.0.1 times=1 who="+who)
		})
		h.Advance(time.Minute)
	}
	metrics := h.scrape("/metrics")
	if !strings.Contains(metrics, `lapid_denied_total{reason="handshake"} 3`+"\n") || !strings.Contains(metrics, `lapid_denied_total{reason="certificate"} 2`+"\n") {
		t.Errorf("%s", metrics[strings.Index(metrics, "# TYPE lapid_denied_total"):])
	}
	if strings.Contains(metrics, `lapid_responses_total{code="400"}`) || strings.Contains(log.String(), "secret") {
		t.Error("failed handshakes count as answers, or a secret is told")
	}
}
