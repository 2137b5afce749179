//go:build linux

package load

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// encrypted answers what it is asked for, many records long where that is said.
func encrypted(t *testing.T, clients tls.ClientAuthType) (address string) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/long":
			_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
		case r.Header.Get("X-Long") != "" && len(r.Header.Get("X-Long")) != 20_000:
			w.WriteHeader(http.StatusBadRequest)
		default:
			_, _ = io.WriteString(w, "null")
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t)}, ClientAuth: clients}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func get(path, more string) Sources {
	return Fixed(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", path, more))
}

// Over TLS a pool gets the same answers as without, each once, with the session tickets of the server
// between them and in records of any number.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	address := encrypted(t, tls.NoClientCert)
	p, err := Dial(Target{Address: address, Threads: 2, TLS: ClientTLS(nil)}, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for name, c := range map[string]struct {
		sources Sources
		body    uint64
	}{
		"short":        {get("/", ""), 4},
		"long answer":  {get("/long", ""), 100_000},
		"long request": {get("/", "X-Long: "+strings.Repeat("y", 20_000)+"\r\n"), 4},
	} {
		r, err := p.Run(t.Context(), &Plan{Sources: c.sources, Each: 30})
		if err != nil || r.Errors() > 0 || r.Requests != 240 || r.Body != 240*c.body {
			t.Errorf("%s: %d requests, %d bytes, %d errors (%s), %v", name, r.Requests, r.Body, r.Errors(), r.First, err)
		}
	}
	f, err := FetchTLS(t.Context(), address, ClientTLS(nil), []byte("GET /long HTTP/1.1\r\nHost: h\r\n\r\n"))
	if err != nil || f.Body != 100_000 || f.Status != 200 {
		t.Errorf("fetched %+v, %v", f, err)
	}
}

// Records are put together whatever pieces they come in, and what is not one is an error.
func TestRecords(t *testing.T) {
	t.Parallel()
	secret := bytes.Repeat([]byte{7}, 32)
	both := func() *session {
		s := new(session)
		for _, d := range []*direction{&s.in, &s.out} {
			if err := d.init(tls.TLS_AES_128_GCM_SHA256, secret); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	text := []byte("HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("z", 40_000))
	sent := both().seal(nil, text)
	for _, size := range []int{1, 3, 1000, 17_000, len(sent)} {
		s, a, done := both(), new(answer), false
		for rest := sent; len(rest) > 0; {
			piece := bytes.Clone(rest[:min(size, len(rest))])
			rest = rest[len(piece):]
			more, ended, err := s.feed(a, piece)
			if err != nil || more != 0 || ended != (len(rest) == 0) {
				t.Fatalf("pieces of %d: %d more, ended %v with %d to come, %v", size, more, ended, len(rest), err)
			}
			done = ended
		}
		if !done || a.body != 40_000 || a.status != 200 {
			t.Errorf("pieces of %d: %+v", size, a)
		}
	}
	twice := append(bytes.Clone(sent), both().seal(nil, text)...)
	if _, _, err := both().feed(new(answer), twice); err == nil {
		t.Error("a record that is repeated is taken")
	}
	broken := bytes.Clone(sent)
	broken[100] ^= 1
	if _, _, err := both().feed(new(answer), broken); err == nil {
		t.Error("a broken record is taken")
	}
	if new(direction).init(tls.TLS_CHACHA20_POLY1305_SHA256, secret) == nil {
		t.Error("a suite that is not spoken is taken")
	}
}

// A request over TLS allocates nothing once its buffers are there.
func TestSealAlloc(t *testing.T) {
	s := new(session)
	if err := s.out.init(tls.TLS_AES_128_GCM_SHA256, make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	text, out := make([]byte, 200), make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(100, func() { out = s.seal(out[:0], text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHandshakes(t *testing.T) {
	t.Parallel()
	own := certificate(t)
	for name, c := range map[string]struct {
		asks tls.ClientAuthType
		own  *tls.Certificate
		fine bool
	}{"without": {tls.NoClientCert, nil, true}, "with": {tls.RequireAnyClientCert, &own, true}, "refused": {tls.RequireAnyClientCert, nil, false}} {
		r, err := Handshakes(t.Context(), Target{Address: encrypted(t, c.asks), TLS: ClientTLS(c.own)}, 4, &Plan{Sources: get("/", ""), Length: 100 * time.Millisecond})
		if (err == nil) != c.fine || c.fine && (r.Requests == 0 || r.Bad != 0) {
			t.Errorf("%s: %d handshakes, %d bad, %v", name, r.Requests, r.Bad, err)
		}
	}
	if _, err := Dial(Target{Address: encrypted(t, tls.RequireAnyClientCert), TLS: &tls.Config{}}, 1); err == nil {
		t.Error("a certificate of nobody's is taken without being asked to")
	}
}
