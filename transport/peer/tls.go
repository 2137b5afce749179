package peer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
)

// Credentials are what nodes know each other by. They are never changed.
type Credentials struct {
	certificate tls.Certificate
	roots       *x509.CertPool      // of nodes
	relays      []*x509.Certificate // authorities of relays; nil: none may follow
	callers     *x509.CertPool      // both
}

// LoadCredentials reads a node's certificate and key and the certificates of the cluster's
// authority, all PEM. The certificate must be one of that authority's, in force now, for a client
// and a server, or for anything. Errors name the file that is at fault.
func LoadCredentials(certFile, keyFile, caFile string, now time.Time) (*Credentials, error) {
	c, err := readCredentials(certFile, keyFile, caFile)
	if err != nil {
		return nil, err
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := c.verify(c.chain(), usage, now); err != nil {
			return nil, fmt.Errorf("cert_file %s: other nodes would not take it (ca_file %s): %w", certFile, caFile, err)
		}
	}
	return c, nil
}

// LoadRelayCredentials reads those of a relay: its own certificate is of another authority than those of the nodes, which
// caFile has. Whether nodes take it they alone know.
func LoadRelayCredentials(certFile, keyFile, caFile string, now time.Time) (*Credentials, error) {
	c, err := readCredentials(certFile, keyFile, caFile)
	if err != nil {
		return nil, err
	}
	leaf := c.certificate.Leaf
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("cert_file %s: the certificate is good from %s to %s", certFile, leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime))
	}
	return c, nil
}

func readCredentials(certFile, keyFile, caFile string) (*Credentials, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file %s, key_file %s: %w", certFile, keyFile, err)
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	c := &Credentials{certificate: pair, roots: x509.NewCertPool()}
	if !c.roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate", caFile)
	}
	c.callers = c.roots
	if c.certificate.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return nil, fmt.Errorf("cert_file %s: %w", certFile, err)
	}
	return c, nil
}

// AdmitRelays lets relays follow whose certificates are of the authorities in a file, PEM, none of which may be one of the
// nodes': those are also what etcd goes by, and whoever has a certificate of it is a node. It is for credentials that nobody uses yet.
func (c *Credentials) AdmitRelays(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("relay_ca_file: %w", err)
	}
	c.callers = c.roots.Clone()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		authority, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("relay_ca_file %s: %w", file, err)
		}
		if _, err := authority.Verify(x509.VerifyOptions{Roots: c.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
			return fmt.Errorf("relay_ca_file %s has the authority of the nodes: relays must have one of their own (lapid cluster keys --relay makes it)", file)
		}
		c.relays = append(c.relays, authority)
		c.callers.AddCert(authority)
	}
	if c.relays == nil {
		return fmt.Errorf("relay_ca_file: %s holds no certificate", file)
	}
	return nil
}

// madeHere is the organization in certificates of lapid cluster keys, which have the node's name as their common name.
const madeHere = "lapid"

// IsFor refuses the certificate of another node. Others go by the node's name or the host of its address, so it must be for one of them;
// nodes on one host are told apart by the name that lapid cluster keys has written.
func (c *Credentials) IsFor(name, address string) error {
	leaf := c.certificate.Leaf
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if of := leaf.Subject.CommonName; slices.Contains(leaf.Subject.Organization, madeHere) && of != name {
		return fmt.Errorf("the certificate is that of node %q, and this is node %q", of, name)
	}
	if leaf.VerifyHostname(name) != nil && leaf.VerifyHostname(host) != nil {
		return fmt.Errorf("the certificate is neither for node %q nor for host %q, so other nodes would not take it", name, host)
	}
	return nil
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
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.callers, SessionTicketsDisabled: true,
		}, nil
	}}
}

// isRelay reports whether who calls is a relay, which may follow and do nothing else: the authority of its certificate is, or
// was since the start, one of relays. Who is no relay is a node.
func (n *Node) isRelay(r *http.Request) bool {
	return slices.ContainsFunc(r.TLS.VerifiedChains, func(chain []*x509.Certificate) bool {
		_, relay := n.ofRelays.Load(string(chain[len(chain)-1].Raw))
		return relay
	})
}

// stillRelay reports whether a relay's certificate is one of an authority that relays have now: another one is given to them when a
// certificate is stolen.
func (n *Node) stillRelay(r *http.Request) bool {
	c, chain := n.credentials.Load(), r.TLS.PeerCertificates
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, authority := range c.relays {
		o.Roots.AddCert(authority)
	}
	for _, behind := range chain[1:] {
		o.Intermediates.AddCert(behind)
	}
	_, err := chain[0].Verify(o)
	return err == nil
}

// noteRelays notes which authorities are those of relays. That stays so: a connection may be older than the credentials of now.
func (n *Node) noteRelays(c *Credentials) {
	for _, authority := range c.relays {
		n.ofRelays.Store(string(authority.Raw), true)
	}
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
