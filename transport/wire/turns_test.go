package wire

import (
	"reflect"
	"testing"
	"time"
)

// A long report is read in stretches of one decision, event or entry of meta.
func TestAlertsAreReadInTurns(t *testing.T) {
	t.Parallel()
	const decisions, events = 1000, 500
	body := benchAlert(decisions, events)
	want, err := ParseAlerts(body, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	turns, least := 0, len(want)
	for _, a := range want {
		least += len(a.Decisions) + len(a.Events)
	}
	got, err := ParseAlertsInTurns(body, time.Unix(1, 0), func(i int) {
		if i != turns {
			t.Fatalf("turn %d follows %d", i, turns-1)
		}
		turns++
	})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("read in turns it is something else: %v", err)
	}
	if turns < least || least < decisions+events {
		t.Errorf("%d turns for %d alerts, decisions and events", turns, least)
	}
}
