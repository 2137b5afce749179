package wire

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestRecordedAlerts sends every recorded alert through the engine and
// compares what is shown of it with what the reference server showed.
func TestRecordedAlerts(t *testing.T) {
	t.Parallel()
	for _, c := range load[struct {
		Case string
		Step int
		Body string
		Want map[string]any
	}](t, "alerts.json") {
		rig := enginetest.NewRig(t, nil)
		alerts, err := ParseAlerts([]byte(c.Body), rig.Now())
		if err != nil {
			t.Fatalf("%s: %v", c.Case, err)
		}
		id := engine.AlertID(c.Want["id"].(float64))
		text := shown(t, rig, alerts, c.Want["machine_id"].(string), id)
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v\n%s", c.Case, err, text)
		}
		if !same(c.Want, got) {
			want, _ := json.Marshal(c.Want)
			t.Errorf("%s, step %d\ngot  %s\nwant %s", c.Case, c.Step, text, want)
		}
	}
}

// shown stores alerts and gives one of them as it is answered.
func shown(t *testing.T, rig *enginetest.Rig, alerts []*engine.Alert, machine string, id engine.AlertID) []byte {
	t.Helper()
	ctx := context.Background()
	if err := rig.AddMachine(ctx, &engine.Machine{ID: machine}, false); err != nil {
		t.Fatal(err)
	}
	now := rig.Engine.Now()
	if _, err := rig.AddAlerts(ctx, machine, alerts, now); err != nil {
		t.Fatal(err)
	}
	a, ds, err := rig.Alert(rig.View(), id)
	if err != nil {
		t.Fatal(err)
	}
	return appendAlert(nil, a, ds, true, now)
}

// same compares two JSON values; "*" stands for anything.
func same(want, got any) bool {
	switch w := want.(type) {
	case string:
		return w == "*" && got != nil || reflect.DeepEqual(want, got)
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k := range w {
			if _, there := g[k]; !there || !same(w[k], g[k]) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !same(w[i], g[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, got)
}
