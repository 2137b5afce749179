package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lapid/transport/capi/capitest"
)

// fakeCentral is a Central API on loopback, which answers from files and is strict about
// what it is asked.
type fakeCentral struct {
	*capitest.Fake
	t    *testing.T
	dir  string
	base string
}

// startFake starts one.
func startFake(t *testing.T) *fakeCentral {
	t.Helper()
	f := &fakeCentral{Fake: capitest.New(t.TempDir(), t.Errorf), t: t}
	f.dir, f.base = f.Dir, f.URL
	t.Cleanup(f.Close)
	return f
}

// credentials writes the file by which a server logs in there.
func (f *fakeCentral) credentials(dir string) string {
	return write(f.t, dir, "online.yaml", fmt.Sprintf("url: %s\npapi_url: %s\nlogin: L0gin\npassword: secret\n", f.base, f.base))
}

// asked are the requests of a path so far: their path and what their body says.
func (f *fakeCentral) asked(path string) (list []map[string]any) {
	for _, r := range f.Requests(path) {
		var body any
		_ = json.Unmarshal(r.Body, &body) // a GET has none
		list = append(list, map[string]any{"path": r.Path, "body": body})
	}
	return list
}

// logInWith has the machine log in with scenarios, which the pull waits for.
func (h *house) logInWith(scenarios string) {
	h.t.Helper()
	body := fmt.Sprintf(`{"machine_id":"m","password":"secret","scenarios":[%s]}`, scenarios)
	if code, text, err := h.ask("POST", "/v1/watchers/login", body); err != nil || code != 200 {
		h.t.Fatalf("login: %d %s %v", code, text, err)
	}
}

// news is what a bouncer is told by one poll: values, in order.
func (h *house) news(query string) (begun, ended []string) {
	h.t.Helper()
	code, text, err := h.ask("GET", "/v1/decisions/stream"+query, "")
	var said struct {
		New, Deleted []struct{ Value, Origin, Scenario, Type string }
	}
	if err != nil || code != 200 || json.Unmarshal([]byte(text), &said) != nil {
		h.t.Fatalf("stream: %d %s %v", code, text, err)
	}
	for _, d := range said.New {
		begun = append(begun, strings.Join([]string{d.Origin, d.Scenario, d.Type, d.Value}, " "))
	}
	for _, d := range said.Deleted {
		ended = append(ended, d.Value)
	}
	slices.Sort(begun)
	slices.Sort(ended)
	return begun, ended
}

// TestCentralLists: a server with credentials pulls the community list, a third-party list
// and an allowlist, and its bouncers are told; a restart does not pull again.
func TestCentralLists(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	h := newHouse(t)
	write(t, h.dir, "config.yaml.local", "api: {server: {capi_whitelists_path: "+write(t, h.dir, "white.yaml", "ips: [198.18.0.9]\ncidrs: [198.18.9.0/24]\n")+
		", online_client: {credentials_path: "+f.credentials(h.dir)+"}}}\n")
	write(t, f.dir, "lists/bots", "198.19.0.1\n198.19.0.2\n\nnonsense\n203.0.113.200\n")
	write(t, f.dir, "lists/ours", `{"value":"203.0.113.200","description":"c1"}`+"\n")
	write(t, f.dir, "stream.json", `{"new":[{"scenario":"crowdsecurity/ssh-bf","scope":"ip","decisions":[{"duration":"24h","value":"198.18.0.1"},{"duration":"24h","value":"198.18.0.9"},
		{"duration":"24h","value":"198.18.9.1"},{"value":"198.18.0.3"}]}],"deleted":[{"scope":"ip","decisions":["198.18.0.2"]}],
		"links":{"blocklists":[{"name":"bots","url":"`+f.base+`lists/bots","remediation":"captcha","scope":"ip","duration":"24h"},
			{"name":"broken","url":"`+f.base+`lists/none","remediation":"ban","scope":"ip","duration":"24h"}],
		"allowlists":[{"id":"1","name":"ours","description":"d","url":"`+f.base+`lists/ours"}]}}`)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.news("?startup=true")
	h.logInWith(`"crowdsecurity/ssh-bf"`)
	await(t, "the lists are pulled", func() bool { return strings.Contains(p.out.String(), `the list \"bots\" was pulled`) })
	begun, ended := h.news("")
	want := []string{"CAPI crowdsecurity/ssh-bf ban 198.18.0.1", "lists bots captcha 198.19.0.1", "lists bots captcha 198.19.0.2"}
	if !slices.Equal(begun, want) || ended != nil {
		t.Errorf("a bouncer is told of %q and %q, not of %q", begun, ended, want)
	}
	if logins := f.asked("/v3/watchers/login"); len(logins) == 0 || len(logins) > 2 || fmt.Sprint(logins[len(logins)-1]["body"]) != "map[machine_id:L0gin password:secret scenarios:[crowdsecurity/ssh-bf]]" {
		t.Errorf("%v", logins)
	}
	await(t, "it is told who is here", func() bool {
		list := f.asked("/v3/metrics/")
		return len(list) > 0 && strings.Contains(fmt.Sprint(list[0]["body"]), "custom_name:b") && strings.Contains(fmt.Sprint(list[0]["body"]), "name:m")
	})
	await(t, "the list that is not there is told", func() bool { return strings.Contains(p.out.String(), `a list stays as it is" list=broken`) })
	h.login()
	if code, text, err := h.ask("POST", "/v1/alerts", alertText("test/signal", 0, 2)); err != nil || code != 201 {
		t.Fatal(code, text, err)
	}
	await(t, "the alert is a signal", func() bool { return len(f.asked("/v3/signals")) == 1 })
	if s := fmt.Sprint(f.asked("/v3/signals")[0]["body"]); !strings.Contains(s, "scenario:test/signal") || strings.Contains(s, "update :") || !strings.Contains(s, "scenario_trust:custom") {
		t.Error(s)
	}
	if strings.Contains(p.out.String(), "secret") {
		t.Error("the password is in the log")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitGood {
		t.Fatalf("exit %d", code)
	}
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	begun, _ = h.news("?startup=true&origins=CAPI,lists")
	if !slices.Equal(begun, want) {
		t.Errorf("after a restart there are %q", begun)
	}
}

// TestCentralThatFails: whatever is wrong with the Central API, the server starts and says so.
func TestCentralThatFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, says string }{
		{"nobody-there", fmt.Sprintf("url: http://127.0.0.1:%d/\nlogin: l\npassword: p\n", freePort(t)), "does not let this server log in"},
		{"no-slash", "url: http://127.0.0.1:1\nlogin: l\npassword: p\n", "url must have a slash at its end"},
		{"half", "url: http://127.0.0.1:1/\npassword: p\n", "missing login field"},
		{"empty", "", "missing login field"},
		{"a-slip", "url: http://127.0.0.1:1/\nlogn: l\n", "logn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			write(t, h.dir, "config.yaml.local", "api: {server: {online_client: {credentials_path: "+write(t, h.dir, "online.yaml", c.file)+"}}}\n")
			p := start(t, nil, "-c", h.file, "serve")
			h.awaitHealth(p)
			h.logInWith(`"s"`)
			await(t, "it is said", func() bool { return strings.Contains(p.out.String(), c.says) })
			if begun, _ := h.news("?startup=true"); begun != nil {
				t.Error(begun)
			}
		})
	}
}

// TestCentralAccount: capi register writes the credentials that capi status and the server
// log in with.
func TestCentralAccount(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	h := newHouse(t)
	file := filepath.Join(h.dir, "online.yaml")
	write(t, h.dir, "config.yaml.local", "api: {server: {online_client: {credentials_path: "+file+", sharing: false}}}\n")
	write(t, f.dir, "claims.json", `{"organization_id":"x","subscription_type":"ENTERPRISE"}`)
	h.steps([]step{
		{"capi status", exitFails, "", "~no such file or directory; the Central API (CAPI) must be configured with 'lapid capi register'"},
		{"capi register -u " + strings.TrimSuffix(f.base, "/"), exitFails, "", "~url must have a slash at its end"},
		{"capi register -f " + h.dir + "/none/there.yaml -u " + f.base, exitFails, "", "~nothing was registered: the credentials cannot be written"},
		{"capi register -o json -f " + h.dir + "/other.yaml -u " + f.base, exitGood, "~\"credentials_file\": ", ""},
		{"capi register -u " + f.base, exitGood, "", "~Successfully registered to Central API"},
		{"capi status", exitGood, "~You can successfully interact with Central API (CAPI)\nYour instance is enrolled in the console\nSubscription type: ENTERPRISE\n" +
			"Sharing signals is disabled\nPulling community blocklist is enabled\nPulling blocklists from the console is enabled\n", ""},
		{"capi status -o json", exitGood, "~\"subscription_type\": \"ENTERPRISE\"", ""},
	})
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	list := f.asked("/v3/watchers")
	if len(list) != 4 || list[0]["path"] != "/v3/watchers" || len(list[0]["body"].(map[string]any)["machine_id"].(string)) != 48 {
		t.Errorf("%v", list)
	}
	write(t, f.dir, "status.json", `{"v3/watchers/login":[403]}`)
	h.steps([]step{{"capi status", exitFails, "~Trying to authenticate", "~failed to authenticate to Central API (CAPI): v3/watchers/login was answered with 403"}})
}
