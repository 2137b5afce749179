package engine_test

import (
	"fmt"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// A long selection is what Find finds, page by page, asks for its memory once, and
// takes none when it gets none.
func TestSelectAsksForRoom(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	const n = 5000
	a := &engine.Alert{StartAt: engine.Stamp{At: r.Engine.Now()}, StopAt: engine.Stamp{At: r.Engine.Now()}}
	for i := range n {
		kind := "ban"
		if i%7 == 0 {
			kind = "captcha"
		}
		a.Decisions = append(a.Decisions, engine.NewDecision{
			Duration: fmt.Sprintf("%dh", 1+i%5), Origin: "cscli", Scenario: "s", Scope: "Ip", Type: kind, Value: fmt.Sprintf("10.0.%d.%d", i>>8, i&255),
		})
	}
	if _, err := r.AddAlerts(t.Context(), "", []*engine.Alert{a}, r.Engine.Now()); err != nil {
		t.Fatal(err)
	}
	for _, page := range [][2]int{{-1, 0}, {10, 0}, {n, 4990}, {-1, n + 1}, {4990, 5}} {
		q, view := r.Ask(), r.View() // the next view would have other handles
		q.Scopes, q.Limit, q.Offset = engine.Words{}, page[0], page[1]
		want := view.Find(nil, q)
		var asked []int64
		got, ok := view.Select(q, func(bytes int64) bool { asked = append(asked, bytes); return true })
		if !ok || got.Len() != len(want) || len(asked) != 1 || asked[0] != 4*n {
			t.Fatalf("%v: %d of %d, asked for %v", page, got.Len(), len(want), asked)
		}
		for i, d := range want {
			if got.At(i) != d {
				t.Fatalf("%v: at %d is %d in place of %d", page, i, got.At(i).ID(), d.ID())
			}
		}
		if got, ok = view.Select(q, func(int64) bool { return false }); ok || got.Len() != 0 {
			t.Errorf("%v: without room there are %d", page, got.Len())
		}
	}
}
