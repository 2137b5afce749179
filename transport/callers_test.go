package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lapid/engine"
	"lapid/transport/auth"
)

// grid says what every line of the table answers to every kind of caller. The
// columns are named in columns; a dash repeats the column to its left. Reads
// are of things that do not exist where that matters, so that the cells do not
// depend on one another.
//
//	none      no credentials             cert-b   a bouncer's certificate
//	badkey    an unknown key             cert-a   a machine's certificate
//	key       a bouncer's key            cert-o   a certificate of another unit
//	gone      a deleted bouncer's key    cert-r   a revoked bouncer's certificate
//	token     a machine's token          cert+k   another unit's certificate and a good key
//	expired   an expired token           far      a token, from an untrusted address
//	removed   a removed machine's token  key+tok  a bad key and a good token
//	forged    a token of another secret
const grid = `
GET    /health                          200  -   -   -   -   -   -   -    200  -   -   -   -    200  200
POST   /v1/watchers                     422  -   -   -   -   -   -   -    422  -   -   -   -    422  422
POST   /v1/watchers/login               401  -   -   -   -   -   -   -    401 200 401  -   -    401  401
DELETE /v1/watchers/self                401  -   -   -   X  401 500 401   401  -   -   -   -     X    X
GET    /v1/refresh_token                401  -   -   -  200 200 401 401   401  -   -   -   -    200  200
GET    /v1/heartbeat                    401  -   -   -  200 401 401 401   401  -   -   -   -    200  200
GET    /v1/alerts                       401  -   -   -  200 401 401 401   401  -   -   -   -    200  200
HEAD   /v1/alerts                       401  -   -   -  200 401 401 401   401  -   -   -   -    200  200
POST   /v1/alerts                       401  -   -   -  201 401 401 401   401  -   -   -   -    201  201
DELETE /v1/alerts?kind=none             401  -   -   -  200 401 401 401   401  -   -   -   -    403  200
GET    /v1/alerts/99                    401  -   -   -  404 401 401 401   401  -   -   -   -    404  404
HEAD   /v1/alerts/99                    401  -   -   -  404 401 401 401   401  -   -   -   -    404  404
DELETE /v1/alerts/99                    401  -   -   -  500 401 401 401   401  -   -   -   -    403  500
GET    /v1/decisions                    403 403 200 403 403  -   -   -    200 403  -   -  403   403  403
HEAD   /v1/decisions                    403 403 200 403 403  -   -   -    200 403  -   -  403   403  403
GET    /v1/decisions/stream             403 403 200 403 403  -   -   -    200 403  -   -  403   403  403
HEAD   /v1/decisions/stream             403 403 200 403 403  -   -   -    200 403  -   -  403   403  403
DELETE /v1/decisions?value=none         401  -   -   -  200 401 401 401   401  -   -   -   -    200  200
DELETE /v1/decisions/99                 401  -   -   -  500 401 401 401   401  -   -   -   -    500  500
GET    /v1/allowlists                   401  -   -   -  200 401 401 401   401  -   -   -   -    200  200
GET    /v1/allowlists/none              401  -   -   -  500 401 401 401   401  -   -   -   -    500  500
POST   /v1/allowlists/check             401  -   -   -  400 401 401 401   401  -   -   -   -    400  400
GET    /v1/allowlists/check/192.0.2.1   401  -   -   -  200 401 401 401   401  -   -   -   -    200  200
HEAD   /v1/allowlists/check/192.0.2.1   401  -   -   -  204 401 401 401   401  -   -   -   -    204  204
POST   /v1/usage-metrics                403 403 400 403 400 401 401 401   400 403  -   -  403   400  403
GET    /nowhere                         404  -   -   -   -   -   -   -    404  -   -   -   -    404  404
PUT    /v1/alerts                       405  -   -   -   -   -   -   -    405  -   -   -   -    405  405
`

var columns = []string{"none", "badkey", "key", "gone", "token", "expired", "removed", "forged", "cert-b", "cert-a", "cert-o", "cert-r", "cert+k", "far", "key+tok"}

// TestWhoMayDoWhat asks every line as every kind of caller.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	certificates := newCertificates(t)
	h := newHouse(t, func(b *build) {
		certificates.serve(b)
		b.gate.Rules.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		b.gate.Rules.TrustedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	h.url = strings.Replace(h.url, "http:", "https:", 1)
	callers := h.callers(certificates)
	for _, line := range strings.Split(strings.TrimSpace(grid), "\n") {
		cells := strings.Fields(line)
		method, path, want := cells[0], cells[1], ""
		body := ""
		switch path {
		case "/v1/alerts":
			body = "[]"
		case "/v1/watchers", "/v1/watchers/login", "/v1/usage-metrics", "/v1/allowlists/check":
			body = "{}"
		}
		for i, cell := range cells[2:] {
			if cell != "-" {
				want = cell
			}
			if want == "X" {
				continue // it would remove the machine; see TestSelf
			}
			c := callers[columns[i]]
			got := h.askBy(c.client, h.url, method, path, body, c.header...)
			if strconv.Itoa(got.status) != want {
				t.Errorf("%s %s as %s: %d %s, want %s", method, path, columns[i], got.status, got.body, want)
			}
			if challenged := got.header.Get("WWW-Authenticate") != ""; challenged != (want == "401") {
				t.Errorf("%s %s as %s: challenged %v", method, path, columns[i], challenged)
			}
		}
		if len(cells)-2 != len(columns) {
			t.Errorf("%s %s has %d cells", method, path, len(cells)-2)
		}
	}
}

// TestSelf removes a machine by its own token, twice.
func TestSelf(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	token := "Authorization: Bearer " + h.token()
	h.wants(h.ask("DELETE", "/v1/watchers/self", "", token), 204, "")
	h.wants(h.ask("DELETE", "/v1/watchers/self", "", token), 500, `{"message":"'a-machine' does not exist"}`)
	h.wants(h.ask("POST", "/v1/alerts", "[]", token), 401, `{"code":401,"message":"machine a-machine does not exist"}`)
	h.wants(h.ask("POST", "/v1/watchers/login", `{"machine_id":"stranger","password":"a-password"}`), 401, `{"code":401,"message":"machine stranger not validated"}`)
}

// caller is somebody with certain credentials.
type testCaller struct {
	client *http.Client
	header []string
}

func (h *house) callers(c *certificates) map[string]testCaller {
	forged := func(secret []byte, id string, ends time.Duration) string {
		now := h.Now()
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"id": id, "exp": now.Add(ends).Unix(), "orig_iat": now.Add(-time.Minute).Unix()}).SignedString(secret)
		h.must(err)
		return "Authorization: Bearer " + text
	}
	h.addBouncer("gone", "a-key-that-is-gone", false)
	h.must(h.DeleteBouncer(h.t.Context(), "gone"))
	plain, token, key := c.client(h.t, nil), forged(testSecret, testMachine, time.Hour), "X-Api-Key: "+testKey
	return map[string]testCaller{
		"none":    {plain, nil},
		"badkey":  {plain, []string{"X-Api-Key: nonsense"}},
		"key":     {plain, []string{key}},
		"gone":    {plain, []string{"X-Api-Key: a-key-that-is-gone"}},
		"token":   {plain, []string{token}},
		"expired": {plain, []string{forged(testSecret, testMachine, -time.Second)}},
		"removed": {plain, []string{forged(testSecret, "nobody", time.Hour)}},
		"forged":  {plain, []string{forged([]byte("another"), testMachine, time.Hour)}},
		"cert-b":  {c.client(h.t, c.bouncer), nil},
		"cert-a":  {c.client(h.t, c.agent), nil},
		"cert-o":  {c.client(h.t, c.other), nil},
		"cert-r":  {c.client(h.t, c.revoked), nil},
		"cert+k":  {c.client(h.t, c.other), []string{key}},
		"far":     {plain, []string{token, "X-Forwarded-For: 203.0.113.9"}},
		"key+tok": {plain, []string{"X-Api-Key: nonsense", token}},
	}
}

// certificates are an authority and what it signed.
type certificates struct {
	t                              testing.TB
	folder                         string
	key                            *ecdsa.PrivateKey
	authority                      *x509.Certificate
	bouncer, agent, other, revoked *tls.Certificate
	serial                         int64
}

func newCertificates(t testing.TB) *certificates {
	c := &certificates{t: t, folder: t.TempDir()}
	var err error
	c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	c.authority = c.sign(root, root, &c.key.PublicKey)
	c.write("ca.pem", "CERTIFICATE", c.authority.Raw)
	server := c.leaf("localhost", "", x509.ExtKeyUsageServerAuth)
	c.write("server.pem", "CERTIFICATE", server.Certificate[0])
	der, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	c.must(err)
	c.write("server.key", "PRIVATE KEY", der)
	c.bouncer = c.leaf("fw", "bouncers", x509.ExtKeyUsageClientAuth)
	c.agent = c.leaf("lp", "agents", x509.ExtKeyUsageClientAuth)
	c.other = c.leaf("x", "others", x509.ExtKeyUsageClientAuth)
	c.revoked = c.leaf("bad", "bouncers", x509.ExtKeyUsageClientAuth)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), NextUpdate: time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: c.revoked.Leaf.SerialNumber, RevocationTime: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)}},
	}, c.authority, c.key)
	c.must(err)
	c.write("crl.pem", "X509 CRL", list)
	return c
}

func (c *certificates) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *certificates) path(name string) string { return filepath.Join(c.folder, name) }

func (c *certificates) write(name, kind string, der []byte) {
	c.must(os.WriteFile(c.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (c *certificates) sign(one, parent *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	c.serial++
	one.SerialNumber = big.NewInt(c.serial)
	one.NotBefore, one.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
	der, err := x509.CreateCertificate(rand.Reader, one, parent, key, c.key)
	c.must(err)
	made, err := x509.ParseCertificate(der)
	c.must(err)
	return made
}

func (c *certificates) leaf(name, unit string, use x509.ExtKeyUsage) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	leaf := c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name, OrganizationalUnit: []string{unit}}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use},
	}, c.authority, &key.PublicKey)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// serve has a house speak TLS.
func (c *certificates) serve(b *build) {
	files, err := auth.NewTLS(auth.TLSOptions{
		CertFile: c.path("server.pem"), KeyFile: c.path("server.key"), CAFile: c.path("ca.pem"), Now: func() int64 { return 0 },
	})
	c.must(err)
	b.server.TLS = files.Config()
	b.gate.Rules.AgentUnits, b.gate.Rules.BouncerUnits = []string{"agents"}, []string{"bouncers"}
	b.gate.Rules.CRLPath = c.path("crl.pem")
}

// client is an HTTP client with a certificate, or without.
func (c *certificates) client(t testing.TB, own *tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(c.authority)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	if own != nil {
		config.Certificates = []tls.Certificate{*own}
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestCertified has an agent log in and a bouncer poll by certificate.
func TestCertified(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	h := newHouse(t, c.serve)
	h.url = strings.Replace(h.url, "http:", "https:", 1)
	got := h.askBy(c.client(t, c.agent), h.url, "POST", "/v1/watchers/login", `{"scenarios":["a/b"]}`)
	if m := h.View().Machine("lp@127.0.0.1"); got.status != 200 || m == nil || m.Scenarios != "a/b" || m.AuthType != engine.AuthTLS {
		t.Errorf("login: %d %s", got.status, got.body)
	}
	h.wants(h.askBy(c.client(t, c.agent), h.url, "POST", "/v1/watchers/login", ``), 401, `{"code":401,"message":"missing scenarios list in login request for TLS auth: EOF"}`)
	h.wants(h.askBy(c.client(t, c.other), h.url, "POST", "/v1/watchers/login", `{}`), 401, `{"code":401,"message":"client certificate OU [others] doesn't match expected OU [agents]"}`)
	client := c.client(t, c.bouncer)
	for range 3 {
		h.wants(h.askBy(client, h.url, "GET", "/v1/decisions?ip=192.0.2.1", ""), 200, "null")
	}
	if row := h.View().Bouncer("fw@127.0.0.1"); row == nil {
		t.Error("no row for the certificate")
	}
}
