package engine_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lapid/engine"
)

// told are the events of a view from a place back, one for one, and where the reader stands then.
func (b *browsed) told(v *engine.View, from engine.ActivityPlace, q *engine.ActivityQuery, most int) (lines []string, behind engine.ActivityPlace) {
	behind = from
	for h, at := range v.EventsBefore(context.Background(), from, q) {
		lines = append(lines, fmt.Sprintf("%d %d %d %s %d×%s", h.Revision, h.Kind, h.Alert, h.By, h.Count, h.Decision.Value()))
		if behind = at; len(lines) == most {
			break
		}
	}
	return lines, behind
}

// The activity has what the history has, the newest first, in pages of any length and over a restart too.
func TestActivity(t *testing.T) {
	t.Parallel()
	b := newBrowsed(t, 3)
	for range 150 {
		b.change()
	}
	began, ended := map[engine.Revision]int{}, map[engine.Revision]int{}
	floor := engine.Revision(0)
	commits, ok := b.Commits(floor)
	for ; !ok && floor < b.View().Revision(); commits, ok = b.Commits(floor) { // the journal was cut, and memory was not
		floor++
	}
	for rev, c := range commits {
		for change := range c.Changes() {
			switch change.Kind {
			case engine.DecisionBegun:
				began[rev]++
			case engine.DecisionEnded:
				ended[rev]++
			}
		}
	}
	look := func() {
		v := b.View()
		last := v.Revision()
		for h := range v.EventsBefore(t.Context(), v.ActivityAt(v.Revision()), &engine.ActivityQuery{}) {
			if h.Revision > last {
				t.Errorf("revision %d comes behind %d", h.Revision, last)
			}
			last = h.Revision
			if h.Kind == engine.DecisionsBegan {
				began[h.Revision] -= h.Count
			} else {
				ended[h.Revision] -= h.Count
			}
		}
		whole, _ := b.told(v, v.ActivityAt(v.Revision()), &engine.ActivityQuery{}, -1)
		for _, most := range []int{1, 7} {
			var pages []string
			for at := v.ActivityAt(v.Revision()); ; {
				page, behind := b.told(v, at, &engine.ActivityQuery{}, most)
				pages, at = append(pages, page...), behind
				if len(page) < most {
					break
				}
			}
			if !slices.Equal(pages, whole) {
				t.Errorf("in pages of %d there are %d entries, not %d, or others", most, len(pages), len(whole))
			}
		}
	}
	look()
	for _, left := range []map[engine.Revision]int{began, ended} {
		for rev, n := range left {
			if n != 0 && rev > floor {
				t.Errorf("of revision %d %d are missing", rev, n)
			}
		}
	}
	// Of one revision the events may come in another order then; it reaches back further, for what runs was not
	// forgotten.
	sums := func(from engine.Revision) map[string]int {
		n, v := map[string]int{}, b.View()
		for h := range v.EventsBefore(t.Context(), v.ActivityAt(v.Revision()), &engine.ActivityQuery{}) {
			if h.Revision >= from {
				n[fmt.Sprintf("%d %d %s", h.Revision, h.Kind, h.By)] += h.Count
			}
		}
		return n
	}
	from := b.View().HistoryFloor() + 1
	before := sums(from)
	b.Restart()
	look()
	if after := sums(from); !maps.Equal(before, after) {
		t.Errorf("after a restart %v, not %v", after, before)
	}
}

// What is asked for is told, and nothing else.
func TestActivityQuery(t *testing.T) {
	t.Parallel()
	b := newBrowsed(t, 4)
	for range 60 {
		b.change()
	}
	v := b.View()
	from, middle := v.ActivityAt(v.Revision()), b.Rig.Now().Add(-15*time.Second).UnixNano()
	near := netip.MustParsePrefix("10.0.1.0/24")
	for name, one := range map[string]struct {
		q    engine.ActivityQuery
		fits func(*engine.Happening) bool
	}{
		"since":  {engine.ActivityQuery{Since: middle}, func(h *engine.Happening) bool { return h.At >= middle }},
		"until":  {engine.ActivityQuery{Until: middle}, func(h *engine.Happening) bool { return h.At < middle }},
		"kind":   {engine.ActivityQuery{Kind: "machine"}, func(h *engine.Happening) bool { return h.By.Kind == engine.ActorMachine }},
		"actor":  {engine.ActivityQuery{Actor: "web1"}, func(h *engine.Happening) bool { return h.By.Name == "web1" }},
		"about":  {engine.ActivityQuery{About: near}, nil},
		"nobody": {engine.ActivityQuery{Actor: "nobody"}, func(*engine.Happening) bool { return false }},
	} {
		found := 0
		for h := range v.EventsBefore(t.Context(), from, &one.q) {
			if found += h.Count; one.fits == nil && !h.Decision.Target().Overlaps(near) || one.fits != nil && !one.fits(h) {
				t.Errorf("%s: %+v", name, h)
			}
		}
		for h := range v.AlertsBefore(t.Context(), from.Alert, &one.q) {
			if found++; one.fits == nil && !h.Source.Overlaps(near) || one.fits != nil && !one.fits(h) {
				t.Errorf("%s: alert %+v", name, h)
			}
		}
		if (found == 0) != (name == "nobody") {
			t.Errorf("%s: %d are found", name, found)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range v.EventsBefore(ctx, engine.ActivityPlace{}, &engine.ActivityQuery{}) {
		t.Error("there is something in front of the first revision")
	}
}
