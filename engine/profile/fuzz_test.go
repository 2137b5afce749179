package profile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// FuzzRules feeds any text as filter and duration_expr, about an alert with
// any texts: whatever compiles comes to an end, and fails only as ErrProfile.
func FuzzRules(f *testing.F) {
	for _, line := range languageLines(f) {
		f.Add(line, "'4h'", "crowdsecurity/ssh-bf", "192.0.2.7")
		f.Add("true", line, "", "bob")
	}
	f.Fuzz(func(t *testing.T, filter, duration, scenario, value string) {
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

// languageLines are the expressions of the scenario files.
func languageLines(tb testing.TB) []string {
	files, err := filepath.Glob("testdata/language/*.txt")
	if err != nil || files == nil {
		tb.Fatal(files, err)
	}
	var lines []string
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		in := false
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "values"):
				in = true
			case line == "----":
				in = false
			case in:
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// FuzzDocuments feeds any text to what parses texts.
func FuzzDocuments(f *testing.F) {
	f.Add(`{"a": {"b": ["x"]}}`, "a.b[0]", `user=root msg="no \"such\" file"`)
	f.Add(`<a><b c="1">t</b></a>`, "//b[@c='1']/..", "a=b=c")
	f.Add(`/path?a=%zz&b=1;2`, "/a/*[2]", `="`)
	f.Fuzz(func(t *testing.T, text, path, pairs string) {
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
