package feed

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// viewer is a bouncer that applies what it is told to what it holds, and clears that only
// when it asks for everything itself.
type viewer struct {
	name  string
	holds map[string]bool
	begun bool
}

// TestViewsOverCrashes has bouncers with views poll by their cursors, which crashes take back
// and which fall out of a short history, while decisions and items of allowlists come and go
// and views are changed: each ends with what is told to one that asks anew, and none ever
// holds more entries than it may.
func TestViewsOverCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chance, wins := rand.New(rand.NewPCG(seed, 4)), true
			h := &house{t: t, Rig: enginetest.NewRig(t, func(o *engine.Options) {
				o.FS, o.AllowlistsWin, o.History = persist.NewCrashFS(), &wins, []int{30, 5000}[seed%2]
			})}
			h.feed = h.newFeed()
			h.must(h.CreateAllowlist(t.Context(), "free", "", h.Engine.Now()))
			var all []*viewer
			for i := range 6 {
				v := &viewer{name: fmt.Sprint("view", i), holds: map[string]bool{}}
				h.row(v.name)
				h.see(v, chance)
				all = append(all, v)
			}
			for range 120 {
				h.shift(chance, all)
				h.views(all[chance.IntN(len(all))])
			}
			for _, v := range all {
				h.views(v)
			}
		})
	}
}

// see gives a viewer another view.
func (h *house) see(v *viewer, chance *rand.Rand) {
	s := &engine.Sight{Canonical: chance.IntN(3) == 0, MaxEntries: []int{0, 1, 2, 4, 4}[chance.IntN(5)], Priority: engine.Priority(chance.IntN(3))}
	if s.MaxEntries == 0 {
		s.Priority = engine.LocalFirst
	}
	if chance.IntN(3) == 0 {
		s.Allowlists = []string{"free"}
	}
	if chance.IntN(3) == 0 {
		s.Types = []string{"ban"}
	}
	s, err := s.Tidy()
	h.must(err)
	_, err = h.EditBouncer(h.t.Context(), v.name, func(b *engine.Bouncer) error { b.Sight = s; return nil })
	h.must(err)
}

// shift is something that changes what is told.
func (h *house) shift(chance *rand.Rand, all []*viewer) {
	h.t.Helper()
	targets := []string{"Ip 192.0.2.1", "Ip ::ffff:192.0.2.1", "Ip 192.0.2.2", "Ip 192.0.2.3", "Ip 192.0.2.4", "Range 192.0.2.0/30", "Range 192.0.2.0/29", "AS 7"}
	items := []string{"192.0.2.2", "192.0.2.0/31", "192.0.2.5"}
	switch chance.IntN(9) {
	case 0:
		h.feed = h.newFeed()
		h.Crash()
		h.Settle()
	case 1:
		h.see(all[chance.IntN(len(all))], chance)
	case 2:
		it := engine.AllowlistItem{Value: items[chance.IntN(len(items))]}
		it.Prefix, _ = engine.ParseTarget(it.Value)
		_, _, err := h.AddToAllowlist(h.t.Context(), "free", []engine.AllowlistItem{it}, h.Engine.Now())
		h.must(err)
	case 3:
		_, err := h.RemoveFromAllowlist(h.t.Context(), "free", items[:1+chance.IntN(len(items))], h.Engine.Now())
		h.must(err)
	case 4:
		h.Advance(time.Duration(chance.IntN(20)) * time.Second)
	default:
		at := engine.StampOf(h.Now())
		a := &engine.Alert{Scenario: "s", StartAt: at, StopAt: at}
		for range 1 + chance.IntN(3) {
			var d engine.NewDecision
			_, err := fmt.Sscan(targets[chance.IntN(len(targets))], &d.Scope, &d.Value)
			h.must(err)
			d.Duration, d.Origin = []string{"5s", "20s", "4h"}[chance.IntN(3)], []string{"crowdsec", "CAPI"}[chance.IntN(2)]
			d.Type, d.Scenario = []string{"ban", "captcha"}[chance.IntN(2)], "s"
			a.Decisions = append(a.Decisions, d)
		}
		_, err := h.AddAlerts(h.t.Context(), "", []*engine.Alert{a}, h.Engine.Now())
		h.must(err)
	}
}

// views polls by the cursor and compares.
func (h *house) views(v *viewer) {
	h.t.Helper()
	row, raw := h.View().Bouncer(v.name), ""
	if !v.begun {
		raw, v.begun = "startup=true", true
		clear(v.holds)
	}
	ask := func(raw string, from Place) (fresh, gone []string) {
		p := h.asks(row, "scopes=ip,range,as&"+raw)
		p.Query.Sight, p.Query.Entries, p.From = row.Load().Sight, true, from
		var d struct {
			New, Deleted []struct{ Scope, Value, Type string }
		}
		h.must(json.Unmarshal(h.hear(p), &d))
		for _, x := range d.New {
			fresh = append(fresh, x.Type+" "+x.Scope+" "+x.Value)
		}
		for _, x := range d.Deleted {
			gone = append(gone, x.Type+" "+x.Scope+" "+x.Value)
		}
		return fresh, gone
	}
	fresh, gone := ask(raw, Place{})
	for _, k := range gone {
		delete(v.holds, k)
	}
	for _, k := range fresh {
		v.holds[k] = true
	}
	want := map[string]bool{}
	fresh, _ = ask("", Place{Given: true})
	for _, k := range fresh {
		want[k] = true
	}
	sight := row.Load().Sight
	if !maps.Equal(v.holds, want) {
		h.t.Fatalf("%s with %+v holds %v, not %v", v.name, sight, v.holds, want)
	}
	if sight != nil && sight.MaxEntries > 0 && len(v.holds) > sight.MaxEntries {
		h.t.Fatalf("%s holds %d entries of %d", v.name, len(v.holds), sight.MaxEntries)
	}
}
