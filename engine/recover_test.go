package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// many is a rig with a journal of so many small commits, of which some end what others began,
// and some bring the same target again; no snapshot is taken.
func many(t *testing.T, commits int) *enginetest.Rig {
	t.Helper()
	r := enginetest.NewRig(t, func(o *engine.Options) {
		o.NoSync, o.SnapshotEvery, o.SnapshotBytes = true, 24*time.Hour, 1<<40
	})
	ctx := context.Background()
	for i := range commits {
		value := fmt.Sprintf("192.0.%d.%d", i%1000/250, i%250)
		scope := "Ip"
		if i%5 == 0 {
			scope, value = "Range", value+"/32"
		}
		a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now()), Decisions: []engine.NewDecision{
			{Duration: "4h", Scope: scope, Value: value, Type: "ban", Origin: "o", Scenario: "s"}}}
		_, err := r.AddAlerts(ctx, "", []*engine.Alert{a}, r.Now().UnixNano())
		wants(t, err, nil)
		if i%7 == 0 {
			_, err = r.EndThese(ctx, []engine.DecisionID{engine.DecisionID(i/2 + 1)}, r.Now().UnixNano())
			wants(t, err, nil)
		}
	}
	return r
}

// TestReplayInBatches: a journal of more commits than are decoded at once leads to the same state,
// and to the same with a snapshot on the way.
func TestReplayInBatches(t *testing.T) {
	t.Parallel()
	r := many(t, 3000)
	r.Restart() // compares digests, and checks the indexes
	wants(t, r.Snapshot(t.Context()), nil)
	r.Restart()
}

// TestReplayThatIsLeft: a start that is told to end in the midst of a replay does, and the store can
// be opened again.
func TestReplayThatIsLeft(t *testing.T) {
	t.Parallel()
	r := many(t, 1500)
	r.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	options := r.Options
	options.Progress = func(string) { cancel() } // the replay begins
	if e, err := engine.OpenContext(ctx, &options); !errors.Is(err, context.Canceled) {
		t.Fatalf("it is open: %v, %v", e, err)
	}
	r.Start()
}
