//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCscliLapi: a machine registers itself, is refused, is let in by the operator, and logs in.
func TestCscliLapi(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	known := newCscli(t, s, s.credentials())
	known.expect(t, 0, says("Trying to authenticate with username "+machineName,
		`You can successfully interact with Local API \(LAPI\)`), "lapi", "status")

	file := filepath.Join(t.TempDir(), "credentials.yaml")
	register := []string{"lapi", "register", "--machine", "edge-2", "-u", s.url, "-f", file}
	known.expect(t, 0, says(`Successfully registered to Local API \(LAPI\)`), register...)
	edge2 := newCscli(t, s, file)
	edge2.expect(t, 1, says("machine edge-2 not validated"), "lapi", "status")
	s.operator(t, "machines", "validate", "edge-2")
	edge2.expect(t, 0, says("You can successfully interact"), "lapi", "status")
	edge2.expect(t, 0, says("Decision successfully added"), "decisions", "add", "-i", "192.0.2.2")

	again := filepath.Join(t.TempDir(), "again.yaml")
	register[len(register)-1] = again
	known.expect(t, 1, says("403 Forbidden", "user 'edge-2': user already exist"), register...)

	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	mustWrite(t, wrong, fmt.Sprintf("url: %s\nlogin: %s\npassword: guessed\n", s.url, machineName))
	newCscli(t, s, wrong).expect(t, 1, says("API error"), "lapi", "status")
}

// TestCscliDecisions: what is added is listed, in every format and through every filter, enforced for
// bouncers, and gone after its deletion.
func TestCscliDecisions(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, says("No active decisions"), "decisions", "list")

	added := says("Decision successfully added")
	c.expect(t, 0, added, "decisions", "add", "-i", "192.0.2.1", "-d", "2h", "-R", "by hand", "-t", "captcha")
	c.expect(t, 0, added, "decisions", "add", "-r", "198.51.100.0/24")
	c.expect(t, 0, added, "decisions", "add", "--scope", "username", "-v", "bob", "-d", "30m")
	c.expect(t, 0, added, "decisions", "add", "-i", "2001:db8::7")

	ban := "manual 'ban' from '" + machineName + "'"
	c.expect(t, 0, says(`\| Ip:192\.0\.2\.1 +\| by hand +\| captcha .*\| `+almost(2*time.Hour),
		`\| Range:198\.51\.100\.0/24 +\| `+ban+` +\| ban .*\| `+almost(4*time.Hour),
		`\| username:bob .*\| `+almost(30*time.Minute), `\| Ip:2001:db8::7 `), "decisions", "list")
	c.expect(t, 0, says(`(?m)^id,source,ip,reason,action,country,as,events_count,expiration,simulated,alert_id$`,
		`(?m)^\d+,cscli,Ip:192\.0\.2\.1,by hand,captcha,,,1,`+almost(2*time.Hour)+`,false,\d+$`),
		"decisions", "list", "-o", "raw")
	c.expectValues(t, []string{"192.0.2.1"}, "-i", "192.0.2.1")
	c.expectValues(t, []string{"192.0.2.1"}, "-t", "captcha")
	c.expectValues(t, []string{"bob"}, "--scope", "username")
	c.expectValues(t, []string{"198.51.100.0/24"}, "-r", "198.51.100.0/24")
	c.expectValues(t, []string{"198.51.100.0/24"}, "-i", "198.51.100.9")
	c.expectValues(t, []string{"2001:db8::7", "bob", "198.51.100.0/24", "192.0.2.1"}, "--origin", "cscli")
	c.expectValues(t, nil, "--origin", "crowdsec")
	c.expectValues(t, nil, "-i", "192.0.2.2")

	c.expect(t, 1, says("duration 'soon'", "unable to parse duration"), "decisions", "add", "-i", "192.0.2.9", "-d", "soon")
	c.expect(t, 1, says("a value is required"), "decisions", "add")
	if ds, err := s.decisions("192.0.2.9"); err != nil || len(ds) != 0 {
		t.Errorf("a decision with a bad duration is held: %v, %v", ds, err)
	}

	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "-i", "192.0.2.1")
	c.expect(t, 0, says(`"0 decision\(s\) deleted"`), "decisions", "delete", "-i", "192.0.2.1")
	c.expect(t, 1, says("decision with id '999999' doesn't exist: unable to delete"), "decisions", "delete", "--id", "999999")
	bob := alertsOf(t, c.run(t, "decisions", "list", "-v", "bob", "-o", "json"))
	c.expect(t, 0, says(`"1 decision\(s\) deleted"`), "decisions", "delete", "--id", strconv.FormatInt(bob[0].Decisions[0].ID, 10))
	c.expect(t, 1, says("at least one filter or --all|At least one filter or --all"), "decisions", "delete")
	c.expectValues(t, []string{"2001:db8::7", "198.51.100.0/24"})
	c.expect(t, 0, says(`"2 decision\(s\) deleted"`), "decisions", "delete", "--all")
	c.expect(t, 0, says("No active decisions"), "decisions", "list")
}

// TestCscliImport: a table of decisions, as CSV and as JSON.
func TestCscliImport(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := newCscli(t, s, s.credentials())
	dir := t.TempDir()
	table, list := filepath.Join(dir, "table.csv"), filepath.Join(dir, "list.json")
	mustWrite(t, table, "duration,value,reason\n24h,192.0.2.50,list-a\n1h,2001:db8::50,list-b\n")
	mustWrite(t, list, `[{"duration":"4h","scope":"ip","type":"captcha","value":"192.0.2.60","reason":"list-c"},{"value":"192.0.2.61"}]`)
	c.expect(t, 0, says("2 decisions successfully imported|Imported 2 decisions"), "decisions", "import", "-i", table)
	c.expect(t, 0, says("2 decisions successfully imported|Imported 2 decisions"), "decisions", "import", "-i", list)
	c.expect(t, 1, says("no such file"), "decisions", "import", "-i", filepath.Join(dir, "nothing.csv"))

	for ip, want := range map[string]string{
		"192.0.2.50":   "cscli-import Ip ban list-a " + almost(24*time.Hour),
		"2001:db8::50": "cscli-import Ip ban list-b " + almost(time.Hour),
		"192.0.2.60":   "cscli-import Ip captcha list-c " + almost(4*time.Hour),
		"192.0.2.61":   "cscli-import Ip ban manual " + almost(4*time.Hour),
	} {
		ds, err := s.decisions(ip)
		if err != nil || len(ds) != 1 {
			t.Errorf("imported %s: %v, %v", ip, ds, err)
			continue
		}
		d := ds[0]
		got := strings.Join([]string{d.Origin, d.Scope, d.Type, d.Scenario, d.Duration}, " ")
		if !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("imported %s is %q, want %q", ip, got, want)
		}
	}
	c.expectValues(t, []string{"192.0.2.60", "192.0.2.61", "192.0.2.50", "2001:db8::50"}, "--origin", "cscli-import")
	c.expect(t, 0, says(`"4 decision\(s\) deleted"`), "decisions", "delete", "--all")
}

// TestCscliAlerts: the alerts behind decisions can be listed, inspected and deleted.
func TestCscliAlerts(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := newCscli(t, s, s.credentials())
	c.expect(t, 0, says("No active alerts"), "alerts", "list")
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.1", "-R", "first")
	c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.2", "-R", "second")
	c.expect(t, 0, nil, "decisions", "add", "-r", "198.51.100.0/24", "-R", "third")

	c.expect(t, 0, says(`\| Range:198\.51\.100\.0/24 +\| third `, `\| Ip:192\.0\.2\.1 +\| first .*\| ban:1 `), "alerts", "list")
	c.expect(t, 0, says(`(?m)^id,scope,value,reason,country,as,decisions,created_at`,
		`(?m)^\d+,Ip,192\.0\.2\.2,second,,,ban:1,`), "alerts", "list", "-o", "raw")
	all := alertsOf(t, c.expect(t, 0, nil, "alerts", "list", "-o", "json"))
	if len(all) != 3 || all[2].Scenario != "first" || all[2].Machine != machineName || all[2].Count != 1 {
		t.Fatalf("alerts list gives %+v", all)
	}
	for filter, want := range map[string]int{
		"-i 192.0.2.1": 1, "-s second": 1, "-i 198.51.100.7": 1, "--scope Range": 1, "--scope ip": 2,
		"--limit 2": 2, "--type captcha": 0, "--since 1h": 3, "--until 1h": 0,
	} {
		args := append([]string{"alerts", "list", "-o", "json"}, strings.Fields(filter)...)
		if got := alertsOf(t, c.expect(t, 0, nil, args...)); len(got) != want {
			t.Errorf("alerts list %s gives %d alerts, want %d", filter, len(got), want)
		}
	}

	first := strconv.FormatInt(all[2].ID, 10)
	c.expect(t, 0, says(` - ID +: `+first+`\n`, ` - Machine +: `+machineName, ` - Reason +: first\n`,
		` - Scope:Value ?: Ip:192\.0\.2\.1\n`, `\| Ip:192\.0\.2\.1 +\| ban +\| `+almost(4*time.Hour)), "alerts", "inspect", first)
	var one alert
	r := c.expect(t, 0, nil, "alerts", "inspect", "-o", "json", first)
	if err := json.Unmarshal([]byte(r.stdout), &one); err != nil || one.Scenario != "first" || len(one.Decisions) != 1 {
		t.Errorf("alerts inspect: %v: %s", err, r)
	}
	c.expect(t, 1, says("can't find alert with id 999999: API error: object not found"), "alerts", "inspect", "999999")

	c.expect(t, 0, says(`"1 alert\(s\) deleted"`), "alerts", "delete", "--id", first)
	c.expect(t, 0, says(`"1 alert\(s\) deleted"`), "alerts", "delete", "-i", "192.0.2.2")
	if ds, err := s.decisions("192.0.2.1"); err != nil || len(ds) != 0 {
		t.Errorf("the decision outlives its alert: %v, %v", ds, err)
	}
	c.expect(t, 0, says(`"1 alert\(s\) deleted"`), "alerts", "delete", "--all")
	c.expect(t, 0, says("No active alerts"), "alerts", "list")
}
