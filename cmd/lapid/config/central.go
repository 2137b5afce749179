package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"lapid/engine"
	"lapid/transport/capi"
)

// onlineCredentials are the file by which this server logs in to the Central API. It is
// read strictly, without an overlay and without variables.
type onlineCredentials struct {
	URL      string `yaml:"url"`
	Orders   string `yaml:"papi_url"`
	Login    string `yaml:"login"`
	Password string `yaml:"password"`
	CAFile   string `yaml:"ca_cert_path"`
	KeyFile  string `yaml:"key_path"`
	CertFile string `yaml:"cert_path"`
}

// Central is the connection to the Central API: nil, nil where none is configured. What
// keeps it from working is an error that says so; the server starts without it.
func (s *Setup) Central() (*capi.Options, error) {
	a := s.Config.API.Server
	if a == nil || a.Online == nil {
		return nil, nil
	}
	file := a.Online.Credentials
	if file == "" {
		return nil, errors.New("credentials_path is missing")
	}
	tree, err := readOne(file, func(text string) string { return text })
	if err != nil {
		return nil, fmt.Errorf("loading online client credentials: %w", err)
	}
	c := &onlineCredentials{}
	if _, err := decodeTree(tree, c); err != nil {
		return nil, fmt.Errorf("loading online client credentials: %w", err)
	}
	o := &capi.Options{
		Credentials: capi.Credentials{URL: c.URL, Orders: c.Orders, Login: c.Login, Password: c.Password},
		Shrunken:    s.Own.ShrunkenLists == "accept",
	}
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("can't load CAPI credentials from '%s' (%w)", file, err)
	}
	if p := a.Online.Pull; p != nil {
		o.NoCommunity = p.Community != nil && !*p.Community
		o.NoBlocklists = p.Blocklists != nil && !*p.Blocklists
	}
	o.NoUsage = a.NoUsageExport
	o.NoSharing = a.Online.Sharing != nil && !*a.Online.Sharing
	if o.Console, err = s.Console(); err != nil {
		return nil, err
	}
	return o, nil
}

// usualConsole is where console.yaml is where nothing else is said.
const usualConsole = "/etc/crowdsec/console.yaml"

// ConsoleFile is where console.yaml is. It needs a configuration with api.server.
func (s *Setup) ConsoleFile() string {
	if file := s.Config.API.Server.ConsolePath; file != "" {
		return file
	}
	return usualConsole
}

// ConsoleText is a console.yaml that says all of c.
func ConsoleText(c capi.Console) string {
	return fmt.Sprintf("share_manual_decisions: %t\nshare_custom: %t\nshare_tainted: %t\nshare_context: %t\nconsole_management: %t\n",
		c.Manual, c.Custom, c.Tainted, c.Context, c.Management)
}

// Console is what is shared with the console: console.yaml, or its defaults where there is
// none, and what the environment of a container has on. It needs a configuration with api.server.
func (s *Setup) Console() (capi.Console, error) {
	c, err := s.readConsole()
	if s.container != nil {
		s.container.Online.share(&c)
	}
	return c, err
}

func (s *Setup) readConsole() (capi.Console, error) {
	file := s.ConsoleFile()
	var c struct {
		Manual     *bool `yaml:"share_manual_decisions"`
		Custom     *bool `yaml:"share_custom"`
		Tainted    *bool `yaml:"share_tainted"`
		Context    *bool `yaml:"share_context"`
		Management *bool `yaml:"console_management"`
	}
	usual := capi.UsualConsole
	tree, err := readOne(file, func(text string) string { return text })
	if errors.Is(err, fs.ErrNotExist) {
		return usual, nil
	}
	if err == nil {
		_, err = decodeTree(onlyConsole(tree), &c)
	}
	if err != nil {
		return usual, fmt.Errorf("loading what is shared with the console: %w", err)
	}
	for _, o := range []struct {
		given *bool
		into  *bool
	}{{c.Manual, &usual.Manual}, {c.Custom, &usual.Custom}, {c.Tainted, &usual.Tainted}, {c.Context, &usual.Context}, {c.Management, &usual.Management}} {
		if o.given != nil {
			*o.into = *o.given
		}
	}
	return usual, nil
}

// consoleKeys are those of console.yaml. Others may stand there: the contract does not read
// that file strictly.
var consoleKeys = []string{"share_manual_decisions", "share_custom", "share_tainted", "share_context", "console_management"}

// onlyConsole is a console.yaml without keys that nobody knows.
func onlyConsole(tree *node) *node {
	if tree == nil || tree.kind != isMap {
		return tree
	}
	known := *tree
	known.entries = nil
	for _, e := range tree.entries {
		if slices.Contains(consoleKeys, e.key.text) {
			known.entries = append(known.entries, e)
		}
	}
	return &known
}

// strayConsole names keys of console.yaml that have no meaning, with their places.
func (s *Setup) strayConsole() (list []string) {
	tree, err := readOne(s.ConsoleFile(), func(text string) string { return text })
	if err != nil || tree == nil {
		return nil // Console says so
	}
	for _, e := range tree.entries {
		if !slices.Contains(consoleKeys, e.key.text) {
			list = append(list, e.key.text+" ("+e.key.at()+")")
		}
	}
	return list
}

// Whitelist is capi_whitelists_path: what no list of the Central API may ban. A file that
// cannot be read, or an address in it, is an error: without it addresses could be banned
// that the operator trusts.
func (s *Setup) Whitelist() ([]netip.Prefix, error) {
	file := s.Config.API.Server.CAPIWhitelists
	if file == "" {
		return nil, nil
	}
	var w struct {
		IPs   []string `yaml:"ips"`
		CIDRs []string `yaml:"cidrs"`
	}
	tree, err := readOne(file, expander(s.env))
	if err == nil {
		_, err = decodeTree(tree, &w)
	}
	if err != nil {
		return nil, s.Bad("api.server.capi_whitelists_path", "while opening capi whitelist file: %v", err)
	}
	var list []netip.Prefix
	for _, text := range append(w.IPs, w.CIDRs...) {
		p, err := engine.ParseTarget(text)
		if err != nil {
			return nil, s.Bad("api.server.capi_whitelists_path", "%s: %v", file, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// warnOfCentral says what of the Central API will not happen.
func (s *Setup) warnOfCentral() {
	a := s.Config.API.Server
	if a == nil {
		return
	}
	const key = "api.server.online_client"
	connection, err := s.Central()
	if connection == nil && (err != nil || s.given(key)) {
		if err == nil {
			err = errors.New("it is empty")
		}
		s.warnAt(key, "with this file there is no connection to the Central API: the community blocklist, the blocklists that were "+
			"subscribed to and the orders of the console stop coming in, and no signals are sent; what came in before is not taken over: %v", err)
	}
	if connection != nil {
		if stray := s.strayConsole(); stray != nil {
			s.warnAt("api.server.console_path", "without a meaning in %s: %s", s.ConsoleFile(), strings.Join(stray, ", "))
		}
	}
	if a.CAPIWhitelists != "" && connection == nil {
		s.warnAt("api.server.capi_whitelists_path", "%s is not read: put its addresses onto an allowlist "+
			"('lapid allowlists create', 'lapid allowlists add'), or they can be banned", a.CAPIWhitelists)
	}
}
