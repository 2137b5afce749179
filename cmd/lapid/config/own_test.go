package config

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestOwnSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, dir, "config.yaml", plainConfig)
	write(t, dir, "lapid.yaml", "access_log: true\nsync: false\nadmin_socket: /a\non_filter_error: continue\nmax_header_bytes: 256KiB\nloops: 3\n")
	s, err := Load(file, variables(map[string]string{"LAPID_ADMIN_SOCKET": "/b", "LAPID_DATA_DIR": "/elsewhere"}))
	if err != nil {
		t.Fatal(err)
	}
	if !s.AccessLog() || *s.Own.Sync || s.Socket() != "/b" || s.Store() != "/elsewhere/lapid/store" || s.Own.OnFilterError != "continue" {
		t.Errorf("%+v", s.Own)
	}
	if n, err := s.Own.HeaderBytes(); n != 256<<10 || err != nil {
		t.Errorf("heads of %d bytes, %v", n, err)
	}
	if n, err := s.Own.LoopCount(); n != 3 || err != nil {
		t.Errorf("%d loops, %v", n, err)
	}
	for name, c := range map[string]struct{ file, variable, want string }{
		"misspelt": {"acces_log: true", "", `lapid.yaml:1:1: unknown key "acces_log"; did you mean "access_log"?`},
		"type":     {"", "perhaps", `environment variable LAPID_SYNC: sync must be true or false, not "perhaps"`},
		"no rows":  {"bouncer_rows_per_key: -1", "", "lapid.yaml:1:23: bouncer_rows_per_key must be between 1 and 10000000, not -1"},
		"prefix":   {"bouncer_ipv6_prefix: 8", "", "lapid.yaml:1:22: bouncer_ipv6_prefix must be between 32 and 128, not 8"},
		"no heads": {"max_header_bytes: 1KiB", "", `max_header_bytes must be a number of bytes between 4KiB and 1MiB, such as 256KiB, not "1KiB"`},
		"heads":    {"max_header_bytes: 1048577", "", `between 4KiB and 1MiB, such as 256KiB, not "1048577"`},
		"loops":    {"loops: many", "", `lapid.yaml:1:8: loops must be auto, off or a number from 1 to 256, not "many"`},
		"journal":  {"bookmark_journal: 1000", "", `lapid.yaml:1:19: bookmark_journal must be a number of bytes from 1MiB to 1048576GiB, such as 256MiB or 2GiB, not "1000"`},
		"no loops": {"loops: 0", "", `lapid.yaml:1:8: loops must be auto, off or a number from 1 to 256, not "0"`},
		"mode":     {"sync: true\nlisten_socket_mode: 999", "", "lapid.yaml:2:21: listen_socket_mode must be"},
		"metrics":  {"metrics: nowhere", "", "lapid.yaml:1:10: metrics must be host:port or off"},
		"port":     {"metrics: 127.0.0.1:99999", "", "lapid.yaml:1:10: metrics must be host:port or off"},
		"memory":   {"memory: 1", "", "lapid.yaml:1:9: memory must be"},
		"every":    {"snapshot_every: 0s", "", "lapid.yaml:1:17: snapshot_every must be"},
		"seldom":   {"snapshot_every: 31d", "", "lapid.yaml:1:17: snapshot_every must be a duration from 1s to 30d"},
		"two":      {"sync: true\n---\nmetrics: off", "", "lapid.yaml:3:1: a second document begins here"},
		"word":     {"on_filter_error: explode", "", "lapid.yaml:1:18: on_filter_error must be refuse or continue"},
	} {
		write(t, dir, "lapid.yaml", c.file)
		vars := map[string]string{}
		if c.variable != "" {
			vars["LAPID_SYNC"] = c.variable
		}
		if _, err := Load(file, variables(vars)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestFaultsOfOwnSettings: what is wrong with a value of ours is said with the place
// where it stands, and not with that of the key whose place it takes.
func TestFaultsOfOwnSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, dir, "config.yaml", plainConfig+"api: {server: {listen_uri: 127.0.0.1:1}}\n")
	write(t, dir, "lapid.yaml", "sync: true\nlisten_uri: nowhere\n")
	for _, c := range []struct {
		vars map[string]string
		want string
	}{
		{nil, filepath.Join(dir, "lapid.yaml") + ":2:13: listen_uri must be host:port"},
		{map[string]string{"LAPID_LISTEN_URI": "where"}, "environment variable LAPID_LISTEN_URI: listen_uri must be host:port"},
		{map[string]string{"LAPID_MAX_HEADER_BYTES": "100"}, "environment variable LAPID_MAX_HEADER_BYTES: max_header_bytes must be"},
		{map[string]string{"LAPID_CLUSTER_NAME": "a", "LAPID_CLUSTER_LISTEN": "192.0.2.1:7422", "LAPID_CLUSTER_CERT_FILE": "c", "LAPID_CLUSTER_KEY_FILE": "k", "LAPID_CLUSTER_CA_FILE": "a",
			"LAPID_CLUSTER_SEAL_FILE": "s", "LAPID_CLUSTER_ETCD_ENDPOINTS": ""}, "environment variables LAPID_CLUSTER_ETCD_*: cluster.etcd.endpoints are URLs"},
		{map[string]string{"LAPID_LOOPS": "257"}, "environment variable LAPID_LOOPS: loops must be auto, off or a number from 1 to 256"},
	} {
		s, err := Load(file, variables(c.vars))
		if err == nil {
			_, err = s.Server()
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	s, err := defaultSetup(nothing)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Server()
	if err != nil || v.MetricsAddress != "127.0.0.1:6060" || s.Config.API.Server.ListenURI != "127.0.0.1:8080" {
		t.Errorf("%+v, %v", v, err)
	}
	if r, err := s.Retention(); err != nil || r.MaxItems == 0 || r.MaxAge == 0 {
		t.Errorf("the past is not bounded: %+v, %v", r, err)
	}
	if len(s.Warnings) != 0 {
		t.Errorf("%q", s.Warnings)
	}
}

func TestSampleConfig(t *testing.T) {
	t.Parallel()
	s, err := Load("testdata/config/config.yaml", variables(map[string]string{"LAPI_REGISTRATION_TOKEN": strings.Repeat("t", 32)}))
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Server()
	if err != nil {
		t.Fatal(err)
	}
	if s.Config.API.Server.ListenURI != "0.0.0.0:8080" || !reflect.DeepEqual(s.Config.API.Server.TrustedIPs, []string{"10.1.2.3"}) {
		t.Errorf("the overlay does not hold: %+v", s.Config.API.Server)
	}
	if v.AutoToken != strings.Repeat("t", 32) {
		t.Errorf("the variable was not put in: %q", v.AutoToken)
	}
	s.Config.API.Client = nil // no credentials file of this machine
	if got := s.URL(); got != "https://127.0.0.1:8080" {
		t.Errorf("url %s", got)
	}
	again, err := parseTrees("again", s.tree.yaml(), nil)
	if err != nil || again[0].yaml() != s.tree.yaml() {
		t.Errorf("show-yaml cannot be read back: %v\n%s", err, s.tree.yaml())
	}
}

func TestProfileFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	setup := func(file string) *Setup {
		return &Setup{env: nothing, Config: Config{API: API{Server: &APIServer{ProfilesPath: file}}}}
	}
	for file, want := range map[string]int{"testdata/config/profiles.yaml": 2, "testdata/config/profiles_wild.yaml": 1} {
		specs, _, _, err := setup(file).Profiles(log)
		if err != nil || len(specs) < want {
			t.Errorf("%s: %d profiles, %v", file, len(specs), err)
		}
	}
	if specs, _, _, err := setup("").Profiles(log); err != nil || len(specs) != 2 {
		t.Errorf("stock profiles: %d, %v", len(specs), err)
	}
	first := "name: %s\nfilters:\n - 'true'\ndecisions:\n - {type: ban, duration: 1h}\n"
	file := write(t, dir, "profiles.yaml", strings.ReplaceAll(first, "%s", "main")+"---\n---\n# nothing\n")
	write(t, dir, "profiles.yaml.local", strings.ReplaceAll(first, "%s", "mine"))
	if specs, _, _, err := setup(file).Profiles(log); err != nil || specNames(specs) != "mine, main" {
		t.Errorf("the overlay is not in front: %s, %v", specNames(specs), err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"singular": {"name: x\nfilter: true\n", `bad.yaml:2:1: unknown key "filter"; did you mean "filters"?`},
		"decision": {"name: x\ndecisions:\n - typ: ban\n", `bad.yaml:3:4: unknown key "typ" in decisions[0]; did you mean "type"?`},
		"string":   {"name: x\nfilters: true\n", "bad.yaml:2:10: filters must be a list, this is a single value"},
		"none":     {"# nothing\n", "zero profiles loaded for LAPI"},
		"twice":    {"name: x\nname: y\n", "bad.yaml:2:1: "},
		"tag":      {"name: x\nfilters:\n - !Foo()\n", "is read as a YAML tag: put the text in quotes"},
		"word":     {"name: x\non_success: stop\n", "invalid 'on_success' for 'x': stop"},
		"filter":   {"name: x\nfilters: [foo == 1]\n", "bad.yaml:2:11: error compiling filter of 'x': unknown name foo (1:1)"},
		"list": {"---\nname: a\nfilters: ['true']\n---\nname: x\nfilters:\n - 'true'\n - any(Alert.Events, {.Meta.service == \"http\"})\n",
			`bad.yaml:8:4: error compiling filter of 'x': array elements can only be selected using an integer (got string) (1:26): ` +
				`Meta is a list of keys and values: use GetMeta("service")`},
		"no bool":   {"name: x\nfilters: [Alert.GetScenario()]\n", "bad.yaml:2:11: error compiling filter of 'x': a filter must be true or false, this is a text"},
		"argument":  {"name: x\nfilters: ['true']\nduration_expr: Sprintf('%dh', GetDecisionsCnt('x'))\n", "bad.yaml:3:16: error compiling duration_expr of x: unknown name GetDecisionsCnt"},
		"no type":   {"name: x\nfilters: ['true']\ndecisions:\n - {type: ban}\n - {duration: 1h}\n", "bad.yaml:5:4: decision 2 of 'x' has no type"},
		"duration":  {"name: x\nfilters: ['true']\ndecisions: [{type: ban, duration: 1 week}]\n", "bad.yaml:3:35: error parsing duration '1 week' of x"},
		"no time":   {"name: x\nfilters: ['true']\ndecisions: [{type: ban, duration: 0s}]\n", "bad.yaml:3:35: decision 1 of 'x' is never in force: duration '0s' is over at once"},
		"past":      {"name: x\nfilters: ['true']\ndecisions:\n - type: ban\n   duration: -4h\n", "bad.yaml:5:14: decision 1 of 'x' is never in force: duration '-4h' is over at once"},
		"minutes":   {"name: x\nfilters: ['true']\nduration_expr: Sprintf('%dmin', 3)\n", "bad.yaml:3:16: error compiling duration_expr of x: \"3min\" is no duration"},
		"not there": {"", "bad.yaml"},
	} {
		path := filepath.Join(dir, "bad.yaml")
		_ = os.Remove(path)
		if c.text != "" {
			write(t, dir, "bad.yaml", c.text)
		}
		if _, _, _, err := setup(path).Profiles(log); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestProfileWarnings: what loads and disappoints has a line with its place, and
// the start goes on.
func TestProfileWarnings(t *testing.T) {
	t.Parallel()
	file := write(t, t.TempDir(), "p.yaml", `name: a
filters: ['Alert.GetScope() == "ip"', 'true', 'Alert.GetScope() matches "^ip$"']
notifications: [slack_default]
---
name: stop
filters: ['true']
on_success: break
---
name: a
decisions: [{type: ban, duration: 1h}]
---
filters: [CrowdsecCTI("x") == nil]
on_error: continue
---
name: words
filters: ['true']
decisions:
 - {type: Ban, duration: 1h, scope: ip}
 - {type: captch, duration: 1h, scope: Ipp}
 - {type: ban, duration: 1h, scope: Range}
`)
	var out bytes.Buffer
	s := &Setup{env: nothing, Config: Config{API: API{Server: &APIServer{ProfilesPath: file}}}}
	if _, _, _, err := s.Profiles(slog.New(slog.NewTextHandler(&out, nil))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`p.yaml:2:11: filter 1 of 'a' compares the scope with \"ip\", which is never true`,
		`p.yaml:2:47: filter 3 of 'a' asks whether the scope matches \"^ip$\", which is never true of Ip`,
		`p.yaml:3:17: profile 'a' names the notification 'slack_default'`,
		`p.yaml:9:7: two profiles are named 'a'`,
		`p.yaml:9:1: profile 'a' has no filters and never matches`,
		`p.yaml:9:1: profile 'a' is never reached: 'stop' in front of it`,
		`p.yaml:12:1: profile 4 of 5 has no name`,
		`p.yaml:18:11: decision 1 of 'words' is never acted on: no bouncer acts on the type 'Ban': write it as 'ban'`,
		`p.yaml:18:37: decision 1 of 'words' has the scope 'ip', which is stored as it is written, and bouncers that ask for Ip never get it: write it as 'Ip'`,
		`p.yaml:19:11: decision 2 of 'words': type 'captch' is none that bouncers know: did you mean captcha?`,
		`p.yaml:19:40: decision 2 of 'words': scope 'Ipp' is none that bouncers know: did you mean Ip?`,
		`p.yaml:12:11: filter 1 of '' calls CrowdsecCTI, which never answers`,
	} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("not said once: %s\n%s", want, &out)
		}
	}
}

// TestListenSocketModeWords: a mode is octal and lets the server in.
func TestListenSocketModeWords(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"0888", "rw", "0", "0077", "01777"} {
		if _, _, err := loadSettings("", variables(map[string]string{"LAPID_LISTEN_SOCKET_MODE": bad})); err == nil || !strings.Contains(err.Error(), "listen_socket_mode must be") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	dir := t.TempDir()
	file := write(t, dir, "lapid.yaml", "listen_socket_mode: 0666\n")
	s, _, err := loadSettings(file, nothing)
	if mode, _ := s.SocketMode(); err != nil || mode != 0o666 {
		t.Errorf("%v, %v", mode, err)
	}
}

// TestMemorySetting holds how a size is written.
func TestMemorySetting(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"": 0, "512MiB": 512 << 20, "2GiB": 2 << 30, "2g": 2 << 30, "268435456": 256 << 20, "300000 K": 300_000 << 10, "1 GB": 1 << 30} {
		if got, err := (&Settings{Memory: text}).MemoryBytes(); err != nil || got != want {
			t.Errorf("%q: %d %v", text, got, err)
		}
	}
	for _, text := range []string{"much", "-1", "0", "1MiB", "512TiB", "5.5GiB", "MiB", "99999999999G", "1 MM"} {
		if _, _, err := loadSettings("", variables(map[string]string{"LAPID_MEMORY": text})); err == nil || !strings.Contains(err.Error(), "memory must be a number of bytes") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestListenURI(t *testing.T) {
	t.Parallel()
	for uri, good := range map[string]bool{
		"127.0.0.1:8080": true, "[::]:80": true, ":8080": true, "name:1": true, "localhost:http": true,
		"unix:///run/lapi.sock": false, "/run/lapi.sock": false, "0.0.0.0:99999": false, "127.0.0.1:8080/": false,
		"127.0.0.1": false, "127.0.0.1:": false, "http://127.0.0.1:8080": false, "127.0.0.1:-1": false, "8080": false,
	} {
		s, err := load(t, plainConfig+"api: {server: {listen_uri: '"+uri+"'}}", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Server()
		if good != (err == nil) || !good && !(strings.Contains(err.Error(), "config.yaml:2:") && strings.Contains(err.Error(), "listen_socket")) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

// What lapid.yaml says of the audit, good and bad.
func TestBackupSettings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "",
		"backup: {dir: /backups}": "",
		"backup: {dir: /backups, every: 90m, keep: 30}": "",
		"backup: {every: 1h}":                           "backup.dir is missing",
		"backup: {keep: 3}":                             "backup.dir is missing",
		"backup: {dir: here}":                           "backup.dir must be a whole path",
		"backup: {dir: /backups, every: 5s}":            "backup.every must be a duration from 1m to 365d",
		"backup: {dir: /backups, every: daily}":         "backup.every must be a duration from 1m to 365d",
		"backup: {dir: /backups, keep: -1}":             "backup.keep must be between 1 and 1000, not -1",
		"backup: {dir: /backups, keep: 1001}":           "backup.keep must be between 1 and 1000, not 1001",
		"backup: {folder: /backups}":                    `unknown key "folder" in backup`,
		"backup: daily":                                 "backup must be a map",
	} {
		file := filepath.Join(t.TempDir(), "lapid.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := loadSettings(file, func(string) (string, bool) { return "", false })
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAuditSettings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "",
		"audit: {max_age: 30d, max_rows: 5000}": "",
		"audit: {off: true}":                    "",
		"audit: {max_age: 5m}":                  "audit.max_age must be a duration from 1h to 7300d",
		"audit: {max_age: soon}":                "audit.max_age must be a duration from 1h to 7300d",
		"audit: {max_rows: 10}":                 "audit.max_rows must be between 1000 and 100000000, not 10",
		"audit: {max_rows: many}":               "audit.max_rows must be a whole number",
		"audit: {maxage: 30d}":                  `unknown key "maxage" in audit; did you mean "max_age"?`,
		"audit: 90d":                            "audit must be a map",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "lapid.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := loadSettings(file, func(string) (string, bool) { return "", false })
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if o, err := s.Audit.options(); err == nil && want == "" && (o == nil) != s.Audit.Off {
			t.Errorf("%q: %+v", text, o)
		}
	}
}
