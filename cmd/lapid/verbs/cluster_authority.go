package verbs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"lapid/cmd/lapid/datadir"
)

// How long certificates of cluster keys are good. They begin a little before now, for clocks that are behind.
const (
	authorityYears = 20
	nodeYears      = 5
	clockSlack     = time.Hour
)

// authority signs the certificates of nodes.
type authority struct {
	certificate *x509.Certificate
	key         any
}

// openAuthority reads an authority of a cluster, or makes it, with a name for the eye, when neither file is there.
func openAuthority(name, file, keyFile string) (*authority, error) {
	if datadir.Missing(file) && datadir.Missing(keyFile) {
		if err := makeAuthority(name, file, keyFile); err != nil {
			return nil, err
		}
	}
	pair, err := tls.LoadX509KeyPair(file, keyFile)
	if err != nil {
		return nil, fmt.Errorf("the authority of this cluster cannot be read: %w; bring both of its files (%s, %s) from where the cluster was made, or choose another folder for a new cluster", err, file, keyFile)
	}
	if !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is no authority: it may not sign certificates", file)
	}
	return &authority{pair.Leaf, pair.PrivateKey}, nil
}

func makeAuthority(name, file, keyFile string) error {
	template := certificateOf(name, authorityYears)
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return sign(template, &authority{template, key}, key, file, keyFile)
}

// issue makes a certificate with which a node is server and client both: among the nodes, and of etcd.
func (a *authority) issue(name, host, file, keyFile string) error {
	template := certificateOf(name, nodeYears)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	return a.complete(template, file, keyFile)
}

// issueRelay makes a certificate with which a relay follows: it is a client, and nothing else.
func (a *authority) issueRelay(name, file, keyFile string) error {
	template := certificateOf(name, nodeYears)
	template.Subject.OrganizationalUnit = []string{"relay"}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.complete(template, file, keyFile)
}

// complete signs a certificate, which ends no later than its authority.
func (a *authority) complete(template *x509.Certificate, file, keyFile string) error {
	if template.NotAfter.After(a.certificate.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return sign(template, a, key, file, keyFile)
}

// certificateOf is what all of them have.
func certificateOf(name string, years int) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // rand.Reader does not fail
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"lapid"}},
		NotBefore: now.Add(-clockSlack), NotAfter: now.AddDate(years, 0, 0),
	}
}

// sign writes the certificate and its key. The key is there first: a certificate without one would be taken for whole.
func sign(template *x509.Certificate, by *authority, key *ecdsa.PrivateKey, file, keyFile string) error {
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &key.PublicKey, by.key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := datadir.WriteSecret(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})); err != nil {
		return err
	}
	return datadir.WriteSecret(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
