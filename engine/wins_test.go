package engine_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// allow puts addresses on a list, which is made if it is not there, and says how many decisions that ended.
func allow(t *testing.T, e *engine.Engine, now int64, values ...string) (ended int) {
	t.Helper()
	if e.View().Allowlist("office") == nil {
		wants(t, e.CreateAllowlist(context.Background(), "office", "", now), nil)
	}
	var items []engine.AllowlistItem
	for _, value := range values {
		p, _ := engine.ParseTarget(value)
		items = append(items, engine.AllowlistItem{Value: value, Prefix: p})
	}
	_, ended, err := e.AddToAllowlist(context.Background(), "office", items, now)
	wants(t, err, nil)
	return ended
}

// entriesAt are the targets that a live query for an address is told.
func entriesAt(v *engine.View, address string, now int64) (told []string) {
	q := &engine.Query{Now: now, Entries: true, Limit: -1}
	q.Address, _ = engine.ParseTarget(address)
	for _, d := range v.Find(nil, q) {
		told = append(told, string(d.AppendValue(nil)))
	}
	return told
}

// Where allowlists win, a new item ends what lies inside it; a wider range runs on, for bouncers are
// told it without the item. Where they do not, the whole range ends, as it always did.
func TestNewItemLeavesWiderRanges(t *testing.T) {
	t.Parallel()
	for _, wins := range []bool{true, false} {
		p := populated{enginetest.NewRig(t, func(o *engine.Options) { o.AllowlistsWin = &wins }), t}
		p.Settle()
		for _, value := range []string{"192.0.2.0/24", "192.0.2.8/29", "192.0.2.9", "192.0.2.200"} {
			p.add(value, "4h")
		}
		now := p.Now().UnixNano()
		wants(t, p.CreateAllowlist(t.Context(), "office", "", now), nil)
		_, foreseen, err := p.View().WouldAllowlist("office", []engine.AllowlistItem{{Value: "192.0.2.8/29", Prefix: netip.MustParsePrefix("192.0.2.8/29")}}, now)
		wants(t, err, nil)
		want, beside := 2, []string{"192.0.2.0/29"}
		if !wins {
			want, beside = 3, nil
		}
		if ended := allow(t, p.Engine, now, "192.0.2.8/29"); ended != want || len(foreseen) != want {
			t.Errorf("wins %v: %d have ended, want %d (%d were foreseen)", wins, ended, want, len(foreseen))
		}
		if got := entriesAt(p.View(), "192.0.2.9", now); len(got) != 0 {
			t.Errorf("wins %v: the allowlisted address is told %v", wins, got)
		}
		if got := entriesAt(p.View(), "192.0.2.7", now); !slices.Equal(got, beside) {
			t.Errorf("wins %v: beside it %v is told, want %v", wins, got, beside)
		}
	}
}

// Where allowlists win and have items, what none of them touches is answered without allocation.
func TestAnswersAllocateNothingBesideItems(t *testing.T) {
	wins := true
	p := populated{enginetest.NewRig(t, func(o *engine.Options) { o.AllowlistsWin = &wins }), t}
	p.Settle()
	for _, value := range []string{"192.0.2.7", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::7", "198.51.100.0/24"} {
		p.add(value, "4h")
	}
	allow(t, p.Engine, p.Now().UnixNano(), "198.51.100.9", "203.0.113.0/28", "2001:db8:1::1")
	before := p.View().Revision()
	p.add("192.0.2.9", "4h")
	v, found := p.View(), make([]engine.Decision, 0, 64)
	if !v.AllowlistsWin() {
		t.Fatal("allowlists do not win")
	}
	for _, address := range []string{"192.0.2.7", "192.0.2.8", "10.1.2.3", "10.1.2.0/28", "2001:db8::7", "203.0.113.9", "198.51.100.9"} {
		q := p.Ask()
		q.Scopes, q.Entries = engine.Words{}, true
		q.Address, _ = engine.ParseTarget(address)
		answer := func() { found = v.Find(found[:0], q) }
		answer()
		if n := fewestAllocations(answer); n != 0 {
			t.Errorf("%s: %v allocations", address, n)
		}
	}
	q := p.Ask()
	q.Entries = true
	delta := &engine.Delta{New: make([]engine.Decision, 0, 64), Deleted: make([]engine.Decision, 0, 64)}
	for name, answer := range map[string]func(){
		"empty poll":  func() { v.Unchanged(v.Revision(), q) },
		"empty delta": func() { mustChange(t, v, delta, v.Revision(), q) },
		"small delta": func() { mustChange(t, v, delta, before, q) },
	} {
		answer()
		if n := fewestAllocations(answer); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if mustChange(t, v, delta, before, q); len(delta.New) != 1 {
		t.Errorf("%d are new", len(delta.New))
	}
}

// Stores of older formats say nothing of when their allowlists came into effect: they do for what
// is told from the first start on that has them win, and so it is after the next.
func TestFrozenStoresAreSplit(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"journal", "snapshot", "format2/journal", "format2/snapshot", "format2/killed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, wins, now := persist.NewMemFS(), true, frozenAt.UnixNano()
			thaw(t, disk, "store", name)
			o := &engine.Options{Dir: "store", FS: disk, Now: func() time.Time { return frozenAt }, AllowlistsWin: &wins}
			for round := range 3 {
				e, err := engine.Open(o)
				wants(t, err, nil)
				ctx, stop := context.WithCancel(context.Background())
				ended := make(chan error)
				go func() { ended <- e.Run(ctx) }()
				for !e.View().AllowlistsWin() { // it is stored by the committer
					wants(t, e.Snapshot(ctx), nil)
				}
				if round == 0 {
					banEverything(t, e, now)
				}
				splits(t, e.View(), now)
				stop()
				wants(t, <-ended, nil)
				wants(t, e.Close(), nil)
			}
		})
	}
}

// banEverything bans a range around each item of each list.
func banEverything(t *testing.T, e *engine.Engine, now int64) {
	t.Helper()
	a := &engine.Alert{Scenario: "wide", StopAt: engine.Stamp{At: now}}
	for _, value := range []string{"0.0.0.0/0", "::/0"} {
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Range", Value: value, Type: "ban", Origin: "cscli", Scenario: "wide", Duration: "4h"})
	}
	_, err := e.AddAlerts(context.Background(), "", []*engine.Alert{a}, now)
	wants(t, err, nil)
}

// splits holds that items in effect are free and that the range around them is told.
func splits(t *testing.T, v *engine.View, now int64) {
	t.Helper()
	var items []netip.Prefix
	for _, name := range []string{"ours", "trusted", "second"} {
		l := v.Allowlist(name)
		if l == nil {
			continue
		}
		for _, it := range l.Items {
			if p, ok := engine.ParseTarget(it.Value); ok == nil && !it.Expired(now) {
				items = append(items, p)
			}
		}
	}
	if len(items) == 0 {
		t.Fatal("no allowlist has an item in effect")
	}
	q := &engine.Query{Now: now, Entries: true, Dedup: true}
	told := map[bool]int{}
	buf := make([]engine.Decision, 32)
	s := v.Scan(q)
	for got := s.Running(buf); len(got) > 0; got = s.Running(buf) {
		for _, d := range got {
			p, err := engine.ParseTarget(string(d.AppendValue(nil)))
			if err != nil {
				continue // no address
			}
			if told[p.Addr().Is4()]++; slices.ContainsFunc(items, p.Overlaps) {
				t.Errorf("%v is told and holds one of %v", p, items)
			}
		}
	}
	if told[true] < 8 || told[false] < 1 {
		t.Errorf("told are %v", told)
	}
	for _, p := range items {
		if got := entriesAt(v, p.String(), now); len(got) != 0 {
			t.Errorf("%v is told %v", p, got)
		}
	}
}

// Of many thousand decisions on one target that are over, each shorter than the one before, the full
// state of who sees clean spellings tells one, as everybody's does: what is found out of a long chain is found
// out once.
func TestLongChainsThatAreOver(t *testing.T) {
	t.Parallel()
	p := populated{enginetest.NewRig(t, nil), t}
	many := sized(6_000)
	a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(p.Rig.Now())}
	for i := range many {
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: "192.0.2.1", Type: "ban", Origin: "crowdsec", Scenario: "s",
			Duration: (4*time.Hour - time.Duration(i)*time.Millisecond).String()})
	}
	_, err := p.AddAlerts(t.Context(), "", []*engine.Alert{a}, p.Rig.Now().UnixNano())
	wants(t, err, nil)
	p.Rig.Advance(5 * time.Hour)
	p.Settle()
	for _, sight := range []*engine.Sight{nil, {Canonical: true}} {
		q := p.Ask()
		q.Sight, q.Entries = sight, true
		var buf [64]engine.Decision
		s, told := p.View().Scan(q), []engine.DecisionID(nil)
		for range s.Running(buf[:]) {
			t.Error("something runs")
		}
		for batch := s.Over(buf[:]); len(batch) > 0; batch = s.Over(buf[:]) {
			for _, d := range batch {
				told = append(told, d.ID())
			}
		}
		if len(told) != 1 || told[0] != 1 {
			t.Errorf("%v: %v is told as over", sight, told)
		}
	}
}

// TestChosenByOtherAllowlists: decisions that were chosen by allowlists that have changed since
// are not stored; chosen again they are.
func TestChosenByOtherAllowlists(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, now := context.Background(), r.Now().UnixNano()
	report := func(judged *engine.View) error {
		_, err := r.AddChosenAlerts(ctx, "", []*engine.Alert{{Scenario: "s", StopAt: engine.StampOf(r.Now()), Decisions: []engine.NewDecision{
			{Scope: "Ip", Value: "192.0.2.7", Type: "ban", Origin: "cscli", Scenario: "s", Duration: "1h"}}}}, judged, now)
		return err
	}
	before := r.View()
	wants(t, report(before), nil)
	if ended := allow(t, r.Engine, now, "192.0.2.7"); ended != 1 {
		t.Fatalf("%d decisions have ended", ended)
	}
	revision := r.View().Revision()
	wants(t, report(before), engine.ErrChanged)
	if now := r.View().Revision(); now != revision {
		t.Errorf("at revision %d after %d something was stored", now, revision)
	}
	wants(t, report(r.View()), nil)
	wants(t, report(nil), nil)
}
