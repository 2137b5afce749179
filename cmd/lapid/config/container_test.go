package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// container reads an environment whose configuration is a file of its own, and gives both.
func container(t *testing.T, text, local, secrets string, environ ...string) (*Container, *Setup, error) {
	t.Helper()
	dir := t.TempDir()
	if local != "" {
		write(t, dir, "config.yaml.local", local)
	}
	c, err := ReadContainer(append(environ, "CONFIG_FILE="+write(t, dir, "config.yaml", text)), secrets)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.Load("")
	return c, s, err
}

// TestContainerVariables: what each variable of the reference's image comes to here: a key of the
// configuration as JSON, what is made at a start, or a sentence.
func TestContainerVariables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := write(t, dir, "long", strings.Repeat("s", 64)+"\n\r\n")
	for _, c := range []struct {
		name    string
		environ string // separated by blanks
		key     string // of the configuration …
		want    string // … as JSON; without a key: what the container holds
	}{
		{"nothing", "A=b", "", `{"Bouncers":null,"Machines":null,"Replace":false,"Local":{"Name":"localhost","Named":false,"URL":"","CAFile":"","CertFile":"","KeyFile":""},` +
			`"Online":{"Off":false,"Key":"","Name":"","Tags":[],"Options":null},"Level":"","Test":false}`},
		{"bouncer", "BOUNCER_KEY_edge_fw=k", "", `"Bouncers":[{"Name":"edge_fw","Key":"k","From":"variable BOUNCER_KEY_edge_fw"}]`},
		{"bouncer in any case", "bouncer_key_a=1 MyBouncer_Key_x_y=2", "", `[{"Name":"x_y","Key":"2","From":"variable MyBouncer_Key_x_y"},{"Name":"a","Key":"1","From":"variable bouncer_key_a"}]`},
		{"bouncer behind the second underscore", "A_BOUNCER_KEY_x=1", "", `"Name":"KEY_x"`},
		{"bouncer with a path", "BOUNCER_KEY_x_FILE=/k", "", `"Bouncers":[{"Name":"x_FILE","Key":"/k"`},
		{"bouncer with a dash", "BOUNCER_KEY_edge-fw=1", "", `"Name":"edge-fw"`},
		{"empty bouncer", "BOUNCER_KEY_x=", "", `"Bouncers":null`},
		{"bouncers keep their keys", "LAPID_BOUNCER_KEYS=keep", "", `"Bouncers":null,"Machines":null,"Replace":false`},
		{"bouncers get their keys", "LAPID_BOUNCER_KEYS=replace", "", `"Replace":true`},
		{"machine", "AGENT_USERNAME=m AGENT_PASSWORD=p", "", `"Machines":[{"Name":"m","Password":"p","From":"AGENT_USERNAME"}]`},
		{"machines", "AGENT_USERNAME=m AGENT_PASSWORD=p AGENT_USERNAME_2=n AGENT_PASSWORD_2=q", "", `,{"Name":"n","Password":"q","From":"AGENT_USERNAME_2"}]`},
		{"password of a file", "AGENT_USERNAME=m AGENT_PASSWORD_FILE=" + write(t, dir, "p", "pass\n"), "", `"Password":"pass"`},
		{"half a machine", "AGENT_USERNAME=m", "", `"Machines":null`},
		{"name of the container", "CUSTOM_HOSTNAME=pod-1 LOCAL_API_URL=http://lapi:8080", "", `"Local":{"Name":"pod-1","Named":true,"URL":"http://lapi:8080"`},
		{"level", "LEVEL_ERROR=true LEVEL_DEBUG=True LEVEL_INFO=true LEVEL_TRACE=yes", "", `"Level":"debug"`},
		{"no level", "LEVEL_DEBUG=1", "", `"Level":""`},
		{"test", "TEST_MODE=TRUE", "", `"Test":true`},
		{"enrolment", "ENROLL_KEY=k ENROLL_INSTANCE_NAME=n ENROLL_TAGS=a,b", "", `"Online":{"Off":false,"Key":"k","Name":"n","Tags":["a","b"],"Options":null}`},
		{"enrolment by a file", "ENROLL_KEY_FILE=" + write(t, dir, "e", "k2\n"), "", `"Key":"k2"`},
		{"no enrolment", "ENROLL_KEY=k DISABLE_ONLINE_API=true", "", `"Online":{"Off":true,"Key":""`},
		{"console", "ENABLE_CONSOLE_MANAGEMENT=false ENABLE_CONSOLE_MANUAL=1", "", `"Options":["console_management","manual"]`},
		{"no Central API", "DISABLE_ONLINE_API=true", "api.server.online_client", `null`},
		{"Central API", "DISABLE_ONLINE_API=false", "api.server.online_client", `{"credentials_path":"/o","pull":null,"sharing":null}`},
		{"metrics", "METRICS_PORT=7070", "prometheus.listen_port", `7070`},
		{"plugins", "PLUGIN_DIR=/p", "config_paths.plugin_dir", `"/p"`},
		{"whitelists", "CAPI_WHITELISTS_PATH=/w", "api.server.capi_whitelists_path", `"/w"`},
		{"unverified", "INSECURE_SKIP_VERIFY=true", "api.client.insecure_skip_verify", `true`},
		{"TLS", "USE_TLS=true LAPI_CERT_FILE=/c LAPI_KEY_FILE=/k", "api.server.tls.cert_file", `"/c"`},
		{"TLS by old names", "USE_TLS=true CERT_FILE=/c KEY_FILE=/k", "api.server.tls.key_file", `"/k"`},
		{"TLS by both names", "USE_TLS=true CERT_FILE=/c LAPI_CERT_FILE=/d", "api.server.tls.cert_file", `"/d"`},
		{"authority", "USE_TLS=true CACERT_FILE=/a", "api.server.tls.ca_cert_path", `"/a"`},
		{"units", "USE_TLS=true AGENTS_ALLOWED_OU=a,b", "api.server.tls.agents_allowed_ou", `["a","b"]`},
		{"units of bouncers", "USE_TLS=true BOUNCERS_ALLOWED_OU=a,,b,", "api.server.tls.bouncers_allowed_ou", `["a","b"]`},
		{"TLS stays", "USE_TLS=false LAPI_CERT_FILE=/c", "api.server.tls.cert_file", `"/file"`},
		{"client certificate", "USE_TLS=true CLIENT_CERT_FILE=/c CLIENT_KEY_FILE=/k CACERT_FILE=/a", "", `"CAFile":"/a","CertFile":"/c","KeyFile":"/k"`},
		{"token", "REGISTRATION_TOKEN=" + strings.Repeat("t", 32), "api.server.auto_registration.token", `"` + strings.Repeat("t", 32) + `"`},
		{"token of a file", "REGISTRATION_TOKEN_FILE=" + write(t, dir, "t", strings.Repeat("u", 32)+"\n"), "api.server.auto_registration.token", `"` + strings.Repeat("u", 32) + `"`},
	} {
		text := plainConfig + "api: {server: {online_client: {credentials_path: /o}, tls: {cert_file: /file}, auto_registration: {token: '${REGISTRATION_TOKEN}'}}}\n"
		ct, s, err := container(t, text, "", dir, strings.Fields(c.environ)...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got any = ct
		if c.key != "" {
			if got, err = s.Value(c.key); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if b, err := json.Marshal(got); err != nil || !strings.Contains(string(b), c.want) {
			t.Errorf("%s: %s, want %s (%v)", c.name, b, c.want, err)
		}
	}
	_, s, err := container(t, plainConfig, "", dir, "CS_LAPI_SECRET_FILE="+long)
	if secret, bad := s.Secret(); err != nil || bad != nil || string(secret) != strings.Repeat("s", 64) {
		t.Errorf("%v, %v", err, bad)
	}
}

// TestContainerSays: what means nothing is named in one line, what cannot be meant refuses the start, and neither
// says a secret.
func TestContainerSays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for environ, want := range map[string]string{
		"USE_WAL=true COLLECTIONS=a/b GID=1 DISABLE_PARSERS=x TYPE=t DSN=d CROWDSEC_FEATURE_X=1 DEBUG=true": "set, but without a meaning for lapid: COLLECTIONS, CROWDSEC_FEATURE_X, DEBUG, DISABLE_PARSERS, DSN, GID, TYPE, USE_WAL",
		"APPSEC_RULES=r NO_HUB_UPGRADE=true CI_TESTING=true CROWDSEC_BYPASS_DB_VOLUME_CHECK=false":          "meaning for lapid: APPSEC_RULES, CI_TESTING, CROWDSEC_BYPASS_DB_VOLUME_CHECK, NO_HUB_UPGRADE",
		"AGENT_USERNAME=m":                              "of AGENT_USERNAME and AGENT_PASSWORD only one is set: no machine is added",
		"BOUNCER_KEY=hush":                              "the variable BOUNCER_KEY names no bouncer",
		"BOUNCER_KEY_x=hush bouncer_key_x=hush2":        `the variable bouncer_key_x has another key for the bouncer "x" than the variable BOUNCER_KEY_x, which counts`,
		"LAPI_CERT_FILE=/c":                             "without USE_TLS=true these have no effect: LAPI_CERT_FILE",
		"USE_TLS=true CERT_FILE=/c":                     "CERT_FILE is called LAPI_CERT_FILE today",
		"TZ=Atlantis/Capital":                           "TZ names no time zone that is known",
		"TZ=Asia/Tokyo DISABLE_AGENT=true":              "",
		"ENROLL_KEY=hush DISABLE_ONLINE_API=true":       "ENROLL_KEY has no effect: DISABLE_ONLINE_API is true",
		"DISABLE_LOCAL_API=True":                        "!DISABLE_LOCAL_API is true, and nothing would be left to run",
		"DISABLE_LOCAL_API=1":                           "",
		"LAPID_BOUNCER_KEYS=hush":                       `!LAPID_BOUNCER_KEYS must be keep or replace`,
		"INSECURE_SKIP_VERIFY=hush":                     "!INSECURE_SKIP_VERIFY must be true or false",
		"AGENT_PASSWORD=hush AGENT_PASSWORD_FILE=/hush": "!both AGENT_PASSWORD and AGENT_PASSWORD_FILE are set",
		"ENROLL_KEY_FILE=/nowhere/at/all":               "!ENROLL_KEY_FILE: open /nowhere/at/all",
		"METRICS_PORT=many":                             "environment variable METRICS_PORT: prometheus.listen_port must be a whole number",
		"CS_LAPI_SECRET_FILE=" + dir:                    "!CS_LAPI_SECRET_FILE: " + dir + " is no ordinary file",
		"REGISTRATION_TOKEN_FILE=" + write(t, dir, "big", strings.Repeat("x", largestSecret+1)): "!REGISTRATION_TOKEN_FILE: ",
	} {
		_, s, err := container(t, plainConfig, "", filepath.Join(dir, "none"), strings.Fields(environ)...)
		said := ""
		if err != nil {
			said = "!" + err.Error()
		} else {
			said = strings.Join(s.Warnings, "\n")
		}
		if !strings.Contains(said, want) || want == "" && said != "" || strings.Contains(said, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", environ, said, want)
		}
		if strings.Contains(said, "hush") && !strings.Contains(said, "keep or replace") {
			t.Errorf("%s: a secret is said: %s", environ, said)
		}
	}
}

// TestContainerSecrets: files in the folder of secrets are bouncers, behind the variables.
func TestContainerSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "bouncer_key_edge_fw", "one\n\n")
	write(t, dir, "BOUNCER_KEY_nginx", "two")
	write(t, dir, "bouncer_key_none", "\n")
	write(t, dir, "other", "three")
	c, _, err := container(t, plainConfig, "", dir, "BOUNCER_KEY_nginx=four")
	if err != nil || fmt.Sprint(c.Bouncers) != fmt.Sprintf("[{nginx four variable BOUNCER_KEY_nginx} {edge_fw one secret %s/bouncer_key_edge_fw}]", dir) || len(c.notes) != 1 {
		t.Errorf("%v %v %v", c, c.notes, err)
	}
}

// TestContainerWithoutFile: an empty folder starts with what is built in; what lies there counts, in its order: file,
// environment, FILE.local. A file that is named must be there.
func TestContainerWithoutFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := ReadContainer([]string{"METRICS_PORT=7000", "ENROLL_KEY=k"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	c.file = filepath.Join(dir, "config.yaml")
	value := func(key string, want any) {
		t.Helper()
		s, err := c.Load("")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Value(key); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v (%v)", key, got, want, err)
		}
		if _, err := s.Server(); err != nil {
			t.Error(err)
		}
	}
	value("config_paths.data_dir", "/var/lib/lapid")
	value("api.server.listen_uri", "0.0.0.0:8080")
	value("api.client.credentials_path", dir+"/local_api_credentials.yaml")
	value("api.server.online_client.credentials_path", dir+"/online_api_credentials.yaml")
	value("api.server.profiles_path", "")
	value("prometheus.listen_port", 7000)
	write(t, dir, "profiles.yaml", fmt.Sprintf(rule, "a", "ban"))
	value("api.server.profiles_path", dir+"/profiles.yaml")
	write(t, dir, "config.yaml.local", "prometheus: {listen_port: 7001}\n")
	value("prometheus.listen_port", 7001)
	write(t, dir, "config.yaml", plainConfig+"api: {server: {listen_uri: '127.0.0.1:1'}}\nprometheus: {enabled: true, listen_port: 1}\n")
	value("api.server.listen_uri", "127.0.0.1:1")
	value("prometheus.listen_port", 7001)
	s, err := c.Load("")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Again(); err != nil || again.Container() == nil {
		t.Errorf("%v", err)
	}
	if _, err := c.Load(filepath.Join(dir, "other.yaml")); err == nil {
		t.Error("a file that is named and missing is passed over")
	}
}
