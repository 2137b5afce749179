package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// entry is what a client keys by.
type entry struct {
	enginetest.Target
	id engine.DecisionID // where Dedup is off
}

// wish is how one client asks.
type wish struct {
	query func() *engine.Query
	sight *engine.Sight
	wins  bool // as the server is set
}

// twinEntries is the obvious twin: what must be told of the decisions that are stored and run, and
// the items that are listed, computed from nothing each time.
func twinEntries(t *testing.T, v *engine.View, w *wish, now int64) map[entry]engine.DecisionID {
	t.Helper()
	entries := map[entry]engine.DecisionID{}
	until := map[entry]int64{}
	w.each(v, now, func(e entry, d engine.Decision) {
		if end, held := until[e]; !held || d.Until() > end || d.Until() == end && d.ID() < entries[e] {
			entries[e], until[e] = d.ID(), d.Until()
		}
	})
	return entries
}

// each yields what each decision is told as.
func (w *wish) each(v *engine.View, now int64, yield func(entry, engine.Decision)) {
	q := w.query()
	q.Now, q.Entries, q.Sight = now, false, filtersOf(w.sight)
	var all, named []netip.Prefix
	for _, l := range v.Allowlists() {
		for i := range l.Items {
			if l.Items[i].Expired(now) {
				continue
			}
			all = append(all, l.Items[i].Prefix)
			if w.sight != nil && slices.Contains(w.sight.Allowlists, l.Name) {
				named = append(named, l.Items[i].Prefix)
			}
		}
	}
	hold := func(d engine.Decision, scope, value string) {
		e := entry{Target: enginetest.Target{Scope: scope, Value: value, Type: d.Type().S}}
		if !q.Dedup {
			e.id = d.ID()
		}
		yield(e, d)
	}
	for _, d := range v.Find(nil, q) {
		p := d.Target()
		if !p.IsValid() {
			hold(d, d.Scope().S, d.Value())
			continue
		}
		if slices.ContainsFunc(named, func(it netip.Prefix) bool { return covers(it, p) }) {
			continue
		}
		if w.wins && slices.ContainsFunc(all, p.Overlaps) {
			for _, part := range without(p, all) {
				scope, value := cleanly(part)
				hold(d, scope, value)
			}
			continue
		}
		scope, value := d.Scope().S, d.Value()
		if w.sight != nil && w.sight.Canonical {
			scope, value = cleanly(p)
		}
		hold(d, scope, value)
	}
}

// filtersOf is a sight that only filters.
func filtersOf(s *engine.Sight) *engine.Sight {
	if s == nil {
		return nil
	}
	c := *s
	c.Canonical, c.Allowlists = false, nil
	return &c
}

func covers(wide, narrow netip.Prefix) bool {
	return wide.Bits() <= narrow.Bits() && wide.Contains(narrow.Addr())
}

func cleanly(p netip.Prefix) (scope, value string) {
	if p.IsSingleIP() {
		return engine.ScopeIP, p.Addr().String()
	}
	return engine.ScopeRange, p.String()
}

// without halves a prefix until each part is free or covered.
func without(p netip.Prefix, items []netip.Prefix) []netip.Prefix {
	if !slices.ContainsFunc(items, p.Overlaps) {
		return []netip.Prefix{p}
	}
	if slices.ContainsFunc(items, func(it netip.Prefix) bool { return covers(it, p) }) {
		return nil
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	last := p.Addr().AsSlice()
	last[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	a, _ := netip.AddrFromSlice(last)
	return append(without(low, items), without(netip.PrefixFrom(a, p.Bits()+1), items)...)
}

// entryClient is a client that holds what it was told.
type entryClient struct {
	*wish
	name   string
	pulled bool
	cursor engine.Revision
	holds  map[entry]engine.DecisionID

	flips   int  // of the server, at cursor
	unknown bool // it has heard of more than cursor says
}

func (h *entryClient) key(d engine.Decision, dedup bool) entry {
	e := entry{Target: enginetest.Target{Scope: d.Scope().S, Value: d.Value(), Type: d.Type().S}}
	if !dedup {
		e.id = d.ID()
	}
	return e
}

// poll asks once, and compares with the twin. A full state is believed on top of what is
// held, as clients do that do not know that it is one, if over says so.
func (h *entryClient) poll(t *testing.T, r *enginetest.Rig, full, over bool) {
	t.Helper()
	v, q := r.View(), h.query()
	q.Now, q.Entries, q.Sight = r.Now().UnixNano(), true, h.sight
	var d engine.Delta
	unchanged := h.pulled && v.Unchanged(h.cursor, q)
	if full || !h.pulled || !v.Changes(&d, h.cursor, q) {
		if d.New, d.Deleted = enginetest.FullState(v, q); !over {
			h.holds = map[entry]engine.DecisionID{}
		}
		full = true
	}
	if unchanged && !full && len(d.New)+len(d.Deleted) > 0 {
		t.Fatalf("%s: unchanged, and yet %d are new and %d deleted", h.name, len(d.New), len(d.Deleted))
	}
	seen := map[entry]bool{}
	for _, x := range d.Deleted {
		delete(h.holds, h.key(x, q.Dedup))
		seen[h.key(x, q.Dedup)] = true
		if !full && !x.Ended() {
			t.Fatalf("%s: %v is deleted and has not ended", h.name, x.Value())
		}
	}
	last := engine.DecisionID(0)
	once := map[entry]bool{}
	for _, x := range d.New {
		k := h.key(x, q.Dedup)
		if seen[k] || once[k] && q.Dedup && h.sight != nil && h.sight.Canonical || x.ID() < last {
			t.Fatalf("%s: %v is told twice, or out of order", h.name, k)
		}
		once[k], last = true, x.ID()
		h.holds[k] = x.ID()
	}
	want := twinEntries(t, v, h.wish, q.Now)
	if !maps.EqualFunc(h.holds, want, func(_, _ engine.DecisionID) bool { return true }) {
		t.Fatalf("%s, after a poll from %d to %d (full %v, on top %v), holds too much:\n%s\nand lacks\n%s", h.name, h.cursor, v.Revision(), full, over, listed(h.holds, want), listed(want, h.holds))
	}
	h.pulled, h.cursor = true, v.Revision()
}

// listed are those of one that are not in the other.
func listed(m, other map[entry]engine.DecisionID) string {
	var lines []string
	for e := range m {
		if _, both := other[e]; both {
			continue
		}
		lines = append(lines, fmt.Sprintf("  %s %s:%s %d", e.Type, e.Scope, e.Value, e.id))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// world is what happens at random to decisions and allowlists.
type world struct {
	*enginetest.Rig
	t      *testing.T
	chance *rand.Rand
	alerts []engine.AlertID
	wins   bool
	flips  int // how often wins has changed
}

var entryTargets = []string{"Ip 10.0.0.1", "Ip 10.0.0.2", "Ip 10.0.0.3", "Ip ::ffff:10.0.0.1", "Range 10.0.0.1/32", "Ip 10.0.0.2/32", "Range 10.0.0.0/30",
	"Range 10.0.0.2/31", "Range 10.0.0.0/29", "Range 10.0.0.4/30", "Range 10.0.0.5/29", "Range 10.0.0.0/24", "Range 10.0.0.128/25", "range 10.0.0.0/24",
	"Ip 2001:db8::1", "ip 2001:DB8::1", "Range 2001:0db8::1/128", "Range 2001:db8::/126", "Range 2001:db8::2/127", "Range ::/0", "Range 0.0.0.0/0", "Country FR", "AS 1234"}

var entryItems = []string{"10.0.0.1", "10.0.0.1/32", "10.0.0.2", "10.0.0.0/31", "10.0.0.4/30", "10.0.0.7", "10.0.0.129", "10.0.0.0/24", "10.0.0.0/29",
	"2001:db8::1", "2001:db8::2/127", "2001:db8::/64", "0.0.0.0/0", "192.0.2.7"}

func (w *world) step() {
	ctx, now := context.Background(), w.Now().UnixNano()
	list := string(rune('a' + w.chance.IntN(3)))
	switch w.chance.IntN(16) {
	case 0, 1, 2, 3, 4:
		a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(w.Now())}
		for range 1 + w.chance.IntN(4) {
			scope, value, _ := strings.Cut(entryTargets[w.chance.IntN(len(entryTargets))], " ")
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: scope, Value: value, Scenario: "s", Origin: []string{"crowdsec", "cscli"}[w.chance.IntN(2)],
				Type: []string{"ban", "ban", "captcha"}[w.chance.IntN(3)], Duration: []string{"5s", "1m", "4h"}[w.chance.IntN(3)]})
		}
		ids, err := w.AddAlerts(ctx, "", []*engine.Alert{a}, now)
		wants(w.t, err, nil)
		w.alerts = append(w.alerts, ids...)
	case 5:
		if len(w.alerts) > 0 {
			at := w.chance.IntN(len(w.alerts))
			wants(w.t, w.DeleteAlert(ctx, w.alerts[at], now), nil)
			w.alerts = slices.Delete(w.alerts, at, at+1)
		}
	case 6:
		q := w.Ask()
		q.Scopes, q.Limit = engine.Words{}, -1
		_, value, _ := strings.Cut(entryTargets[w.chance.IntN(14)], " ")
		q.Address, _ = engine.ParseTarget(value)
		_, err := w.EndDecisions(ctx, q)
		wants(w.t, err, nil)
	case 7, 8, 9:
		if w.View().Allowlist(list) == nil {
			wants(w.t, w.CreateAllowlist(ctx, list, "", now), nil)
		}
		var items []engine.AllowlistItem
		for range 1 + w.chance.IntN(2) {
			it := engine.AllowlistItem{Value: entryItems[w.chance.IntN(len(entryItems))]}
			it.Prefix, _ = engine.ParseTarget(it.Value)
			if w.chance.IntN(2) == 0 {
				it.ExpiresAt = now + int64(time.Duration(w.chance.IntN(60))*time.Second)
			}
			items = append(items, it)
		}
		_, _, err := w.AddToAllowlist(ctx, list, items, now)
		wants(w.t, err, nil)
	case 10, 11:
		if w.View().Allowlist(list) != nil {
			_, err := w.RemoveFromAllowlist(ctx, list, []string{entryItems[w.chance.IntN(len(entryItems))]}, now)
			wants(w.t, err, nil)
		}
	case 12:
		if w.View().Allowlist(list) != nil && w.chance.IntN(3) == 0 {
			wants(w.t, w.DeleteAllowlist(ctx, list, false), nil)
		}
	case 13:
		w.Advance(time.Duration(w.chance.IntN(20)) * time.Second)
	case 14:
		if w.chance.IntN(2) == 0 {
			wants(w.t, w.Snapshot(ctx), nil)
		}
	case 15:
		if w.chance.IntN(3) == 0 {
			if w.chance.IntN(2) == 0 {
				w.wins = !w.wins
				w.flips++
				w.Options.AllowlistsWin = &w.wins
			}
			w.Restart()
			w.Settle()
		}
	}
}

// Clients that poll at random, from where they are or all anew, hold what the twin says,
// whatever happens to decisions and allowlists, over restarts from snapshots and the journal,
// and whether allowlists win or not.
func TestEntries(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			wins := seed%3 != 0
			r := enginetest.NewRig(t, func(o *engine.Options) { o.AllowlistsWin = &wins })
			w := &world{Rig: r, t: t, chance: rand.New(rand.NewPCG(seed, 7)), wins: wins}
			r.Settle()
			clients := w.clients()
			for range sized(400) {
				w.step()
				for _, c := range clients {
					c.wins = w.View().AllowlistsWin()
					if w.chance.IntN(5) == 0 {
						full := w.chance.IntN(12) == 0 || c.unknown && w.flips != c.flips
						from := c.cursor
						c.poll(t, r, full, full && w.chance.IntN(2) == 0)
						if flipped := w.flips != c.flips; flipped || full || w.chance.IntN(3) > 0 {
							c.flips, c.unknown = w.flips, false
						} else {
							c.cursor, c.unknown = from, true // that it has heard is not known
						}
					}
				}
			}
		})
	}
}

func (w *world) clients() (list []*entryClient) {
	ask := func(change func(*engine.Query)) func() *engine.Query {
		return func() *engine.Query {
			q := w.Ask()
			if change != nil {
				change(q)
			}
			return q
		}
	}
	scopes := func(s ...string) func(*engine.Query) {
		return func(q *engine.Query) { q.Scopes.List = s }
	}
	for name, wish := range map[string]*wish{
		"usual":     {query: ask(nil)},
		"hosts":     {query: ask(scopes(engine.ScopeIP))},
		"all":       {query: ask(scopes(engine.ScopeIP, engine.ScopeRange, engine.ScopeAS, engine.ScopeCountry))},
		"origin":    {query: ask(func(q *engine.Query) { q.Origins = engine.Words{Given: true, List: []string{"cscli"}} })},
		"each":      {query: ask(func(q *engine.Query) { q.Dedup = false })},
		"clean":     {query: ask(nil), sight: &engine.Sight{Canonical: true}},
		"hidden":    {query: ask(nil), sight: &engine.Sight{Allowlists: []string{"a"}}},
		"both":      {query: ask(nil), sight: &engine.Sight{Canonical: true, Allowlists: []string{"a", "b"}}},
		"each both": {query: ask(func(q *engine.Query) { q.Dedup = false }), sight: &engine.Sight{Canonical: true, Allowlists: []string{"b"}}},
	} {
		list = append(list, &entryClient{wish: wish, name: name, holds: map[entry]engine.DecisionID{}})
	}
	slices.SortFunc(list, func(a, b *entryClient) int { return strings.Compare(a.name, b.name) })
	return list
}

var _ = persist.NewMemFS
