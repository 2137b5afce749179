package profile

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// hugeAlert is what a sender could make of one that may have 50 MiB.
func hugeAlert() *engine.Alert {
	a := sampleAlert()
	a.Message, a.Kind = strings.Repeat("a ", 12<<20), strings.Repeat("*a", 1<<20)
	for range 100_000 {
		a.Meta = append(a.Meta, engine.Meta{Key: "k", Value: "v"})
		a.Labels = append(a.Labels, "x")
		a.Events = append(a.Events, engine.Event{Text: a.StartText, Meta: a.Meta[:1]})
	}
	return a
}

// TestHugeAlert feeds an alert of 50 MB to filters that would take minutes or a
// multiple of its memory. They say no, and others judge it as usual.
func TestHugeAlert(t *testing.T) { // not in parallel: it measures the process
	a := hugeAlert()
	for filter, why := range map[string]error{
		`Alert.GetScope() == "Ip" and Alert.Remediation and len(Alert.Message) > 1`:     nil,
		`Alert.Scenario startsWith "crowdsecurity/" and not (Alert.Scenario in ["x"])`:  nil,
		`len(Alert.Meta) > 1 and len(Alert.Events) > 1`:                                 nil,
		`any(Alert.Meta, .Key == "target_user")`:                                        nil,
		`all(Alert.Events, any(.Meta, .Value != "z"))`:                                  nil,
		`Alert.Message matches "(a|b|ab)*c"`:                                            errLong,
		`Alert.Scenario matches "x"`:                                                    errLong,
		`Alert.Message matches Alert.Kind`:                                              errLong,
		`len(Split(Alert.Message, "")) > 1`:                                             errLong,
		`Match(Alert.Kind, Alert.Message)`:                                              errLong,
		`IndexAny(Alert.Message, Alert.Kind) > 1`:                                       errLong,
		`date(Alert.Message) == date("2024-01-01")`:                                     errLong,
		`toJSON(Alert) == ""`:                                                           errLong,
		`string(Alert) == ""`:                                                           errLong,
		`all(Alert.Events, all(Alert.Events, true))`:                                    errMemory,
		`len(map(Alert.Events, Alert.Message)) > 1`:                                     errMemory,
		`let l = Alert.Labels; all(l, all(l, all(l, # != "")))`:                         errMemory,
		`len(groupBy(Alert.Meta, .Key)) > 1 and all(Alert.Events, len(Alert.Meta) > 1)`: errLong,
	} {
		s, _, err := Compile([]Spec{{Name: "p", Filters: []string{filter}}}, &Options{Logger: quiet(), TimeLimit: time.Minute}) // the other bounds are meant
		if err != nil {
			t.Fatalf("%s: %v", filter, err)
		}
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		_, err = s.Evaluate(a, nil, noon)
		runtime.ReadMemStats(&to)
		if took := to.TotalAlloc - from.TotalAlloc; took > 128<<20 {
			t.Errorf("%s: made %d MB", filter, took>>20)
		}
		if why == nil && err != nil || why != nil && (!errors.Is(err, engine.ErrProfile) || !strings.Contains(err.Error(), why.Error())) {
			t.Errorf("%s: %v, want %v", filter, err, why)
		}
	}
}

// TestPairs has texts whose product counts, below the limit for one alert.
func TestPairs(t *testing.T) {
	t.Parallel()
	a := sampleAlert()
	a.Message, a.Kind = strings.Repeat("é", 100_000), strings.Repeat("*a", 50_000)
	for _, filter := range []string{
		`IndexAny(Alert.Message, Alert.Kind) == 0`, `Match(Alert.Kind, Alert.Message)`, `Trim(Alert.Message, Alert.Message) == ""`,
		`TrimLeft(Alert.Message, Alert.Message) == ""`, `TrimRight(Alert.Message, Alert.Message) == ""`, `Alert.Message matches Alert.Kind`,
		`Alert.Message matches ("^" + Alert.Message)`,
	} {
		_, err := compileOne(t, filter, &Options{}).Evaluate(a, nil, noon)
		if err == nil || !strings.Contains(err.Error(), errPair.Error()) {
			t.Errorf("%s: %v", filter, err)
		}
	}
	a = sampleAlert()
	for _, filter := range []string{
		`Alert.Scenario matches ("^" + "crowdsecurity/")`, `not (Alert.Scenario matches ("^" + Alert.Kind + "$"))`,
		`let m = {}; not (Alert.Scenario matches m["nothing"])`,
	} {
		v, err := compileOne(t, filter, &Options{}).Evaluate(a, nil, noon)
		if err != nil || len(v.Decisions) != 1 {
			t.Errorf("%s: %v, %d decisions", filter, err, len(v.Decisions))
		}
	}
	if _, err := compileOne(t, `Alert.Scenario matches ("(" + Alert.Kind)`, &Options{}).Evaluate(a, nil, noon); err == nil {
		t.Error("a broken pattern is fine")
	}
}
