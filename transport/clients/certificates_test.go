//go:build clients

package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// authority signs the certificates of one test and writes them to its folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	ca := &authority{dir: t.TempDir(), key: newKey(t)}
	ca.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	ca.write(t, "ca", ca.cert, ca.key)
	return ca
}

// issue writes NAME.pem and NAME-key.pem for a client of an organizational unit, or for the server.
func (ca *authority) issue(t *testing.T, name, unit string, use x509.ExtKeyUsage) {
	t.Helper()
	ca.write(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name, OrganizationalUnit: []string{unit}},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, newKey(t))
}

func (ca *authority) write(t *testing.T, name string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	signed, err := x509.CreateCertificate(rand.Reader, cert, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, ca.file(name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})))
	mustWrite(t, ca.file(name+"-key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})))
}

// file is the path of a file of the authority.
func (ca *authority) file(name string) string { return filepath.Join(ca.dir, name) }

// credentials are the lines by which clients name a certificate in their files.
func (ca *authority) credentials(name string) string {
	return fmt.Sprintf("ca_cert_path: %s\ncert_path: %s\nkey_path: %s\n",
		ca.file("ca.pem"), ca.file(name+".pem"), ca.file(name+"-key.pem"))
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestCertificates: a log processor and a bouncer that have neither password nor key, only certificates of
// the right unit, work together; a bouncer with a certificate of another unit is refused.
func TestCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issue(t, "server", "server-unit", x509.ExtKeyUsageServerAuth)
	ca.issue(t, "edge", "agent-unit", x509.ExtKeyUsageClientAuth)
	ca.issue(t, "gate", "bouncer-unit", x509.ExtKeyUsageClientAuth)
	s := writeServer(t, "https", fmt.Sprintf(tlsSection, ca.file("server.pem"), ca.file("server-key.pem"), ca.file("ca.pem")))
	s.start(t)

	bouncer := startCustomBouncer(t, s, ca.credentials("gate"))
	stranger := startCustomBouncer(t, s, ca.credentials("edge"))
	credentials := ca.file("credentials.yaml")
	mustWrite(t, credentials, "url: "+s.url+"\n"+ca.credentials("edge"))
	lp := startLogProcessor(t, credentials)
	lp.attack(t, "203.0.113.99")
	bouncer.awaitCall(t, "add 203.0.113.99 ")

	stranger.says(t, "API error: access forbidden")
	if calls := stranger.called(t); len(calls) > 0 {
		t.Errorf("the bouncer of another unit was told %q", calls)
	}
}

const tlsSection = `    tls:
      cert_file: %s
      key_file: %s
      ca_cert_path: %s
      agents_allowed_ou:
        - agent-unit
      bouncers_allowed_ou:
        - bouncer-unit
`
