package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// Why says what the live query says, and that a bouncer was told only of what its twin holds,
// whatever was stored, ended, deleted, allowlisted, lost on the way and forgotten by a crash.
func TestWhyAgrees(t *testing.T) {
	t.Parallel()
	for _, history := range []int{0, 30} {
		t.Run(fmt.Sprint("history ", history), func(t *testing.T) {
			t.Parallel()
			s := *seed
			if s == 0 {
				s = rand.Uint64()
			}
			t.Logf("seed %d", s)
			f := newFleet(t, s, func(o *engine.Options) { o.History = history })
			actions := []func(){
				f.add, f.add, f.add, f.addMany, f.end, f.endOne, f.deleteAlert, f.trust, f.pass, f.pass,
				f.poll, f.poll, f.lose, f.begin, f.snapshot, f.restart, f.crash, runtime.GC,
			}
			for i := range *steps {
				actions[f.chance.IntN(len(actions))]()
				f.askWhy()
				if t.Failed() {
					t.Fatalf("first difference after step %d", i)
				}
			}
		})
	}
}

// askWhy compares the answers about one decision of the past or the present and its target.
func (f *fleet) askWhy() {
	if len(f.model.Decisions) == 0 {
		return
	}
	f.Settle()
	h := f.model.Decisions[f.chance.IntN(len(f.model.Decisions))]
	target := h.Scope + ":" + h.Value
	p, err := engine.ParseTarget(h.Value)
	if address := err == nil && engine.HoldsAddress(h.Scope); address {
		target = p.String()
	} else {
		p = netip.Prefix{}
	}
	a, err := f.Why(f.ctx, &engine.WhyQuery{Target: target, Most: engine.MostShown, EveryRow: true})
	if err != nil {
		f.t.Errorf("%s: %v", target, err)
		return
	}
	want := f.model.Find(f.now(), func(o *enginetest.Held) bool {
		if p.IsValid() {
			return !o.Simulated && enginetest.Covers(o, p)
		}
		return !o.Simulated && o.Scope == h.Scope && o.Value == h.Value
	})
	var got []uint64
	for _, d := range a.Decisions.First {
		if !d.Simulated {
			got = append(got, uint64(d.ID))
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) || a.Decided != (len(want) > 0) {
		f.t.Errorf("%s: decided %v, by %v; want %v", target, a.Decided, got, want)
	}
	f.toldAreTold(a)
	if n := a.Bouncers.Rows; n != len(f.clients) {
		f.t.Errorf("%d bouncers of %d", n, len(f.clients))
	}
}

// toldAreTold: who is said to have been told holds the target, unless its filters do not want it.
func (f *fleet) toldAreTold(a *engine.Why) {
	for _, b := range a.Bouncers.First {
		if b.Standing != engine.StandingTold {
			continue
		}
		c := f.clients[slices.Index(f.names, b.Name)]
		h := f.model.Decisions[b.Decision-1]
		if enginetest.Admits(c.Query)(h) && !c.Holds[h.Target()] {
			f.t.Errorf("%s was told of decision %d on %v, it is said, but holds %v", b.Name, b.Decision, h.Target(), c.Holds)
		}
	}
}

// The answer is the same once it has been through JSON.
func TestWhyAsJSON(t *testing.T) {
	t.Parallel()
	p := stocked(t)
	for _, target := range []string{"192.0.2.7", "192.0.2.0/24", "country:DE", "decision:1", "alert:1"} {
		a, err := p.Why(t.Context(), &engine.WhyQuery{Target: target, At: p.Rig.Now().Add(-time.Second).UnixNano()})
		wants(t, err, nil)
		text, err := json.Marshal(a)
		wants(t, err, nil)
		var b engine.Why
		wants(t, json.Unmarshal(text, &b), nil)
		if again, _ := json.Marshal(&b); string(again) != string(text) {
			t.Errorf("%s\nbecomes\n%s", text, again)
		}
	}
}

// What is told is bounded and counted in full: decisions on one target, inside a range, rows of
// bouncers.
func TestWhyIsBounded(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	now := r.Now()
	const many = 3000
	a := &engine.Alert{Scenario: "many", StopAt: engine.StampOf(now)}
	for i := range many {
		d := engine.NewDecision{Scope: "Ip", Value: "192.0.2.1", Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: fmt.Sprint(time.Duration(i+1) * time.Minute)}
		a.Decisions = append(a.Decisions, d)
		d.Value = fmt.Sprintf("198.51.%d.%d", 100+i/256, i%256)
		a.Decisions = append(a.Decisions, d)
	}
	_, err := r.AddAlerts(t.Context(), "edge-1", []*engine.Alert{a}, now.UnixNano())
	wants(t, err, nil)
	for i := range 40 {
		_, err := r.AddBouncer(t.Context(), &engine.Bouncer{Name: fmt.Sprint("b", i), AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{byte(i) + 1}})
		wants(t, err, nil)
	}
	owner := r.View().Bouncer("b0").Load()
	for i := range 40 {
		b := &engine.Bouncer{Name: "b0", AuthType: engine.AuthAPIKey, KeyHash: owner.KeyHash, IP: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}
		_, err := r.AdmitBouncer(t.Context(), b)
		wants(t, err, nil)
	}
	for _, c := range []struct {
		q                                          engine.WhyQuery
		force, shown, inside, rows, named, leftOut int
	}{
		{engine.WhyQuery{Target: "192.0.2.1"}, many, 10, 0, 80, 10, 30},
		{engine.WhyQuery{Target: "192.0.2.1", Most: 1 << 30, EveryRow: true}, many, engine.MostShown, 0, 80, 80, 0},
		{engine.WhyQuery{Target: "198.51.0.0/16", Most: 20}, 0, 0, many, 80, 20, 20},
		{engine.WhyQuery{Target: "192.0.2.1", Bouncer: "b0"}, many, 10, 0, 41, 1, 0},
		{engine.WhyQuery{Target: "192.0.2.1", Bouncer: "b0@10.0.0.3"}, many, 10, 0, 1, 1, 0},
		{engine.WhyQuery{Target: "alert:1"}, 2 * many, 10, 0, 80, 10, 30},
	} {
		a, err := r.Why(t.Context(), &c.q)
		wants(t, err, nil)
		inside := 0
		if a.Inside != nil {
			if inside = a.Inside.Count; len(a.Inside.First) != c.q.Most {
				t.Errorf("%+v: %d inside are shown", c.q, len(a.Inside.First))
			}
		}
		if a.Decisions.Count != c.force || len(a.Decisions.First) != c.shown || inside != c.inside ||
			a.Bouncers.Rows != c.rows || len(a.Bouncers.First) != c.named || a.Bouncers.More != c.leftOut {
			t.Errorf("%+v: %d in force, %d shown, %d inside, %d rows, %d named, %d more", c.q, a.Decisions.Count, len(a.Decisions.First), inside,
				a.Bouncers.Rows, len(a.Bouncers.First), a.Bouncers.More)
		}
		for i := 1; i < len(a.Decisions.First); i++ {
			if a.Decisions.First[i].Until.After(*a.Decisions.First[i-1].Until) {
				t.Errorf("%+v: %v", c.q, a.Decisions.First)
			}
		}
	}
	rows, err := r.Why(t.Context(), &engine.WhyQuery{Target: "192.0.2.1", Bouncer: "b0"})
	wants(t, err, nil)
	if b := rows.Bouncers.First[0]; b.Name != "b0" || b.Rows != 41 || b.Standing != engine.StandingNever {
		t.Errorf("%+v", b)
	}
}

// A bouncer's own sight hides by name, and what it was told under an earlier one is known.
func TestWhyNamesWhatHides(t *testing.T) {
	t.Parallel()
	p := populated{enginetest.NewRig(t, nil), t}
	add := func(origin, kind, scenario string) {
		t.Helper()
		a := &engine.Alert{Scenario: scenario, StopAt: engine.StampOf(p.Rig.Now()), Decisions: []engine.NewDecision{{
			Scope: "Ip", Value: "192.0.2.1", Type: kind, Origin: origin, Scenario: scenario, Duration: "4h"}}}
		_, err := p.AddAlerts(t.Context(), "edge-1", []*engine.Alert{a}, p.Rig.Now().UnixNano())
		wants(t, err, nil)
	}
	add("crowdsec", "ban", "crowdsecurity/ssh-bf")
	wants(t, p.CreateAllowlist(t.Context(), "office", "", 1), nil)
	add2 := func(name string, sight *engine.Sight) {
		t.Helper()
		row, err := p.AddBouncer(t.Context(), &engine.Bouncer{Name: name, Sight: sight})
		wants(t, err, nil)
		row.Advance(p.View().Revision(), 1)
	}
	for name, sight := range map[string]*engine.Sight{
		"all": nil, "origins": {Origins: []string{"CAPI", "lists"}}, "not-origins": {NotOrigins: []string{"crowdsec"}},
		"scopes": {Scopes: []string{"Country"}}, "types": {Types: []string{"captcha"}}, "containing": {Containing: []string{"http"}},
		"not-containing": {NotContaining: []string{"SSH"}}, "sees": {Origins: []string{"crowdsec"}, Containing: []string{"SSH"}},
		"many": {Origins: []string{"a", "b", "c", "d", "e"}},
	} {
		add2(name, sight)
	}
	standing := func() map[string]string {
		t.Helper()
		a, err := p.Why(t.Context(), &engine.WhyQuery{Target: "192.0.2.1", EveryRow: true})
		wants(t, err, nil)
		all := map[string]string{}
		for _, b := range a.Bouncers.First {
			all[b.Name] = string(b.Standing) + " " + b.By
		}
		return all
	}
	if got, want := standing(), map[string]string{
		"all": "told ", "sees": "told ",
		"origins":        "hidden --origins CAPI,lists: its origin crowdsec",
		"not-origins":    "hidden --not-origins crowdsec: its origin crowdsec",
		"scopes":         "hidden --scopes Country: its scope Ip",
		"types":          "hidden --types captcha: its type ban",
		"containing":     "hidden --scenarios-containing http: its scenario crowdsecurity/ssh-bf",
		"not-containing": "hidden --not-containing SSH: its scenario crowdsecurity/ssh-bf",
		"many":           "hidden --origins a,b,c,d,…: its origin crowdsec",
	}; !maps.Equal(got, want) {
		t.Errorf("%v\nwant\n%v", got, want)
	}
	edit := func(name string, sight *engine.Sight) {
		t.Helper()
		_, err := p.EditBouncer(t.Context(), name, func(b *engine.Bouncer) error { b.Sight = sight; return nil })
		wants(t, err, nil)
	}
	edit("all", &engine.Sight{Types: []string{"captcha"}})
	edit("origins", nil)
	if got := standing(); got["all"] != "holding --types captcha: its type ban" || got["origins"] != "waiting " {
		t.Errorf("after an edit: %v", got)
	}
	for _, name := range []string{"all", "origins"} {
		p.View().Bouncer(name).Advance(p.View().Revision(), 2)
	}
	if got := standing(); got["all"] != "hidden --types captcha: its type ban" || got["origins"] != "told " {
		t.Errorf("after the next poll: %v", got)
	}
	add("lists", "captcha", "firehol")
	if got := standing(); got["types"] != "waiting " || got["not-origins"] != "waiting " || got["sees"] != "told " {
		t.Errorf("after another decision: %v", got)
	}
}

// Of bouncers that hold so many entries alone: who is said to have been told holds it, who is up to date
// and is said not to have been does not, and what hides it is named.
func TestWhyOfBounds(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	p := newShelfPlay(t, s, nil)
	p.clients, p.certain = nil, true
	for _, most := range []int{1, 2, 5} {
		for _, priority := range []engine.Priority{engine.LocalFirst, engine.Newest, engine.Longest} {
			q := p.Ask()
			q.Sight = &engine.Sight{MaxEntries: most, Priority: priority}
			_, err := p.AddBouncer(p.ctx, &engine.Bouncer{Name: fmt.Sprint("b", len(p.clients)), Sight: q.Sight})
			wants(t, err, nil)
			p.clients = append(p.clients, &shelfClient{query: q})
		}
	}
	ask := func() {
		i := p.chance.IntN(len(p.clients))
		p.hear(p.clients[i])
		p.View().Bouncer(fmt.Sprint("b", i)).Advance(p.clients[i].at, p.now())
	}
	actions := []func(){p.add, p.add, p.addMany, p.end, p.endOne, p.deleteAlert, p.pass, ask, ask, ask, p.ForgetShelves}
	for i := range *steps {
		actions[p.chance.IntN(len(actions))]()
		p.askWhy()
		if t.Failed() {
			t.Fatalf("first difference after step %d", i)
		}
	}
}

func (p *shelfPlay) askWhy() {
	if len(p.model.Decisions) == 0 {
		return
	}
	p.Settle()
	h := p.model.Decisions[p.chance.IntN(len(p.model.Decisions))]
	a, err := p.Why(p.ctx, &engine.WhyQuery{Target: fmt.Sprint("decision:", h.ID), EveryRow: true})
	if err != nil {
		if !h.Gone {
			p.t.Error(err)
		}
		return
	}
	if !a.Decided || !engine.HoldsAddress(h.Scope) {
		return
	}
	for _, b := range a.Bouncers.First {
		c := p.clients[slices.Index([]string{"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"}, b.Name)]
		_, held := c.holds[h.Target()]
		upToDate := c.pulled && p.View().Distance(c.at) == 0
		told := b.Standing == engine.StandingTold
		hidden := b.Standing == engine.StandingHidden || b.Standing == engine.StandingHolding
		if told && !held || upToDate && held != told || hidden != (b.By != "") || c.pulled != (b.Cursor != nil) {
			p.t.Errorf("%s with %+v at %d (%v), decision %d: %+v, holds %v", b.Name, *c.query.Sight, c.at, upToDate, h.ID, b, c.holds)
		}
	}
}

// Where allowlists win, what is on one is free whatever is decided, and bouncers that were told before are
// named until they have been told that.
func TestWhyAllowlistsWin(t *testing.T) {
	t.Parallel()
	yes := true
	p := populated{enginetest.NewRig(t, func(o *engine.Options) { o.AllowlistsWin = &yes }), t}
	p.Settle()
	p.add("192.0.2.0", "1h")
	a := &engine.Alert{Scenario: "range", StopAt: engine.StampOf(p.Rig.Now()), Decisions: []engine.NewDecision{{
		Scope: "Range", Value: "192.0.2.0/24", Type: "ban", Origin: "cscli", Scenario: "range", Duration: "4h"}}}
	_, err := p.AddAlerts(t.Context(), "", []*engine.Alert{a}, p.Rig.Now().UnixNano())
	wants(t, err, nil)
	for _, name := range []string{"fw", "late"} {
		row, err := p.AddBouncer(t.Context(), &engine.Bouncer{Name: name})
		wants(t, err, nil)
		if row.Advance(1, 1); name == "fw" {
			row.Advance(p.View().Revision(), 1)
		}
	}
	wants(t, p.CreateAllowlist(t.Context(), "office", "", 1), nil)
	item := engine.AllowlistItem{Value: "192.0.2.7", Prefix: netip.MustParsePrefix("192.0.2.7/32")}
	_, _, err = p.AddToAllowlist(t.Context(), "office", []engine.AllowlistItem{item}, p.Rig.Now().UnixNano())
	wants(t, err, nil)
	// It runs on, without the item; one that comes later does not know of the list.
	a.Decisions[0].Duration = "8h"
	_, err = p.AddAlerts(t.Context(), "", []*engine.Alert{a}, p.Rig.Now().UnixNano())
	wants(t, err, nil)
	for target, want := range map[string]string{
		"192.0.2.7":  "192.0.2.7 is free: allowlist office covers it (192.0.2.7), and allowlists win (allowlist_wins) over decision 3 on 192.0.2.0/24 (cscli)",
		"192.0.2.8":  "192.0.2.8 is banned until ",
		"decision:3": "decision 3 (ban on Range 192.0.2.0/24, cscli) is in force until ",
	} {
		a, err := p.Why(t.Context(), &engine.WhyQuery{Target: target, EveryRow: true})
		wants(t, err, nil)
		if !strings.HasPrefix(a.Verdict, want) || a.Decided == (target == "192.0.2.7") {
			t.Errorf("%s: %s", target, a.Verdict)
		}
		for _, b := range a.Bouncers.First {
			stands := engine.StandingHidden
			if b.Name == "fw" {
				stands = engine.StandingHolding // it was told before there was an item
			}
			if hidden := b.Standing == stands && strings.HasPrefix(b.By, "allowlist_wins"); hidden != (target == "192.0.2.7") {
				t.Errorf("%s: %+v", target, b)
			}
		}
	}
}

// Of an alert some decisions may be on an allowlist that wins, and others not; a moment of the past is
// answered as it was then, and one to come as it will be.
func TestWhyAllowlistsWinOverSome(t *testing.T) {
	t.Parallel()
	yes := true
	r := enginetest.NewRig(t, func(o *engine.Options) { o.AllowlistsWin = &yes })
	r.Settle()
	wants(t, r.CreateAllowlist(t.Context(), "office", "", r.Now().UnixNano()), nil)
	allow := func(lasts time.Duration, values ...string) {
		var items []engine.AllowlistItem
		for _, v := range values {
			item := engine.AllowlistItem{Value: v, Prefix: netip.MustParsePrefix(v + "/32")}
			if lasts != 0 {
				item.ExpiresAt = r.Now().Add(lasts).UnixNano()
			}
			items = append(items, item)
		}
		_, _, err := r.AddToAllowlist(t.Context(), "office", items, r.Now().UnixNano())
		wants(t, err, nil)
	}
	allow(0, "192.0.2.1", "192.0.2.2")
	allow(2*time.Hour, "192.0.2.5")
	r.Advance(time.Minute)
	ban := func(values ...string) {
		a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now())}
		for i, v := range values {
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: v, Type: "ban", Origin: "cscli", Scenario: "s", Duration: fmt.Sprintf("%dh", 9-i)})
		}
		_, err := r.AddAlerts(t.Context(), "", []*engine.Alert{a}, r.Now().UnixNano())
		wants(t, err, nil)
	}
	ban("192.0.2.1", "192.0.2.2", "192.0.2.3") // what lasts longest is allowlisted
	ban("192.0.2.3", "192.0.2.1")              // what lasts longest is not
	ban("192.0.2.1", "192.0.2.2")
	ban("192.0.2.5")
	r.Advance(time.Hour)
	_, err := r.RemoveFromAllowlist(t.Context(), "office", []string{"192.0.2.1"}, r.Now().UnixNano())
	wants(t, err, nil)
	r.Advance(time.Minute)
	past, soon := r.Now().Add(-30*time.Minute).UnixNano(), r.Now().Add(time.Hour).UnixNano()
	for _, x := range []struct {
		target  string
		at      int64
		decided bool
		want    string
	}{
		{"alert:1", past, true, "has 3 decisions, 3 of them in force until 2026-07-01T19:01:00Z at most, but what 2 of them are on is on allowlists, and allowlists win"},
		{"alert:1", 0, true, ", but what one of them is on is on an allowlist, and"},
		{"alert:2", past, true, ", but what one of them is on is on an allowlist, and"},
		{"alert:2", 0, true, "has 2 decisions, 2 of them in force until 2026-07-01T19:01:00Z at most; there"},
		{"alert:3", past, false, ", but what they are on is on allowlists, and"},
		{"192.0.2.1", past, false, "192.0.2.1 was free: allowlist office covers it (192.0.2.1), and allowlists win (allowlist_wins) over decision 1 (cscli)"},
		{"decision:1", past, false, "but allowlist office covers it (192.0.2.1), and allowlists win"},
		{"192.0.2.1", 0, true, "192.0.2.1 is banned until"},
		{"192.0.2.5", 0, false, "192.0.2.5 is free: "},
		{"192.0.2.5", soon, true, "192.0.2.5 would be banned until"},
		{"192.0.2.2", soon, false, "192.0.2.2 would be free: "},
	} {
		a, err := r.Why(t.Context(), &engine.WhyQuery{Target: x.target, At: x.at})
		wants(t, err, nil)
		if a.Decided != x.decided || !strings.Contains(a.Verdict, x.want) {
			t.Errorf("%s at %d: decided %v: %s", x.target, x.at, a.Decided, a.Verdict)
		}
	}
}

// A list that is pulled again ends what left it and begins some of it anew: both are told as what they are.
func TestWhyOfLists(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	replace := func(ctx context.Context, l *engine.List, lasts time.Duration, values ...string) {
		t.Helper()
		l.Origin, l.Shrunken, l.Outlast, l.Groups = engine.OriginLists, true, time.Hour, []engine.ListGroup{{Scope: "Ip", Type: "ban", Scenario: l.Name}}
		for _, v := range values {
			l.Groups[0].Values = append(l.Groups[0].Values, engine.ListValue{Value: v, Lasts: lasts})
		}
		_, err := r.ReplaceList(ctx, l, r.Now().UnixNano())
		wants(t, err, nil)
	}
	operator := engine.As(t.Context(), engine.Actor{Kind: engine.ActorOperator, Name: "jane"})
	for _, lasts := range []time.Duration{30 * time.Minute, 4 * time.Hour} { // first shorter than is outlasted
		pulled, own := []string{"192.0.2.1", "192.0.2.2"}, []string{"192.0.2.11", "192.0.2.12"}
		if lasts > time.Hour {
			pulled, own = pulled[:1], own[:1]
		}
		replace(t.Context(), &engine.List{Name: "firehol"}, lasts, pulled...)
		replace(operator, &engine.List{Name: "drop", Own: true}, lasts, own...)
	}
	for target, want := range map[string]string{
		"192.0.2.1": "decision 5 took its place when the list firehol was read again", "192.0.2.2": "it left the list firehol",
		"192.0.2.11": "decision 6 took its place when the list drop was read again", "192.0.2.12": "it left the list drop, or was deleted, by operator jane",
	} {
		a, err := r.Why(t.Context(), &engine.WhyQuery{Target: target})
		wants(t, err, nil)
		if len(a.Before.First) != 1 || a.Before.First[0].Ending != want {
			t.Errorf("%s: %+v", target, a.Before)
		}
	}
}
