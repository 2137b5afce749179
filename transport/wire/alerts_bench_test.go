package wire

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	goccy "github.com/goccy/go-json"
)

// BenchmarkParseAlerts compares the reader with the two libraries decoding
// into the slow twin's structures (and doing nothing else with them).
func BenchmarkParseAlerts(b *testing.B) {
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"one decision", benchAlert(1, 0)},
		{"log processor", benchAlert(0, 8)},
		{"import of 10000", benchAlert(10000, 0)},
	} {
		b.Run(c.name+"/reader", func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseAlerts(c.body, testNow); err != nil {
					b.Fatal(err)
				}
			}
		})
		for name, decode := range map[string]func([]byte, any) error{"encoding/json": json.Unmarshal, "goccy": goccy.Unmarshal} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(c.body)))
				b.ReportAllocs()
				for b.Loop() {
					var list []*plainAlert
					if err := decode(c.body, &list); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// plainAlert is slowAlert with ordinary lists.
type plainAlert struct {
	slowAlert
	Decisions []*slowDecision `json:"decisions"`
	Events    []*struct {
		Meta      []*slowMeta `json:"meta"`
		Timestamp *string     `json:"timestamp"`
	} `json:"events"`
	Labels []string    `json:"labels"`
	Meta   []*slowMeta `json:"meta"`
}

// benchAlert is the body of one alert as the Go clients write it.
func benchAlert(decisions, events int) []byte {
	var ds, es []string
	for i := range decisions {
		ds = append(ds, fmt.Sprintf(`{"duration":"4h","origin":"cscli-import","scenario":"manual 'ban'","scope":"ip",`+
			`"simulated":false,"type":"ban","value":"10.%d.%d.%d"}`, i>>16, i>>8&255, i&255))
	}
	for i := range events {
		es = append(es, fmt.Sprintf(`{"meta":[{"key":"ASNNumber","value":"64500"},{"key":"ASNOrg","value":"Example"},`+
			`{"key":"IsInEU","value":"false"},{"key":"datasource_path","value":"/var/log/auth.log"},`+
			`{"key":"datasource_type","value":"file"},{"key":"log_type","value":"ssh_failed-auth"},`+
			`{"key":"machine","value":"host-%d"},{"key":"service","value":"ssh"},{"key":"source_ip","value":"192.0.2.7"},`+
			`{"key":"target_user","value":"root"},{"key":"timestamp","value":"2026-07-01T10:00:0%dZ"}],`+
			`"timestamp":"2026-07-01T10:00:0%dZ"}`, i, i, i))
	}
	return []byte(fmt.Sprintf(`[{"capacity":5,"created_at":"","decisions":[%s],"events":[%s],"events_count":6,`+
		`"id":0,"kind":"crowdsec","labels":null,"leakspeed":"10s","machine_id":"","message":"Ip 192.0.2.7 performed ssh-bf",`+
		`"meta":[{"key":"target_user","value":"[\"root\"]"}],"remediation":true,"scenario":"crowdsecurity/ssh-bf",`+
		`"scenario_hash":"9812a7f6","scenario_version":"0.3","simulated":false,"source":{"as_name":"Example",`+
		`"as_number":"64500","cn":"FR","ip":"192.0.2.7","latitude":48.8566,"longitude":2.3522,"range":"192.0.2.0/24",`+
		`"scope":"Ip","value":"192.0.2.7"},"start_at":"2026-07-01T10:00:00.123456789Z",`+
		`"stop_at":"2026-07-01T10:00:05.987654321Z","uuid":"5f0e8a6e-6d2b-4c57-9d54-6f1f2a0d7c11"}]`,
		strings.Join(ds, ","), strings.Join(es, ",")))
}
