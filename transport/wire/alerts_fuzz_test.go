package wire

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzParseAlerts holds ParseAlerts against its slow twin, and what it read
// against the library once it is written down again.
func FuzzParseAlerts(f *testing.F) {
	for _, b := range load[recordedBody](f, "bodies.json") {
		if b.Path == "/v1/alerts" {
			f.Add([]byte(b.Body))
		}
	}
	for _, odd := range oddAlerts {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseAlerts(body, testNow)
		want, slowErr := slowParseAlerts(body, testNow)
		if deep(err) {
			return
		}
		if kindOf(err) != kindOf(slowErr) || kindOf(err) == KindMissing && err.Error() != slowErr.Error() {
			t.Fatalf("error %v, want %v\n%q", err, slowErr, body)
		}
		if len(got) != len(want) {
			t.Fatalf("%d alerts, want %d\n%q", len(got), len(want), body)
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("alert %d\ngot  %+v\nwant %+v\n%q", i, got[i], want[i], body)
			}
			if text := appendAlert(nil, got[i], nil, true, 0); !json.Valid(text) {
				t.Fatalf("not JSON: %s", text)
			}
		}
	})
}

// oddAlerts are bodies on which decoders are known to differ.
var oddAlerts = []string{
	`null`, ` [ ] x`, `nullx`, `[null]`, `[{}`, `[{},]`, `[,]`, `[{"a":}]`, `[{"a" 1}]`, `[{"capacity":01}]`,
	`[{"capacity":1.5}]`, `[{"capacity":1e2}]`, `[{"capacity":-0}]`, `[{"capacity":3000000000}]`, `[{"capacity":-}]`,
	`[{"CAPACITY":1,"\u0063apacity":null}]`, `[{"ſimulated":true}]`, `[{"Kind":"x","kind":null}]`,
	`[{"source":{"scope":"iP"},"source":{"value":"\ud800\udc00\ud800x\udc00"}}]`,
	`[{"source":{"scope":"ip","latitude":1e39}}]`, `[{"source":null,"source":{}}]`, `[{"source":{},"source":null}]`,
	"[{\"message\":\"\xff\xfe\xe2\x82\"}]", "[{\"message\":\"a\x01\"}]", `[{"message":"\x"}]`, `[{"message":"\u12"}]`,
	`[{"decisions":[{"value":null}]}]`, `[{"decisions":[{}],"decisions":[]}]`, `[{"decisions":{}}]`,
	`[{"labels":[null,"a"]}]`, `[{"meta":[null]}]`, `[{"events":[{"meta":[{}],"timestamp":"2020-01-01T00:00:00+05:00"}]}]`,
	`[{"id":"1"}]`, `[{"uuid":1}]`, `[{"created_at":{}}]`, `[tru]`, `[truе]`, `["a`, "\xef\xbb\xbf[]",
	`[{"unknown":[[[{"a":[1,2.5e-3,true,false,null,"\""]}]]]}]`,
}

func kindOf(err error) Kind {
	var e *Error
	if err == nil {
		return 0
	}
	if !errors.As(err, &e) {
		return 255
	}
	return e.Kind
}

// deep says that a body was refused for its depth: the library's limit is
// another.
func deep(err error) bool { return err != nil && strings.Contains(err.Error(), "max depth") }
