package transport

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/transport/auth"
)

// usageReport is a body of usage metrics whose entry says more of its sender.
func usageReport(section, more string) string {
	return `{"` + section + `":[{"version":"1","utc_startup_timestamp":1,"os":{"name":"debian","version":"12"},"metrics":[]` + more + `}]}`
}

// What somebody says of himself is refused by name when it is too long, and
// nothing of it is stored.
func TestTooLongAtTheDoor(t *testing.T) {
	t.Parallel()
	bothWays(t, testTooLongAtTheDoor)
}

func testTooLongAtTheDoor(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	long, header := strings.Repeat("x", 1025), `{"message":"validation failure list:\n`
	flags := `,"feature_flags":[` + strings.TrimSuffix(strings.Repeat(`"flag",`, 65), ",") + `]`
	for more, want := range map[string]string{
		`,"type":"` + long + `"`:            "remediation_components.0.type in body should be at most 1024 bytes long",
		`,"feature_flags":["` + long + `"]`: "remediation_components.0.feature_flags in body should be at most 1024 bytes long",
		flags:                               "remediation_components.0.feature_flags in body should have at most 64 items",
	} {
		h.wants(h.ask("POST", "/v1/usage-metrics", usageReport("remediation_components", more), "X-Api-Key: "+testKey), 422, header+want+`"}`)
	}
	for more, want := range map[string]string{
		`,"datasources":{},"hub_items":{"parsers":[{"name":"` + long + `"}]}`: "log_processors.0.hub_items in body should be at most 1024 bytes long",
		`,"datasources":{"` + long + `":1},"hub_items":{}`:                    "log_processors.0.datasources in body should be at most 1024 bytes long",
		`,"datasources":{},"hub_items":{}` + flags:                            "log_processors.0.feature_flags in body should have at most 64 items",
	} {
		h.wants(h.asMachine("POST", "/v1/usage-metrics", usageReport("log_processors", more)), 422, header+want+`"}`)
	}
	h.wants(h.ask("POST", "/v1/watchers", `{"machine_id":"`+long+`","password":"p"}`), 422, header+`machine_id in body should be at most 1024 chars long"}`)
	if n := len(h.View().Bouncer("fw").Load().FeatureFlags); n != 0 {
		t.Errorf("%d feature flags are stored", n)
	}
	h.wants(h.ask("POST", "/v1/usage-metrics", usageReport("remediation_components", `,"feature_flags":["new"]`), "X-Api-Key: "+testKey), 201, "")
}

// Metrics beyond a bound are no error for whoever reports them: they are not
// kept, what the report says of its sender is.
func TestTooManyMetrics(t *testing.T) {
	t.Parallel()
	bothWays(t, testTooManyMetrics)
}

func testTooManyMetrics(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	item := `{"name":"dropped","unit":"byte","value":1,"labels":{"origin":"crowdsec"}},`
	body := strings.Replace(usageReport("remediation_components", `,"type":"fw"`), `"metrics":[]`,
		`"metrics":[{"meta":{"window_size_seconds":1,"utc_now_timestamp":1},"items":[`+strings.Repeat(item, 20_000)+item[:len(item)-1]+`]}]`, 1)
	h.wants(h.ask("POST", "/v1/usage-metrics", body, "X-Api-Key: "+testKey), 201, "")
	for u, err := range h.Usage(t.Context(), engine.UsageBouncer, "") {
		t.Errorf("%d bytes of metrics are kept: %v", len(u.Payload), err)
	}
	if b := h.View().Bouncer("fw").Load(); b.Type != "fw" {
		t.Errorf("the sender is %+v", b)
	}
	if !strings.Contains(h.scrape("/metrics"), `lapid_bounded_total{what="usage_report"} 1`) {
		t.Error("it is not counted")
	}
}

// A machine is let in however many scenarios it runs; of the list so much is
// kept as fits, whole names.
func TestManyScenarios(t *testing.T) {
	t.Parallel()
	bothWays(t, testManyScenarios)
}

func testManyScenarios(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("crowdsecurity/scenario-%05d", i))
	}
	_, err := h.gate.Login(t.Context(), auth.Credentials{MachineID: testMachine, Password: testPassword, Scenarios: names}, netip.MustParseAddr("127.0.0.1"), []byte("tester/1.0"))
	h.must(err)
	list := h.View().Machine(testMachine).Scenarios
	if kept := strings.Split(list, ","); len(list) > engine.LongestScenarios || len(kept) < 2000 || kept[len(kept)-1] != names[len(kept)-1] {
		t.Errorf("%d bytes are kept, the end is %q", len(list), list[max(len(list)-60, 0):])
	}
	if !strings.Contains(h.scrape("/metrics"), `lapid_bounded_total{what="scenarios"} 1`) {
		t.Error("it is not counted")
	}
}

// An alert is stored without the decision whose value is too long.
func TestDecisionTooLongInAnAlert(t *testing.T) {
	t.Parallel()
	bothWays(t, testDecisionTooLongInAnAlert)
}

func testDecisionTooLongInAnAlert(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	text := strings.Replace(h.alertText("192.0.2.7"), `"decisions":[`,
		`"decisions":[{"duration":"4h","origin":"cscli","scenario":"s","scope":"session","type":"ban","value":"`+strings.Repeat("v", 1<<20)+`"},`, 1)
	h.wants(h.asMachine("POST", "/v1/alerts", text), 201, `["1"]`)
	if _, ds, err := h.Alert(h.View(), 1); err != nil || len(ds) != 1 || ds[0].Value() != "192.0.2.7" {
		t.Errorf("%v, %v", ds, err)
	}
	if !strings.Contains(h.scrape("/metrics"), `lapid_bounded_total{what="decision"} 1`) {
		t.Error("it is not counted")
	}
}
