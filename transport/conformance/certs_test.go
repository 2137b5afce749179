package conformance

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
)

const tenYears = 3650 * 24 * time.Hour

// authority signs the certificates of one test.
type authority struct {
	dir         string
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// writeCertificates makes a throw-away authority, the server's certificate and three clients': an agent, a
// bouncer, and one whose organisational unit the server does not know.
func writeCertificates(t *testing.T, dir string) {
	a := newAuthority(t, dir)
	a.issue(t, "server", &x509.Certificate{
		Subject:     subject("", "localhost"),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	for _, name := range []string{"agent", "bouncer", "other"} {
		a.issue(t, name, &x509.Certificate{
			Subject:     subject(name+"-ou", "contract-"+name),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
	}
}

func subject(unit, name string) pkix.Name {
	s := pkix.Name{Country: []string{"FR"}, Organization: []string{"contract"}, CommonName: name}
	if unit != "" {
		s.OrganizationalUnit = []string{unit}
	}
	return s
}

func newAuthority(t *testing.T, dir string) *authority {
	a := &authority{dir: dir}
	template := &x509.Certificate{
		Subject:               subject("", "contract-ca"),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a.key = newKey(t)
	der := a.sign(t, template, template, a.key)
	var err error
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(t, "ca", der, a.key)
	return a
}

// issue signs a leaf and writes NAME.pem and NAME.key.
func (a *authority) issue(t *testing.T, name string, template *x509.Certificate) {
	key := newKey(t)
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageDigitalSignature
	a.write(t, name, a.sign(t, template, a.certificate, key), key)
}

func (a *authority) sign(t *testing.T, template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(tenYears)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *authority) write(t *testing.T, name string, der []byte, key *ecdsa.PrivateKey) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
