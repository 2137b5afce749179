package engine_test

import (
	"context"
	"slices"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestHeldStreams: what comes while streams are held is told afterwards, as one change, and
// by whoever releases last.
func TestHeldStreams(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	told := func(after engine.Revision) (n, ended int) {
		var d engine.Delta
		if !r.StreamView().Changes(&d, after, r.Ask()) {
			t.Fatal("the history does not reach back")
		}
		return len(d.New), len(d.Deleted)
	}
	_, err := r.Bring(ctx, []engine.Brought{brought(r, 1, 1, 2)})
	wants(t, err, nil)
	before := r.View().Revision()
	first, second := r.HoldStreams(), r.HoldStreams()
	for id := range 5 {
		_, err := r.Bring(ctx, []engine.Brought{brought(r, engine.AlertID(10+id), engine.DecisionID(20+id))})
		wants(t, err, nil)
		if n, ended := told(before); n != 0 || ended != 0 || r.StreamView().Revision() != before {
			t.Fatalf("%d and %d are told", n, ended)
		}
	}
	n, err := r.EndBrought(ctx, []engine.DecisionID{2, 1, 2, 999}, r.Now().UnixNano())
	wants(t, err, nil)
	if n != 2 {
		t.Errorf("%d have ended", n)
	}
	if first(); r.StreamView().Revision() != before {
		t.Error("one of two ends it")
	}
	first()
	second()
	if n, ended := told(before); n != 5 || ended != 2 || r.StreamView() != r.View() {
		t.Errorf("%d and %d are told, want 5 and 2", n, ended)
	}
	gone, err := r.RemoveBrought(ctx, []engine.AlertID{11, 10, 11, 777}, r.Now().UnixNano())
	wants(t, err, nil)
	if gone != 2 {
		t.Errorf("%d alerts are gone", gone)
	}
	for range 2 {
		var left []engine.AlertID
		wants(t, r.Alerts(ctx, r.View(), &engine.AlertQuery{Now: r.Now().UnixNano(), Ascending: true}, func(a *engine.Alert, _ []engine.Decision) bool {
			left = append(left, a.ID)
			return true
		}), nil)
		if !slices.Equal(left, []engine.AlertID{1, 12, 13, 14}) {
			t.Errorf("left are %v", left)
		}
		r.Restart()
	}
}

// TestBroughtUsage: reports of many days are stored, each once.
func TestBroughtUsage(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	report := func(n int) *engine.Usage {
		return &engine.Usage{Kind: engine.UsageMachine, Name: "m", ReceivedAt: r.Now().UnixNano() - int64(n)*60e9, Payload: []byte("[]")}
	}
	wants(t, r.BringUsage(ctx, report(0)), engine.ErrNotFound)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "m", AuthType: engine.AuthPassword, PasswordHash: []byte("x")}, false), nil)
	for range 2 {
		for n := range 2000 {
			wants(t, r.BringUsage(ctx, report(n)), nil)
		}
	}
	wants(t, r.BringUsage(ctx, &engine.Usage{Kind: engine.UsageMachine, Name: "m", ReceivedAt: 1, Payload: make([]byte, 64<<20)}), engine.ErrInvalid)
	n := 0
	for _, err := range r.Usage(ctx, engine.UsageMachine, "m") {
		wants(t, err, nil)
		n++
	}
	if n != 2000 {
		t.Errorf("%d reports", n)
	}
}
