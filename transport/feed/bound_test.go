package feed

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"lapid/engine"
)

// TestBoundUnderAStream has a bouncer of a thousand entries poll while a hundred thousand
// decisions come, are deleted and run out: it never holds more than a thousand, whatever it
// is told and however its answers are cut, and ends with the right thousand.
func TestBoundUnderAStream(t *testing.T) {
	t.Parallel()
	h, chance := newHouse(t), rand.New(rand.NewPCG(1, 9))
	const most, waves, each = 1000, 100, 1000
	b := &engine.Bouncer{Name: "small", AuthType: engine.AuthAPIKey, Sight: &engine.Sight{MaxEntries: most}}
	copy(b.KeyHash[:], b.Name)
	_, err := h.AddBouncer(t.Context(), b)
	h.must(err)
	row := h.View().Bouncer(b.Name)
	holds := map[string]bool{}
	poll := func(raw string) {
		t.Helper()
		p := h.asks(row, raw)
		p.Query.Sight = row.Load().Sight
		var d struct {
			New, Deleted []struct{ Value, Type string }
		}
		if err := json.Unmarshal(h.hear(p), &d); err != nil {
			t.Fatal(err)
		}
		for _, x := range d.Deleted {
			delete(holds, x.Value)
		}
		for _, x := range d.New {
			holds[x.Value] = true
		}
		if len(holds) > most {
			t.Fatalf("%d entries are held after %d were deleted and %d came", len(holds), len(d.Deleted), len(d.New))
		}
	}
	poll("startup=true")
	for wave := range waves {
		at := engine.StampOf(h.Now())
		a := &engine.Alert{Scenario: "s", StartAt: at, StopAt: at}
		for i := range each {
			n := wave*each + i
			a.Decisions = append(a.Decisions, engine.NewDecision{
				Duration: fmt.Sprintf("%dm", 1+chance.IntN(300)), Origin: []string{engine.OriginManual, engine.OriginCAPI, engine.OriginLists}[chance.IntN(3)],
				Scenario: "s", Scope: engine.ScopeIP, Type: "ban", Value: fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255),
			})
		}
		_, err := h.AddAlerts(t.Context(), "", []*engine.Alert{a}, h.Engine.Now())
		h.must(err)
		switch chance.IntN(4) {
		case 0:
			q := h.Ask()
			q.Origins = engine.Words{Given: true, List: []string{engine.OriginManual}}
			q.AfterID, q.HasAfterID = engine.DecisionID(chance.IntN((wave+1)*each)), true
			_, err := h.EndDecisions(t.Context(), q)
			h.must(err)
		case 1:
			h.Advance(time.Duration(chance.IntN(40)) * time.Minute)
		}
		if chance.IntN(3) > 0 {
			poll("")
		}
	}
	h.Settle()
	poll("")
	if want := h.bestManual(t, most); !maps.Equal(holds, want) {
		t.Errorf("%d entries are held, not the %d that come first", len(holds), len(want))
	}
}

// bestManual sorts everything: what was added by hand first, then lists, then the rest, the
// longest first of each.
func (h *house) bestManual(t *testing.T, most int) map[string]bool {
	t.Helper()
	order := []string{engine.OriginManual, engine.OriginLists, engine.OriginCAPI}
	all := h.View().Find(nil, h.Ask())
	slices.SortFunc(all, func(a, b engine.Decision) int {
		if x, y := slices.Index(order, a.Origin().S), slices.Index(order, b.Origin().S); x != y {
			return x - y
		}
		if a.Until() != b.Until() {
			if a.Until() > b.Until() {
				return -1
			}
			return 1
		}
		return int(b.ID()) - int(a.ID())
	})
	best := map[string]bool{}
	for _, d := range all[:min(most, len(all))] {
		best[d.Value()] = true
	}
	return best
}
