package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// recorded is a body that the reference has sent.
func recorded(t *testing.T, name string) (v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/capi", name+"_request.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// differences compares a body with a recorded one, field by field. What is told as made up
// each time (ids, times) need only be there. A list is compared entry by entry.
func differences(where string, got, want any, madeUp []string) (out []string) {
	switch want := want.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v", where, got)}
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			v, there := m[name]
			at := where + "." + name
			if slices.Contains(madeUp, name) && there {
				if fmt.Sprintf("%T", v) != fmt.Sprintf("%T", want[name]) {
					out = append(out, fmt.Sprintf("%s is a %T, not a %T", at, v, want[name]))
				}
				continue
			}
			if !there {
				out = append(out, at+" is missing")
				continue
			}
			out = append(out, differences(at, v, want[name], madeUp)...)
		}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if _, there := want[name]; !there {
				out = append(out, where+"."+name+" is more")
			}
		}
	case []any:
		l, ok := got.([]any)
		if !ok || len(l) != len(want) {
			return []string{fmt.Sprintf("%s is %v", where, got)}
		}
		for i := range want {
			out = append(out, differences(fmt.Sprintf("%s[%d]", where, i), l[i], want[i], madeUp)...)
		}
	default:
		if fmt.Sprint(got) != fmt.Sprint(want) {
			out = append(out, fmt.Sprintf("%s is %v, not %v", where, got, want))
		}
	}
	return out
}

// TestBodiesAreTheContracts: the same alerts, posted here, leave as the signals that the
// reference has sent, field by field; so do logins, and what is told of machines and bouncers.
func TestBodiesAreTheContracts(t *testing.T) {
	t.Parallel()
	signals := recorded(t, "signals").([]any)
	now := time.Now().UTC().Format(time.RFC3339)
	var alerts []map[string]any
	for _, s := range signals {
		a := maps.Clone(s.(map[string]any))
		a["meta"] = a["context"]
		for _, name := range []string{"context", "scenario_trust", "machine_id", "uuid"} {
			delete(a, name)
		}
		a["start_at"], a["stop_at"], a["capacity"], a["leakspeed"], a["events_count"], a["events"], a["simulated"] = now, now, 0, "0", 1, []any{}, false
		d := maps.Clone(a["decisions"].([]any)[0].(map[string]any))
		delete(d, "id")
		delete(d, "uuid")
		a["decisions"] = []any{d}
		alerts = append(alerts, a)
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	f := startFake(t)
	h := newHouse(t)
	h.steps([]step{{"machines add machine-a -p secret -f /dev/null", exitGood, "", "~successfully added"}, {"bouncers add fw-edge -k edge -o raw", exitGood, "edge", ""}})
	write(t, h.dir, "config.yaml.local", "api: {server: {console_path: "+write(t, h.dir, "console.yaml", "share_manual_decisions: true\nshare_context: true\n")+
		", online_client: {credentials_path: "+f.credentials(h.dir)+"}}}\n")
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	code, text, err := h.ask("POST", "/v1/watchers/login", `{"machine_id":"machine-a","password":"secret","scenarios":["crowdsecurity/ssh-bf","crowdsecurity/http-probing"]}`)
	var login struct{ Token string }
	if err != nil || code != 200 || json.Unmarshal([]byte(text), &login) != nil {
		t.Fatal(code, text, err)
	}
	h.token = login.Token
	if code, text, err := h.ask("POST", "/v1/alerts", string(body)); err != nil || code != 201 {
		t.Fatal(code, text, err)
	}
	await(t, "the signals leave", func() bool { return len(f.asked("/v3/signals")) == 1 })
	wanted := signals
	delete(wanted[1].(map[string]any), "created_at") // may be left out, and what a sender says of it is not kept here
	for _, d := range differences("signals", f.asked("/v3/signals")[0]["body"], any(wanted), []string{"uuid", "start_at", "stop_at"}) {
		t.Error(d)
	}
	logins := f.asked("/v3/watchers/login")
	for _, d := range differences("login", logins[len(logins)-1]["body"], recorded(t, "login"), []string{"machine_id", "password"}) {
		t.Error(d)
	}
	metrics := f.asked("/v3/metrics/")[0]["body"].(map[string]any)
	keep := func(list any, key, name string) []any {
		return slices.DeleteFunc(list.([]any), func(v any) bool { return v.(map[string]any)[key] != name })
	}
	metrics["machines"], metrics["bouncers"] = keep(metrics["machines"], "name", "machine-a"), keep(metrics["bouncers"], "custom_name", "fw-edge")
	want := recorded(t, "metrics").(map[string]any)
	delete(want["bouncers"].([]any)[0].(map[string]any), "version") // it has not come yet
	for _, list := range []any{want["machines"], metrics["machines"]} {
		delete(list.([]any)[0].(map[string]any), "version") // that of whoever logs in
	}
	for _, d := range differences("metrics", metrics, any(want), []string{"apil_version", "last_push", "last_update"}) {
		t.Error(d)
	}
}
