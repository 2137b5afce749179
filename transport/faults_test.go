package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestFaultsAreTold: every answer that says something is wrong has its line, at once
// for each reason, with who asked what and why; what has a line has no second, and
// what is merely not there has none.
func TestFaultsAreTold(t *testing.T) {
	t.Parallel()
	bothWays(t, testFaultsAreTold)
}

func testFaultsAreTold(t *wireTest) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ask  func(h *house)
		want string
	}{
		{"alerts", func(h *house) { h.asMachine("POST", "/v1/alerts", `[{"foo":1}]`) }, `reason=failed address=127.0.0.1 times=1 who=` + testMachine + ` why=`},
		{"alert filter", func(h *house) { h.asMachine("GET", "/v1/alerts?ip=999.1.1.1", "") }, `request="GET /v1/alerts"`},
		{"live filter", func(h *house) { h.asBouncer("GET", "/v1/decisions?ip=999.1.1.1") }, `reason=failed address=127.0.0.1 times=1 who=`},
		{"stream filter", func(h *house) { h.asBouncer("GET", "/v1/decisions/stream?ip=999.1.1.1") }, `reason=filter`},
		{"malformed", func(h *house) { h.asMachine("POST", "/v1/alerts", `{`) }, `request="POST /v1/alerts"`},
		{"method", func(h *house) { h.ask("PUT", "/v1/alerts", "") }, `reason=method address=127.0.0.1 times=1 request="PUT /v1/alerts"`},
		{"path", func(h *house) { h.ask("GET", "/nothing", "") }, `reason=path_unknown address=127.0.0.1 times=1 request="GET /nothing"`},
		{"another version", func(h *house) { h.raw(preface) }, `reason=version address=127.0.0.1 times=1 why=`},
		{"no request", func(h *house) { h.raw("GET / BAD\r\n\r\n") }, `reason=malformed`},
		{"long head", func(h *house) {
			h.raw("GET /health HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n")
		}, `reason=head_too_large`},
	} {
		t.Run(c.name, func(t *wireTest) {
			t.Parallel()
			var log, access lockedBuffer
			h := newHouse(t, func(b *build) {
				b.server.Logger = slog.New(slog.NewTextHandler(&log, nil))
				b.server.AccessLog = &plainLines{out: &access}
			})
			for range 3 {
				c.ask(h)
			}
			h.eventually("it is told", func() bool { return strings.Contains(log.String(), c.want) })
			if text := log.String(); strings.Count(text, "level=WARN") != 1 {
				t.Errorf("%s", text)
			}
			if c.name == "no request" || c.name == "another version" || c.name == "long head" {
				h.eventually("it has access lines", func() bool { return strings.Count(access.String(), "\n") == 3 })
				if strings.Count(access.String(), `] "- - - 4`)+strings.Count(access.String(), `] "- - - 505`) != 3 {
					t.Errorf("invented targets: %s", access.String())
				}
			}
		})
	}
}

// TestNoFaults: what is merely not there has no line, and a denial has one.
func TestNoFaults(t *testing.T) {
	t.Parallel()
	bothWays(t, testNoFaults)
}

func testNoFaults(t *wireTest) {
	t.Parallel()
	var log lockedBuffer
	h := newHouse(t, func(b *build) { b.server.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	h.asMachine("GET", "/v1/alerts/999", "")
	h.ask("GET", "/v1/decisions", "")
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "reason=key_missing") {
		t.Errorf("%s", text)
	}
}

// TestHandshakeClasses: causes of an address are told apart.
func TestHandshakeClasses(t *testing.T) {
	t.Parallel()
	d, told := newDenials(slog.New(slog.DiscardHandler)), 0
	for i, c := range []struct {
		err  error
		want string
	}{
		{tls.RecordHeaderError{RecordHeader: [5]byte{'G', 'E', 'T', ' ', '/'}}, "plain_http"},
		{tls.RecordHeaderError{RecordHeader: [5]byte{1, 2, 3, 4, 5}}, "bad_record"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "unknown_ca"},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, "expired"},
		{fmt.Errorf("tls: failed: %w", x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}), "wrong_usage"},
		{errors.New("tls: client didn't provide a certificate"), "no_certificate"},
		{errors.New("tls: client offered only unsupported versions: [301]"), "old_version"},
		{errors.New("remote error: tls: bad certificate"), "client_gave_up"},
		{errors.New("something"), "other"},
	} {
		got := handshakeClass(c.err)
		if got != c.want {
			t.Errorf("%v: %s and not %s", c.err, got, c.want)
		}
		for range 2 {
			if _, tell := d.note(&denial{reason: "handshake", class: got}, int64(i)); tell {
				told++
			}
		}
	}
	if told != 9 {
		t.Errorf("%d lines", told)
	}
}
