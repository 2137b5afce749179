package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lapid/engine"
)

// Retention is db_config.flush, checked. Zero means: never removed. It is
// handed to the engine as it is; a duration is never negative.
type Retention struct {
	MaxItems        int
	MaxAge          time.Duration
	MetricsMaxAge   time.Duration
	BouncerCert     time.Duration
	BouncerKey      time.Duration
	MachineCert     time.Duration
	MachinePassword time.Duration
}

// Server is what the server needs beyond the Setup, checked. A reload
// makes a new one; the old one is never changed, since the gate may still
// read it.
type Server struct {
	TrustedProxies []netip.Prefix // peers whose forwarding headers count
	TrustedIPs     []netip.Prefix // addresses that may delete alerts
	AutoToken      string         // "": no auto-registration
	AutoRanges     []netip.Prefix // from which machines may register themselves
	RevocationKept time.Duration  // how long a revocation verdict holds
	MetricsAddress string         // "": no metrics listener
	MetricsLevel   string         // full, aggregated, none; "" without a listener
}

// complete puts in the defaults that every verb needs and checks them.
// Verbs need a store and a format and nothing else, so a fault in the server's own
// part does not keep an operator from listing decisions.
func complete(s *Setup) error {
	if s.Own.DataDir != "" {
		s.Config.Paths.DataDir = s.Own.DataDir
	}
	takeAddresses(s)
	if s.Config.Paths.DataDir == "" {
		return s.Bad("config_paths", "config_paths.data_dir is missing")
	}
	if o := s.Config.CLI.Output; o != "" && !slices.Contains(Outputs, o) {
		return s.Bad("cscli.output", "cscli.output must be human, json or raw, not %q", o)
	}
	return nil
}

// takeAddresses puts our own addresses in the place of those that config.yaml names.
// An address in lapid.yaml means that lapid shall listen there, even when the file
// that it shares with the reference's server has its API switched off.
func takeAddresses(s *Setup) {
	if uri := s.Own.ListenURI; uri != "" {
		a := s.Config.API.Server
		if a == nil {
			a = &APIServer{}
			s.Config.API.Server = a
		}
		a.ListenURI, a.Enable = uri, nil
	}
	switch m := &s.Config.Metrics; s.Own.Metrics {
	case "":
	case "off":
		m.Enabled = false
	default:
		m.Enabled = true
	}
}

// Retention checks db_config.flush. What is missing is kept for ever, and
// that is warned of, for such a server grows until its disk is full. Usage
// metrics have a limit of their own, seven days unless said otherwise. The
// error names the key with its place.
func (s *Setup) Retention() (Retention, error) {
	var r Retention
	f := s.Config.DB.Flush
	if f == nil {
		s.warn("db_config.flush is missing: alerts are kept for ever, memory and disk grow with them")
		return r, nil
	}
	const at = "db_config.flush"
	if f.MaxItems != nil {
		if *f.MaxItems <= 0 {
			return r, s.Bad(at+".max_items", "max_items can't be zero or negative")
		}
		r.MaxItems = *f.MaxItems
	}
	if f.MaxItems == nil && f.MaxAge == "" {
		s.warn("db_config.flush has neither max_items nor max_age: alerts are kept for ever, memory and disk grow with them")
	}
	b, m := f.Bouncers, f.Machines
	if b == nil {
		b = &Autodelete{}
	}
	if m == nil {
		m = &Autodelete{}
	}
	if b.Password != "" {
		s.warn("bouncers auto-delete for login/password auth is not supported (use cert or api)")
	}
	if m.APIKey != "" {
		s.warn("agents auto-delete for API auth is not supported (use cert or login_password)")
	}
	metrics := f.MetricsMaxAge
	if metrics == "" {
		metrics = "7d"
	}
	for _, d := range []struct {
		key, text string
		into      *time.Duration
	}{
		{"max_age", f.MaxAge, &r.MaxAge},
		{"metrics_max_age", metrics, &r.MetricsMaxAge},
		{"bouncers_autodelete.cert", b.Cert, &r.BouncerCert},
		{"bouncers_autodelete.api_key", b.APIKey, &r.BouncerKey},
		{"agents_autodelete.cert", m.Cert, &r.MachineCert},
		{"agents_autodelete.login_password", m.Password, &r.MachinePassword},
	} {
		if d.text == "" {
			continue
		}
		v, err := engine.ParseDuration(d.text)
		if err != nil || v <= 0 {
			return r, s.Bad(at+"."+d.key, "%s must be a duration such as 12h or 7d, not %q", d.key, d.text)
		}
		*d.into = v
	}
	return r, nil
}

// Server checks what the server reads and gives it in its final form. The
// sentences are the reference's where it has one, because operators look for
// them. It looks at no file and no address: serve -t and the start do.
func (s *Setup) Server() (*Server, error) {
	a := s.Config.API.Server
	if a == nil || a.Enable != nil && !*a.Enable {
		return nil, s.Bad("api", "you must run at least the API Server or crowdsec: api.server is off or missing here; listen_uri in lapid.yaml switches it on for lapid alone")
	}
	if a.ListenURI == "" && a.ListenSocket == "" {
		return nil, s.Bad("api.server", "no listen_uri or listen_socket specified")
	}
	if a.ListenURI != "" {
		if err := checkListenURI(s, a.ListenURI); err != nil {
			return nil, err
		}
	}
	v := &Server{}
	var err error
	if v.TrustedProxies, err = readProxies(s, a); err != nil {
		return nil, err
	}
	for _, text := range a.TrustedIPs {
		p, err := prefix(text)
		if err != nil {
			return nil, s.Bad("api.server.trusted_ips", "%v", err)
		}
		v.TrustedIPs = append(v.TrustedIPs, p)
	}
	if err := checkRegistration(s, v, a.AutoRegistration); err != nil {
		return nil, err
	}
	if err := checkTLS(s, v, a.TLS); err != nil {
		return nil, err
	}
	return v, checkMetrics(s, v)
}

// readProxies are the peers whose forwarding headers count. With nothing but the
// switch every IPv4 peer is believed, as in the reference.
func readProxies(s *Setup, a *APIServer) ([]netip.Prefix, error) {
	if len(a.TrustedProxies) == 0 && a.ForwardedFor {
		s.warn("api.server.use_forwarded_for_headers is on and trusted_proxies is empty: every IPv4 client is believed whatever address " +
			"it writes into X-Forwarded-For, also 127.0.0.1; name your proxies in api.server.trusted_proxies")
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, nil
	}
	var out []netip.Prefix
	for _, text := range a.TrustedProxies {
		p, err := prefix(text)
		if err != nil {
			return nil, s.Bad("api.server.trusted_proxies", "while setting trusted_proxies: invalid IP address: %s", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// prefix reads an address or a CIDR range.
func prefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("invalid CIDR address: %s", text)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("invalid CIDR address: %s", text)
	}
	return p.Masked(), nil
}

// checkRegistration checks that machines which register by themselves need a token of
// 32 characters and an address in a range that was named: one of the two alone would
// let in any caller that can guess or listen.
func checkRegistration(s *Setup, v *Server, r *AutoRegistration) error {
	const at = "api.server.auto_registration"
	switch {
	case r == nil || !r.Enabled:
		return nil
	case r.Token == "":
		return s.Bad(at, "missing token value for api.server.auto_register")
	case len(r.Token) < 32:
		return s.Bad(at+".token", "token value for api.server.auto_register is too short (min 32 characters)")
	case len(r.AllowedRanges) == 0:
		return s.Bad(at, "missing allowed_ranges value for api.server.auto_register")
	}
	for _, text := range r.AllowedRanges {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return s.Bad(at+".allowed_ranges", "auto_register: failed to parse allowed range '%s': invalid CIDR address: %s", text, text)
		}
		v.AutoRanges = append(v.AutoRanges, p.Masked())
	}
	v.AutoToken = r.Token
	return nil
}

// verifications are the words of client_verification.
var verifications = []string{"", "NoClientCert", "RequestClientCert", "RequireAnyClientCert",
	"VerifyClientCertIfGiven", "RequireAndVerifyClientCert"}

// checkTLS checks the words of api.server.tls; the files are read when the listener is
// made. An entry that stands twice in a list is taken once and warned of, as in the
// reference.
func checkTLS(s *Setup, v *Server, t *TLS) error {
	const at = "api.server.tls"
	if t == nil {
		return nil
	}
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		return s.Bad(at, "missing TLS key file")
	case t.CertFile == "" && t.KeyFile != "":
		return s.Bad(at, "missing TLS cert file")
	}
	if !slices.Contains(verifications, t.Verification) {
		return s.Bad(at+".client_verification", "unknown TLS client_verification value: %s", t.Verification)
	}
	for key, list := range map[string]*[]string{"agents_allowed_ou": &t.AgentsOU, "bouncers_allowed_ou": &t.BouncersOU} {
		if slices.Contains(*list, "") {
			return s.Bad(at+"."+key, "allowed_ou configuration contains invalid empty string")
		}
		if unique := once(*list); len(unique) < len(*list) {
			s.warn("%s.%s holds an entry twice", at, key)
			*list = unique
		}
	}
	v.RevocationKept = time.Hour
	if t.CacheExpiration != "" {
		d, err := time.ParseDuration(t.CacheExpiration)
		if err != nil || d < 0 {
			return s.Bad(at+".cache_expiration", "cache_expiration must be a duration such as 90m, not %q", t.CacheExpiration)
		}
		v.RevocationKept = d
	}
	return nil
}

// once leaves out what was there before, in order. Lists are short, so each
// is compared with each.
func once(list []string) []string {
	var out []string
	for _, x := range list {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// checkMetrics checks prometheus: where figures are served, and how many. Switched off,
// nothing of it is looked at.
func checkMetrics(s *Setup, v *Server) error {
	m := &s.Config.Metrics
	if !m.Enabled {
		return nil
	}
	switch m.Level {
	case "full", "aggregated", "none":
		v.MetricsLevel = m.Level
	case "":
		v.MetricsLevel = "full"
	default:
		return s.Bad("prometheus.level", "prometheus.level must be full, aggregated or none, not %q", m.Level)
	}
	if m.Port < 0 || m.Port > 65535 {
		return s.Bad("prometheus.listen_port", "prometheus.listen_port must lie between 0 and 65535")
	}
	v.MetricsAddress = s.MetricsAddress()
	return nil
}

// MetricsAddress is where the metrics listener is, or would be, as host:port. An address in
// lapid.yaml wins; port 0, where it was written, means any that is free.
func (s *Setup) MetricsAddress() string {
	if s.Own.Metrics != "" && s.Own.Metrics != "off" {
		return s.Own.Metrics
	}
	m := &s.Config.Metrics
	addr, port := m.Addr, m.Port
	if addr == "" {
		addr = "127.0.0.1"
	}
	if port == 0 && !s.given("prometheus.listen_port") {
		port = 6060
	}
	return net.JoinHostPort(addr, fmt.Sprint(port))
}

// checkListenURI tells whether a TCP listener can be at text, as far as it
// is written. It opens nothing.
func checkListenURI(s *Setup, text string) error {
	const key = "api.server.listen_uri"
	if strings.Contains(text, "://") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, "unix:") {
		return s.Bad(key, "listen_uri must be host:port, such as 127.0.0.1:8080, not %q: the path of a Unix socket is given with listen_socket", text)
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil && port == "" {
		err = errors.New("the port is missing")
	}
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return s.Bad(key, "listen_uri must be host:port, such as 127.0.0.1:8080, not %q: %v; the path of a Unix socket is given with listen_socket", text, err)
	}
	return nil
}
