package engine_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// manyAlerts is an engine with a million alerts of one decision each, which is more to look at than as many
// decisions of few alerts: a tenth is on targets that have another, the community's are half.
var manyAlerts = sync.OnceValue(func() *enginetest.Rig {
	r := enginetest.NewRig(lasting{}, func(o *engine.Options) { o.NoSync = true })
	ctx := context.Background()
	const n, batch, machines = 1_000_000, 10_000, 20
	for i := range machines {
		_ = r.AddMachine(ctx, &engine.Machine{ID: fmt.Sprintf("machine%d", i)}, false)
	}
	for from := 0; from < n; from += batch {
		var list []*engine.Alert
		for i := from; i < from+batch; i++ {
			at := i - i%10/9*7 // every tenth is where one was already
			value := netip.AddrFrom4([4]byte{byte(11 + at>>16), byte(at >> 8), byte(at), 7}).String()
			if i%20 == 1 {
				value = fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff)
			}
			scenario, origin := fmt.Sprintf("crowdsecurity/scenario-%d", i*7919%50), "crowdsec"
			if i%2 == 0 {
				origin = engine.OriginCAPI
			}
			list = append(list, &engine.Alert{Scenario: scenario, StartAt: engine.StampOf(r.Now()), StopAt: engine.StampOf(r.Now()),
				Source:    engine.Source{Scope: engine.ScopeIP, Value: value, Cn: fmt.Sprintf("C%d", i*31%100), AsNumber: fmt.Sprint(64500 + i*17%2000), AsName: "Example"},
				Decisions: []engine.NewDecision{{Duration: fmt.Sprintf("%ds", 3600+i*7919%100_000), Scope: engine.ScopeIP, Value: value, Type: "ban", Origin: origin, Scenario: scenario}}})
		}
		if _, err := r.AddAlerts(ctx, fmt.Sprintf("machine%d", from/batch%machines), list, r.Now().UnixNano()); err != nil {
			panic(err)
		}
	}
	return r
})

// lasting has a rig outlive the benchmark that made it.
type lasting struct{ testing.TB }

func (lasting) Helper()                           {}
func (lasting) Cleanup(func())                    {}
func (lasting) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (lasting) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

var everyField = []engine.Field{engine.FieldScope, engine.FieldOrigin, engine.FieldType, engine.FieldScenario, engine.FieldCountry, engine.FieldAS, engine.FieldMachine}

func words(f engine.Field, c engine.Choice) *engine.Filter {
	out := &engine.Filter{Standing: engine.Running}
	out.Words[f] = c
	return out
}

// pageFilters are what pages are measured with.
func pageFilters() map[string]*engine.Filter {
	running := func(change func(*engine.Filter)) *engine.Filter {
		f := &engine.Filter{Standing: engine.Running}
		change(f)
		return f
	}
	local := engine.Choice{None: []string{engine.OriginCAPI, engine.OriginLists}}
	return map[string]*engine.Filter{
		"all":      {},
		"running":  {Standing: engine.Running},
		"local":    words(engine.FieldOrigin, local),
		"ip":       running(func(f *engine.Filter) { f.Covers = []netip.Prefix{netip.MustParsePrefix("11.5.5.7/32")} }),
		"range":    running(func(f *engine.Filter) { f.Inside = []netip.Prefix{netip.MustParsePrefix("12.0.0.0/8")} }),
		"not":      running(func(f *engine.Filter) { f.NotInside = []netip.Prefix{netip.MustParsePrefix("12.0.0.0/8")} }),
		"scenario": words(engine.FieldScenario, engine.Choice{Any: []string{"crowdsecurity/scenario-7"}}),
		"type":     words(engine.FieldType, engine.Choice{Any: []string{"captcha"}}),
		"country":  words(engine.FieldCountry, engine.Choice{Any: []string{"C7"}}),
		"as":       words(engine.FieldAS, engine.Choice{Any: []string{"64507"}}),
		"machine":  words(engine.FieldMachine, engine.Choice{Any: []string{"machine7"}}),
		"alert":    running(func(f *engine.Filter) { f.Alerts = []engine.AlertID{4711} }),
		"since":    running(func(f *engine.Filter) { f.Since = enginetest.Epoch.Add(-time.Hour).UnixNano() }),
		"enforced": running(func(f *engine.Filter) { f.Simulation = engine.Enforced }),
		"word":     running(func(f *engine.Filter) { f.Text = []string{"scenario-7"} }),
		"nowhere":  running(func(f *engine.Filter) { f.Text = []string{"9.9.9.9"} }),
		"value":    running(func(f *engine.Filter) { f.Value = engine.Choice{Any: []string{"12.5.*"}} }),
		"several": running(func(f *engine.Filter) {
			f.Words[engine.FieldOrigin], f.Words[engine.FieldCountry], f.Words[engine.FieldAS] = local, engine.Choice{Any: []string{"C7", "C8", "C9"}}, engine.Choice{None: []string{"64507"}}
			f.Text = []string{"scenario"}
		}),
	}
}

// BenchmarkPages makes pages of a million decisions and of a million alerts: the first with its totals, that
// with all facets, and the next.
func BenchmarkPages(b *testing.B) {
	r := manyAlerts()
	ctx, now := context.Background(), r.Now().UnixNano()
	ask := func(b *testing.B, alerts bool, f *engine.Filter, q *engine.PageQuery) (next *engine.Cursor) {
		var err error
		if alerts {
			var p *engine.AlertPage
			if p, err = r.AlertPage(ctx, r.View(), f, q); err == nil {
				next = p.Next
			}
		} else {
			var p *engine.DecisionPage
			if p, err = r.View().DecisionPage(ctx, f, q); err == nil {
				next = p.Next
			}
		}
		if err != nil {
			b.Fatal(err)
		}
		return next
	}
	for _, alerts := range []bool{false, true} {
		noun := map[bool]string{false: "decisions", true: "alerts"}[alerts]
		filters := pageFilters()
		names := make([]string, 0, len(filters))
		for name := range filters {
			names = append(names, name)
		}
		slices.Sort(names)
		query := func() *engine.PageQuery {
			return &engine.PageQuery{Now: now, Limit: 100, Descending: true, Grouped: !alerts}
		}
		run := func(name string, f *engine.Filter, q *engine.PageQuery) {
			b.Run(noun+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				before := spent(b)
				for b.Loop() {
					ask(b, alerts, f, q)
				}
				b.ReportMetric(float64(spent(b)-before)/1e6/float64(b.N), "cpu-ms/op") // of one core, whoever else has it
			})
		}
		for _, name := range names {
			q := query()
			run("first/"+name, filters[name], q)
			if q.Cursor = ask(b, alerts, filters[name], q); q.Cursor != nil {
				run("next/"+name, filters[name], q)
			}
		}
		for _, field := range everyField {
			q := query()
			q.Facets = []engine.Field{field}
			run("facet/"+field.String(), filters["several"], q)
			run("facet-of-all/"+field.String(), filters["running"], q)
		}
		q := query()
		q.Facets = everyField
		run("facets/all", filters["running"], q)
		for s := engine.SortID; s <= engine.SortDecisions; s++ {
			q := query()
			if q.Sort = s; alerts && (s == engine.SortUntil || s == engine.SortOrigin || s == engine.SortType) || !alerts && s == engine.SortDecisions {
				continue
			}
			run("sort-first/"+s.String(), filters["running"], q)
			q.Cursor = ask(b, alerts, filters["running"], q)
			run("sort-next/"+s.String(), filters["running"], q)
		}
	}
}
