//go:build linux

package peers

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
	"os"
	"path/filepath"
	"sync"
	"time"
)

// unit is the OU of the yard's bouncers that show a certificate.
const unit = "bench-bouncers"

// Certificates are of ECDSA P-256, signed by an authority of the yard's own.
type Certificates struct {
	ServerFile, KeyFile, CAFile string
	Client                      tls.Certificate // of a bouncer
}

// Certificates makes them when they are first asked for; they are the same for all servers of the yard.
func (y *Yard) Certificates() (*Certificates, error) {
	y.mu.Lock()
	if y.certificates == nil {
		y.certificates = sync.OnceValues(func() (*Certificates, error) { return newCertificates(y.Dir) })
	}
	get := y.certificates
	y.mu.Unlock()
	return get()
}

func newCertificates(dir string) (*Certificates, error) {
	dir = filepath.Join(dir, "certificates")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &Certificates{ServerFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server.key"), CAFile: filepath.Join(dir, "ca.pem")}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "bench authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca, err := issue(authority, nil)
	if err != nil {
		return nil, err
	}
	parent := &issuer{authority, ca.PrivateKey.(*ecdsa.PrivateKey)}
	server, err := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "bench server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, parent)
	if err != nil {
		return nil, err
	}
	c.Client, err = issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "bench-bouncer", OrganizationalUnit: []string{unit}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, parent)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return nil, err
	}
	for file, block := range map[string]*pem.Block{
		c.CAFile: {Type: "CERTIFICATE", Bytes: ca.Certificate[0]}, c.ServerFile: {Type: "CERTIFICATE", Bytes: server.Certificate[0]},
		c.KeyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// issuer signs certificates.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// issue makes a certificate that is good for a day; without an issuer it signs itself.
func issue(c *x509.Certificate, by *issuer) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return tls.Certificate{}, err
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if by == nil {
		by = &issuer{c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.certificate, &key.PublicKey, by.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
