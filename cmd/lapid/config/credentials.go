package config

import (
	"fmt"
	"net"
	"strings"
)

// unnamed signs an operator's decision when this machine has no login of its own.
const unnamed = "lapid"

// Credentials reads the file by which this machine's own tools log in, at each call. An
// overlay FILE.local and variables count, as for config.yaml. The error
// names the key when there is no file.
func (s *Setup) Credentials() (*Credentials, error) {
	client := s.Config.API.Client
	if client == nil || client.Credentials == "" {
		return nil, s.Bad("api.client", "no credentials file: api.client.credentials_path is missing")
	}
	tree, err := readMerged(client.Credentials, expander(s.env))
	if err != nil {
		return nil, fmt.Errorf("failed to read api client credential configuration: %w", err)
	}
	c := &Credentials{}
	if _, err := decodeTree(tree, c); err != nil {
		return nil, fmt.Errorf("failed to read api client credential configuration: %w", err)
	}
	return c, nil
}

// Login is the machine in whose name this machine's operator decides. A file
// that cannot be read is as good as none: an operator must be able to decide
// without.
func (s *Setup) Login() string {
	c, err := s.Credentials()
	if err != nil || c.Login == "" {
		return unnamed
	}
	return c.Login
}

// URL is where this server is reached from this machine: that of the credentials file,
// else OwnURL.
func (s *Setup) URL() string {
	if c, err := s.Credentials(); err == nil && c.URL != "" {
		return c.URL
	}
	return s.OwnURL()
}

// OwnURL is where this server listens, as this machine reaches it. A
// listener on all addresses is reached on the loopback.
func (s *Setup) OwnURL() string {
	a := s.Config.API.Server
	if a == nil || a.ListenURI == "" {
		return "http://127.0.0.1:8080"
	}
	host, port, err := net.SplitHostPort(a.ListenURI)
	if err != nil {
		return "http://" + a.ListenURI
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if strings.Contains(a.ListenURI, "[::]") {
			host = "::1"
		}
	}
	scheme := "http://"
	if a.TLS != nil && a.TLS.CertFile != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// CredentialsText is the file by which a log processor or cscli logs in.
// It is YAML, whatever the values hold.
func CredentialsText(url, login, password string) string {
	return fmt.Sprintf("url: %s\nlogin: %s\npassword: %s\n", Scalar(url), Scalar(login), Scalar(password))
}

// Text is the credentials as such a file.
func (c *Credentials) Text() string {
	text := "url: " + Scalar(c.URL) + "\n"
	for _, one := range [][2]string{{"login", c.Login}, {"password", c.Password}, {"ca_cert_path", c.CAFile}, {"key_path", c.KeyFile}, {"cert_path", c.CertFile}} {
		if one[1] != "" {
			text += one[0] + ": " + Scalar(one[1]) + "\n"
		}
	}
	return text
}
