package config

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// variables is an environment of the test's own.
func variables(vars map[string]string) Environment {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

var nothing = variables(nil)

// load reads a configuration with its overlay.
func load(t *testing.T, text, local string, vars map[string]string) (*Setup, error) {
	t.Helper()
	dir := t.TempDir()
	if local != "" {
		write(t, dir, "config.yaml.local", local)
	}
	return Load(write(t, dir, "config.yaml", text), variables(vars))
}

// TestOwnAddresses shares a configuration with a log processor: our own addresses win,
// and ours is a server also where config.yaml says that there is none.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "api: {server: {enable: false, listen_uri: '127.0.0.1:1'}}\n", "api: {server: {listen_uri: '127.0.0.1:1'}}\nprometheus: {enabled: true, listen_port: 6060}\n"} {
		s, err := load(t, plainConfig+text, "", map[string]string{"LAPID_LISTEN_URI": "127.0.0.1:2", "LAPID_METRICS": "127.0.0.1:3"})
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Server()
		if err != nil || s.Config.API.Server.ListenURI != "127.0.0.1:2" || v.MetricsAddress != "127.0.0.1:3" || v.MetricsLevel != "full" {
			t.Errorf("%q: %+v %v", text, v, err)
		}
	}
	s, err := load(t, plainConfig+"api: {server: {listen_uri: '127.0.0.1:1'}}\nprometheus: {enabled: true}\n", "", map[string]string{"LAPID_METRICS": "off"})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Server(); err != nil || v.MetricsAddress != "" {
		t.Errorf("%+v %v", v, err)
	}
	for _, wrong := range []string{"6060", "on"} {
		if _, err := load(t, plainConfig, "", map[string]string{"LAPID_METRICS": wrong}); err == nil || !strings.Contains(err.Error(), "metrics must be host:port or off") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// TestBracketedLists has lists of plain words in brackets, as programs and people
// write them: what is in them is what the reference reads, and what nobody can read
// is refused where it stands.
func TestBracketedLists(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"[a, b]": {"a", "b"}, "[a,b]": {"a", "b"}, "[ a , b ]": {"a", "b"}, "[a, b,]": {"a", "b"}, "[]": {}, "[ ]": {},
		"[\n  a,\n  b\n ]": {"a", "b"}, "[a\n  b, c]": {"a b", "c"}, "[a#b, c #d\n ]": {"a#b", "c"}, "[a b, c d]": {"a b", "c d"},
		`["a" , 'b']`: {"a", "b"}, `[a "b" c]`: {`a "b" c`}, "[it's]": {"it's"}, "[ä, é]": {"ä", "é"},
		"[a*, b.*, c*d]": {"a*", "b.*", "c*d"}, "['*', \"*.example\"]": {"*", "*.example"}, "[&x a, *x]": {"a", "a"},
		"[10.0.0.0/8, fd00::/8]": {"10.0.0.0/8", "fd00::/8"}, "[127.0.0.1, ::1]": {"127.0.0.1", "::1"}, "[0.0.0.0/0, ::/0]": {"0.0.0.0/0", "::/0"},
		"[a:b, c::, 12:30]": {"a:b", "c::", "12:30"}, "[http://x/y?z, b]": {"http://x/y?z", "b"}, "[fe80::1%eth0]": {"fe80::1%eth0"},
		"[a==b, (b|c), ^d$, e+, a!b]": {"a==b", "(b|c)", "^d$", "e+", "a!b"}, "[any(x, y)]": {"any(x", "y)"}, "[~]": {""},
		"\n  - a\n  - b*": {"a", "b*"}, "\n- a": {"a"},
	} {
		trees, err := parseTrees("x", "list: "+text+"\n", nil)
		var got struct {
			List []string `yaml:"list"`
		}
		if err == nil {
			_, err = decodeTree(trees[0], &got)
		}
		if err != nil || !slices.Equal(got.List, want) {
			t.Errorf("%q: %q, %v; want %q", text, got.List, err, want)
		}
	}
	for text, want := range map[string]string{
		"[*]": "x:1:9: unexpected scalar value type; a * that stands for itself is put in quotes", "[*.example, a]": "a * that stands for itself is put in quotes", "[a, *]": "put in quotes", "*": "put in quotes",
		"[a,, b]": "x:1:", "[a: b]": "must be a single value, this is a map", "[[a]]": "must be a single value, this is a list",
		"[a, b": "x:1:", `["a"b]`: "x:1:", "a": "must be a list, this is a single value", "{a: b}": "must be a list, this is a map",
	} {
		trees, err := parseTrees("x", "list: "+text+"\n", nil)
		var got struct {
			List []string `yaml:"list"`
		}
		if err == nil {
			_, err = decodeTree(trees[0], &got)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %q", text, got.List, err, want)
		}
	}
	// Credentials as programs write them are one line of JSON.
	s, err := load(t, "config_paths: {data_dir: /x}\napi: {client: {credentials_path: none}}\n", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Config.API.Client.Credentials = write(t, t.TempDir(), "c.yaml", `{"url":"http://[::1]:8080/","login":"m*","password":"[a, b]"}`)
	if c, err := s.Credentials(); err != nil || c.URL != "http://[::1]:8080/" || c.Login != "m*" || c.Password != "[a, b]" {
		t.Errorf("%+v, %v", c, err)
	}
}

// everyKey are the keys of config.md sections 2 to 7 that hold a value, each with one that is good.
var everyKey = map[string]string{
	"common.log_media": "stdout", "common.log_level": "info", "common.log_format": "text", "common.log_dir": "/var/log",
	"common.log_max_size": "500", "common.log_max_files": "3", "common.log_max_age": "28", "common.compress_logs": "true",
	"common.force_color_logs": "false", "common.daemonize": "false", "common.pid_dir": "/run", "common.working_dir": "/",
	"config_paths.config_dir": "/etc/x", "config_paths.data_dir": "/var/x", "config_paths.notification_dir": "/etc/x/n",
	"config_paths.plugin_dir": "/usr/p", "config_paths.simulation_path": "/etc/s", "config_paths.index_path": "/etc/i",
	"config_paths.hub_dir": "/etc/h", "config_paths.pattern_dir": "/etc/p",
	"db_config.type": "sqlite", "db_config.db_path": "/x.db", "db_config.user": "u", "db_config.password": "p$w",
	"db_config.db_name": "n", "db_config.host": "h", "db_config.port": "5432", "db_config.sslmode": "require",
	"db_config.ssl_ca_cert": "/ca", "db_config.ssl_client_cert": "/c", "db_config.ssl_client_key": "/k",
	"db_config.max_open_conns": "100", "db_config.use_wal": "true", "db_config.decision_bulk_size": "1000",
	"db_config.log_level": "info", "db_config.flush.max_items": "5000", "db_config.flush.max_age": "7d",
	"db_config.flush.metrics_max_age": "7d", "db_config.flush.bouncers_autodelete.cert": "30d",
	"db_config.flush.bouncers_autodelete.api_key": "90d", "db_config.flush.agents_autodelete.cert": "30d",
	"db_config.flush.agents_autodelete.login_password": "90d",
	"api.server.enable": "true", "api.server.listen_uri": "127.0.0.1:8080", "api.server.listen_socket": "/run/s",
	"api.server.log_level": "info", "api.server.console_path": "/c", "api.server.use_forwarded_for_headers": "true",
	"api.server.trusted_proxies": "[10.0.0.0/8]", "api.server.trusted_ips": "[127.0.0.1, ::1]",
	"api.server.disable_remote_lapi_registration": "false", "api.server.auto_registration.enabled": "true",
	"api.server.auto_registration.token":          "0123456789012345678901234567890123",
	"api.server.auto_registration.allowed_ranges": "[10.0.0.0/8]",
	"api.server.online_client.credentials_path":   "/o", "api.server.online_client.sharing": "true",
	"api.server.online_client.pull.community": "true", "api.server.online_client.pull.blocklists": "true",
	"api.server.capi_whitelists_path": "/w", "api.server.papi_log_level": "info",
	"api.server.disable_usage_metrics_export": "false",
	"api.server.tls.client_verification":      "VerifyClientCertIfGiven",
	"api.server.tls.agents_allowed_ou":        "[agent-ou]", "api.server.tls.bouncers_allowed_ou": "[bouncer-ou]",
	"api.server.tls.cache_expiration": "1h", "api.server.tls.server_name": "x", "api.server.tls.ca_cert_path": "/ca",
	"api.server.tls.crl_path": "/crl", "api.client.credentials_path": "/x", "api.client.insecure_skip_verify": "false",
	"api.client.unregister_on_exit": "false", "api.cti.key": "k", "api.cti.cache_timeout": "10m", "api.cti.cache_size": "100",
	"api.cti.enabled": "true", "api.cti.log_level": "info",
	"prometheus.enabled": "true", "prometheus.level": "full", "prometheus.listen_addr": "127.0.0.1",
	"prometheus.listen_port": "6060", "plugin_config.user": "nobody", "plugin_config.group": "nogroup",
	"cscli.output": "human", "cscli.color": "auto", "cscli.hub_branch": "master", "cscli.hub_with_content": "true",
	"cscli.prometheus_uri": "http://x", "cscli.__hub_url_template__": "http://y",
	"crowdsec_service.enable": "false", "crowdsec_service.acquisition_path": "/a", "crowdsec_service.acquisition_dir": "/d",
	"crowdsec_service.console_context_path": "/c", "crowdsec_service.console_context_value_length": "4096",
	"crowdsec_service.parser_routines": "1", "crowdsec_service.buckets_routines": "1", "crowdsec_service.output_routines": "1",
	"crowdsec_service.state_input_file": "/s", "crowdsec_service.state_output_dir": "/o",
	"crowdsec_service.dns_cache.ttl": "1h", "crowdsec_service.dns_cache.negative_ttl": "1m", "crowdsec_service.dns_cache.size": "100",
}

// text writes keys as a document of flow maps.
func text(keys map[string]string) string {
	type branch map[string]any
	root := branch{}
	for key, value := range keys {
		at := root
		words := strings.Split(key, ".")
		for _, w := range words[:len(words)-1] {
			if at[w] == nil {
				at[w] = branch{}
			}
			at = at[w].(branch)
		}
		at[words[len(words)-1]] = value
	}
	var out strings.Builder
	var put func(branch, string)
	put = func(b branch, indent string) {
		for _, key := range slices.Sorted(maps.Keys(b)) {
			if inner, ok := b[key].(branch); ok {
				out.WriteString(indent + key + ":\n")
				put(inner, indent+"  ")
			} else {
				out.WriteString(indent + key + ": " + b[key].(string) + "\n")
			}
		}
	}
	put(root, "")
	return out.String()
}

func TestEveryKey(t *testing.T) {
	t.Parallel()
	s, err := load(t, text(everyKey), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for key := range everyKey {
		if !s.given(key) {
			t.Errorf("%s was not read", key)
		}
	}
	if _, err := s.Server(); err != nil {
		t.Error(err)
	}
	if _, err := s.Retention(); err != nil {
		t.Error(err)
	}
	if len(s.Warnings) != 1 {
		t.Errorf("%d warnings, want one that lists all: %q", len(s.Warnings), s.Warnings)
	}
	for _, key := range []string{"db_config.type", "crowdsec_service", "common.daemonize"} {
		if !strings.Contains(s.Warnings[0], key) {
			t.Errorf("the warning does not name %s: %s", key, s.Warnings[0])
		}
	}
	s.Losses()
	for _, key := range loud {
		if all := strings.Join(s.Warnings[1:], "\n"); strings.Count(all, ": "+key+": ") != 1 || strings.Contains(s.Warnings[0], key) {
			t.Errorf("%s has no line of its own: %s", key, all)
		}
	}
}

// TestEveryMisspelling drops one letter of every key: each must be refused, with
// its place and the right key as the suggestion.
func TestEveryMisspelling(t *testing.T) {
	t.Parallel()
	for key := range everyKey {
		at := strings.LastIndexByte(key, '.') + 1
		word := key[at:]
		wrong := key[:at] + word[:len(word)-2] + word[len(word)-1:]
		_, err := load(t, text(map[string]string{wrong: everyKey[key], "config_paths.data_dir": "/x"}), "", nil)
		if err == nil {
			t.Errorf("%s was accepted", wrong)
			continue
		}
		if !strings.Contains(err.Error(), `did you mean "`+word+`"?`) || !strings.Contains(err.Error(), "config.yaml:") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"api:\n  server:\n    listen_ury: x\n", `config.yaml:3:5: unknown key "listen_ury" in api.server; did you mean "listen_uri"?`},
		{"lisen: x\n", `config.yaml:1:1: unknown key "lisen"`},
		{"listen_uri: x\n", `unknown key "listen_uri"; it belongs into api.server`},
		{"api:\n  server:\n    tls:\n      cert_path: x\n", `config.yaml:4:7: unknown key "cert_path" in api.server.tls; did you mean "cert_file"?`},
		{"api:\n  server:\n    trusted_ips: 10.0.0.1\n", `config.yaml:3:18: api.server.trusted_ips must be a list, this is a single value`},
		{"api: []\n", `config.yaml:1:6: api must be a map, this is a list`},
		{"prometheus:\n  enabled: maybe\n", `config.yaml:2:12: prometheus.enabled must be true or false, not "maybe"`},
		{"prometheus:\n  listen_port: many\n", `config.yaml:2:16: prometheus.listen_port must be a whole number, not "many"`},
		{"prometheus:\n  level: a\n  level: b\n", `config.yaml:3:3: `},
		{"common: {log_level: [x]}\n", `common.log_level must be a single value, this is a list`},
		{"common:\n\tlog_level: info\n", `config.yaml:`},
		{"a: *nobody\n", `config.yaml:1:`},
		{"- x\n", `config.yaml:1:1: the top level must be a map, this is a list`},
		{"api: !Foo x\n", `!Foo is read as a YAML tag`},
		{"config_paths:\n  config_dir: x\n", `config_paths.data_dir is missing`},
		{"cscli: {output: loud}\nconfig_paths: {data_dir: x}\n", `cscli.output must be human, json or raw, not "loud"`},
		{strings.Repeat("[", 200), `config.yaml`},
	} {
		_, err := load(t, c.text, "", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n%v\nwant\n%s", c.text, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nothing); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, base, local, want, fails string }{
		{"maps key by key", "a: {b: 1, c: 2}", "a: {c: 3, d: 4}", "a:\n    b: 1\n    c: 3\n    d: 4\n", ""},
		{"lists are replaced", "a: [1, 2]", "a: [3]", "a:\n    - 3\n", ""},
		{"scalars are replaced", "a: 1\nb: 2", "a: 5", "a: 5\nb: 2\n", ""},
		{"null removes", "a: 1\nb: 2", "a: null", "b: 2\n", ""},
		{"null removes nothing", "a: 1", "z: null", "a: 1\n", ""},
		{"onto nothing", "a:", "a: {b: 1}", "a:\n    b: 1\n", ""},
		{"empty overlay", "a: 1", "# nothing", "a: 1\n", ""},
		{"empty base", "# nothing", "a: 1", "a: 1\n", ""},
		{"scalar into map", "a: {b: 1}", "a: 1", "", "config.yaml.local:1:4: can't merge a single value into a map"},
		{"scalar into list", "a: [1]", "a: 1", "", "can't merge a single value into a list"},
		{"map into list", "a: [1]", "a: {b: 1}", "", "can't merge a map into a list"},
		{"key twice", "a: 1", "a: 1\na: 2", "", "config.yaml.local:2:1: "},
	} {
		dir := t.TempDir()
		write(t, dir, "config.yaml.local", c.local)
		tree, err := readMerged(write(t, dir, "config.yaml", c.base), nil)
		switch {
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: %v, want %s", c.name, err, c.fails)
		case c.fails == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fails == "" && tree.yaml() != c.want:
			t.Errorf("%s:\n%swant\n%s", c.name, tree.yaml(), c.want)
		}
	}
}

func TestExpansion(t *testing.T) {
	t.Parallel()
	expand := expander(variables(map[string]string{"NAME": "value", "EMPTY": "", "N_1": "7"}))
	for in, want := range map[string]string{
		"$NAME": "value", "${NAME}": "value", "a$NAME-b": "avalue-b", "$NAMED": "$NAMED", "${NAMED}": "${NAMED}",
		"$EMPTY.": ".", "${EMPTY}": "", "${NAME:-x}": "${NAME:-x}", "p$w0rd$": "p$w0rd$", "$$NAME": "$value",
		"${": "${", "${}": "${}", "$": "$", "$N_1": "7", "${NAME": "${NAME", "a${NAME}${NAME}": "avaluevalue",
	} {
		if got := expand(in); got != want {
			t.Errorf("%s gives %s, want %s", in, got, want)
		}
	}
	s, err := load(t, "config_paths: {data_dir: $DIR}\nprometheus: {listen_port: ${PORT}}\ncommon:\n$MORE", "",
		map[string]string{"DIR": "/d", "PORT": "7000", "MORE": "  log_level: debug"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Config.Paths.DataDir != "/d" || s.Config.Metrics.Port != 7000 || s.Config.Common.Level != "debug" {
		t.Errorf("%+v", s.Config)
	}
}

// plainConfig is a configuration to which one key is added.
const plainConfig = "config_paths: {data_dir: /x}\n"

func TestChecks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ server, want string }{
		{"", "no listen_uri or listen_socket specified"},
		{"enable: false, listen_uri: 'x:1'", "you must run at least the API Server or crowdsec"},
		{"listen_uri: nonsense", "listen_uri must be host:port"},
		{"listen_uri: 'x:1', trusted_proxies: [foo]", "while setting trusted_proxies: invalid IP address: foo"},
		{"listen_uri: 'x:1', trusted_ips: [foo/32]", "invalid CIDR address: foo/32"},
		{"listen_uri: 'x:1', auto_registration: {enabled: true}", "missing token value for api.server.auto_register"},
		{"listen_uri: 'x:1', auto_registration: {enabled: true, token: short}", "token value for api.server.auto_register is too short (min 32 characters)"},
		{"listen_uri: 'x:1', auto_registration: {enabled: true, token: 01234567890123456789012345678901}", "missing allowed_ranges value for api.server.auto_register"},
		{"listen_uri: 'x:1', auto_registration: {enabled: true, token: 01234567890123456789012345678901, allowed_ranges: [x]}", "auto_register: failed to parse allowed range 'x': invalid CIDR address: x"},
		{"listen_uri: 'x:1', auto_registration: {enabled: false}", ""},
		{"listen_uri: 'x:1', tls: {cert_file: a}", "missing TLS key file"},
		{"listen_uri: 'x:1', tls: {key_file: a}", "missing TLS cert file"},
		{"listen_uri: 'x:1', tls: {client_verification: Sometimes}", "Sometimes"},
		{"listen_uri: 'x:1', tls: {agents_allowed_ou: ['']}", "allowed_ou configuration contains invalid empty string"},
		{"listen_uri: 'x:1', tls: {cache_expiration: 1d}", "cache_expiration must be a duration"},
		{"listen_socket: /s", ""},
		{"listen_uri: '[::]:80'", ""},
	} {
		s, err := load(t, plainConfig+"api: {server: {"+c.server+"}}", "", nil)
		if err != nil {
			t.Fatalf("%s: %v", c.server, err)
		}
		_, err = s.Server()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.server, err, c.want)
		}
	}
	for _, text := range []string{"", "api: {client: {}}\n"} {
		s, err := load(t, plainConfig+text, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Server(); err == nil || !strings.Contains(err.Error(), "you must run at least the API Server or crowdsec") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestProxies(t *testing.T) {
	t.Parallel()
	for server, want := range map[string][]string{
		"use_forwarded_for_headers: true":                                 {"0.0.0.0/0"},
		"use_forwarded_for_headers: false":                                nil,
		"trusted_proxies: [10.1.2.3, '2001:db8::/32']":                    {"10.1.2.3/32", "2001:db8::/32"},
		"trusted_proxies: [10.0.0.1/8], use_forwarded_for_headers: false": {"10.0.0.0/8"},
	} {
		s, err := load(t, plainConfig+"api: {server: {listen_uri: 'x:1', "+server+"}}", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Server()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range v.TrustedProxies {
			got = append(got, p.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", server, got, want)
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	s, err := load(t, plainConfig+`db_config: {flush: {max_items: 10, max_age: 2d12h, bouncers_autodelete: {cert: 1h, login_password: 1h},
		agents_autodelete: {login_password: 30d, api_key: 1h}}}`, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Retention()
	day := 24 * time.Hour
	want := Retention{MaxItems: 10, MaxAge: 60 * time.Hour, MetricsMaxAge: 7 * day, BouncerCert: time.Hour, MachinePassword: 30 * day}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if len(s.Warnings) != 2 {
		t.Errorf("two combinations are not supported: %q", s.Warnings)
	}
	for flush, want := range map[string]string{
		"max_items: 0":       "max_items can't be zero or negative",
		"max_age: tomorrow":  `max_age must be a duration such as 12h or 7d, not "tomorrow"`,
		"max_age: -1h":       "max_age must be a duration",
		"metrics_max_age: 0": "metrics_max_age must be a duration",
	} {
		s, err := load(t, plainConfig+"db_config: {flush: {"+flush+"}}", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Retention(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", flush, err, want)
		}
	}
	for text, warns := range map[string]string{plainConfig: "db_config.flush is missing", plainConfig + "db_config: {flush: {}}": "neither max_items nor max_age"} {
		s, err := load(t, text, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Retention(); err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], warns) {
			t.Errorf("%q: %v %q, want %s", text, err, s.Warnings, warns)
		}
	}
}

func TestLogAndMetricsWords(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]slog.Level{"trace": levelTrace, "debug": slog.LevelDebug, "": slog.LevelInfo, "INFO": slog.LevelInfo,
		"warn": slog.LevelWarn, "warning": slog.LevelWarn, "error": slog.LevelError, "fatal": LevelFatal} {
		if got, err := Level(word); err != nil || got != want {
			t.Errorf("%q: %v, %v", word, got, err)
		}
	}
	s, err := load(t, plainConfig+"api: {server: {listen_uri: 'x:1'}}\nprometheus: {enabled: true, level: some}", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Server(); err == nil || !strings.Contains(err.Error(), "prometheus.level must be full, aggregated or none") {
		t.Errorf("%v", err)
	}
	s.Config.Metrics.Level = ""
	if v, err := s.Server(); err != nil || v.MetricsLevel != "full" || v.MetricsAddress != "127.0.0.1:6060" {
		t.Errorf("%+v, %v", v, err)
	}
}

// FuzzConfig: no text makes the reader panic, and what it accepts it can write
// and read again.
func FuzzConfig(f *testing.F) {
	for _, file := range []string{"testdata/config/config.yaml", "testdata/config/profiles.yaml", "testdata/config/profiles_wild.yaml"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("a: &x {b: 1}\nc:\n  <<: *x\n")
	place := regexp.MustCompile(`^fuzz`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		trees, err := parseTrees("fuzz", text, expander(nothing))
		if err != nil {
			if !place.MatchString(err.Error()) {
				t.Errorf("an error without a place: %v", err)
			}
			return
		}
		for _, tree := range trees {
			_, _ = decodeTree(tree, &Config{})
		}
	})
}
