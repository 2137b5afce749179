package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// once sends one text by a configuration.
func once(t *testing.T, c *Configuration) error {
	t.Helper()
	c.Name = "n"
	s, err := newSender(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return s.Send(ctx, "text")
}

// The method, headers and body are as configured, the Host too; nothing else is added.
func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Request]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header.Set("Body", string(body))
		got.Store(r)
	}))
	t.Cleanup(s.Close)
	if err := once(t, &Configuration{HTTP: &HTTP{URL: s.URL + "/p?q=1", Method: "PUT", Headers: map[string]string{"Authorization": "Bearer x", "host": "other.example.org"}}}); err != nil {
		t.Fatal(err)
	}
	r := got.Load()
	if r.Method != "PUT" || r.URL.String() != "/p?q=1" || r.Header.Get("Authorization") != "Bearer x" || r.Host != "other.example.org" ||
		r.Header.Get("Body") != "text" || r.Header.Get("Content-Type") != "" {
		t.Errorf("%+v", r)
	}
	if err := once(t, &Configuration{HTTP: &HTTP{URL: s.URL}}); err != nil || got.Load().Method != "GET" {
		t.Errorf("%v %s", err, got.Load().Method)
	}
}

// Certificates are looked at unless the operator says otherwise; one's own is shown.
func TestHTTPOverTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mine" && len(r.TLS.PeerCertificates) == 0 {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	dir := t.TempDir()
	file := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, private := file("cert.pem", "CERTIFICATE", own.Certificate[0]), file("key.pem", "PRIVATE KEY", key)
	for _, c := range []struct {
		name  string
		to    HTTP
		fails string
	}{
		{"unknown", HTTP{URL: s.URL}, "certificate"},
		{"skipped", HTTP{URL: s.URL, SkipVerify: true}, ""},
		{"known", HTTP{URL: s.URL, CAFile: cert}, ""},
		{"nobody", HTTP{URL: s.URL + "/mine", CAFile: cert}, "answered 403"},
		{"somebody", HTTP{URL: s.URL + "/mine", CAFile: cert, CertFile: cert, KeyFile: private}, ""},
	} {
		if err := once(t, &Configuration{HTTP: &c.to}); (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for want, c := range map[string]*HTTP{
		"ca_cert_path: no certificate": {URL: s.URL, CAFile: private},
		"ca_cert_path: open":           {URL: s.URL, CAFile: dir + "/none"},
		"cert_path and key_path":       {URL: s.URL, CertFile: cert},
	} {
		if _, err := newSender(&Configuration{Name: "n", HTTP: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A Unix socket is connected to whatever the address says.
func TestHTTPOverASocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var host atomic.Value
	s := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { host.Store(r.Host) }), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	if err := once(t, &Configuration{HTTP: &HTTP{URL: "http://hook.example.org/x", UnixSocket: path}}); err != nil || host.Load() != "hook.example.org" {
		t.Errorf("%v %v", err, host.Load())
	}
}

// Redirects are followed, on another host without the headers and the address that may be
// secrets; what goes round, and what a chat sends elsewhere with, has not been taken.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Pointer[http.Request]
	var text atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text.Store(string(body))
		elsewhere.Store(r)
	}))
	t.Cleanup(other.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(other.URL, "http://"), ":")
	var own atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		case "/there":
			own.Store(r.Header.Get("X-Api-Key"))
		case "/away":
			http.Redirect(w, r, "http://localhost:"+port+"/", http.StatusPermanentRedirect)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		}
	}))
	t.Cleanup(s.Close)
	secrets := map[string]string{"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Content-Type": "text/plain"}
	if err := once(t, &Configuration{HTTP: &HTTP{URL: s.URL + "/here", Method: "POST", Headers: secrets}}); err != nil || own.Load() != "s3cret" {
		t.Errorf("%v %v", err, own.Load())
	}
	if err := once(t, &Configuration{HTTP: &HTTP{URL: s.URL + "/away", Method: "POST", Headers: secrets}}); err != nil || elsewhere.Load() == nil {
		t.Fatalf("%v", err)
	}
	if h := elsewhere.Load().Header; text.Load() != "text" || h.Get("Authorization") != "" || h.Get("X-Api-Key") != "" || h.Get("Referer") != "" || h.Get("Content-Type") != "text/plain" {
		t.Errorf("%v %v", text.Load(), h)
	}
	for _, c := range []*Configuration{{HTTP: &HTTP{URL: s.URL + "/round"}}, {Slack: &Slack{Webhook: s.URL + "/here"}}} {
		if err := once(t, c); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "write the final address") || strings.Contains(err.Error(), "/away") {
			t.Errorf("%v", err)
		}
	}
}

// What a chat answers counts: only what says that the message is wrong is about the message.
func TestChatFailures(t *testing.T) {
	t.Parallel()
	for code, c := range map[int]struct {
		final bool
		later time.Duration
	}{200: {}, 429: {later: 7 * time.Second}, 500: {}, 503: {}, 408: {}, 404: {}, 403: {}, 400: {final: true}, 422: {final: true}} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if code == 429 {
				w.Header().Set("Retry-After", "7")
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "no_service")
		}))
		err := once(t, &Configuration{Slack: &Slack{Webhook: s.URL + "/T0/secret"}})
		s.Close()
		if (err == nil) != (code == 200) || errors.Is(err, ErrRefused) != c.final || laterBy(err) != c.later || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: %v", code, err)
		}
	}
	h := newHook(t, "slow")
	s, err := newSender(&Configuration{Name: "n", Slack: &Slack{Webhook: h.URL + "/secret"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, "text"); err == nil || errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// A file that cannot be written is told and tried again; a full disk leaves nothing behind.
func TestFileFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none", "x"), dir, "/dev/full"} {
		if err := once(t, &Configuration{File: &File{Path: path}}); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
