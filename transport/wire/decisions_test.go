package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// stored gives the decisions with these scopes and values as a view has them,
// by ascending id, each ending in four hours.
func stored(tb testing.TB, targets ...[2]string) (ds []engine.Decision, now int64) {
	tb.Helper()
	rig := enginetest.NewRig(tb, nil)
	now = rig.Engine.Now()
	a := &engine.Alert{
		Scenario: "crowdsecurity/ssh-bf", StartAt: engine.StampOf(rig.Now()), StopAt: engine.StampOf(rig.Now()),
		Source: engine.Source{Scope: engine.ScopeIP, Value: "192.0.2.7"},
	}
	for _, target := range targets {
		a.Decisions = append(a.Decisions, engine.NewDecision{
			Duration: "4h", Origin: "cscli", Scenario: "a/manual", Scope: target[0], Type: "ban", Value: target[1],
		})
	}
	if _, err := rig.AddAlerts(context.Background(), "m", []*engine.Alert{a}, now); err != nil {
		tb.Fatal(err)
	}
	for i := range targets {
		d, ok := rig.View().Decision(engine.DecisionID(i + 1))
		if !ok {
			tb.Fatalf("decision %d of %v was not stored", i+1, targets[i])
		}
		ds = append(ds, d)
	}
	return ds, now
}

func TestAppendDecision(t *testing.T) {
	t.Parallel()
	ds, now := stored(t, [2]string{"Ip", "192.0.2.7"}, [2]string{"Range", "2001:DB8::/32"}, [2]string{"<session>", "a\"\u2028é\x00"})
	body := func(i int, duration, uuid, value string) string {
		scope := []string{"Ip", "Range", `\u003csession\u003e`}[i]
		return fmt.Sprintf(`{"duration":"%s","id":%d,"origin":"cscli","scenario":"a/manual","scope":"%s","type":"ban",%s"value":"%s"}`,
			duration, i+1, scope, uuid, value)
	}
	values := []string{"192.0.2.7", "2001:DB8::/32", `a\"\u2028é\u0000`}
	var live, stream []string
	for i, d := range ds {
		live = append(live, body(i, "3h59m59s", "", values[i]))
		stream = append(stream, body(i, "4h0m1s", `"uuid":"`+d.UUID().String()+`",`, values[i]))
	}
	if got, want := string(AppendDecisions([]byte("x"), ds, now+int64(time.Second), nil)), "x["+strings.Join(live, ",")+"]"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	for cut := range len(ds) + 1 {
		got := string(AppendDelta(nil, &engine.Delta{New: ds[:cut], Deleted: ds[cut:]}, now-int64(time.Second), nil))
		want := `{"new": [` + strings.Join(stream[:cut], ",") + `], "deleted": [` + strings.Join(stream[cut:], ",") + `]}`
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("not JSON: %s", got)
		}
	}
}

// TestAlertDecisions shows ended decisions, their alert's simulated flag, and
// null where none are wanted.
func TestAlertDecisions(t *testing.T) {
	t.Parallel()
	ds, now := stored(t, [2]string{"Ip", "192.0.2.7"})
	a := &engine.Alert{Simulated: true}
	got := string(appendAlert(nil, a, ds, true, now+int64(5*time.Hour)))
	want := `"decisions":[{"duration":"-1h0m0s","id":1,"origin":"cscli","scenario":"a/manual","scope":"Ip","simulated":true,"type":"ban","value":"192.0.2.7"}],`
	if !strings.Contains(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := string(appendAlert(nil, a, ds, false, now)); !strings.Contains(got, `"decisions":null,`) {
		t.Error(got)
	}
}

// TestNoAllocation holds that what is asked ten thousand times a second costs
// no memory once its buffers have grown.
func TestNoAllocation(t *testing.T) {
	ds, now := stored(t, [2]string{"Ip", "192.0.2.7"}, [2]string{"Range", "2001:db8::/32"}, [2]string{"session", `a"b`})
	buffer := make([]byte, 0, 4096)
	delta := &engine.Delta{New: ds, Deleted: ds}
	q := asked(nil)
	parse := func(parse func(*engine.Query, []byte) error, raw string) func() {
		text := []byte(raw)
		return func() {
			if err := parse(q, text); err != nil {
				t.Error(err)
			}
		}
	}
	for name, f := range map[string]func(){
		"live answer":     func() { AppendDecisions(buffer, ds, now, nil) },
		"delta":           func() { AppendDelta(buffer, delta, now, nil) },
		"no decision":     func() { AppendDecisions(buffer, nil, now, nil) },
		"message":         func() { AppendMessage(buffer, "access <forbidden>\n") },
		"ids":             func() { AppendIDs(buffer, []engine.AlertID{1, 2}) },
		"ip":              parse(ParseQuery, "ip=192.0.2.7"),
		"ip and more":     parse(ParseQuery, "type=ban&ip=2001:db8::7&banned=true"),
		"encoded ip":      parse(ParseQuery, "ip=2001%3Adb8%3A%3A7"),
		"range":           parse(ParseQuery, "range=192.0.2.0%2F24&contains=false"),
		"first poll":      parse(ParseStreamQuery, "startup=true"),
		"poll":            parse(ParseStreamQuery, ""),
		"poll of the lib": parse(ParseStreamQuery, "additional_pull=false&community_pull=false&scopes=ip,range&origins=a,b"),
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkAppendDecision(b *testing.B) {
	ds, now := stored(b, [2]string{"Ip", "192.0.2.7"})
	buffer := make([]byte, 0, 4096)
	for _, uuid := range []bool{false, true} {
		b.Run(fmt.Sprintf("uuid=%v", uuid), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(AppendDecision(buffer, ds[0], now, uuid, nil))))
			for b.Loop() {
				AppendDecision(buffer, ds[0], now, uuid, nil)
			}
		})
	}
	text := AppendDecision(nil, ds[0], now, true, nil)
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			_ = append(buffer, text...)
		}
	})
}

func BenchmarkAppendString(b *testing.B) {
	buffer := make([]byte, 0, 4096)
	for name, s := range map[string]string{"plain": "crowdsecurity/ssh-slow-bf", "odd": "<b>é\u2028"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				AppendString(buffer, s)
			}
		})
	}
}

func BenchmarkParseQuery(b *testing.B) {
	q := asked(nil)
	for _, raw := range []string{"ip=192.0.2.7", "ip=2001%3Adb8%3A%3A7", "type=ban&ip=192.0.2.7"} {
		text := []byte(raw)
		b.Run(raw, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := ParseQuery(q, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("stream", func(b *testing.B) {
		text := []byte("additional_pull=false&community_pull=false")
		b.ReportAllocs()
		for b.Loop() {
			if err := ParseStreamQuery(q, text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
