//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// unlike are the members in which the same rows may read otherwise before and after, and why.
var unlike = map[string]string{
	"duration": "it runs down",
	"uuid":     "1.4 has none, and lapid gives one",
}

// written are members that are moments: 1.4 writes them as Go prints a time.
var written = []string{"start_at", "stop_at", "timestamp"}

// alike takes out of a document what may differ.
func alike(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range unlike {
			delete(v, name)
		}
		for name := range v {
			v[name] = alike(v[name])
		}
		for _, name := range written {
			text, _ := v[name].(string)
			words := strings.Fields(text)
			for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999 -0700"} {
				if at, err := time.Parse(form, strings.Join(words[:min(len(words), 3)], " ")); err == nil {
					v[name] = at.UTC().Format(time.RFC3339) // 1.7 leaves the fraction out
				}
			}
		}
		for _, name := range []string{"new", "deleted", "events"} { // the database gives them in no order
			if list, ok := v[name].([]any); ok {
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			}
		}
	case []any:
		for i := range v {
			v[i] = alike(v[i])
		}
	}
	return v
}

// old is a server of Debian's that is left, and its way to its database.
type old struct {
	*server
	config string
	env    []string
}

// newOld has Debian's programs make a database of that kind and fill it, with a server that
// takes alerts.
func newOld(t *testing.T, database string) *old {
	t.Helper()
	needs(t, "crowdsec", "cscli")
	dir, port := t.TempDir(), freePort(t)
	s := &server{dir: dir, port: port, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	o := &old{server: s, config: filepath.Join(dir, "config.yaml")}
	text := fmt.Sprintf(serverConfig, dir, port, "    profiles_path: /etc/crowdsec/profiles.yaml\n")
	if database != "" {
		text = strings.Replace(text, "  type: sqlite\n  db_path: "+dir+"/crowdsec.db\n  use_wal: true\n", database, 1)
	}
	mustWrite(t, o.config, text)
	s.verb = []string{"cscli", "-c", o.config}
	s.serve = []string{"crowdsec", "-c", o.config, "-no-cs", "-no-capi"}
	s.addMachine(t, machineName, s.credentials())
	s.addMachine(t, "second", filepath.Join(dir, "second.yaml"))
	s.addBouncer(t, "client", bouncerKey)
	s.addBouncer(t, "watch", watchKey)
	return o
}

// fill has the running server hold decisions and alerts of several kinds.
func (o *old) fill(t *testing.T) {
	t.Helper()
	for _, words := range [][]string{
		{"-i", "192.0.2.1"}, {"-r", "198.51.100.0/24", "-d", "48h", "-R", "by hand"}, {"-i", "2001:db8::7", "-t", "captcha"},
		{"--scope", "AS", "-v", "64500"}, {"--scope", "username", "-v", "ü¿x"}, {"-i", "192.0.2.1", "-d", "99h"}, {"-i", "192.0.2.200"},
	} {
		o.operator(t, append([]string{"decisions", "add"}, words...)...)
	}
	o.operator(t, "decisions", "delete", "-i", "192.0.2.200")
	token := o.login(t)
	for i := range 30 {
		body := fmt.Sprintf(`[{"scenario":"test/s%d","scenario_hash":"h","scenario_version":"1","message":"m %d","capacity":5,"leakspeed":"10s","events_count":2,"simulated":%v,
			"start_at":"2026-11-20T10:00:00.123456+02:00","stop_at":"2026-11-20T10:00:05Z","remediation":true,"labels":null,
			"source":{"scope":"Ip","value":"203.0.113.%d","ip":"203.0.113.%d","range":"203.0.113.0/24","as_name":"A","as_number":"64500","cn":"FR","latitude":48.85,"longitude":2.35},
			"events":[{"timestamp":"2026-11-20T10:00:00Z","meta":[{"key":"service","value":"ssh"},{"key":"x","value":"é\"'"}]},{"timestamp":"2026-11-20T10:00:01Z","meta":[]}],
			"meta":[{"key":"k","value":"v"}]}]`, i%3, i, i%10 == 9, i, i)
		o.ask(t, http.MethodPost, "/v1/alerts", body, map[string]string{"Authorization": "Bearer " + token}, http.StatusCreated)
	}
}

func (o *old) login(t *testing.T) string {
	t.Helper()
	var said struct{ Token string }
	text := o.ask(t, http.MethodPost, "/v1/watchers/login", `{"machine_id":"`+machineName+`","password":"`+machinePassword+`","scenarios":["test/s0"]}`, nil, http.StatusOK)
	if err := json.Unmarshal([]byte(text), &said); err != nil || said.Token == "" {
		t.Fatal(err, text)
	}
	return said.Token
}

func (o *old) ask(t *testing.T, method, path, body string, header map[string]string, want int) string {
	t.Helper()
	line := []string{"curl", "-sS", "-X", method, "-w", "\n%{http_code}", "-A", "crowdsec/v1.4.6", "-H", "Content-Type: application/json"}
	for name, value := range header {
		line = append(line, "-H", name+": "+value)
	}
	if body != "" {
		line = append(line, "--data-binary", body)
	}
	text := mustRun(t, append(line, o.url+path)...).stdout
	at := strings.LastIndex(text, "\n")
	if code := text[at+1:]; code != fmt.Sprint(want) {
		t.Fatalf("%s %s: %s", method, path, text)
	}
	return text[:at]
}

// shown is what cscli shows, and a bouncer is told, of a server that runs.
func (o *old) shown(t *testing.T, bouncers []string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for name, line := range map[string][]string{
		"decisions list": {"decisions", "list", "-o", "json", "-l", "0"}, "decisions list -a": {"decisions", "list", "-a", "-o", "json", "-l", "0"},
		"alerts list": {"alerts", "list", "-o", "json", "-l", "0"}, "alerts inspect": {"alerts", "inspect", "9", "-o", "json"},
	} {
		all[name] = o.document(t, mustRun(t, append([]string{"cscli", "-c", o.config}, line...)...).stdout)
	}
	all["bouncers list"] = people(t, mustRun(t, bouncers...).stdout)
	for name, path := range map[string]string{"stream": "/v1/decisions/stream?startup=true", "one address": "/v1/decisions?ip=198.51.100.7"} {
		all[name] = o.document(t, o.ask(t, http.MethodGet, path, "", map[string]string{"X-Api-Key": bouncerKey}, http.StatusOK))
	}
	return all
}

func (o *old) document(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %.500s", err, text)
	}
	return alike(v)
}

// people is what a list of bouncers says that must stay.
func people(t *testing.T, text string) any {
	t.Helper()
	var list []struct {
		Name    string `json:"name"`
		Revoked bool   `json:"revoked"`
		Type    string `json:"type"`
		IP      string `json:"ip_address"`
		Auth    string `json:"auth_type"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %.500s", err, text)
	}
	slices.SortFunc(list, func(a, b struct {
		Name    string `json:"name"`
		Revoked bool   `json:"revoked"`
		Type    string `json:"type"`
		IP      string `json:"ip_address"`
		Auth    string `json:"auth_type"`
	}) int {
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// TestMoveIn has Debian's crowdsec make a database, on each kind of server, and compares what
// its cscli shows and its bouncers are told before and after lapid took it over: with the
// old configuration, the old password and the old key.
func TestMoveIn(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			database := map[string]func(*testing.T) string{"sqlite": func(*testing.T) string { return "" }, "postgres": postgres, "mysql": mariadb}[kind](t)
			o := newOld(t, database)
			lapid, err := buildLapid()
			if err != nil {
				t.Fatal(err)
			}
			p := start(t, "the old server", o.serve...)
			await(t, "the old server listens", func() (bool, string) { return listens(p.cmd.Process.Pid, o.port), p.output.String() })
			o.fill(t)
			o.ask(t, http.MethodGet, "/v1/decisions?ip=198.51.100.7", "", map[string]string{"X-Api-Key": bouncerKey}, http.StatusOK) // the row has its address
			mustRun(t, lapid, "-c", o.config, "movein")                                                                              // beside the old server, for a trial
			o.operator(t, "decisions", "delete", "-i", "2001:db8::7")
			o.operator(t, "decisions", "add", "-i", "192.0.2.77")
			before := o.shown(t, []string{"cscli", "-c", o.config, "bouncers", "list", "-o", "json"})
			p.stop()
			if out := mustRun(t, lapid, "-c", o.config, "movein").stderr; !strings.Contains(out, "1 decisions ended") {
				t.Errorf("the second time: %s", out)
			}
			o.serve = []string{lapid, "-c", o.config, "serve"}
			ours := o.start(t)
			after := o.shown(t, []string{lapid, "-c", o.config, "bouncers", "list", "-o", "json"})
			for name := range before {
				differ(t, name, before[name], after[name])
			}
			if strings.Contains(ours.output.String(), "is not taken over") {
				t.Error("the start still names the old database")
			}
		})
	}
}

// differ names the places in which two documents are unlike.
func differ(t *testing.T, at string, before, after any) {
	t.Helper()
	switch a := before.(type) {
	case map[string]any:
		b, _ := after.(map[string]any)
		names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			differ(t, at+"."+name, a[name], b[name])
		}
	case []any:
		b, _ := after.([]any)
		if len(a) != len(b) {
			t.Errorf("%s: %d before, %d after", at, len(a), len(b))
			return
		}
		for i := range a {
			differ(t, fmt.Sprintf("%s[%d]", at, i), a[i], b[i])
		}
	default:
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s: %v before, %v after", at, before, after)
		}
	}
}

// account is the user that a database server runs as when the test is root's.
func account(t *testing.T, name string, dir string, line ...string) []string {
	t.Helper()
	if os.Getuid() != 0 {
		return line
	}
	if out, err := exec.Command("chown", "-R", name, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return append([]string{"setpriv", "--reuid", name, "--regid", name, "--clear-groups"}, line...)
}

// postgres starts a server of PostgreSQL and gives the piece of configuration that names it.
func postgres(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		needs(t, "/usr/lib/postgresql/15/bin/postgres")
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "pg") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port := freePort(t)
	data := filepath.Join(dir, "data")
	mustRun(t, account(t, "postgres", dir, filepath.Join(bin, "initdb"), "-A", "trust", "-U", "cs", "-N", data)...)
	start(t, "postgres", account(t, "postgres", dir, filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", fmt.Sprint("port=", port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")...)
	await(t, "PostgreSQL answers", func() (bool, string) {
		out, err := exec.Command(filepath.Join(bin, "createdb"), "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "cs", "crowdsec").CombinedOutput()
		return err == nil || strings.Contains(string(out), "already exists"), string(out)
	})
	return fmt.Sprintf("  type: pgx\n  user: cs\n  password: any\n  db_name: crowdsec\n  host: 127.0.0.1\n  port: %d\n  sslmode: disable\n", port)
}

// mariadb does the same with MariaDB.
func mariadb(t *testing.T) string {
	t.Helper()
	needs(t, "mariadbd", "mariadb-install-db", "mariadb")
	dir, err := os.MkdirTemp("", "my")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port, sock := freePort(t), filepath.Join(dir, "sock")
	mustRun(t, account(t, "mysql", dir, "mariadb-install-db", "--no-defaults", "--datadir="+dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db")...)
	start(t, "mariadbd", account(t, "mysql", dir, "mariadbd", "--no-defaults", "--datadir="+dir+"/data", "--socket="+sock, fmt.Sprint("--port=", port), "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0")...)
	await(t, "MariaDB answers", func() (bool, string) {
		out, err := exec.Command("mariadb", "--no-defaults", "-S", sock, "-u", "root", "-e",
			"CREATE DATABASE IF NOT EXISTS crowdsec; CREATE OR REPLACE USER cs@'127.0.0.1' IDENTIFIED BY 'secret word'; GRANT ALL ON crowdsec.* TO cs@'127.0.0.1'").CombinedOutput()
		return err == nil, string(out)
	})
	return fmt.Sprintf("  type: mysql\n  user: cs\n  password: secret word\n  db_name: crowdsec\n  host: 127.0.0.1\n  port: %d\n", port)
}
