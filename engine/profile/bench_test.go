package profile

import (
	"testing"

	"lapid/engine"
)

// BenchmarkStock judges by the rules of a fresh installation, beside the same
// rules written in Go.
func BenchmarkStock(b *testing.B) {
	s, _, err := Compile(Default(), nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, scope := range []string{"Ip", "Range", "username"} {
		a := sampleAlert()
		a.Source.Scope = scope
		b.Run("rules/"+scope, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Evaluate(a, nil, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("go/"+scope, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				stockInGo(a)
			}
		})
	}
}

//go:noinline
func stockInGo(a *engine.Alert) engine.Verdict {
	for _, scope := range [2]string{"Ip", "Range"} {
		if a.Remediation && a.Source.Scope == scope {
			return engine.Verdict{Decisions: []engine.NewDecision{{
				Duration: "4h", Origin: "crowdsec", Scenario: a.Scenario, Scope: scope, Type: "ban", Value: a.Source.Value,
			}}}
		}
	}
	return engine.Verdict{}
}

func BenchmarkParallel(b *testing.B) {
	s, _, err := Compile(Default(), nil)
	if err != nil {
		b.Fatal(err)
	}
	a := sampleAlert()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Evaluate(a, nil, noon); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFilters shows what other common filters cost.
func BenchmarkFilters(b *testing.B) {
	for name, filter := range map[string]string{
		"contains": `Alert.GetScenario() contains "http"`,
		"in":       `Alert.GetScenario() in ["crowdsecurity/http-probing", "crowdsecurity/http-crawl-non_statics"]`,
		"matches":  `Alert.GetScenario() matches "^crowdsecurity/http-"`,
		"sprintf":  `Sprintf('%dh', min((GetDecisionsCount(Alert.GetValue()) + 1) * 4, 48)) == "4m"`,
		"events":   `any(Alert.Events, #.GetMeta("service") == "none")`,
		"range":    `IpInRange(Alert.GetValue(), "10.0.0.0/8")`,
	} {
		s := compileOne(b, filter, &Options{})
		a := sampleAlert()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Evaluate(a, nil, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
