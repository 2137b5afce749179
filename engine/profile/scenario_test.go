package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/goccy/go-yaml"

	"lapid/engine"
)

// noon is the moment at which scenarios happen.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano()

// TestScenarios runs the text files of testdata/profiles and
// testdata/language. Commands:
//
//	profiles [file=F] [keep-going]   compile the YAML; warnings or the error
//	alert key=value …                judge an alert; verdict, log, error
//	values key=value …               evaluate each line about that alert
//
// Run with -rewrite to write down what happens now.
func TestScenarios(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if filepath.Ext(path) != ".txt" {
			return
		}
		s := &scenario{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "profiles":
				return s.profiles(t, d)
			case "alert":
				return s.alert(t, d)
			case "values":
				return s.values(t, d)
			}
			d.Fatalf(t, "unknown command")
			return ""
		})
	})
}

// scenario is one text file at work.
type scenario struct {
	set *Set
	log bytes.Buffer
}

// logger writes level, text and what is not said by the scenario itself.
func (s *scenario) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case "time", "alert", "scenario", "source":
			return slog.Attr{}
		}
		return a
	}}))
}

func (s *scenario) profiles(t *testing.T, d *datadriven.TestData) string {
	text := d.Input
	if d.HasArg("file") {
		var name string
		d.ScanArgs(t, "file", &name)
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	specs, err := readSpecs(text)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	set, warnings, err := Compile(specs, &Options{
		Sends:  func(name string) bool { return slices.Contains([]string{"one", "two", "three"}, name) },
		Logger: s.logger(), KeepGoing: d.HasArg("keep-going"),
	})
	var out strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&out, "warning: %s\n", w.Text)
	}
	if err != nil {
		fmt.Fprintf(&out, "error: %v\n", err)
		return out.String()
	}
	s.set = set
	var notifications []string // each once, in order of first use
	for i := range specs {
		for _, n := range specs[i].Notifications {
			if !slices.Contains(notifications, n) {
				notifications = append(notifications, n)
			}
		}
	}
	fmt.Fprintf(&out, "%d profiles, notifications %v\n", len(specs), notifications)
	return out.String()
}

// readSpecs decodes strictly, as the program does.
func readSpecs(text string) ([]Spec, error) {
	dec := yaml.NewDecoder(strings.NewReader(text), yaml.DisallowUnknownField())
	var specs []Spec
	for {
		var one Spec
		err := dec.Decode(&one)
		if errors.Is(err, io.EOF) {
			return specs, nil
		}
		if err != nil {
			return nil, err
		}
		specs = append(specs, one)
	}
}

func (s *scenario) alert(t *testing.T, d *datadriven.TestData) string {
	s.log.Reset()
	verdict, err := s.set.Evaluate(readAlert(t, d), nil, noon)
	var out strings.Builder
	for _, x := range verdict.Decisions {
		fmt.Fprintf(&out, "%s %s:%s for %s by %s because %s\n", x.Type, x.Scope, x.Value, x.Duration, x.Origin, x.Scenario)
	}
	if verdict.Notify != nil {
		fmt.Fprintf(&out, "notify %s, %d undecided\n", strings.Join(verdict.Notify, " "), verdict.Undecided)
	}
	if err != nil {
		fmt.Fprintf(&out, "refused (%t): %v\n", errors.Is(err, engine.ErrProfile), err)
	}
	out.WriteString(s.log.String())
	s.traced(t, d, verdict, err)
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

// traced judges once more, with a tracer, which must make no difference; what it has written down has to fit.
func (s *scenario) traced(t *testing.T, d *datadriven.TestData, want engine.Verdict, failed error) {
	tracer := s.set.Trace()
	verdict, err := tracer.Evaluate(readAlert(t, d), nil, noon)
	if !reflect.DeepEqual(verdict, want) || fmt.Sprint(err) != fmt.Sprint(failed) {
		t.Errorf("%s: %+v %v, and traced %+v %v", d.Pos, want, failed, verdict, err)
	}
	decides, notices, over := 0, 0, false
	for _, p := range tracer.Profiles {
		if p.Decides {
			decides++
		}
		notices += len(p.Notify)
		if over && p.Reached || p.Matched && !p.Reached {
			t.Errorf("%s: %+v", d.Pos, tracer.Profiles)
		}
		over = over || p.Stops
	}
	if failed == nil && (decides > 1 || (decides == 1) != (len(want.Decisions) > 0) || notices != len(want.Notify)) {
		t.Errorf("%s: %+v is not what is traced: %+v", d.Pos, want, tracer.Profiles)
	}
}

func (s *scenario) values(t *testing.T, d *datadriven.TestData) string {
	s.log.Reset()
	o := (&Options{Logger: s.logger(), TimeLimit: time.Hour, Resolve: fixedNames}).withDefaults()
	l := newLanguage(&o)
	var out strings.Builder
	for line := range strings.Lines(d.Input) {
		line = strings.TrimSuffix(line, "\n")
		x, err := l.compile(line)
		if err != nil {
			fmt.Fprintf(&out, "does not compile: %v\n", err)
			continue
		}
		e := newEvaluation(&Set{options: o, needs: x.needs})
		e.begin(readAlert(t, d), nil, noon)
		v, err := e.run(x)
		if err != nil {
			text, _, _ := strings.Cut(err.Error(), "\n")
			fmt.Fprintf(&out, "fails: %s\n", text)
		} else {
			out.WriteString(shown(v) + "\n")
		}
		out.WriteString(s.log.String())
		s.log.Reset()
	}
	return out.String()
}

// shown writes a value so that its type can be told.
func shown(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return "duration " + v.String()
	case time.Time:
		return "time " + v.Format(time.RFC3339)
	case float64:
		return fmt.Sprintf("float %.4g", v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	return string(b)
}

// readAlert makes an alert of a command's arguments. Without any it is a
// brute force from 192.0.2.7.
func readAlert(t *testing.T, d *datadriven.TestData) *engine.Alert {
	a := sampleAlert()
	for _, arg := range d.CmdArgs {
		v := ""
		if len(arg.Vals) > 0 {
			v = arg.Vals[0]
		}
		switch arg.Key {
		case "scope":
			a.Source.Scope = v
		case "value":
			a.Source.Value = v
		case "scenario":
			a.Scenario = v
		case "remediation":
			a.Remediation = v == "yes"
		case "simulated":
			a.Simulated = v == "yes"
		case "events":
			arg.Scan(t, 0, &a.EventsCount)
		case "own":
			a.Decisions = []engine.NewDecision{{Type: v, Scope: "Ip", Value: a.Source.Value, Duration: "1h", Origin: "cscli"}}
		default:
			d.Fatalf(t, "unknown argument %s", arg.Key)
		}
	}
	return a
}
