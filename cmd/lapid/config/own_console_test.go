package config

import (
	"strings"
	"testing"
)

// What is said of the console is checked where it stands; what would have no effect is refused.
func TestConsoleSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, variable, want string }{
		"loopback":      {"console: {listen: '127.0.0.1:8081'}", "", ""},
		"nothing":       {"", "", ""},
		"variable":      {"console: {read_only: true}", "[::1]:8081", ""},
		"no place":      {"console: {read_only: true}", "", "give console.listen"},
		"no port":       {"console: {listen: localhost}", "", "lapid.yaml:1:19: console.listen must be host:port"},
		"misspelt":      {"console: {lisen: x}", "", `did you mean "listen"`},
		"half a pair":   {"console: {listen: ':8081', cert_file: a}", "", "go together"},
		"base path":     {"console: {listen: '127.0.0.1:1', base_path: lapid/}", "", "console.base_path begins with a slash"},
		"host":          {"console: {listen: '127.0.0.1:1', hosts: ['https://x']}", "", "names without scheme and port"},
		"look":          {"console: {listen: '127.0.0.1:1', lookup_url: 'https://example.net/ip/{ip}?x=1', zone: Europe/Berlin}", "", ""},
		"no mark":       {"console: {listen: '127.0.0.1:1', lookup_url: 'https://example.net/'}", "", "with {ip} where the address belongs"},
		"no link":       {"console: {listen: '127.0.0.1:1', lookup_url: 'javascript:alert({ip})'}", "", "console.lookup_url is a URL"},
		"mark as host":  {"console: {listen: '127.0.0.1:1', lookup_url: 'example.net/{ip}'}", "", "console.lookup_url is a URL"},
		"no zone":       {"console: {listen: '127.0.0.1:1', zone: Mars/Base}", "", "console.zone is the name of a time zone"},
		"own zone":      {"console: {listen: '127.0.0.1:1', zone: Local}", "", "console.zone is the name of a time zone"},
		"look alone":    {"console: {zone: UTC}", "", "give console.listen"},
		"proxy":         {"console: {listen: '127.0.0.1:1', trusted_proxies: [x]}", "", "addresses and ranges"},
		"no TLS":        {"console: {listen: '127.0.0.1:1', allowed_ou: [ops]}", "", "no TLS by default"},
		"TLS off":       {"console: {listen: ':1', tls: false, cert_file: a, key_file: b}", "", "certificates have no effect"},
		"lone CA":       {"console: {listen: ':1', cert_file: a, key_file: b, ca_file: c}", "", "without console.allowed_ou"},
		"TLS by itself": {"console: {listen: ':1', cert_file: a, key_file: b}", "", ""},
	} {
		dir := t.TempDir()
		file := write(t, dir, "config.yaml", "config_paths: {data_dir: "+dir+"}\n")
		write(t, dir, "lapid.yaml", c.text+"\n")
		vars := map[string]string{}
		if c.variable != "" {
			vars["LAPID_CONSOLE_LISTEN"] = c.variable
		}
		s, err := Load(file, variables(vars))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil && name == "TLS by itself" && !s.Own.Console.Encrypted() || err == nil && name == "loopback" && s.Own.Console.Encrypted() {
			t.Errorf("%s: TLS is otherwise than by default", name)
		}
	}
}
