package profile

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func compileOne(t testing.TB, filter string, o *Options) *Set {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	s, _, err := Compile([]Spec{{Name: "p", Filters: []string{filter}, Decisions: []DecisionSpec{{Type: "ban", Duration: "1h"}}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What the turns cost is not known beforehand, so the clock has the last word.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	a := sampleAlert()
	a.Message = strings.Repeat("ab", 1<<15)
	for _, filter := range []string{
		`let a = 1..1000; all(a, all(a, not (Alert.Message matches "(a|b|ab)*c")))`,
		`let a = 1..1000; all(a, all(a, len(LookupHost("home.example")) == 2 and not (Alert.Message matches "(a|b|ab)*c")))`,
	} {
		s := compileOne(t, filter, &Options{TimeLimit: time.Millisecond, Resolve: fixedNames})
		_, err := s.Evaluate(a, nil, noon)
		if !errors.Is(err, engine.ErrProfile) || !strings.Contains(err.Error(), errLate.Error()) {
			t.Errorf("%s: %v", filter, err)
		}
		// The set is as good as new afterwards.
		if _, err := s.Evaluate(&engine.Alert{}, nil, noon); err == nil {
			t.Errorf("%s: came to an end within a millisecond", filter)
		}
	}
}

// However an expression is written, it is refused or it runs: neither the
// parser nor the machine can be made to run out of stack.
func TestSourceLimit(t *testing.T) {
	t.Parallel()
	deep := sourceLimit/2 - 4
	for _, c := range []struct {
		name, filter string
		loads        bool
	}{
		{"endless parentheses", strings.Repeat("(", 1<<20) + "true" + strings.Repeat(")", 1<<20), false},
		{"parentheses", strings.Repeat("(", deep) + "true" + strings.Repeat(")", deep), true},
		{"negations", strings.Repeat("!", 9000) + "true", true},
		{"more negations", strings.Repeat("!", sourceLimit-4) + "true", false},
		{"lists", "len(" + strings.Repeat("[", 60) + strings.Repeat("]", 60) + ") == 1", true},
		{"more lists", strings.Repeat("[", deep) + strings.Repeat("]", deep), false},
		{"conditions", strings.Repeat("Alert.Remediation && ", 2000) + "true", true},
		{"more conditions", strings.Repeat("Alert.Remediation && ", sourceLimit/21) + "true", false},
	} {
		s, _, err := Compile([]Spec{{Name: "p", Filters: []string{c.filter}}}, &Options{Logger: quiet()})
		if (err == nil) != c.loads {
			t.Errorf("%s: %.200v", c.name, err)
			continue
		}
		if err == nil {
			if _, err = s.Evaluate(sampleAlert(), nil, noon); err != nil {
				t.Errorf("%s: %.200v", c.name, err)
			}
		}
	}
}

func TestZeroProfiles(t *testing.T) {
	t.Parallel()
	_, _, err := Compile(nil, nil)
	if err == nil || err.Error() != "zero profiles loaded for LAPI" {
		t.Errorf("no profiles: %v", err)
	}
}

func TestDefault(t *testing.T) {
	t.Parallel()
	s, warnings, err := Compile(Default(), nil)
	if err != nil || warnings != nil {
		t.Fatal(warnings, err)
	}
	for _, scope := range []string{"Ip", "Range", "AS", "Country", "username"} {
		for _, remediation := range []bool{false, true} {
			a := sampleAlert()
			a.Source.Scope, a.Remediation = scope, remediation
			v, err := s.Evaluate(a, nil, noon)
			if err != nil {
				t.Fatal(err)
			}
			var want []engine.NewDecision
			if remediation && (scope == "Ip" || scope == "Range") {
				want = []engine.NewDecision{{Duration: "4h", Origin: "crowdsec", Scenario: a.Scenario, Scope: scope, Type: "ban", Value: a.Source.Value}}
			}
			if !reflect.DeepEqual(v.Decisions, want) || v.Notify != nil {
				t.Errorf("%s, remediation %t: %+v", scope, remediation, v)
			}
		}
	}
}

// One set, many goroutines, alerts that must not get mixed up.
func TestConcurrentEvaluate(t *testing.T) {
	t.Parallel()
	s, _, err := Compile([]Spec{
		{
			Name: "loud", Filters: []string{`any(Alert.Events, #.GetMeta("who") == Alert.GetValue()) and len(Alert.Decisions) == 0`},
			Decisions: []DecisionSpec{{Type: "ban"}}, DurationExpr: `Sprintf("%ds", reduce(1..Alert.EventsCount, #acc + 1, 0))`,
		},
		{Name: "after", Filters: []string{`Alert.Decisions[0].Value == Alert.Source.Value`}, Notifications: []string{"n"}, OnError: "continue"},
	}, &Options{Logger: quiet(), Sends: func(string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			for range 200 {
				a := sampleAlert()
				a.Source.Value = fmt.Sprintf("192.0.%d.%d", g, r.IntN(256))
				a.EventsCount = 1 + r.Int32N(50)
				matches := r.IntN(2) == 0
				if matches {
					a.Events[1].Meta = append(a.Events[1].Meta, engine.Meta{Key: "who", Value: a.Source.Value})
				}
				v, err := s.Evaluate(a, nil, noon)
				switch {
				case err != nil:
					t.Error(err)
				case !matches:
					if v.Decisions != nil || v.Notify != nil {
						t.Errorf("matched: %+v", v)
					}
				case len(v.Decisions) != 1 || v.Decisions[0].Value != a.Source.Value ||
					v.Decisions[0].Duration != fmt.Sprintf("%ds", a.EventsCount) || len(v.Notify) != 1:
					t.Errorf("%s: %+v", a.Source.Value, v)
				}
			}
		})
	}
	wg.Wait()
}

// The alert is only read: afterwards it is what it was.
func TestAlertIsUntouched(t *testing.T) {
	t.Parallel()
	s := compileOne(t, `len(sortBy(Alert.Labels, #)) == 2 and len(Alert.Meta) == 2 and ToJsonString(Alert) != ""`, &Options{})
	a := sampleAlert()
	if v, err := s.Evaluate(a, nil, noon); err != nil || len(v.Decisions) != 1 {
		t.Fatal(v, err)
	}
	if !reflect.DeepEqual(a, sampleAlert()) {
		t.Errorf("changed: %+v", a)
	}
}
