package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// crowd is a history of more alerts than a page reads bodies of, of which few are of one kind.
func crowd(t *testing.T) (r *enginetest.Rig, waf []engine.AlertID) {
	t.Helper()
	alerts := 2400 + sized(2800)
	r = enginetest.NewRig(t, func(o *engine.Options) { o.NoSync = true })
	chance := rand.New(rand.NewPCG(7, 7))
	var list []*engine.Alert
	for n := range alerts {
		kind := "crowdsec"
		if chance.IntN(500) == 0 || n > 2300 && n < 2320 || n == 0 || n == alerts-1 {
			kind = "waf"
		}
		now := engine.StampOf(r.Now())
		list = append(list, &engine.Alert{Scenario: "s", Message: "m", Kind: kind, StartAt: now, StopAt: now, Source: engine.Source{Scope: engine.ScopeIP, Value: fmt.Sprintf("10.0.%d.%d", n>>8, n&255)}})
	}
	ids, err := r.AddAlerts(context.Background(), "", list, r.Now().UnixNano())
	wants(t, err, nil)
	for i, id := range ids {
		if list[i].Kind == "waf" {
			waf = append(waf, id)
		}
	}
	return r, waf
}

// Where only the disk knows which alerts a list has, and a page reads no more of it than is its share, pages
// end early, be it empty ones, and lead on: forwards, backwards and turning round anywhere, with facets and
// without, no row is missed and none comes twice.
func TestPagesThatTheDiskEnds(t *testing.T) {
	t.Parallel()
	r, waf := crowd(t)
	ctx, v, f := context.Background(), r.View(), &engine.Filter{Kind: engine.Word{Given: true, Text: "waf"}}
	short := 0
	for falling, facets := range map[bool][]engine.Field{false: nil, true: {engine.FieldScenario, engine.FieldOrigin}} {
		want := slices.Clone(waf)
		if falling {
			slices.Reverse(want)
		}
		page := func(c *engine.Cursor, last bool) *engine.AlertPage {
			t.Helper()
			q := &engine.PageQuery{Now: r.Now().UnixNano(), Limit: 4, Descending: falling, Cursor: c, Last: last, Facets: facets}
			out, err := r.AlertPage(ctx, v, f, q)
			wants(t, err, nil)
			if len(out.Rows) < 4 && (out.Next != nil || out.Previous != nil) {
				short++
			}
			return out
		}
		// onward are the rows from a page on, in the order of the list.
		onward := func(p *engine.AlertPage, back bool) (ids []engine.AlertID) {
			t.Helper()
			for pages := 0; ; pages++ {
				var rows []engine.AlertID
				for _, row := range p.Rows {
					rows = append(rows, row.ID)
				}
				next := p.Next
				if ids = append(ids, rows...); back {
					next, ids = p.Previous, slices.Concat(rows, ids[:len(ids)-len(rows)])
				}
				if next == nil {
					return ids
				}
				if pages > len(want) {
					t.Fatalf("falling %v, facets %v, back %v: the list has no end", falling, facets, back)
				}
				p = page(next, false)
			}
		}
		is := func(what string, got, want []engine.AlertID) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("falling %v, facets %v, %s: %v, want %v", falling, facets, what, got, want)
			}
		}
		is("from the first on", onward(page(nil, false), false), want)
		is("from the last back", onward(page(nil, true), true), want)
		at := 0
		for p, n := page(nil, false), 0; ; p, n = page(p.Next, false), n+1 {
			before := at
			if (p.Previous != nil) != (n > 0) {
				t.Fatalf("falling %v, facets %v: page %d leads back: %v", falling, facets, n, p.Previous != nil)
			}
			if at += len(p.Rows); n%4 == 2 {
				is(fmt.Sprintf("back from %d", before), onward(page(p.Previous, false), true), want[:before])
				if q := page(p.Previous, false); q.Next != nil {
					is(fmt.Sprintf("back from %d and on", before), onward(page(q.Next, false), false), want[before:])
				}
			}
			if p.Next == nil {
				break
			}
		}
	}
	if short == 0 {
		t.Error("no page was ended by the disk")
	}
}

// However many decisions and types one target has, each decision is looked at a few times for their groups,
// and the groups are those that a plain count has.
func TestGroupsOfManyTypes(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.NoSync = true })
	decisions, types := sized(4000), sized(1000)
	var list []*engine.Alert
	now := engine.StampOf(r.Now())
	for n := range decisions {
		if n%200 == 0 {
			list = append(list, &engine.Alert{Scenario: "s", StartAt: now, StopAt: now, Source: engine.Source{Scope: engine.ScopeIP, Value: "192.0.2.1"}})
		}
		a := list[len(list)-1]
		a.Decisions = append(a.Decisions, engine.NewDecision{Duration: fmt.Sprintf("%dm", 1+n*7%100), Origin: "cscli", Scenario: "s", Scope: engine.ScopeIP, Type: fmt.Sprintf("type-%d", n*31%types), Value: "192.0.2.1"})
	}
	ids, err := r.AddAlerts(context.Background(), "", list, r.Now().UnixNano())
	wants(t, err, nil)
	for what, f := range map[string]*engine.Filter{"all": {}, "by address": {Value: engine.Choice{Any: []string{"192.0.2.1"}}}, "by alert": {Alerts: append(ids, 1, 1)}} {
		q := &engine.PageQuery{Now: r.Now().UnixNano(), Limit: 10, Grouped: true}
		if looked := engine.GroupLooks(r.View(), f, q); looked > 3*decisions {
			t.Errorf("%s: %d looks at %d decisions", what, looked, decisions)
		}
		rows, matches := 0, 0
		for {
			p, err := r.View().DecisionPage(context.Background(), f, q)
			wants(t, err, nil)
			if p.Totals.Rows != types || p.Matches != decisions {
				t.Fatalf("%s: %d groups of %d", what, p.Totals.Rows, p.Matches)
			}
			rows += len(p.Rows)
			for _, row := range p.Rows {
				if matches += row.Count; row.Count != decisions/types {
					t.Fatalf("%s: %s has %d decisions", what, row.Type().S, row.Count)
				}
			}
			if q.Cursor = p.Next; q.Cursor == nil {
				break
			}
			q.Limit = engine.LongestPage
		}
		if rows != types || matches != decisions {
			t.Errorf("%s: %d groups of %d are told", what, rows, matches)
		}
	}
	f := &engine.Filter{}
	p, err := r.AlertPage(context.Background(), r.View(), f, &engine.PageQuery{Now: r.Now().Add(time.Second).UnixNano(), Limit: 50, Facets: []engine.Field{engine.FieldType}, FacetLimit: engine.MostFacets})
	wants(t, err, nil)
	if values := p.Facets[0].Values; len(p.Rows) != decisions/200 || len(values) != types || values[0].Count != decisions/types {
		t.Errorf("%d alerts with %d types, the first %d times", len(p.Rows), len(values), values[0].Count)
	}
}
