package console

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
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates and writes them into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", "ca", "")
	return a
}

// sign makes NAME.pem and NAME.key; without an authority yet it is the authority.
func (a *authority) sign(name, common, unit string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: common}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"},
	}
	if unit != "" {
		c.Subject.OrganizationalUnit = []string{unit}
	}
	parent, by := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, key
}

// A certificate with an allowed unit is the operator of its common name; any other lets nobody in.
func TestCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.sign("server", "server", "")
	file := func(name string) string { return filepath.Join(a.dir, name) }
	b := newBench(t, func(o *Options) {
		o.TLS, o.CertFile, o.KeyFile, o.ClientCAFile, o.AllowedUnits = true, file("server.pem"), file("server.key"), file("ca.pem"), []string{"operators"}
	})
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	ask := func(certificate string) int {
		t.Helper()
		config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
		if certificate != "" {
			pair, err := tls.LoadX509KeyPair(file(certificate+".pem"), file(certificate+".key"))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		transport := &http.Transport{TLSClientConfig: config}
		defer transport.CloseIdleConnections()
		w, err := (&http.Client{Transport: transport}).Get(b.url + "/admin/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		if w.Header.Get("Strict-Transport-Security") == "" {
			t.Error("over TLS there is no Strict-Transport-Security")
		}
		return w.StatusCode
	}
	a.sign("good", "viewer-1", "operators")
	a.sign("unit", "viewer-1", "bouncers")
	a.sign("none", "viewer-1", "")
	a.sign("nobody", "nobody", "operators")
	for certificate, want := range map[string]int{"good": 200, "unit": 401, "none": 401, "nobody": 401, "": 401} {
		if got := ask(certificate); got != want {
			t.Errorf("with certificate %q: %d, want %d", certificate, got, want)
		}
	}
}
