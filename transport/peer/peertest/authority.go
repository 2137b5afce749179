// Package peertest makes certificates for tests of nodes.
package peertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lapid/transport/peer"
)

// Authority signs certificates of nodes.
type Authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

// NewAuthority makes one, with a key of its own.
func NewAuthority(t testing.TB) *Authority {
	a := &Authority{t: t, dir: t.TempDir(), next: 1}
	a.cert, a.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// File is where its own certificate is.
func (a *Authority) File() string { return filepath.Join(a.dir, "ca.pem") }

// Files makes a certificate for a node by its name, and for 127.0.0.1 where here is set, and gives
// the paths of certificate, key and authority.
func (a *Authority) Files(name string, here bool) (cert, key, ca string) {
	a.t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if here {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	signed, own := a.sign(c)
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", signed.Raw), a.write(name+".key", "PRIVATE KEY", raw), filepath.Join(a.dir, "ca.pem")
}

// Credentials are those of a node by its name alone.
func (a *Authority) Credentials(name string) *peer.Credentials {
	a.t.Helper()
	cert, key, ca := a.Files(name, false)
	c, err := peer.LoadCredentials(cert, key, ca, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// sign has the authority sign a certificate, or the certificate itself where there is none yet.
func (a *Authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.next), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	a.next++
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, own
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, own.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, own
}

func (a *Authority) write(name, kind string, raw []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}
