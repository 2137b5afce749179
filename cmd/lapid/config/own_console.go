package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// ConsoleSettings are the operators' listener over HTTP (transport/console): off unless Listen is
// given, here or as LAPID_CONSOLE_LISTEN.
type ConsoleSettings struct {
	// Listen is host:port. Default: nowhere.
	Listen string `yaml:"listen"`
	// Hosts are the names that it answers to besides its address and those of its certificate; another
	// name gets 421. The first one is that of links.
	Hosts []string `yaml:"hosts"`
	// TLS is false by default on loopback, true elsewhere.
	TLS *bool `yaml:"tls"`
	// CertFile is the certificate; default that of api.server.tls.
	CertFile string `yaml:"cert_file"`
	// KeyFile is its key; default that of api.server.tls.
	KeyFile string `yaml:"key_file"`
	// CAFile has the authorities of operators' certificates; default that of api.server.tls.
	CAFile string `yaml:"ca_file"`
	// AllowedUnits are the organisational units of operators' certificates, whose common names are
	// operators. Default: no certificate lets in.
	AllowedUnits []string `yaml:"allowed_ou"`
	// BasePath is what stands in front of all paths, where a proxy leaves it there. Default /.
	BasePath string `yaml:"base_path"`
	// TrustedProxies are addresses and ranges that may name the client in X-Forwarded-For. Default: none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// ReadOnly refuses every change.
	ReadOnly bool `yaml:"read_only"`
	// LookupURL is where pages link to from an address, with {ip} in its place. Default: nowhere.
	LookupURL string `yaml:"lookup_url"`
	// Zone is that of the times on pages, such as Europe/Berlin, where a browser has not chosen another. Default UTC.
	Zone string `yaml:"zone"`
}

// given reports whether anything is.
func (c *ConsoleSettings) given() bool {
	return c.Listen != "" || c.Hosts != nil || c.TLS != nil || c.CertFile != "" || c.KeyFile != "" || c.CAFile != "" ||
		c.AllowedUnits != nil || c.BasePath != "" || c.TrustedProxies != nil || c.ReadOnly || c.LookupURL != "" || c.Zone != ""
}

// check refuses what would have no effect, or another than is meant.
func (c *ConsoleSettings) check() (key string, err error) {
	if !c.given() {
		return "", nil
	}
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case c.Listen == "":
		return "console", errors.New("console says nothing about where it listens, so there is none: give console.listen, such as 127.0.0.1:8081, or take console away")
	case err != nil:
		return "console.listen", fmt.Errorf("console.listen must be host:port, such as 127.0.0.1:8081, not %q", c.Listen)
	case (c.CertFile == "") != (c.KeyFile == ""):
		return "console", errors.New("console.cert_file and console.key_file go together: give both")
	case c.BasePath != "" && c.BasePath != "/" && (!strings.HasPrefix(c.BasePath, "/") || strings.HasSuffix(c.BasePath, "/") || strings.ContainsAny(c.BasePath, "{}?#% ")):
		return "console.base_path", fmt.Errorf("console.base_path begins with a slash and ends without, such as /lapid, not %q", c.BasePath)
	case !c.Encrypted() && c.TLS == nil && (c.CertFile != "" || c.CAFile != "" || c.AllowedUnits != nil):
		return "console", fmt.Errorf("console.listen %s is on loopback, where there is no TLS by default: give console.tls: true, or take the certificates away", host)
	case !c.Encrypted() && (c.CertFile != "" || c.CAFile != "" || c.AllowedUnits != nil):
		return "console.tls", errors.New("console.tls is false, so certificates have no effect: take them away, or tls: false")
	case c.CAFile != "" && c.AllowedUnits == nil:
		return "console.ca_file", errors.New("console.ca_file has no effect without console.allowed_ou")
	}
	for _, h := range c.Hosts {
		if h == "" || strings.ContainsAny(h, ":/ ") {
			return "console.hosts", fmt.Errorf("console.hosts are names without scheme and port, such as lapi.example.net, not %q", h)
		}
	}
	if _, err := c.Proxies(); err != nil {
		return "console.trusted_proxies", err
	}
	if u, err := url.Parse(strings.ReplaceAll(c.LookupURL, LookupMark, "192.0.2.7")); c.LookupURL != "" &&
		(err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || !strings.Contains(c.LookupURL, LookupMark)) {
		return "console.lookup_url", fmt.Errorf("console.lookup_url is a URL with %s where the address belongs, such as https://example.net/ip/%s, not %q", LookupMark, LookupMark, c.LookupURL)
	}
	if _, err := c.Location(); err != nil {
		return "console.zone", err
	}
	return "", nil
}

// LookupMark stands for the address in ConsoleSettings.LookupURL.
const LookupMark = "{ip}"

// Location is the zone of times on pages. A Setup that was loaded gives no error.
func (c *ConsoleSettings) Location() (*time.Location, error) {
	zone, err := time.LoadLocation(c.Zone)
	if err != nil || c.Zone == "Local" {
		return nil, fmt.Errorf("console.zone is the name of a time zone, such as Europe/Berlin or UTC, not %q", c.Zone)
	}
	return zone, nil
}

// Encrypted is whether it speaks TLS.
func (c *ConsoleSettings) Encrypted() bool {
	if c.TLS != nil {
		return *c.TLS
	}
	return !c.Local()
}

// Local is whether it listens on loopback alone.
func (c *ConsoleSettings) Local() bool {
	host, _, _ := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Proxies are the trusted ones. A Setup that was loaded gives no error.
func (c *ConsoleSettings) Proxies() (list []netip.Prefix, err error) {
	for _, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if a, single := netip.ParseAddr(text); single == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("console.trusted_proxies are addresses and ranges, not %q", text)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

// ConsoleListener is the settings with what they take from api.server.tls. An error says what is missing.
func (s *Setup) ConsoleListener() (ConsoleSettings, error) {
	c := s.Own.Console
	if c.BasePath == "/" {
		c.BasePath = ""
	}
	if c.Listen == "" || !c.Encrypted() {
		return c, nil
	}
	if a := s.Config.API.Server; a != nil && a.TLS != nil {
		if c.CertFile == "" {
			c.CertFile, c.KeyFile = a.TLS.CertFile, a.TLS.KeyFile
		}
		if c.CAFile == "" {
			c.CAFile = a.TLS.CAFile
		}
	}
	switch {
	case c.CertFile == "":
		return c, fmt.Errorf("the console at %s needs a certificate: give console.cert_file and console.key_file, or console.tls: false behind a proxy that encrypts", c.Listen)
	case c.AllowedUnits != nil && c.CAFile == "":
		return c, errors.New("console.allowed_ou needs console.ca_file, whose certificates are looked at")
	}
	return c, nil
}
