package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Credentials are what nodes know each other by. They are never changed.
type Credentials struct {
	certificate tls.Certificate
	roots       *x509.CertPool
}

// LoadCredentials reads a node's certificate and key and the certificates of the cluster's
// authority, all PEM. The certificate must be one of that authority's, in force now, for a client
// and a server, or for anything. Errors name the file that is at fault.
func LoadCredentials(certFile, keyFile, caFile string, now time.Time) (*Credentials, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file %s, key_file %s: %w", certFile, keyFile, err)
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	c := &Credentials{certificate: pair, roots: x509.NewCertPool()}
	if !c.roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate", caFile)
	}
	if c.certificate.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return nil, fmt.Errorf("cert_file %s: %w", certFile, err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := c.verify(c.chain(), usage, now); err != nil {
			return nil, fmt.Errorf("cert_file %s: other nodes would not take it (ca_file %s): %w", certFile, caFile, err)
		}
	}
	return c, nil
}

// Ends is when the node's certificate is over.
func (c *Credentials) Ends() time.Time { return c.certificate.Leaf.NotAfter }

// chain is the node's own certificate with those behind it.
func (c *Credentials) chain() (list []*x509.Certificate) {
	list = append(list, c.certificate.Leaf)
	for _, raw := range c.certificate.Certificate[1:] {
		if behind, err := x509.ParseCertificate(raw); err == nil {
			list = append(list, behind)
		}
	}
	return list
}

// verify looks whether a chain, leaf first, leads to the cluster's authority.
func (c *Credentials) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	o := x509.VerifyOptions{Roots: c.roots, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}
	for _, behind := range chain[1:] {
		o.Intermediates.AddCert(behind)
	}
	_, err := chain[0].Verify(o)
	return err
}

// server is how the listener speaks TLS.
func (n *Node) server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := n.credentials.Load()
		return &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.certificate}, NextProtos: []string{"http/1.1"},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.roots, SessionTicketsDisabled: true,
		}, nil
	}}
}

// client is how this node calls another: the chain is verified here, and that the certificate is
// for the node's name or for the host it is called at.
func (n *Node) client(name, address string) *tls.Config {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: name, NextProtos: []string{"http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &n.credentials.Load().certificate, nil
		},
		InsecureSkipVerify: true, // by VerifyConnection instead, which knows two names
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := n.credentials.Load().verify(s.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
				return err
			}
			leaf := s.PeerCertificates[0]
			if leaf.VerifyHostname(name) != nil && leaf.VerifyHostname(host) != nil {
				return fmt.Errorf("the certificate is neither for node %q nor for host %q", name, host)
			}
			return nil
		},
	}
}
