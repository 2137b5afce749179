package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// browsed is a random history of which pages are made, beside a slow twin of it.
type browsed struct {
	*enginetest.Rig
	t      *testing.T
	chance *rand.Rand
	alerts map[engine.AlertID]*engine.Alert // as they came
}

var (
	browsedOrigins   = []string{"crowdsec", "cscli", "CAPI", "lists"}
	browsedTypes     = []string{"ban", "captcha"}
	browsedScenarios = []string{"crowdsecurity/ssh-bf", "crowdsecurity/http-probing", "manual", "Ärger", ""}
	browsedCountries = []string{"FR", "DE", "US", ""}
	browsedMachines  = []string{"web1", "web2", ""}
	browsedNetworks  = []string{"64500", "64501", "", "AS64502"}
)

func newBrowsed(t *testing.T, seed uint64) *browsed {
	b := &browsed{Rig: enginetest.NewRig(t, func(o *engine.Options) { o.NoSync = true }), t: t, chance: rand.New(rand.NewPCG(seed, 1)), alerts: map[engine.AlertID]*engine.Alert{}}
	for _, id := range browsedMachines[:2] {
		wants(t, b.AddMachine(context.Background(), &engine.Machine{ID: id}, false), nil)
	}
	for range 40 {
		b.add()
	}
	return b
}

func pick[T any](b *browsed, list []T) T { return list[b.chance.IntN(len(list))] }

func (b *browsed) value() (engine.Scope, string) {
	switch b.chance.IntN(8) {
	case 0:
		return engine.ScopeRange, fmt.Sprintf("10.0.%d.0/24", b.chance.IntN(4))
	case 1:
		return engine.ScopeIP, fmt.Sprintf("2001:db8::%x", b.chance.IntN(8))
	case 2:
		return "username", pick(b, []string{"root", "admin"})
	case 3:
		return engine.ScopeIP, "10.0.1.1"
	}
	return engine.ScopeIP, fmt.Sprintf("10.0.%d.%d", b.chance.IntN(4), b.chance.IntN(20))
}

// add stores some alerts.
func (b *browsed) add() { b.addSo(1 + b.chance.IntN(4)) }

// addSo stores so many.
func (b *browsed) addSo(many int) {
	b.Step(time.Second)
	now := b.Rig.Now()
	var list []*engine.Alert
	for range many {
		scope, value := b.value()
		a := &engine.Alert{Scenario: pick(b, browsedScenarios), Message: pick(b, []string{"brute force", "odd look"}), Kind: pick(b, []string{"crowdsec", "waf"}),
			StartAt: engine.StampOf(now.Add(-time.Duration(b.chance.IntN(100)) * time.Second)), StopAt: engine.StampOf(now), Simulated: b.chance.IntN(5) == 0,
			Source: engine.Source{Scope: scope, Value: value, Cn: pick(b, browsedCountries), AsNumber: pick(b, browsedNetworks)}}
		if a.Source.AsNumber != "" {
			a.Source.AsName = "Net " + a.Source.AsNumber
		}
		if b.chance.IntN(6) == 0 {
			a.Batch = engine.Batch{Name: "b1"}
		}
		for range b.chance.IntN(4) {
			if b.chance.IntN(2) == 0 {
				scope, value = b.value()
			}
			a.Decisions = append(a.Decisions, engine.NewDecision{Duration: fmt.Sprintf("%dm", 1+b.chance.IntN(200)), Origin: pick(b, browsedOrigins),
				Scenario: pick(b, browsedScenarios), Scope: scope, Type: pick(b, browsedTypes), Value: value})
		}
		list = append(list, a)
	}
	machine := pick(b, browsedMachines)
	ids, err := b.AddAlerts(context.Background(), machine, list, now.UnixNano())
	wants(b.t, err, nil)
	if len(ids) != len(list) {
		b.t.Fatalf("%d of %d alerts were stored", len(ids), len(list))
	}
	for i, id := range ids {
		b.alerts[id] = list[i]
	}
}

// change does something else than to add.
func (b *browsed) change() {
	ctx, now := context.Background(), b.Rig.Now().UnixNano()
	_, next := b.View().NextIDs()
	switch b.chance.IntN(8) {
	case 0:
		nextAlert, _ := b.View().NextIDs()
		if err := b.DeleteAlert(ctx, engine.AlertID(b.chance.Uint64N(uint64(nextAlert))), now); err != nil && !errors.Is(err, engine.ErrNotFound) {
			b.t.Fatal(err)
		}
	case 1:
		b.Advance(time.Minute)
	case 2, 3, 4:
		if err := b.EndDecision(ctx, engine.DecisionID(b.chance.Uint64N(uint64(next))), now); err != nil && !errors.Is(err, engine.ErrNotFound) {
			b.t.Fatal(err)
		}
	default:
		b.add()
	}
}

// filter draws one.
func (b *browsed) filter() *engine.Filter {
	f := &engine.Filter{}
	some := func(n int) bool { return b.chance.IntN(n) == 0 }
	choose := func(list []string) (c engine.Choice) {
		for range b.chance.IntN(3) {
			c.Any = append(c.Any, pick(b, list))
		}
		if some(3) {
			c.None = append(c.None, pick(b, list))
		}
		return c
	}
	f.Standing = pick(b, []engine.Standing{engine.AnyStanding, engine.Running, engine.Running, engine.Ended})
	if some(4) {
		f.Simulation = pick(b, []engine.Simulation{engine.Enforced, engine.Simulated})
	}
	for field, list := range map[engine.Field][]string{
		engine.FieldScope: {"Ip", "range", "username", ""}, engine.FieldOrigin: browsedOrigins, engine.FieldType: browsedTypes,
		engine.FieldScenario: {"crowdsecurity/*", "*SSH*", "manual", "Ärger", ""}, engine.FieldCountry: {"fr", "DE", "", "*"},
		engine.FieldAS: {"64500", "net *", "", "64502"}, engine.FieldMachine: {"web*", "web1", ""},
	} {
		if some(5) {
			f.Words[field] = choose(list)
		}
	}
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.0.1.1/32"), netip.MustParsePrefix("10.0.2.0/24"), netip.MustParsePrefix("10.0.0.0/22"), netip.MustParsePrefix("2001:db8::/64")}
	for _, list := range []*[]netip.Prefix{&f.Covers, &f.Inside, &f.NotCovers, &f.NotInside} {
		for some(6) {
			*list = append(*list, pick(b, prefixes))
		}
	}
	if some(6) {
		f.Value = choose([]string{"10.0.1.1", "ROOT", "10.0.*", "2001:db8::3", "10.0.2.0/24"})
	}
	for _, list := range []*[]engine.AlertID{&f.Alerts, &f.NotAlerts} {
		for some(9) {
			*list = append(*list, engine.AlertID(1+b.chance.IntN(60)))
		}
	}
	moments := []int64{enginetest.Epoch.UnixNano(), enginetest.Epoch.Add(10 * time.Second).UnixNano(), enginetest.Epoch.Add(30 * time.Second).UnixNano()}
	if some(6) {
		f.Since = pick(b, moments)
	}
	if some(6) {
		f.Until = pick(b, moments)
	}
	texts := []string{"SSH", "10.0", "web", "o", "Brute", "odd"}
	if some(5) {
		f.Text = append(f.Text, pick(b, texts))
	}
	if some(8) {
		f.Text, f.NotText = append(f.Text, pick(b, texts)), append(f.NotText, pick(b, texts))
	}
	f.HideCommunity = some(3)
	if some(8) {
		f.Kind = engine.Word{Given: true, Text: "waf"}
	}
	if some(8) {
		f.Batch = engine.Batch{Name: "b1"}
	}
	return f
}

// twin is a list as it is written down in the plainest way: everything, tested one by one.
type twin struct {
	id     uint64
	fields [7][]string // values by field; an alert may have several origins
	as     string      // name of the network
	passes bool        // all but the fields
	key    string      // of the order, comparable; equal ones by id
	group  string
	until  int64
}

// admitted compares as Choice says.
func admitted(c engine.Choice, values ...string) bool {
	is := func(list []string) bool {
		return slices.ContainsFunc(list, func(pattern string) bool {
			return slices.ContainsFunc(values, func(v string) bool {
				p, v := strings.ToLower(pattern), strings.ToLower(v)
				before, after, star := strings.Cut(p, "*")
				if !star {
					return p == v
				}
				rest, ok := strings.CutPrefix(v, before)
				return ok && (strings.HasSuffix(rest, after) && !strings.Contains(after, "*") || strings.Contains(rest, strings.Trim(after, "*")) && strings.HasSuffix(after, "*"))
			})
		})
	}
	return (len(c.Any) == 0 || is(c.Any)) && !is(c.None)
}

func relates(ts []netip.Prefix, covers, inside []netip.Prefix) bool {
	return slices.ContainsFunc(ts, func(t netip.Prefix) bool {
		return t.IsValid() && (slices.ContainsFunc(covers, func(p netip.Prefix) bool { return t.Bits() <= p.Bits() && t.Contains(p.Addr()) }) ||
			slices.ContainsFunc(inside, func(p netip.Prefix) bool { return t.Bits() >= p.Bits() && p.Contains(t.Addr()) }))
	})
}

// rest tests what of a filter is asked of both nouns in one way.
func rest(f *engine.Filter, alert engine.AlertID, a *engine.Alert, at int64, targets []netip.Prefix, values, texts []string) bool {
	occurs := func(word string) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), strings.ToLower(word)) })
	}
	return (f.Simulation == engine.AnySimulation || (f.Simulation == engine.Simulated) == a.Simulated) &&
		(len(f.Covers)+len(f.Inside) == 0 || relates(targets, f.Covers, f.Inside)) && !relates(targets, f.NotCovers, f.NotInside) &&
		admitted(f.Value, values...) && (len(f.Alerts) == 0 || slices.Contains(f.Alerts, alert)) && !slices.Contains(f.NotAlerts, alert) &&
		(f.Since == 0 || at >= f.Since) && (f.Until == 0 || at <= f.Until) &&
		!slices.ContainsFunc(f.Text, func(w string) bool { return !occurs(w) }) && !slices.ContainsFunc(f.NotText, occurs) &&
		(f.Batch.Name == "" || a.Batch == f.Batch)
}

func network(a *engine.Alert) string { return strings.TrimPrefix(a.Source.AsNumber, "AS") }

func (b *browsed) decisions(v *engine.View, f *engine.Filter, by engine.Sort, now int64) (out []twin) {
	_, next := v.NextIDs()
	for id := engine.DecisionID(1); id < next; id++ {
		d, ok := v.Decision(id)
		if !ok {
			continue
		}
		a := b.alerts[d.AlertID()]
		one := twin{id: uint64(id), until: d.Until(), group: fmt.Sprint(d.Scope().S, d.Type().S, d.Value()), as: a.Source.AsName}
		one.fields = [7][]string{{d.Scope().S}, {d.Origin().S}, {d.Type().S}, {d.Scenario().S}, {a.Source.Cn}, {network(a)}, {a.MachineID}}
		one.passes = rest(f, d.AlertID(), a, a.CreatedAt, []netip.Prefix{d.Target()}, []string{d.Value()}, []string{d.Scenario().S, d.Value(), a.MachineID}) &&
			(f.Standing == engine.AnyStanding || (f.Standing == engine.Running) == d.Running(now))
		one.key = plainKey(by, &one, a.CreatedAt, d.Target(), d.Value(), 0)
		out = append(out, one)
	}
	return out
}

func (b *browsed) listAlerts(v *engine.View, f *engine.Filter, by engine.Sort, now int64) (out []twin) {
	for id, a := range b.alerts {
		stored, ds, err := b.Alert(v, id)
		if errors.Is(err, engine.ErrNotFound) {
			continue
		}
		wants(b.t, err, nil)
		one := twin{id: uint64(id), as: a.Source.AsName}
		target, _ := engine.ParseTarget(a.Source.Value)
		targets, values, runs, community := []netip.Prefix{target}, []string{a.Source.Value}, false, false
		one.fields = [7][]string{{a.Source.Scope}, nil, nil, {a.Scenario}, {a.Source.Cn}, {network(a)}, {stored.MachineID}}
		for _, d := range ds {
			targets, values, runs = append(targets, d.Target()), append(values, d.Value()), runs || d.Running(now)
			community = community || d.Origin().S == "CAPI" || d.Origin().S == "lists"
			for field, word := range map[engine.Field]string{engine.FieldOrigin: d.Origin().S, engine.FieldType: d.Type().S} {
				if !slices.Contains(one.fields[field], word) {
					one.fields[field] = append(one.fields[field], word)
				}
			}
		}
		if len(ds) == 0 {
			one.fields[engine.FieldOrigin], one.fields[engine.FieldType] = []string{""}, []string{""}
		}
		one.passes = rest(f, id, a, a.StartAt.At, targets, values, []string{a.Scenario, a.Source.Value, stored.MachineID, a.Message}) &&
			(f.Standing == engine.AnyStanding || (f.Standing == engine.Running) == runs) && (!f.HideCommunity || !community) && (!f.Kind.Given || a.Kind == f.Kind.Text)
		one.key = plainKey(by, &one, a.StartAt.At, target, "", len(ds))
		out = append(out, one)
	}
	return out
}

// plainKey spells what a row is put in order by, so that spellings have the order.
func plainKey(by engine.Sort, t *twin, started int64, target netip.Prefix, value string, decisions int) string {
	switch by {
	case engine.SortStarted:
		return fmt.Sprintf("%020d", started)
	case engine.SortUntil:
		return fmt.Sprintf("%020d", t.until)
	case engine.SortDecisions:
		return fmt.Sprintf("%020d", decisions)
	case engine.SortValue:
		if !target.IsValid() {
			return "z" + value
		}
		return fmt.Sprintf("a%x", target.Addr().As16())
	case engine.SortAS:
		return fmt.Sprintf("%020s", t.fields[engine.FieldAS][0])
	}
	for field, sort := range map[engine.Field]engine.Sort{engine.FieldScope: engine.SortScope, engine.FieldOrigin: engine.SortOrigin, engine.FieldType: engine.SortType,
		engine.FieldScenario: engine.SortScenario, engine.FieldCountry: engine.SortCountry, engine.FieldMachine: engine.SortMachine} {
		if by == sort {
			return t.fields[field][0]
		}
	}
	return ""
}

// choose is what of the twins the whole filter lets through, in order, and how often the values of fields
// occur in what all but the choice of the field does.
func choose(all []twin, f *engine.Filter, q *engine.PageQuery) (rows []twin, counts []int, facets map[engine.Field]map[string]int) {
	chosen := func(t *twin, but engine.Field) bool {
		for field, values := range t.fields {
			if field == int(engine.FieldAS) {
				values = append(slices.Clone(values), t.as)
			}
			if field != int(but) && !admitted(f.Words[field], values...) {
				return false
			}
		}
		return t.passes
	}
	facets = map[engine.Field]map[string]int{}
	for _, field := range q.Facets {
		facets[field] = map[string]int{}
		for i := range all {
			if chosen(&all[i], field) {
				for _, v := range all[i].fields[field] {
					facets[field][v]++
				}
			}
		}
	}
	best, n := map[string]uint64{}, map[string]int{}
	for i := range all {
		if t := &all[i]; chosen(t, 99) {
			rows = append(rows, *t)
		}
	}
	slices.SortFunc(rows, func(a, b twin) int { return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.id, b.id)) })
	for _, t := range rows {
		best[t.group] = t.id
		n[t.group]++
	}
	slices.SortFunc(rows, func(a, b twin) int {
		c := cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id))
		if q.Descending {
			c = -c
		}
		return c
	})
	if q.Grouped {
		rows = slices.DeleteFunc(rows, func(t twin) bool { return best[t.group] != t.id })
	}
	for _, t := range rows {
		if q.Grouped {
			counts = append(counts, n[t.group])
		} else {
			counts = append(counts, 1)
		}
	}
	return rows, counts, facets
}

// paged is a page of either noun.
type paged struct {
	ids, counts    []int
	rows, matches  int
	next, previous *engine.Cursor
	facets         []engine.Facet
	revision       engine.Revision
}

func (b *browsed) page(alerts bool, f *engine.Filter, q *engine.PageQuery) (p paged, err error) {
	ctx, v := context.Background(), b.View()
	if alerts {
		out, err := b.AlertPage(ctx, v, f, q)
		if err != nil {
			return p, err
		}
		if out.AtLeast {
			b.t.Error("a small list is not told whole")
		}
		p = paged{nil, nil, out.Totals.Rows, out.Matches, out.Next, out.Previous, out.Facets, out.Revision}
		for _, r := range out.Rows {
			p.ids, p.counts = append(p.ids, int(r.ID)), append(p.counts, 1)
		}
		return p, nil
	}
	out, err := v.DecisionPage(ctx, f, q)
	if err != nil {
		return p, err
	}
	p = paged{nil, nil, out.Totals.Rows, out.Matches, out.Next, out.Previous, out.Facets, out.Revision}
	for _, r := range out.Rows {
		p.ids, p.counts = append(p.ids, int(r.ID())), append(p.counts, r.Count)
	}
	return p, nil
}

// Pages of any filter, order and length show what a plain look at everything gives: forwards, backwards, from
// both ends, with what changes meanwhile, and after a restart.
func TestPages(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		b := newBrowsed(t, seed)
		for round := range 50 {
			if round == 30 {
				b.Restart()
			}
			if round == 40 {
				wants(t, b.Snapshot(context.Background()), nil)
				b.Restart()
			}
			b.change()
			b.compare(round%2 == 1)
		}
	}
}

// So do pages of lists that are longer than a page of ids, which later pages in another order are gathered from
// here and there: in every order, up and down, while more is added.
func TestLongPages(t *testing.T) {
	t.Parallel()
	b := newBrowsed(t, 5)
	b.addSo(1600)
	for range 20 {
		b.change()
	}
	for by := engine.SortID; by <= engine.SortDecisions; by++ {
		for _, alerts := range []bool{false, true} {
			if alerts && (by == engine.SortUntil || by == engine.SortOrigin || by == engine.SortType) || !alerts && by == engine.SortDecisions {
				continue
			}
			b.readLong(alerts, by)
		}
	}
}

// readLong reads some pages of a list from its beginning, and back.
func (b *browsed) readLong(alerts bool, by engine.Sort) {
	f, now, v := &engine.Filter{Standing: pick(b, []engine.Standing{engine.AnyStanding, engine.Running})}, b.Rig.Now().UnixNano(), b.View()
	q := &engine.PageQuery{Now: now, Limit: 300 + b.chance.IntN(200), Sort: by, Descending: b.chance.IntN(2) == 0, Grouped: !alerts && b.chance.IntN(3) == 0}
	var all []twin
	if alerts {
		all = b.listAlerts(v, f, by, now)
	} else {
		all = b.decisions(v, f, by, now)
	}
	rows, _, _ := choose(all, f, q)
	want := ids(rows)
	read := func(from, to int) (p paged) {
		p, err := b.page(alerts, f, q)
		wants(b.t, err, nil)
		got := make([]uint64, 0, len(p.ids))
		for _, id := range p.ids {
			got = append(got, uint64(id))
		}
		if !slices.Equal(got, want[from:to]) {
			b.t.Fatalf("alerts %v by %v, %+v: from %d on %d rows are %v and not %v", alerts, by, *f, from, len(want), got, want[from:to])
		}
		return p
	}
	var p paged
	at := 0
	for ; at < len(want); at = min(at+q.Limit, len(want)) {
		p = read(at, min(at+q.Limit, len(want)))
		q.Cursor = p.next
		b.add()
	}
	for at -= len(p.ids); at > 0; at -= q.Limit {
		q.Cursor = p.previous
		p = read(at-q.Limit, at)
	}
}

// compare draws a list and reads it in pages.
func (b *browsed) compare(alerts bool) {
	t := b.t
	t.Helper()
	f, now := b.filter(), b.Rig.Now().UnixNano()
	q := &engine.PageQuery{Now: now, Limit: 1 + b.chance.IntN(12), Descending: b.chance.IntN(2) == 0, FacetLimit: 100}
	q.Sort = pick(b, []engine.Sort{engine.SortID, engine.SortID, engine.SortStarted, engine.SortValue, engine.SortScope, engine.SortScenario, engine.SortCountry, engine.SortAS, engine.SortMachine})
	if other := b.chance.IntN(4); other == 0 && alerts {
		q.Sort = engine.SortDecisions
	} else if other == 0 {
		q.Sort = pick(b, []engine.Sort{engine.SortUntil, engine.SortOrigin, engine.SortType})
	}
	q.Grouped = !alerts && b.chance.IntN(2) == 0
	for field := range engine.FieldMachine + 1 {
		if b.chance.IntN(2) == 0 {
			q.Facets = append(q.Facets, field)
		}
	}
	first := b.View()
	var all []twin
	if alerts {
		all = b.listAlerts(first, f, q.Sort, now)
	} else {
		all = b.decisions(first, f, q.Sort, now)
	}
	want, counts, facets := choose(all, f, q)
	what := fmt.Sprintf("alerts %v, %+v, %+v", alerts, *f, *q)
	p, err := b.page(alerts, f, q)
	wants(t, err, nil)
	matches := 0
	for _, n := range counts {
		matches += n
	}
	if p.rows != len(want) || p.matches != matches {
		t.Fatalf("%s: %d rows of %d are counted, there are %d of %d", what, p.rows, p.matches, len(want), matches)
	}
	b.compareFacets(what, p.facets, facets)
	b.walk(what, alerts, f, q, p, want, counts)
}

func (b *browsed) compareFacets(what string, got []engine.Facet, want map[engine.Field]map[string]int) {
	b.t.Helper()
	for _, facet := range got {
		told := map[string]int{}
		for i, v := range facet.Values {
			told[v.Value] += v.Count
			if i > 0 && facet.Values[i-1].Count < v.Count {
				b.t.Errorf("%s: %v is not in order: %v", what, facet.Field, facet.Values)
			}
		}
		if fmt.Sprint(told) != fmt.Sprint(want[facet.Field]) {
			b.t.Fatalf("%s: %v is told as %v, and is %v", what, facet.Field, told, want[facet.Field])
		}
	}
}

// walk reads the list to its end and back, while other things happen, and then from its end.
func (b *browsed) walk(what string, alerts bool, f *engine.Filter, q *engine.PageQuery, p paged, want []twin, counts []int) {
	t := b.t
	t.Helper()
	is := func(from int) int {
		for i, id := range p.ids {
			if from+i >= len(want) || int(want[from+i].id) != id || counts[from+i] != p.counts[i] {
				t.Fatalf("%s: the page from %d is %v × %v of %v × %v", what, from, p.ids, p.counts, ids(want), counts)
			}
		}
		return from + len(p.ids)
	}
	follow := func(c *engine.Cursor) {
		again, err := engine.ParseCursor(c.String())
		wants(t, err, nil)
		later := *q
		later.Cursor, later.Now = again, q.Now+int64(time.Hour)
		if b.chance.IntN(2) == 0 {
			later.Facets = nil
		}
		if p, err = b.page(alerts, f, &later); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if p.rows != len(want) {
			t.Fatalf("%s: later %d rows are counted, there are %d", what, p.rows, len(want))
		}
	}
	at := is(0)
	for from := 0; p.next != nil; {
		if b.chance.IntN(3) == 0 && len(b.alerts) < 300 { // nothing is deleted: it would be left out
			b.add()
		}
		follow(p.next)
		if len(p.ids) == 0 || p.previous == nil {
			t.Fatalf("%s: an empty page, or one without one before", what)
		}
		from, at = at, is(at)
		if b.chance.IntN(3) == 0 {
			forth := p
			follow(p.previous)
			is(from - len(p.ids))
			p = forth
		}
	}
	if at != len(want) {
		t.Fatalf("%s: the list ends after %d of %d", what, at, len(want))
	}
	b.fromEnd(what, alerts, f, q)
}

// fromEnd reads the last page of a list as it is now, and the one before.
func (b *browsed) fromEnd(what string, alerts bool, f *engine.Filter, q *engine.PageQuery) {
	t := b.t
	t.Helper()
	q.Limit = engine.LongestPage
	all, err := b.page(alerts, f, q)
	wants(t, err, nil)
	q.Last, q.Limit = true, 1+b.chance.IntN(5)
	last, err := b.page(alerts, f, q)
	wants(t, err, nil)
	from := max(len(all.ids)-q.Limit, 0)
	if !slices.Equal(last.ids, all.ids[from:]) || last.next != nil || (last.previous == nil) != (from == 0) {
		t.Fatalf("%s: the end is %v of %v", what, last.ids, all.ids)
	}
	if last.previous != nil {
		q.Cursor = last.previous
		before, err := b.page(alerts, f, q)
		wants(t, err, nil)
		if !slices.Equal(before.ids, all.ids[max(from-q.Limit, 0):from]) || before.next == nil {
			t.Fatalf("%s: before the end are %v of %v", what, before.ids, all.ids)
		}
	}
}

func ids(list []twin) (out []uint64) {
	for _, t := range list {
		out = append(out, t.id)
	}
	return out
}
