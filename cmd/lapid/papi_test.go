package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// give has the service hand out an order. name says in which order several are given.
func (f *fakeCentral) give(name, kind, command, data string) {
	f.t.Helper()
	text := fmt.Sprintf(`{"header":{"operation_type":%q,"operation_cmd":%q,"timestamp":"2026-01-01T00:00:00Z","message":"from the console",
		"uuid":"4c1e5b32-f542-4269-b510-6e0aece76b98","source":{"user":"jane@example.com"},"destination":"m"},"data":%s}`, kind, command, data)
	write(f.t, f.dir, "events/"+name+".part", text)
	if err := os.Rename(filepath.Join(f.dir, "events", name+".part"), filepath.Join(f.dir, "events", name+".json")); err != nil {
		f.t.Fatal(err)
	}
}

// again has all orders so far be handed out once more.
func (f *fakeCentral) again() {
	done, _ := filepath.Glob(filepath.Join(f.dir, "events", "*.done"))
	for _, name := range done {
		if err := os.Rename(name, strings.TrimSuffix(name, ".done")+".json"); err != nil {
			f.t.Fatal(err)
		}
	}
}

// ban is an order that bans an address. n tells orders apart.
func ban(n int, address string) string {
	return fmt.Sprintf(`{"uuid":"11111111-1111-4111-8111-%012d","created_at":"2026-11-22T00:40:10Z","decisions":[{"duration":"6h","origin":"console","scenario":"",
		"scope":"Ip","type":"ban","value":%q,"uuid":"22222222-2222-4222-8222-%012d"}]}`, n, address, n)
}

// TestOrders: a server that is enrolled while it runs carries out what the console orders; a
// bouncer is told, nothing is lost or done twice by kills in between, and what was deleted
// before the last of them is reported after the start.
func TestOrders(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	h := newHouse(t)
	write(t, h.dir, "config.yaml.local", "api: {server: {console_path: "+write(t, h.dir, "console.yaml", "console_management: true\n")+
		", online_client: {credentials_path: "+f.credentials(h.dir)+"}}}\n")
	write(t, f.dir, "claims.json", `{"organization_id":"x","subscription_type":"ENTERPRISE"}`)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.news("?startup=true")
	f.give("1", "alert", "add", ban(1, "198.51.100.1"))
	f.give("2", "foo", "bar", "{}")
	const scenario = "console from the console ban "
	var begun []string
	await(t, "a bouncer is told", func() bool { b, _ := h.news(""); begun = append(begun, b...); return len(begun) > 0 })
	if !slices.Equal(begun, []string{scenario + "198.51.100.1"}) {
		t.Errorf("told of %q", begun)
	}
	await(t, "what makes no sense is told", func() bool { return strings.Contains(p.out.String(), "an order of the console is not carried out") })
	if text := h.scrape(); !strings.Contains(text, "cs_papi_invalid_orders_received_total 1\n") || !strings.Contains(text, "cs_papi_last_pull_timestamp 1") {
		t.Error("the metrics say nothing of it")
	}

	crash(t, p)
	f.again()
	f.give("3", "alert", "add", ban(3, "198.51.100.3"))
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "the next order is carried out", func() bool { return strings.Contains(p.out.String(), "first=198.51.100.3") })
	crash(t, p)
	f.again()
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	f.give("4", "decision", "delete", `{"decisions":["22222222-2222-4222-8222-000000000003"]}`)
	await(t, "the decision is deleted", func() bool { return strings.Contains(p.out.String(), "decisions were deleted") })
	if begun, _ = h.news("?startup=true"); !slices.Equal(begun, []string{scenario + "198.51.100.1"}) {
		t.Errorf("in force are %q", begun)
	}
	// Orders that came several times made two alerts.
	h.login()
	if code, text, err := h.ask("GET", "/v1/alerts?limit=0", ""); err != nil || code != 200 || strings.Count(text, `"kind":"papi"`) != 2 {
		t.Errorf("%d %v: %s", code, err, text)
	}

	// What a machine deletes is reported, though the server is killed before the report is taken.
	await(t, "the console's own deletion is reported", func() bool { return f.reports(0, "22222222-2222-4222-8222-000000000003") })
	write(t, f.dir, "status.json", `{"v3/decisions/delete":[500]}`)
	if code, text, err := h.ask("DELETE", "/v1/decisions?ip=198.51.100.1", ""); err != nil || code != 200 {
		t.Fatal(code, text, err)
	}
	crash(t, p)
	before := len(f.Requests(deletePath))
	if err := os.Remove(filepath.Join(f.dir, "status.json")); err != nil {
		t.Fatal(err)
	}
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "the machine's deletion is reported", func() bool { return f.reports(before, "22222222-2222-4222-8222-000000000001") })

	// The operator sees it.
	f.again()
	h.steps([]step{
		{"papi status", exitGood, "re:^You can successfully interact with Polling API \\(PAPI\\)\nConsole plan: test\nLast order received: 20[0-9T:.-]+Z\nPAPI subscriptions:\n - decision\n - alert\n - management\n$", ""},
		{"papi status -o json", exitGood, "~\"subscription_type\": \"ENTERPRISE\"", ""},
		{"papi sync --help", exitGood, "~Orders about lists and logins are passed over", ""},
	})
}

const deletePath = "/v3/decisions/delete"

// crash kills a server.
func crash(t *testing.T, p *process) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
}

// reports tells whether the service has been told of a deletion, after so many reports.
func (f *fakeCentral) reports(after int, uuid string) bool {
	for _, r := range f.Requests(deletePath)[after:] {
		var list []string
		if json.Unmarshal(r.Body, &list) == nil && slices.Contains(list, uuid) {
			return true
		}
	}
	return false
}

// TestPapiSync: the verb has all orders be carried out, through the server and without one.
func TestPapiSync(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	h := newHouse(t)
	h.steps([]step{
		{"papi status", exitFails, "", "~must be configured with 'lapid capi register'"},
		{"papi sync", exitFails, "", "~must be configured with 'lapid capi register'"},
	})
	write(t, h.dir, "config.yaml.local", "api: {server: {online_client: {credentials_path: "+f.credentials(h.dir)+"}}}\n")
	h.steps([]step{
		{"papi status", exitGood, "~Last order received: never", "~not enrolled in the console"},
		{"papi sync", exitFails, "", "~orders cannot be asked for: this server is not enrolled in the console (lapid console enroll)"},
	})
	write(t, f.dir, "claims.json", `{"organization_id":"x","subscription_type":"SECOPS"}`)
	f.give("1", "alert", "add", ban(1, "198.51.100.1"))
	f.give("2", "management", "reauth", "{}")
	f.give("3", "foo", "bar", "{}")
	h.steps([]step{
		{"papi sync -o json", exitGood, "{\n \"carried_out\": 1,\n \"invalid\": 1,\n \"passed_over\": 1\n}\n", ""},
		{"decisions list -o raw", exitGood, "~Ip:198.51.100.1", ""},
		{"papi status", exitGood, "~Last order received: never", ""}, // where the polling goes on is not changed
	})
	f.again()
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "the orders came to the server", func() bool {
		return strings.Contains(p.out.String(), "the next request to the Central API logs in again")
	})
	f.again()
	h.steps([]step{{"papi sync", exitGood, "re:^[0-9]+ orders carried out, [0-9]+ made no sense, [0-9]+ about lists and logins passed over\n$", ""}})
	write(t, f.dir, "status.json", `{"v1/permissions":[403]}`)
	h.steps([]step{{"papi status", exitFails, "", "~v1/permissions was answered with 403"}})
}
