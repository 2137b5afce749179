package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapid/transport/capi/capitest"
)

// central has a house with a connection to a fake, and its server.
func central(t *testing.T, more string, files func(h *house, f *fakeCentral)) (*house, *fakeCentral, *process) {
	t.Helper()
	f := startFake(t)
	h := newHouse(t)
	write(t, h.dir, "config.yaml.local", "api: {server: {console_path: "+filepath.Join(h.dir, "console.yaml")+more+
		", online_client: {credentials_path: "+f.credentials(h.dir)+"}}}\n")
	if files != nil {
		files(h, f)
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.logInWith(`"crowdsecurity/ssh-bf"`)
	h.login()
	return h, f, p
}

// reloads sends SIGHUP and waits until the log says what came of it.
func reloads(t *testing.T, p *process, says string) {
	t.Helper()
	before := strings.Count(p.out.String(), says)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "the log says "+says, func() bool { return strings.Count(p.out.String(), says) > before })
}

// alerts posts one of each kind: of the hub, changed, of nobody else, of an operator, and
// one that an operator imported. Their scenarios are suffixed.
func (h *house) alertsOfEachKind(suffix string) {
	h.t.Helper()
	const form = `{"scenario":"%s%s","scenario_hash":"%s","scenario_version":"%s","message":"m","kind":"%s","source":{"scope":"Ip","value":"198.51.100.%d"},
		"start_at":"2026-11-22T00:40:54Z","stop_at":"2026-11-22T00:40:54Z","capacity":0,"leakspeed":"0","events_count":1,"events":[],"simulated":false,
		"meta":[{"key":"target_user","value":"[\"root\"]"}],
		"decisions":[{"duration":"4h","origin":"%s","scenario":"s","scope":"Ip","type":"ban","value":"198.51.100.%d"}]}`
	var list []string
	for i, a := range []struct{ name, hash, version, kind, origin string }{
		{"certified", "hash", "0.3", "crowdsec", "crowdsec"}, {"tainted", "hash", "?", "crowdsec", "crowdsec"}, {"custom", "", "", "crowdsec", "crowdsec"},
		{"manual", "", "", "cscli", "cscli"}, {"import", "", "", "cscli", "cscli-import"},
	} {
		list = append(list, fmt.Sprintf(form, a.name, suffix, a.hash, a.version, a.kind, i+1, a.origin, i+1))
	}
	if code, text, err := h.ask("POST", "/v1/alerts", "["+strings.Join(list, ",")+"]"); err != nil || code != 201 {
		h.t.Fatal(code, text, err)
	}
}

// shared are the scenarios that came as signals, and how many had a context.
func (f *fakeCentral) shared(suffix string) (names []string, contexts int) {
	for _, r := range f.asked("/v3/signals") {
		for _, s := range r["body"].([]any) {
			m := s.(map[string]any)
			if name, ok := strings.CutSuffix(m["scenario"].(string), suffix); ok {
				names = append(names, name+" "+fmt.Sprint(m["scenario_trust"]))
				if m["context"] != nil {
					contexts++
				}
			}
		}
	}
	return names, contexts
}

// TestConsoleShares: what console.yaml shares is what leaves, and a changed file is in force
// after a reload, without a restart; so are other credentials.
func TestConsoleShares(t *testing.T) {
	t.Parallel()
	h, f, p := central(t, "", nil)
	await(t, "the server has logged in", func() bool { return len(f.asked("/v3/metrics/")) > 0 })
	for i, c := range []struct {
		console string
		want    string
		context bool
	}{
		{"", "[certified certified tainted tainted custom custom]", false}, // what holds without a file
		{"share_manual_decisions: true\nshare_custom: false\nshare_tainted: false\nshare_context: true\n", "[certified certified manual manual import manual]", true},
		{"share_manual_decisions: false\nshare_custom: true\nshare_tainted: false\nshare_context: false\nconsole_management: true\n", "[certified certified custom custom]", false},
		{"share_custom: false\n", "[certified certified tainted tainted]", false},
	} {
		if i > 0 {
			write(t, h.dir, "console.yaml", c.console)
			reloads(t, p, "reloaded: the connection to the Central API")
		}
		suffix := fmt.Sprintf("/%d", i)
		h.alertsOfEachKind(suffix)
		var names []string
		var contexts int
		n := len(strings.Fields(c.want)) / 2
		await(t, "the signals leave", func() bool { names, contexts = f.shared(suffix); return len(names) >= n })
		if fmt.Sprint(names) != c.want || (contexts > 0) != c.context {
			t.Errorf("with %q leave %v, %d with context; want %s", c.console, names, contexts, c.want)
		}
	}
	write(t, h.dir, "console.yaml", "share_custom: perhaps\n")
	reloads(t, p, "nothing was reloaded, what was in force stays")
	write(t, h.dir, "console.yaml", "share_custom: false\n")

	other := startFake(t)
	text := strings.ReplaceAll(strings.ReplaceAll(read(t, f.credentials(h.dir)), f.base, other.base), "L0gin", "Another")
	write(t, h.dir, "online.yaml", text)
	reloads(t, p, "reloaded: the connection to the Central API: Another at "+other.base)
	await(t, "the other one is told", func() bool {
		return len(other.asked("/v3/metrics/")) > 0 && len(other.asked("/v3/decisions/stream")) > 0
	})
	if logins := fmt.Sprint(other.asked("/v3/watchers/login")); !strings.Contains(logins, "machine_id:Another") {
		t.Error(logins)
	}
	h.alertsOfEachKind("/other")
	await(t, "signals go to the other one", func() bool { names, _ := other.shared("/other"); return len(names) == 2 })
	if names, _ := f.shared("/other"); names != nil {
		t.Errorf("the first one got %v", names)
	}
	write(t, h.dir, "config.yaml.local", "{}\n")
	reloads(t, p, "reloaded: the connection to the Central API: none")
}

// TestReloadLooksAtEnrolment: a server that was enrolled knows it after a reload, and a new
// token that says otherwise is believed; metrics and capi status tell.
func TestReloadLooksAtEnrolment(t *testing.T) {
	t.Parallel()
	h, f, p := central(t, "", nil)
	await(t, "the server has logged in", func() bool { return len(f.asked("/v3/metrics/")) > 0 })
	metric := func(line string) bool {
		_, text := h.condition("/metrics")
		return strings.Contains(text, "\n"+line+"\n")
	}
	await(t, "it is not enrolled", func() bool { return metric("lapid_capi_enrolled 0") })
	write(t, f.dir, "claims.json", `{"organization_id":"x","subscription_type":"ENTERPRISE"}`)
	reloads(t, p, "reloaded: nothing has changed")
	await(t, "it is enrolled", func() bool { return metric("lapid_capi_enrolled 1") })
	h.steps([]step{{"capi status -o json", exitGood, "re:\"server\": {(?s).*\"enrolled\": true", ""}})
	if err := os.Remove(filepath.Join(f.dir, "claims.json")); err != nil {
		t.Fatal(err)
	}
	f.Revoke()
	h.alertsOfEachKind("/x") // a request, so that the old token is refused
	await(t, "the new token is believed", func() bool { return metric("lapid_capi_enrolled 0") })
}

// TestWhitelistIsReloaded: a list of which everything is exempt leaves nothing in force, and
// a changed capi_whitelists_path is in force after a reload: what it holds ends, what it no
// longer holds comes back.
func TestWhitelistIsReloaded(t *testing.T) {
	t.Parallel()
	const all = "ips: [198.18.0.1, 198.18.0.2]\ncidrs: [198.19.0.0/16]\n"
	h, _, p := central(t, ", capi_whitelists_path: white.yaml", func(h *house, f *fakeCentral) {
		write(t, h.dir, "config.yaml.local", strings.ReplaceAll(read(t, filepath.Join(h.dir, "config.yaml.local")), "white.yaml", filepath.Join(h.dir, "white.yaml")))
		write(t, h.dir, "white.yaml", "ips: []\n")
		write(t, f.dir, "lists/bots", "198.19.0.1\n198.19.0.2\n")
		write(t, f.dir, "stream.json", `{"new":[{"scenario":"s","scope":"ip","decisions":[{"duration":"24h","value":"198.18.0.1"},{"duration":"24h","value":"198.18.0.2"}]}],
			"links":{"blocklists":[{"name":"bots","url":"`+f.base+`lists/bots","remediation":"ban","scope":"ip","duration":"24h"}]}}`)
	})
	pulls := func() int { return strings.Count(p.out.String(), `the list \"bots\" was pulled`) }
	await(t, "the lists are pulled", func() bool { return pulls() == 1 })
	want := []string{"198.18.0.1", "198.18.0.2", "198.19.0.1", "198.19.0.2"}
	if begun, _ := h.news("?startup=true"); len(begun) != 4 {
		t.Fatal(begun)
	}
	write(t, h.dir, "white.yaml", all)
	reloads(t, p, "reloaded: the connection to the Central API")
	var ended []string
	await(t, "all of it ends", func() bool { _, now := h.news(""); ended = append(ended, now...); return len(ended) == 4 })
	if begun, _ := h.news("?startup=true"); len(begun) != 0 {
		t.Errorf("%v of %v are left", begun, want)
	}
	write(t, h.dir, "white.yaml", "ips: [198.18.0.2]\n")
	reloads(t, p, "reloaded: the connection to the Central API")
	var begun []string
	await(t, "what is not exempt comes back", func() bool { now, _ := h.news(""); begun = append(begun, now...); return len(begun) == 3 })
	write(t, h.dir, "white.yaml", "ips: [nonsense]\n")
	reloads(t, p, "nothing was reloaded, what was in force stays")
}

// TestHeldListsAreTold: a list that has shrunken is held back; /ready stays as it is and
// warns, so do metrics, ready and capi status; the switch is in force after a reload.
func TestHeldListsAreTold(t *testing.T) {
	t.Parallel()
	h, f, p := central(t, "", func(h *house, f *fakeCentral) {
		write(t, f.dir, "lists/bots", "198.19.0.1\n198.19.0.2\n198.19.0.3\n")
		write(t, f.dir, "stream.json", `{"links":{"blocklists":[{"name":"bots","url":"`+f.base+`lists/bots","remediation":"ban","scope":"ip","duration":"24h"},
			{"name":"gone","url":"`+f.base+`lists/gone","remediation":"ban","scope":"ip","duration":"24h"}]}}`)
	})
	await(t, "the list is pulled", func() bool { return strings.Contains(p.out.String(), `the list \"bots\" was pulled`) })
	f.Always("lists/bots", capitest.Says("198.19.0.1\n"))
	write(t, h.dir, "lapid.yaml", "capi_shrunken_lists: hold\n")
	write(t, h.dir, "config.yaml.local", strings.Replace(read(t, filepath.Join(h.dir, "config.yaml.local")), "online_client: {", "online_client: {pull: {community: false}, ", 1))
	reloads(t, p, "reloaded: the connection to the Central API")
	await(t, "it is held back", func() bool {
		return strings.Contains(p.out.String(), `the list \"bots\" is held back: it has 1 entries, and 3 of it are in force`)
	})
	var text string
	await(t, "/ready warns", func() bool {
		var code int
		code, text = h.condition("/ready")
		return code == 200 && strings.Contains(text, `"ready":true`) && strings.Contains(text, `the list \"bots\" is held back`) && strings.Contains(text, `the list \"gone\" cannot be fetched`)
	})
	for _, line := range []string{`lapid_ready 1`, `lapid_capi_lists{state="held"} 1`, `lapid_capi_lists{state="failing"} 1`, `lapid_capi_turns_total{job="pull",result="failed"} 0`, `lapid_capi_failing{job="pull"} 0`} {
		await(t, "metrics say "+line, func() bool { _, text := h.condition("/metrics"); return strings.Contains(text, "\n"+line+"\n") })
	}
	h.steps([]step{
		{"ready", exitGood, "re:^ready\ncentral since .*bots", ""},
		{"ready -o json", exitGood, "~\"kind\": \"central\"", ""},
		{"capi status", exitGood, "re:the list bots is held back(?s).*the list gone is not fetched", ""},
	})
	if begun, _ := h.news("?startup=true"); len(begun) != 3 {
		t.Error(begun)
	}
	write(t, h.dir, "lapid.yaml", "capi_shrunken_lists: accept\n")
	reloads(t, p, "reloaded: the connection to the Central API")
	await(t, "it is believed", func() bool { begun, _ := h.news("?startup=true"); return len(begun) == 1 })
	// A page of somebody else's is no list, whatever is believed.
	f.Always("lists/bots", capitest.Says("<html>\n<body>please log in</body>\n"))
	write(t, h.dir, "lapid.yaml", "capi_shrunken_lists: hold\n")
	reloads(t, p, "reloaded: the connection to the Central API")
	await(t, "the page is refused", func() bool { return strings.Contains(p.out.String(), "none of its 2 lines is an address or range") })
	if begun, _ := h.news("?startup=true"); len(begun) != 1 {
		t.Error(begun)
	}
}

// TestUnusableCredentialsWarn: a file that cannot be used is a warning, and a reload takes up
// one that was mended.
func TestUnusableCredentialsWarn(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	h := newHouse(t)
	write(t, h.dir, "config.yaml.local", "api: {server: {online_client: {credentials_path: "+h.dir+"/online.yaml}}}\n")
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.logInWith(`"s"`)
	if code, text := h.condition("/ready"); code != 200 || !strings.Contains(text, `"reasons":[{"kind":"central","text":"there is no connection to the Central API: loading online client credentials: open `) {
		t.Errorf("%d %s", code, text)
	}
	f.credentials(h.dir)
	reloads(t, p, "reloaded: the connection to the Central API: L0gin")
	await(t, "it is told", func() bool { return len(f.asked("/v3/metrics/")) > 0 })
	await(t, "nothing is warned of", func() bool { _, text := h.condition("/ready"); return strings.Contains(text, `"reasons":[]`) })
	write(t, h.dir, "online.yaml", "url: ")
	reloads(t, p, "nothing was reloaded, what was in force stays")
}
