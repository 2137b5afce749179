package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/verbs"
)

// TestExamples: every verb shows how it is used, with flags and verbs that there
// are.
func TestExamples(t *testing.T) {
	t.Parallel()
	root := rootCommand(&verbs.Terminal{Env: nothing})
	for _, c := range allCommands(root) {
		_, path, _ := strings.Cut(c.CommandPath(), " ")
		if strings.HasPrefix(path, "completion") || path == "help" {
			continue
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, line := range strings.Split(c.Example, "\n") {
			exampleWorks(t, line)
		}
	}
	if unused := verbs.AddExamples(root); len(unused) > 0 {
		t.Errorf("examples of %q, which there are not", unused)
	}
}

// allCommands are a command and all below it.
func allCommands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, verb := range c.Commands() {
		all = append(all, allCommands(verb)...)
	}
	return all
}

// exampleWorks checks the verbs and flags of each lapid in a line.
func exampleWorks(t *testing.T, line string) {
	for _, part := range strings.Split(line, "|") {
		args := strings.Fields(strings.NewReplacer(`"`, "", "> decisions.json", "", "> push.md", "").Replace(part))
		if len(args) == 0 || args[0] != "lapid" {
			continue
		}
		root := rootCommand(&verbs.Terminal{Env: nothing})
		c, rest, err := root.Find(args[1:])
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if err := c.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if c.HasSubCommands() && c.HasParent() && len(c.Flags().Args()) > 0 {
			t.Errorf("%s: no such verb", line)
		}
	}
}

// TestHelp: what the two verbs with the most judgements say of themselves. After a
// change: go run ./cmd/lapid serve --help > cmd/lapid/testdata/help/serve.txt
func TestHelp(t *testing.T) {
	t.Parallel()
	for file, verb := range map[string]string{"serve.txt": "serve", "decisions_import.txt": "decisions import"} {
		want := read(t, filepath.Join("testdata/help", file))
		s := newSite(t, siteConfig)
		got := s.in(&verbs.Terminal{}, append(words(verb), "--help")...)
		if got.exit != exitGood || got.err != "" {
			t.Errorf("%s: %+v", verb, got)
		}
		same(t, file, got.out, want)
	}
}

// TestCompletion: the shell is offered words and names.
func TestCompletion(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.steps([]step{
		{"bouncers add second -k other -o raw", 0, "other", ""},
		{"allowlists create office -d x", 0, "~created", ""},
	})
	complete := func(args ...string) []string {
		r := h.in(&verbs.Terminal{Patience: time.Minute}, append([]string{"__complete"}, args...)...)
		var out []string
		for _, line := range strings.Split(strings.TrimSpace(r.out), "\n") {
			if strings.HasPrefix(line, args[len(args)-1]) && !strings.HasPrefix(line, ":") { // as the shell does
				out = append(out, line)
			}
		}
		return out
	}
	if got := complete("-c", h.file, "bouncers", "delete", ""); len(got) != 0 {
		t.Errorf("without a server: %q", got)
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	for line, want := range map[string]string{
		"bouncers delete ":              "b second",
		"bouncers delete b ":            "second",
		"bouncers inspect ":             "b second",
		"machines inspect ":             "m",
		"machines validate ":            "m",
		"allowlists add ":               "office",
		"metrics show lapi-b":           "lapi-bouncer",
		"decisions list --scope ":       "ip range as country username session",
		"decisions list --origin cscli": "cscli cscli-import",
		"decisions import --format ":    "csv json ndjson values",
		"machines list -o ":             "human json raw",
		"decisions add --type ":         "ban captcha throttle",
		"decisions add --duration for":  "forever",
	} {
		args := append([]string{"-c", h.file}, strings.Split(line, " ")...)
		if got := strings.Join(complete(args...), " "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// TestSoftwareIsShownAtOnce has a bouncer be upgraded twice under a running server:
// who looks sees each version at once.
func TestSoftwareIsShownAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	for _, version := range []string{"v1", "v2", "v3"} {
		h.header = http.Header{"User-Agent": {"fw/" + version}}
		if code, text, err := h.ask("GET", "/v1/decisions/stream", ""); err != nil || code != 200 {
			t.Fatal(code, text, err)
		}
		h.steps([]step{
			{"bouncers list -o raw", 0, "~,fw," + version + ",api-key", ""},
			{"bouncers inspect b -o json", 0, "~\"version\": \"" + version + "\"", ""},
		})
	}
}

// TestJSONEverywhere: verbs that only said something in words say it in JSON too,
// and nothing else on stdout.
func TestJSONEverywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{{"bouncers add b -k k -o raw", 0, "k", ""}, {"machines add m -p x -f /dev/null", 0, "", "~added"}})
	for _, c := range []struct{ line, want string }{
		{"version", `"version":"` + version + `"`},
		{"allowlists create a -d x", `{"created":true,"name":"a"}`},
		{"allowlists add a 192.0.2.1 zzz", `{"added":1,"decisions_deleted":0,"expired":0,"invalid":["invalid ip address 'zzz'"],"name":"a","present":[]}`},
		{"allowlists check 192.0.2.1 192.0.2.2", `[{"allowlisted":true,"reason":"192.0.2.1 from a","value":"192.0.2.1"},{"allowlisted":false,"value":"192.0.2.2"}]`},
		{"allowlists remove a 192.0.2.1", `{"name":"a","removed":1}`},
		{"allowlists delete a", `{"deleted":true,"name":"a"}`},
		{"bouncers prune -d 1h", `{"bouncers":[],"deleted":0}`},
		{"machines prune -d 1h --force", `{"deleted":0,"machines":[]}`},
		{"bouncers list", `"name":"b"`},
		{"config show", `"flush":`},
	} {
		r := s.do("", append(words(c.line), "-o", "json")...)
		var v any
		half := strings.Contains(c.line, "zzz") // what is wrong is said beside it
		if err := json.Unmarshal([]byte(r.out), &v); err != nil || !half && (r.exit != 0 || r.err != "") || half && r.exit != exitFails {
			if c.line != "config show" || err != nil {
				t.Errorf("%s: %+v, %v", c.line, r, err)
			}
		}
		text, err := json.Marshal(v)
		if err != nil || c.line != "config show" && !strings.Contains(string(text), c.want) {
			t.Errorf("%s: %s, want %s", c.line, text, c.want)
		}
	}
	if r := s.do("y\n", "bouncers", "prune", "-d", "0s", "--force", "-o", "json"); r.out != "{\n \"bouncers\": [\n  \"b\"\n ],\n \"deleted\": 1\n}\n" {
		t.Errorf("%+v", r)
	}
}

// TestConfigShow: values have types, and one can be asked for by its name here or
// in the reference.
func TestConfigShow(t *testing.T) {
	t.Parallel()
	s := newSite(t, `config_paths: {data_dir: @DIR@}
common: {log_level: warning}
db_config: {flush: {max_items: 500}}
api:
  server: {listen_uri: "127.0.0.1:9", trusted_ips: [127.0.0.1, "::1"]}
  client: {credentials_path: @DIR@/credentials.yaml}
prometheus: {enabled: true, listen_port: 7}
`)
	write(t, s.dir, "credentials.yaml", "url: http://x:1\nlogin: me\npassword: secret\n")
	var got struct {
		File   string `json:"configuration_file"`
		Store  string `json:"store"`
		Socket string `json:"admin_socket"`
		API    struct {
			Server struct {
				ListenURI  string   `json:"listen_uri"`
				TrustedIPs []string `json:"trusted_ips"`
				TLS        bool     `json:"tls"`
			} `json:"server"`
		} `json:"api"`
		DB struct {
			Flush struct {
				MaxItems int `json:"max_items"`
			} `json:"flush"`
		} `json:"db_config"`
		Sync bool `json:"sync"`
	}
	r := s.do("", "config", "show", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.File != s.file || len(got.API.Server.TrustedIPs) != 2 || got.DB.Flush.MaxItems != 500 ||
		!got.Sync || got.Socket == "" || got.Store == "" || got.API.Server.ListenURI != "127.0.0.1:9" || strings.Contains(r.out, "secret") {
		t.Errorf("%v: %s", err, r.out)
	}
	for key, want := range map[string]string{
		"api.server.listen_uri": "127.0.0.1:9", "Config.API.Server.ListenURI": "127.0.0.1:9", "Config.API.Server.TrustedIPs": `["127.0.0.1","::1"]`,
		"Config.ConfigPaths.DataDir": s.dir, "Config.Common.LogLevel": "warning", "Config.Prometheus.ListenPort": "7", "prometheus.enabled": "true",
		"Config.DbConfig.Flush.MaxItems": "500", "Config.API.Client.CredentialsFilePath": s.dir + "/credentials.yaml", "api.client.credentials.login": "me",
		"Config.API.Client.Credentials.URL": "http://x:1", "store": s.dir + "/lapid/store", "configuration_file": s.file, "api.server.tls.cert_file": "",
		"api.client": `{"credentials_path":"` + s.dir + `/credentials.yaml","insecure_skip_verify":null,"unregister_on_exit":false}`,
	} {
		if r := s.do("", "config", "show", "--key", key); r.exit != 0 || r.out != want+"\n" {
			t.Errorf("%s: %+v, want %s", key, r, want)
		}
	}
	s.steps([]step{
		{"config show --key Config.API.Server.ListenURL", 1, "", "~unknown key 'Config.API.Server.ListenURL': did you mean 'listen_uri'?"},
		{"config show --key api.server.listen_uri.x", 1, "", "~unknown key"},
		{"config show --key nonsense", 1, "", "~unknown key 'nonsense': there are "},
		{"config show --key Config.Prometheus.ListenPort -o json", 0, "7\n", ""},
	})
}

// TestAllowlistRoundTrip: what inspect prints is imported, ends and all.
func TestAllowlistRoundTrip(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"allowlists create a -d first", 0, "~created", ""},
		{"allowlists create b -d second", 0, "~created", ""},
		{"allowlists add a 192.0.2.1 -d roof", 0, "~added 1", ""},
		{"allowlists add a 198.51.100.0/24 -e 10d", 0, "~added 1", ""},
		{"allowlists add a 203.0.113.1 -e 999999d", 0, "~added 1", ""},
	})
	list := s.do("", "allowlists", "inspect", "a", "-o", "raw").out
	list += "a,first,203.0.113.2,gone,2001-01-01T00:00:00Z,2001-01-01T00:00:00Z,false\n"
	r := s.do(list, "allowlists", "import", "b", "-i", "-")
	if r.exit != 0 || r.out != "added 3 values to allowlist b\n" || r.err != "level=info msg=\"left out: 1 that have expired\"\n" {
		t.Errorf("%+v", r)
	}
	ends := func(name string) (out [][2]string) {
		for _, line := range strings.Split(strings.TrimSpace(s.do("", "allowlists", "inspect", name, "-o", "raw").out), "\n")[1:] {
			f := strings.Split(line, ",")
			end := f[4]
			if at, err := time.Parse(time.RFC3339, end); err == nil {
				end = at.Round(time.Hour).String()
			}
			out = append(out, [2]string{f[2] + " " + f[3], end})
		}
		return out
	}
	if a, b := fmt.Sprint(ends("a")), fmt.Sprint(ends("b")); a != b {
		t.Errorf("%s\n%s", a, b)
	}
	if r := s.do("value,comment,expires\n192.0.2.77,x,1h\n", "allowlists", "import", "b", "-i", "-"); r.exit != 0 || !strings.Contains(r.err, "'expires' means nothing here") {
		t.Errorf("%+v", r)
	}
}

// TestRegister: a machine asks to be let in, and is once it is validated.
func TestRegister(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	file := filepath.Join(h.dir, "other.yaml")
	socket := filepath.Join(h.dir, "api.sock")
	h.steps([]step{
		{"lapi register -u " + socket + " --machine edge -f " + file, 0, "", "level=info msg=\"Successfully registered to Local API (LAPI)\"\nAPI credentials written to '" + file + "'.\nlevel=info msg=\"the machine waits for 'machines validate edge' on the Local API\"\n"},
		{"lapi register -u " + socket + " --machine edge -f " + file, 1, "", "~api register (" + socket + ") http 403 Forbidden: API error: user 'edge': user already exist\n"},
		{"lapi register -u " + socket + " --machine edge2 --token short -f " + file, 1, "", "~a token for registering has 32 to 255 characters, this one 5"},
		{"lapi register -u " + filepath.Join(h.dir, "none.sock") + " --machine edge3 -f " + file, 1, "", "~api client register"},
		{"machines validate edge", 0, "", "~validated"},
		{"lapi register -u " + socket + " --machine edge4 -o json -f " + file, 0, "~\"validated\": false", ""},
		{"lapi status -o json", 0, "~\"authenticated\": true", ""},
	})
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestQuickstartLooksFirst: nothing is written before it can work, and an address
// that is given later wins.
func TestQuickstartLooksFirst(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "q")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	api, metrics := fmt.Sprint("127.0.0.1:", freePort(t)), fmt.Sprint("127.0.0.1:", freePort(t))
	for _, c := range []struct{ listen, metrics, says string }{
		{taken.Addr().String(), metrics, "is taken by another program: stop it, or choose another address with --listen HOST:PORT"},
		{api, taken.Addr().String(), "is taken by another program: stop it, or choose another address with --metrics HOST:PORT"},
		{"8080", metrics, `--listen: "8080" is no address: write HOST:PORT, such as 127.0.0.1:8080`},
		{"127.0.0.1:99999", metrics, `--listen: "127.0.0.1:99999" has no port between 1 and 65535`},
		{api, api, "--listen and --metrics are both " + api},
	} {
		p := start(t, nil, "quickstart", "--console", "off", "--dir", dir, "--listen", c.listen, "--metrics", c.metrics)
		if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), c.says) {
			t.Errorf("exit %d: %s\nwant %s", code, p.out, c.says)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Fatal("something was written")
		}
	}
	up := func(listen string) *process {
		p := start(t, nil, "quickstart", "--console", "off", "--dir", dir, "--listen", listen, "--metrics", metrics)
		await(t, "the lines are printed", func() bool { return strings.Contains(p.out.String(), "lapid listens on http://"+listen+".") })
		return p
	}
	down := func(p *process) {
		_ = p.cmd.Process.Signal(os.Interrupt)
		p.wait(t)
	}
	first := up(api)
	again := start(t, nil, "quickstart", "--console", "off", "--dir", dir)
	if again.wait(t) != exitFails || !strings.Contains(again.out.String(), fmt.Sprintf("a server is running in %s already, process %d", dir, first.cmd.Process.Pid)) {
		t.Errorf("%s", again.out)
	}
	down(first)
	other := fmt.Sprint("127.0.0.1:", freePort(t))
	down(up(other))
	for _, name := range []string{config.QuickConfig, "local_api_credentials.yaml"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), other) {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}

// seconds hides the seconds of what is left: the samples were taken one after
// the other.
var seconds = regexp.MustCompile(`([0-9]+h[0-9]+m)[0-9]{1,2}s`)

func same(t *testing.T, name, got, want string) {
	t.Helper()
	got, want = seconds.ReplaceAllString(got, "${1}__s"), seconds.ReplaceAllString(want, "${1}__s")
	g, w := strings.Split(strings.TrimRight(got, "\n"), "\n"), strings.Split(strings.TrimRight(want, "\n"), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Errorf("%s differs in line %d:\n%s\nwant\n%s", name, i+1, got, want)
			return
		}
	}
}
