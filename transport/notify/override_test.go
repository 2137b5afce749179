package notify

import (
	"slices"
	"strings"
	"testing"
)

// Fields are changed by either spelling, objects merged, lists replaced; what an alert has
// not is told.
func TestOverride(t *testing.T) {
	t.Parallel()
	a := TestAlert()
	unknown, err := a.Override([]byte(`{"scenario":"x","eventscount":7,"Source":{"cn":"FR","nope":1},"remediation":true,"decisions":[{"type":"captcha","odd":2}],"labels":["l"],"zzz":{}}`))
	slices.Sort(unknown)
	if err != nil || strings.Join(unknown, " ") != "decisions.odd source.nope zzz" {
		t.Fatalf("%v %v", unknown, err)
	}
	if a.GetScenario() != "x" || a.GetEventsCount() != 7 || a.Source.Cn != "FR" || a.GetValue() != "10.10.10.10" || !a.Remediation ||
		len(a.Decisions) != 1 || *a.Decisions[0].Type != "captcha" || a.Labels[0] != "l" {
		t.Errorf("%+v", a)
	}
	for _, bad := range []string{"", "[]", "x", `{"scenario":7}`, `{"source":"x"}`, `{"events_count":"many"}`} {
		if _, err := TestAlert().Override([]byte(bad)); err == nil || !strings.Contains(err.Error(), "not the JSON of an alert") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
