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
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lapid/transport/auth"
)

// certificates are an authority and what it signed.
type certificates struct {
	t                              testing.TB
	folder                         string
	key                            *ecdsa.PrivateKey
	authority                      *x509.Certificate
	bouncer, agent, other, revoked *tls.Certificate
	late                           *tls.Certificate // over since 2021
	serial                         int64
	ends                           time.Time // of what is signed next; zero: decades from now
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
	c.ends = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	c.late = c.leaf("late", "bouncers", x509.ExtKeyUsageClientAuth)
	c.ends = time.Time{}
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
	if !c.ends.IsZero() {
		one.NotAfter = c.ends
	}
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
	return c.clientFrom(t, "127.0.0.1", own)
}

// clientFrom is a client at one of the addresses of the loopback.
func (c *certificates) clientFrom(t testing.TB, address string, own *tls.Certificate) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{TLSClientConfig: c.settings(own), DialContext: d.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// settings are a client's. A certificate is shown whether or not the server
// says that it knows its authority.
func (c *certificates) settings(own *tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(c.authority)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if own == nil {
			return new(tls.Certificate), nil
		}
		return own, nil
	}}
}
