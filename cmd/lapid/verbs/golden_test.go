package verbs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

// golden reads what the reference's tool printed.
func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/cscli", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// drawn is what a verb writes in one format.
func drawn(t *testing.T, output string, verb func(*Terminal) error) string {
	t.Helper()
	var out bytes.Buffer
	term := &Terminal{Out: &out, Err: &out, Output: output}
	if err := verb(term); err != nil {
		t.Fatal(err)
	}
	return out.String()
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

func sampleAlerts(t *testing.T, name string) []*admin.Alert {
	t.Helper()
	var alerts []*admin.Alert
	if err := json.Unmarshal([]byte(golden(t, name)), &alerts); err != nil {
		t.Fatal(err)
	}
	return alerts
}

func TestGoldenAlerts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, output string
		machines     bool
		alerts       string
	}{
		{"alerts_list.json", jsonWords, false, "alerts_list.json"},
		{"alerts_list.csv", raw, false, "alerts_list.json"},
		{"alerts_list.txt", human, false, "alerts_list.json"},
		{"alerts_list_all.csv", raw, true, "decisions_list_all.json"},
		{"alerts_list_all.txt", human, false, "decisions_list_all.json"},
	} {
		alerts := sampleAlerts(t, c.alerts)
		if c.alerts == "decisions_list_all.json" { // it leaves out the alert without a decision
			for _, a := range sampleAlerts(t, "alerts_list.json") {
				if a.ID == 4 {
					alerts = slices.Insert(alerts, 4, a)
				}
			}
		}
		got := drawn(t, c.output, func(term *Terminal) error { return showAlerts(term, heldParts(alerts), c.machines) })
		same(t, c.file, got, golden(t, c.file))
	}
}

func TestGoldenDecisions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, output string
		machines     bool
		alerts       string
	}{
		{"decisions_list.json", jsonWords, false, "decisions_list.json"},
		{"decisions_list.csv", raw, false, "decisions_list.json"},
		{"decisions_list.txt", human, false, "decisions_list.json"},
		{"decisions_list_machine.csv", raw, true, "decisions_list.json"},
		{"decisions_list_all.csv", raw, false, "decisions_list_all.json"},
		{"decisions_list_all.json", jsonWords, false, "decisions_list_all.json"},
	} {
		got := drawn(t, c.output, func(term *Terminal) error {
			return showDecisions(term, heldParts(sampleAlerts(t, c.alerts)), c.machines)
		})
		same(t, c.file, got, golden(t, c.file))
	}
}

func TestGoldenAlertInspect(t *testing.T) {
	t.Parallel()
	var a admin.Alert
	if err := json.Unmarshal([]byte(golden(t, "alerts_inspect.json")), &a); err != nil {
		t.Fatal(err)
	}
	got := drawn(t, jsonWords, func(term *Terminal) error { return term.json(&a, "  ") })
	same(t, "alerts_inspect.json", got, golden(t, "alerts_inspect.json"))
	same(t, "alerts_inspect.yaml", alertYAML(&a), golden(t, "alerts_inspect.yaml"))
	got = drawn(t, human, func(term *Terminal) error {
		showAlert(term, &admin.AlertShown{Alert: &a, Running: []uint64{1}}, true)
		return nil
	})
	same(t, "alerts_inspect_details.txt", got, golden(t, "alerts_inspect_details.txt"))
}

// when gives a moment of a sample in Unix nanoseconds.
func when(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixNano()
}

func sampleOS(text string) admin.OS {
	name, version, _ := strings.Cut(text, "/")
	if name == "?" {
		name = ""
	}
	return admin.OS{Name: name, Version: version}
}

func sampleMachine(o machineObject) admin.Machine {
	m := admin.Machine{
		ID: o.ID, AuthType: o.AuthType, Validated: o.Validated, IP: o.IP, Version: o.Version, OS: sampleOS(o.OS),
		FeatureFlags: o.FeatureFlags, CreatedAt: when(o.CreatedAt), UpdatedAt: when(o.UpdatedAt),
		LastPush: when(o.LastPush), LastHeartbeat: when(o.LastHeartbeat),
	}
	for _, name := range sortedKeys(o.DataSources) {
		m.DataSources = append(m.DataSources, admin.Count{Name: name, N: o.DataSources[name]})
	}
	return m
}

func TestGoldenMachines(t *testing.T) {
	t.Parallel()
	var objects []machineObject
	if err := json.Unmarshal([]byte(golden(t, "machines_list.json")), &objects); err != nil {
		t.Fatal(err)
	}
	list := &admin.Machines{}
	for _, o := range objects {
		list.Machines = append(list.Machines, sampleMachine(o))
	}
	list.Now = list.Machines[0].LastHeartbeat + int64(2500*time.Millisecond)
	for file, output := range map[string]string{"machines_list.json": jsonWords, "machines_list.csv": raw, "machines_list.txt": human} {
		same(t, file, drawn(t, output, func(term *Terminal) error { return showMachines(term, list) }), golden(t, file))
	}
}

func TestGoldenMachineInspect(t *testing.T) {
	t.Parallel()
	var o struct {
		machineObject
		Metrics json.RawMessage `json:"metrics"`
	}
	if err := json.Unmarshal([]byte(golden(t, "machines_inspect.json")), &o); err != nil {
		t.Fatal(err)
	}
	m := sampleMachine(o.machineObject)
	if err := json.Unmarshal([]byte(`{"collections":[{"Name":"crowdsecurity/sshd","Version":"0.6","Status":"official"}],
		"scenarios":[{"Name":"crowdsecurity/ssh-bf","Version":"0.3","Status":"official"}]}`), &m.HubItems); err != nil {
		t.Fatal(err)
	}
	labels := `"labels":{"source":"/var/log/auth.log","datasource_type":"file","acquis_type":"syslog"`
	usage, err := machineUsageOf(&admin.UsageReport{Name: "machine-a", Payload: []byte(`[{"items":[
		{"name":"read","unit":"line","value":500,` + labels + `}},
		{"name":"parsed","unit":"line","value":480,` + labels + `}},
		{"name":"unparsed","unit":"line","value":20,` + labels + `}},
		{"name":"parsed","unit":"line","value":480,` + labels + `,"parser":"crowdsecurity/sshd-logs","stage":"s01-parse"}}],
		"meta":{"window_size_seconds":1800,"utc_now_timestamp":1795308054}}]`)})
	if err != nil {
		t.Fatal(err)
	}
	for file, output := range map[string]string{"machines_inspect.json": jsonWords, "machines_inspect.txt": human} {
		same(t, file, drawn(t, output, func(term *Terminal) error { return showMachine(term, &m, usage) }), golden(t, file))
	}
	got := drawn(t, jsonWords, func(term *Terminal) error { return showHub(term, &m) })
	same(t, "machines_inspect_hub.json", got, golden(t, "machines_inspect_hub.json"))
}

func sampleBouncer(o bouncerObject) admin.Bouncer {
	ip, _ := netip.ParseAddr(o.IP)
	return admin.Bouncer{
		Name: o.Name, AuthType: o.AuthType, IP: ip, Type: o.Type, Version: o.Version, OS: sampleOS(o.OS),
		FeatureFlags: o.FeatureFlags, AutoCreated: o.AutoCreated, CreatedAt: when(o.CreatedAt),
		UpdatedAt: when(o.UpdatedAt), LastPull: when(o.LastPull), Pulled: o.LastPull != nil, Cursor: 5, Behind: 2,
		Streams: o.LastPull != nil, HasAcknowledged: o.LastPull != nil, Acknowledged: 4, Lag: 90e9, LagRevisions: 3, Expected: 12, HasReported: o.LastPull != nil, Reported: 11,
	}
}

// oursInJSON matches what we say more than the reference about a bouncer, in JSON.
var oursInJSON = regexp.MustCompile(`,\n *"cursor": [0-9]+,\n *"behind": [0-9]+(,\n *"hold_advised": "25s")?(,\n *"(acknowledged|lag_revisions|lag_seconds|expected_decisions|reported_decisions)": [0-9.]+)*`)

// TestGoldenBouncers: the table has two columns more than the reference's, at
// the end, and what is shown of one bouncer as many rows.
func TestGoldenBouncers(t *testing.T) {
	t.Parallel()
	var objects []bouncerObject
	if err := json.Unmarshal([]byte(golden(t, "bouncers_list.json")), &objects); err != nil {
		t.Fatal(err)
	}
	list := &admin.Bouncers{}
	for _, o := range objects {
		list.Bouncers = append(list.Bouncers, sampleBouncer(o))
	}
	for file, output := range map[string]string{"bouncers_list.json": jsonWords, "bouncers_list.csv": raw} {
		same(t, file, oursInJSON.ReplaceAllString(drawn(t, output, func(term *Terminal) error { return showBouncers(term, list) }), ""), golden(t, file))
	}
	object := drawn(t, jsonWords, func(term *Terminal) error { return showBouncers(term, list) })
	if !strings.Contains(object, ",\n    \"cursor\": 5,\n    \"behind\": 2,\n    \"acknowledged\": 4,\n    \"lag_revisions\": 3,\n    \"lag_seconds\": 90,\n    \"expected_decisions\": 12,\n    \"reported_decisions\": 11\n") {
		t.Errorf("no cursor and lag in %s", object)
	}
	list.Bouncers[1].Sight, list.Bouncers[1].Hold = &engine.Sight{Types: []string{"ban"}}, 25_000
	got := strings.Split(drawn(t, human, func(term *Terminal) error { return showBouncers(term, list) }), "\n")
	for i, line := range strings.Split(golden(t, "bouncers_list.txt"), "\n") {
		if !strings.HasPrefix(got[i], line) {
			t.Errorf("bouncers_list.txt line %d:\n%s\nwant it to begin with\n%s", i+1, got[i], line)
		}
	}
	for i, end := range map[int]string{1: " Cursor  Behind  Acknowledged  Lag    Holds     Sees", 3: " 5       2       4             1m30s  11 of 12", 4: " a part, held 25s"} {
		got[i] = strings.TrimRight(got[i], " ")
		if strings.HasSuffix(got[i], end) {
			continue
		}
		t.Errorf("the last columns are not cursor, lag, what it holds and what it sees:\n%s", strings.Join(got, "\n"))
	}
	goldenBouncer(t, list.Bouncers[0])
}

func goldenBouncer(t *testing.T, b admin.Bouncer) {
	t.Helper()
	show := func(term *Terminal) error { return showBouncer(term, &b) }
	same(t, "bouncers_inspect.json", oursInJSON.ReplaceAllString(drawn(t, jsonWords, show), ""), golden(t, "bouncers_inspect.json"))
	lines := strings.Split(strings.TrimRight(golden(t, "bouncers_inspect.txt"), "\n"), "\n")
	row := func(name, value string) string { return fmt.Sprintf(" %-13s  %-*s ", name, len(lines[0])-17, value) }
	ours := slices.Insert(slices.Clone(lines), len(lines)-1, row("Cursor", "5"), row("Behind", "2"), row("Acknowledged", "4"), row("Lag", "1m30s (3 revisions)"), row("Holds", "11 of 12 decisions"),
		row("Hold", "if it asks"), row("Hold Advised", "25s"), row("Sees", "everything"))
	same(t, "bouncers_inspect.txt", drawn(t, human, show), strings.Join(ours, "\n"))
	b.Pulled, b.Streams, b.HasAcknowledged, b.HasReported = false, false, false, false
	ours = slices.Insert(lines, len(lines)-1, row("Cursor", ""), row("Behind", ""), row("Acknowledged", ""), row("Lag", ""), row("Holds", ""),
		row("Hold", "if it asks"), row("Hold Advised", "25s"), row("Sees", "everything"))
	same(t, "bouncers_inspect.txt of one that never asked", drawn(t, human, show), strings.Join(ours, "\n"))
}

func TestGoldenAllowlists(t *testing.T) {
	t.Parallel()
	var objects []allowlistObject
	if err := json.Unmarshal([]byte(golden(t, "allowlists_list.json")), &objects); err != nil {
		t.Fatal(err)
	}
	at := func(text string) int64 {
		if text == noExpiration {
			return 0
		}
		moment, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return moment.UnixNano()
	}
	list := &admin.Allowlists{}
	for _, o := range objects {
		l := admin.Allowlist{Name: o.Name, Description: o.Description, CreatedAt: at(o.CreatedAt), UpdatedAt: at(o.UpdatedAt)}
		for _, i := range o.Items {
			l.Items = append(l.Items, admin.AllowlistItem{Value: i.Value, Comment: i.Description, CreatedAt: at(i.CreatedAt), ExpiresAt: at(i.Expiration)})
		}
		list.Allowlists = append(list.Allowlists, l)
	}
	for suffix, output := range map[string]string{"json": jsonWords, "csv": raw, "txt": human} {
		file := "allowlists_list." + suffix
		same(t, file, drawn(t, output, func(term *Terminal) error { return showAllowlists(term, list) }), golden(t, file))
		file = "allowlists_inspect." + suffix
		same(t, file, drawn(t, output, func(term *Terminal) error { return showAllowlist(term, &list.Allowlists[0]) }), golden(t, file))
	}
}

// TestShownConsoleAllowlist: a list of the console is told as one in every format.
func TestShownConsoleAllowlist(t *testing.T) {
	t.Parallel()
	l := admin.Allowlist{Name: "c", Items: []admin.AllowlistItem{{Value: "::1"}}, ConsoleID: "7", FromConsole: true}
	for output, says := range map[string]string{jsonWords: `"allowlist_id": "7",`, raw: ",true", human: "yes"} {
		for what, show := range map[string]func(*Terminal) error{
			"list": func(term *Terminal) error {
				return showAllowlists(term, &admin.Allowlists{Allowlists: []admin.Allowlist{l}})
			},
			"inspect": func(term *Terminal) error { return showAllowlist(term, &l) },
		} {
			got := drawn(t, output, show)
			if !strings.Contains(got, says) || output == jsonWords && !strings.Contains(got, `"console_managed": true`) {
				t.Errorf("%s -o %s says\n%s", what, output, got)
			}
		}
	}
}

// digits hides figures: the metrics were read at another moment than the table.
var digits = regexp.MustCompile(`[0-9]+ `)

// TestGoldenMetrics compares tables line by line in any order: the reference's
// order of rows is one of chance.
func TestGoldenMetrics(t *testing.T) {
	t.Parallel()
	samples, err := parseSamples(strings.NewReader(golden(t, "metrics_full.txt")))
	if err != nil {
		t.Fatal(err)
	}
	var bouncers struct {
		Bouncers map[string]map[string]map[string]map[string]number
	}
	if err := json.Unmarshal([]byte(golden(t, "metrics_show_bouncers.json")), &bouncers); err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 11, 22, 1, 3, 41, 5e8, time.UTC).UnixNano()
	fw := bouncerUsage{name: "fw-edge", since: since, figures: bouncers.Bouncers["fw-edge"]}
	got := drawn(t, human, func(term *Terminal) error {
		for _, s := range metricSections {
			if s.name == "bouncers" {
				term.show(fw.table(false))
			} else if table := sectionTable(s.name, s.title, samples, false); table != nil {
				term.show(table)
			}
		}
		return nil
	})
	rows := func(text string) []string {
		lines := strings.Split(strings.TrimSpace(digits.ReplaceAllString(text, "N ")), "\n")
		slices.Sort(lines)
		return lines
	}
	want := rows(golden(t, "metrics.txt"))
	for i, line := range rows(got) {
		if i >= len(want) || line != want[i] {
			t.Fatalf("metrics.txt:\n%s\nwant\n%s\nfirst difference: %s", got, golden(t, "metrics.txt"), line)
		}
	}
	object := drawn(t, jsonWords, func(term *Terminal) error {
		return showMetricsJSON(term, []string{"bouncers"}, nil, []bouncerUsage{fw})
	})
	same(t, "metrics_show_bouncers.json", object, golden(t, "metrics_show_bouncers.json"))
}

// TestNoExposition: what is no exposition of metrics, or ends in the middle of one,
// is an error and no half of the figures.
func TestNoExposition(t *testing.T) {
	t.Parallel()
	whole := "# TYPE a counter\na{reason=\"a \\\"b\\\"\\n\\\\\"} 2\nb 3.5\n"
	samples, err := parseSamples(strings.NewReader(whole))
	if err != nil || len(samples) != 2 || samples[0].labels["reason"] != "a \"b\"\n\\" || samples[0].value != 2 || samples[1].value != 3.5 {
		t.Errorf("%v, %v", samples, err)
	}
	for _, text := range []string{"<html><body>login</body></html>\n", whole[:20], whole[:len(whole)-1], "a{reason=\"x\"} many\n"} {
		if samples, err := parseSamples(strings.NewReader(text)); err == nil || samples != nil {
			t.Errorf("%q: %v", text, samples)
		}
	}
}

// TestGoldenMetricsObject: the nested object of the Local API's sections has
// the keys of the sample, section by section.
func TestGoldenMetricsObject(t *testing.T) {
	t.Parallel()
	samples, err := parseSamples(strings.NewReader(golden(t, "metrics_full.txt")))
	if err != nil {
		t.Fatal(err)
	}
	got := drawn(t, jsonWords, func(term *Terminal) error { return showMetricsJSON(term, metricGroups["lapi"], samples, nil) })
	hide := regexp.MustCompile(`: [0-9]+`)
	same(t, "metrics_show_lapi.json", hide.ReplaceAllString(got, ": N"), hide.ReplaceAllString(golden(t, "metrics_show_lapi.json"), ": N"))
}
