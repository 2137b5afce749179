package profile

import (
	"errors"
	"os"
	"fmt"
	"testing"
	"time"

	"lapid/engine"
)

// FuzzRules feeds any text as filter and duration_expr, about an alert with
// any texts: whatever compiles comes to an end, and fails only as ErrProfile.
func FuzzXRules(f *testing.F) {
	for _, line := range languageLines(f) {
		f.Add(line, "'4h'", "crowdsecurity/ssh-bf", "192.0.2.7")
		f.Add("true", line, "", "bob")
	}
	f.Fuzz(func(t *testing.T, filter, duration, scenario, value string) {
		t0 := time.Now()
		defer func() { slowly(t0, filter, duration, scenario, value) }()
		s, _, err := Compile([]Spec{{
			Name: "fuzz", Filters: []string{filter, "true"}, DurationExpr: duration,
			Decisions: []DecisionSpec{{Type: "ban"}}, OnError: "apply",
		}, {
			Name: "second", Filters: []string{filter}, Notifications: []string{"n"},
		}}, &Options{Logger: quiet(), TimeLimit: 50 * time.Millisecond, Resolve: fixedNames})
		if err != nil {
			return
		}
		a := sampleAlert()
		a.Scenario, a.Source.Value, a.Message = scenario, value, filter
		v, err := s.Evaluate(a, nil, noon)
		if err != nil && !errors.Is(err, engine.ErrProfile) {
			t.Fatalf("%T: %v", err, err)
		}
		for _, d := range v.Decisions {
			if _, err := engine.ParseDuration(d.Duration); err != nil {
				t.Fatalf("a decision lasts %q", d.Duration)
			}
		}
	})
}


// FuzzDocuments feeds any text to what parses texts.
func FuzzXDocuments(f *testing.F) {
	f.Add(`{"a": {"b": ["x"]}}`, "a.b[0]", `user=root msg="no \"such\" file"`)
	f.Add(`<a><b c="1">t</b></a>`, "//b[@c='1']/..", "a=b=c")
	f.Add(`/path?a=%zz&b=1;2`, "/a/*[2]", `="`)
	f.Fuzz(func(t *testing.T, text, path, pairs string) {
		t0 := time.Now()
		defer func() { slowly(t0, text, path, pairs) }()
		s := compileOne(t, `let m = {}; JsonExtract(Alert.Message, Alert.Kind) == JsonExtractUnescape(Alert.Message, Alert.Kind)
			or len(JsonExtractSlice(Alert.Message, Alert.Kind)) + len(JsonExtractObject(Alert.Message, Alert.Kind)) > 2
			or XMLGetNodeValue(Alert.Message, Alert.Kind) == XMLGetAttributeValue(Alert.Message, Alert.Kind, "c")
			or len(ParseUri(Alert.Message)) + len(ParseQuery(Alert.Message)) > 0
			or Match(Alert.Kind, Alert.Message)
			or ParseKVLax(Alert.Leakspeed, m, "l") == ParseKV(Alert.Leakspeed, m, "s")`, &Options{})
		a := sampleAlert()
		a.Message, a.Kind, a.Leakspeed = text, path, pairs
		if _, err := s.Evaluate(a, nil, noon); err != nil && !errors.Is(err, engine.ErrProfile) {
			t.Fatal(err)
		}
	})
}

func slowly(t0 time.Time, texts ...string) {
	if d := time.Since(t0); d > 500*time.Millisecond {
		fh, _ := os.OpenFile("/tmp/profile_slow/log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0644)
		fmt.Fprintf(fh, "%v %.600q\n", d, texts)
		fh.Close()
	}
}
