package wire

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"lapid/engine"
)

// entryBody is an entry of a report with what all need, and more.
func entryBody(more string) string {
	return `{"version":"v1","utc_startup_timestamp":1700000000` + more + `}`
}

func bouncerBody(more string) string { return `{"remediation_components":[` + entryBody(more) + `]}` }

func processorBody(more string) string {
	return `{"log_processors":[` + entryBody(`,"datasources":{},"hub_items":{}`+more) + `]}`
}

func TestBouncerUsage(t *testing.T) {
	t.Parallel()
	const meta = `"meta":{"window_size_seconds":0,"utc_now_timestamp":1700000900}`
	const metaOut = `"meta":{"utc_now_timestamp":1700000900,"window_size_seconds":0}`
	for more, want := range map[string]engine.Usage{
		``: {},
		`,"type":"t","name":"x","last_pull":1700000000,"metrics":null,"os":null,"feature_flags":null`: {Type: "t"},
		`,"feature_flags":["a","b"],"os":{"name":"Debian","version":"12"}`:                            {FeatureFlags: []string{"a", "b"}, OS: engine.OS{Name: "Debian", Version: "12"}, HasOS: true},
		`,"feature_flags":{},"metrics":{}`:                                                            {},
		`,"feature_flags":{ },"metrics":[]`:                                                           {Payload: []byte(`[]`)},
		`,"metrics":[null,{"items":[null],` + meta + `},null]`:                                        {Payload: []byte(`[{"items":[],` + metaOut + `}]`)},
		`,"metrics":[{"items":{},` + meta + `}]`:                                                      {Payload: []byte(`[{"items":[],` + metaOut + `}]`)},
		`,"OS":{"Family":"linux","name":"","version":""},"x":{},"datasources":7`:                      {OS: engine.OS{Family: "linux"}, HasOS: true},
		`,"metrics":[{` + meta + `,"items":[{"value":1.50,"unit":"byte","name":"<p>"},{"name":"d","unit":"ip","value":-1e3,"labels":{"z":"é","a":null,"z":"last"}}]}]`: {Payload: []byte(
			`[{"items":[{"name":"\u003cp\u003e","unit":"byte","value":1.50},{"labels":{"a":"","z":"last"},"name":"d","unit":"ip","value":-1e3}],` + metaOut + `}]`)},
		`,"metrics":[{"items":[],` + meta + `},{"items":[{"name":"a","unit":"b","value":0,"labels":{}}],"items":[],` + meta + `}]`: {Payload: []byte(
			`[{"items":[],` + metaOut + `},{"items":[],` + metaOut + `}]`)},
	} {
		want.Kind, want.Version = engine.UsageBouncer, "v1"
		got, err := ParseUsage([]byte(bouncerBody(more)), engine.UsageBouncer)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: error %v\ngot  %+v\nwant %+v", more, err, got, want)
		}
		if err == nil && got.Payload != nil && !json.Valid(got.Payload) {
			t.Errorf("not JSON: %s", got.Payload)
		}
	}
}

// What a report says is bounded in every place: names, names of labels and their
// number.
func TestUsageOfStrangeSizes(t *testing.T) {
	t.Parallel()
	const meta = `"meta":{"window_size_seconds":0,"utc_now_timestamp":1700000900}`
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `%s"l%d":"v"`, strings.Repeat(",", min(i, 1)), i)
		}
		return b.String()
	}
	items := func(text string) string { return bouncerBody(`,"metrics":[{"items":[` + text + `],` + meta + `}]`) }
	item := `{"name":"n","unit":"u","value":1,"labels":{`
	huge := strings.Repeat("x", 100_000)
	for body, want := range map[string]string{
		items(`{"name":"` + huge + `","unit":"u","value":1}`): "items.0.name in body should be at most 255 chars long",
		items(item + `"` + huge + `":"v"}}`):                  "items.0.labels: a name in body should be at most 255 chars long",
		items(item + many(20_000) + `}}`):                     "items.0.labels in body should have at most 64 properties",
		items(item + many(65) + `}}`):                         "items.0.labels in body should have at most 64 properties",
		items(item + many(64) + `}}`):                         "",
		bouncerBody(`,"name":"` + huge + `"`):                 "remediation_components.0.name in body should be at most 1024 bytes long",
		bouncerBody(`,"name":"` + huge[:1024] + `"`):          "",
		`{"remediation_components":[null]}`:                   "json: cannot unmarshal null",
	} {
		kind := engine.UsageBouncer
		if strings.Contains(body, "log_processors") {
			kind = engine.UsageMachine
		}
		_, err := ParseUsage([]byte(body), kind)
		if got := fmt.Sprint(err); (err != nil || want != "") && !strings.Contains(got, want) || len(got) > 1000 {
			t.Errorf("%.80s: %.300s, want %q", body, got, want)
		}
	}
}

func TestMachineUsage(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]engine.Usage{
		``: {HubItems: map[string][]engine.HubItem{}},
		`,"datasources":{"file":2,"journalctl":1,"file":3,"syslog":null},"name":"m","last_push":1,"last_update":2,"type":7`: {
			DataSources: []engine.Count{{Name: "file", N: 3}, {Name: "journalctl", N: 1}, {Name: "syslog"}},
			HubItems:    map[string][]engine.HubItem{},
		},
		`,"hub_items":{"scenarios":[{"name":"a/b","version":"0.1","status":"official","x":1},{}],"parsers":[],"collections":{}}`: {
			HubItems: map[string][]engine.HubItem{"scenarios": {{Name: "a/b", Version: "0.1", Status: "official"}, {}}, "parsers": nil, "collections": nil},
		},
	} {
		want.Kind, want.Version = engine.UsageMachine, "v1"
		got, err := ParseUsage([]byte(processorBody(more)), engine.UsageMachine)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: error %v\ngot  %+v\nwant %+v", more, err, got, want)
		}
	}
}

// TestUsageMissing holds the order and the nesting of what is missing, beyond
// the recorded bodies.
func TestUsageMissing(t *testing.T) {
	t.Parallel()
	const header = "validation failure list:\n"
	long := strings.Repeat("x", 256)
	for body, want := range map[string]string{
		`{"lapi":{}}`: header + "lapi.utc_startup_timestamp in body is required\nlapi.version in body is required",
		`{"remediation_components":[{"version":"v"}],"log_processors":[],"lapi":{"utc_startup_timestamp":1}}`: header +
			"lapi.version in body is required\n" + header + header + "remediation_components.0.utc_startup_timestamp in body is required",
		processorBody(`,"hub_items":null,"datasources":null`): header +
			"log_processors.0.datasources in body is required\nlog_processors.0.hub_items in body is required",
		processorBody(`,"hub_items":{"a":[],"b":null,"c":null},"version":null`): header +
			"log_processors.0.version in body is required\nlog_processors.0.hub_items.b in body is required",
		bouncerBody(`,"os":{"family":"` + long + `","version":"` + long + `"},"utc_startup_timestamp":null`): header +
			"remediation_components.0.os.family in body should be at most 255 chars long\n" +
			"remediation_components.0.os.name in body is required\n" +
			"remediation_components.0.os.version in body should be at most 255 chars long\n" +
			"remediation_components.0.utc_startup_timestamp in body is required",
		bouncerBody(`,"metrics":[{"items":[]},{"meta":{}}]`): header + "remediation_components.0.metrics.0.meta in body is required",
		bouncerBody(`,"metrics":[{"items":null,"meta":{"utc_now_timestamp":1}}]`): header +
			"remediation_components.0.metrics.0.items in body is required\n" + header +
			"remediation_components.0.metrics.0.meta.window_size_seconds in body is required",
		bouncerBody(`,"metrics":[{"meta":null,"items":[{"name":"` + long + `","unit":"` + long + `","labels":{"b":"` + long + `","a":"` + long + `"}},{}]}]`): header +
			"remediation_components.0.metrics.0.items.0.labels.a in body should be at most 255 chars long\n" +
			"remediation_components.0.metrics.0.items.0.name in body should be at most 255 chars long\n" +
			"remediation_components.0.metrics.0.items.0.unit in body should be at most 255 chars long\n" +
			"remediation_components.0.metrics.0.items.0.value in body is required\n" +
			"remediation_components.0.metrics.0.meta in body is required",
	} {
		_, err := ParseUsage([]byte(body), engine.UsageBouncer)
		wantError(t, body, err, KindMissing, want)
	}
	short := strings.Repeat("é", 255) // more bytes than characters
	if _, err := ParseUsage([]byte(bouncerBody(`,"version":"`+short+`","metrics":[{"meta":{"utc_now_timestamp":1,"window_size_seconds":1},`+
		`"items":[{"name":"`+short+`","unit":"u","value":1}]}]`)), engine.UsageBouncer); err != nil {
		t.Error(err)
	}
}

func TestUsageKinds(t *testing.T) {
	t.Parallel()
	entry, processor := entryBody(``), entryBody(`,"datasources":{},"hub_items":{}`)
	for body, want := range map[string][2]string{ // for a bouncer and for a machine
		`null`: {"Missing remediation component data", "Missing log processor data"},
		`{"remediation_components":{},"log_processors":null}`: {"Missing remediation component data", "Missing log processor data"},
		`{"remediation_components":[` + entry + `],"log_processors":[` + processor + `,` + processor + `]}`: {
			"Payload has more than one log processor", "Payload has more than one log processor",
		},
		`{"remediation_components":[` + entry + `,` + entry + `],"log_processors":[` + processor + `]}`: {
			"Payload has more than one remediation component", "Payload has more than one remediation component",
		},
		`{"remediation_components":[` + entry + `,` + entry + `],"remediation_components":[` + entry + `]}`: {"", "Missing log processor data"},
	} {
		for i, kind := range []engine.UsageKind{engine.UsageBouncer, engine.UsageMachine} {
			_, err := ParseUsage([]byte(body), kind)
			if want[i] != "" {
				wantError(t, body, err, KindWrongUsage, want[i])
			} else if err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
	for body, want := range map[string]string{
		`{"remediation_components":[null]}`:                     "json: cannot unmarshal null into Go struct field AllMetrics.remediation_components of type models.RemediationComponentsMetrics",
		bouncerBody(`,"feature_flags":{"a":1}`):                 "json: cannot unmarshal object into Go struct field RemediationComponentsMetrics.feature_flags of type []string",
		bouncerBody(`,"last_pull":"x"`):                         "json: cannot unmarshal string into Go struct field RemediationComponentsMetrics.last_pull of type int64",
		bouncerBody(`,"metrics":[{"items":[{"value":1e999}]}]`): "json: cannot unmarshal number 1e999 into Go struct field MetricsDetailItem.value of type float64",
		bouncerBody(`,"metrics":[{"items":[{"labels":[]}]}]`):   "json: cannot unmarshal array into Go struct field MetricsDetailItem.labels of type map[string]string",
		`[]`: "json: cannot unmarshal array into Go value of type models.AllMetrics",
	} {
		_, err := ParseUsage([]byte(body), engine.UsageBouncer)
		wantError(t, body, err, KindSyntax, want)
	}
}

// FuzzParseUsage reads reports for both kinds of sender: syntax is judged by
// the standard library, and what is kept must be JSON again.
func FuzzParseUsage(f *testing.F) {
	for _, b := range load[recordedBody](f, "bodies.json") {
		if b.Path == "/v1/usage-metrics" {
			f.Add([]byte(b.Body))
		}
	}
	f.Add([]byte(bouncerBody(`,"feature_flags":{},"metrics":[{"items":{},"meta":{"window_size_seconds":0,"utc_now_timestamp":1}}]`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		var any any
		broken := json.NewDecoder(strings.NewReader(string(body))).Decode(&any) != nil
		for _, kind := range []engine.UsageKind{engine.UsageBouncer, engine.UsageMachine} {
			u, err := ParseUsage(body, kind)
			switch kindOf(err) {
			case 0:
				if u.Payload != nil && !json.Valid(u.Payload) {
					t.Fatalf("not JSON: %s\n%q", u.Payload, body)
				}
				if again, err := ParseUsage([]byte(`{"lapi":null,"remediation_components":[{"version":"","utc_startup_timestamp":0,"metrics":`+
					payloadOr(u.Payload)+`}]}`), engine.UsageBouncer); err != nil || string(again.Payload) != string(u.Payload) {
					t.Fatalf("read again: %v\n%q", err, u.Payload)
				}
			case KindSyntax:
			case KindMissing, KindWrongUsage:
				if u != nil {
					t.Fatalf("%+v beside %v", u, err)
				}
			default:
				t.Fatalf("error %v\n%q", err, body)
			}
			if broken && kindOf(err) != KindSyntax {
				t.Fatalf("not JSON, but error %v\n%q", err, body)
			}
		}
	})
}

func payloadOr(p []byte) string {
	if p == nil {
		return "null"
	}
	return string(p)
}
