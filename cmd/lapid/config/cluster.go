package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"

	"lapid/persist/stream"
)

// ClusterOptions are those of the history that a cluster shares, with the seal, the certificates and the password read from
// their files. Errors name the setting, and the file.
func (s *Setup) ClusterOptions() (*stream.Options, error) {
	c := s.Cluster()
	text, err := os.ReadFile(c.SealFile)
	if err != nil {
		return nil, fmt.Errorf("cluster.seal_file: %w", err)
	}
	seal, err := stream.ParseSeal(text)
	if err != nil {
		return nil, fmt.Errorf("cluster.seal_file %s: %w", c.SealFile, err)
	}
	age, bytes, _ := c.Kept() // checked when it was read
	o := &stream.Options{
		Endpoints: c.Etcd.Endpoints, Prefix: c.Etcd.Prefix, User: c.Etcd.User, Node: c.Name, Address: c.Address(), NeverWrites: c.NeverWrites,
		Seal: seal, KeepTime: age, KeepBytes: bytes, Compact: c.Compact == nil || *c.Compact,
	}
	if c.Etcd.PasswordFile != "" {
		text, err := os.ReadFile(c.Etcd.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("cluster.etcd.password_file: %w", err)
		}
		o.Password, _, _ = strings.Cut(strings.ReplaceAll(string(text), "\r", ""), "\n")
	}
	if slices.ContainsFunc(c.Etcd.Endpoints, func(e string) bool { return strings.HasPrefix(e, "https:") }) {
		o.TLS, err = c.Etcd.client()
	}
	return o, err
}

// client is how etcd is called.
func (e *EtcdSettings) client() (*tls.Config, error) {
	pem, err := os.ReadFile(e.CAFile)
	if err != nil {
		return nil, fmt.Errorf("cluster.etcd.ca_file: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cluster.etcd.ca_file: %s holds no certificate", e.CAFile)
	}
	pair, err := tls.LoadX509KeyPair(e.CertFile, e.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cluster.etcd.cert_file %s, key_file %s: %w", e.CertFile, e.KeyFile, err)
	}
	cert, key := e.CertFile, e.KeyFile
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if renewed, err := tls.LoadX509KeyPair(cert, key); err == nil { // a connection begins seldom
			return &renewed, nil
		}
		return &pair, nil // the files are being replaced
	}
	return c, nil
}
