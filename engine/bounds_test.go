package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// atBounds has every text of a machine as long as it may be.
func atBounds() *engine.Machine {
	word := strings.Repeat("é", engine.LongestWord)
	name := strings.Repeat("n", engine.LongestName)
	m := &engine.Machine{
		ID: name, AuthType: engine.AuthPassword, Version: word, Scenarios: strings.Repeat("s", engine.LongestScenarios),
		OS: engine.OS{Name: word, Version: word, Family: word}, HubItems: map[string][]engine.HubItem{},
	}
	for range 16 {
		m.FeatureFlags = append(m.FeatureFlags, name)
	}
	for i := range 1024 {
		m.DataSources = append(m.DataSources, engine.Count{Name: fmt.Sprintf("%04d", i) + name[4:], N: 1 << 60})
	}
	for kind := range 64 {
		for range 15 {
			m.HubItems[fmt.Sprint(kind)] = append(m.HubItems[fmt.Sprint(kind)], engine.HubItem{Name: name, Version: "v", Status: "ok"})
		}
	}
	return m
}

// What is as long as it may be is taken, kept as it is, and survives everything.
// One byte more is refused.
func TestRecordsAtTheirBounds(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, now := context.Background(), r.Now().UnixNano()
	m := atBounds()
	wants(t, r.AddMachine(ctx, m, false), nil)
	if got := r.View().Machine(m.ID); !reflect.DeepEqual(got, m) {
		t.Error("a machine at its bounds is kept otherwise")
	}
	b := &engine.Bouncer{Name: m.ID, AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}, Software: &engine.Software{Type: m.ID, Version: m.Version, OS: m.OS, FeatureFlags: m.FeatureFlags}}
	row, err := r.AddBouncer(ctx, b)
	wants(t, err, nil)
	if !reflect.DeepEqual(row.Load(), b) {
		t.Error("a bouncer at its bounds is kept otherwise")
	}
	child := *b
	child.Name, child.AutoCreated, child.IP = b.Name+"@2001:db8:ffff:ffff:ffff:ffff:255.255.255.255", true, netip.MustParseAddr("2001:db8::1")
	_, err = r.AddBouncer(ctx, &child)
	wants(t, err, nil)
	wants(t, r.AddUsage(ctx, &engine.Usage{Kind: engine.UsageMachine, Name: m.ID, ReceivedAt: now, Version: m.Version, OS: m.OS, HasOS: true, FeatureFlags: m.FeatureFlags,
		DataSources: m.DataSources, HubItems: m.HubItems, Payload: []byte(strings.Repeat(" ", 1<<20))}), nil)
	wants(t, r.CreateAllowlist(ctx, m.ID, strings.Repeat("d", engine.LongestText), now), nil)
	item := engine.AllowlistItem{Value: "192.0.2.1", Prefix: netip.MustParsePrefix("192.0.2.1/32"), Comment: strings.Repeat("c", engine.LongestText)}
	_, _, err = r.AddToAllowlist(ctx, m.ID, []engine.AllowlistItem{item}, now)
	wants(t, err, nil)
	value := strings.Repeat("v", engine.LongestValue)
	for _, p := range []netip.Prefix{{}, netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 24)} {
		_, _, err = r.AddToAllowlist(ctx, m.ID, []engine.AllowlistItem{{Value: "192.0.2.0/24", Prefix: p}}, now)
		wants(t, err, engine.ErrInvalid)
	}
	a := &engine.Alert{Scenario: m.ID, Message: strings.Repeat("m", 256<<10), Kind: m.ID, Source: engine.Source{Scope: m.ID, Value: value}, Decisions: []engine.NewDecision{
		{Scope: m.ID, Value: value, Type: m.ID, Origin: m.ID, Scenario: m.ID, Duration: "4h"}}}
	for range 200 {
		a.Events = append(a.Events, engine.Event{Meta: []engine.Meta{{Key: "line", Value: strings.Repeat("l", 8<<10-100)}}})
	}
	ids, err := r.AddAlerts(ctx, m.ID, []*engine.Alert{a}, now)
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	kept, ds, err := r.Alert(r.View(), ids[0])
	wants(t, err, nil)
	if len(ds) != 1 || ds[0].Value() != value || ds[0].Type().S != m.ID || ds[0].Scenario().S != m.ID || kept.Source.Value != value || len(kept.Events) != 200 {
		t.Errorf("an alert at its bounds is kept otherwise: %d decisions, %d events", len(ds), len(kept.Events))
	}
	for _, c := range r.Metrics().Bounded {
		if c.N != 0 {
			t.Errorf("%d times %s was beyond a bound", c.N, c.What)
		}
	}
	for what, more := range map[string]func(*engine.Machine){
		"id": func(m *engine.Machine) { m.ID += "n" }, "version": func(m *engine.Machine) { m.Version += "v" }, "scenarios": func(m *engine.Machine) { m.Scenarios += "s" },
		"flags": func(m *engine.Machine) { m.FeatureFlags = append(m.FeatureFlags, "f") }, "os": func(m *engine.Machine) { m.OS.Name += "o" },
		"sources": func(m *engine.Machine) { m.DataSources = append(m.DataSources, engine.Count{}) }, "kinds": func(m *engine.Machine) { m.HubItems["one more"] = nil },
	} {
		m := atBounds()
		more(m)
		if err := r.AddMachine(ctx, m, true); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	survives(t, r)
}

// An alert that is too large is stored without what is too large: long texts are
// cut between characters, a decision whose value is too long is dropped and the
// others are stored. All of it is counted, and said, but not each time.
func TestAlertBeyondTheBounds(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	r := enginetest.NewRig(t, func(o *engine.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	ctx, now := context.Background(), r.Now().UnixNano()
	long := strings.Repeat("é", 140_000)
	fresh := func() *engine.Alert {
		return &engine.Alert{Scenario: "x" + long, Message: long, StopAt: engine.StampOf(r.Now()), Source: engine.Source{Scope: "user", Value: long}, Decisions: []engine.NewDecision{
			{Scope: "user", Value: long, Type: "ban", Duration: "4h"}, {Scope: "user", Value: "bob", Type: long, Duration: "4h"}, {Scope: "Ip", Value: "192.0.2.1", Type: "ban", Duration: "4h"},
		}}
	}
	for range 5 {
		ids, err := r.AddAlerts(ctx, "m", []*engine.Alert{fresh()}, now)
		if err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		a, ds, err := r.Alert(r.View(), ids[0])
		wants(t, err, nil)
		if len(ds) != 2 || ds[0].Value() != "bob" || ds[1].Value() != "192.0.2.1" || a.Source.Value != "" {
			t.Errorf("%d decisions: %v", len(ds), ds)
		}
		for _, text := range []string{a.Scenario, a.Message, ds[0].Type().S} {
			if !utf8.ValidString(text) || len(text) < engine.LongestName-2 || len(text) > 256<<10 || !strings.HasSuffix(text, "é") {
				t.Errorf("a text is cut to %d bytes", len(text))
			}
		}
	}
	counts := map[string]uint64{}
	for _, c := range r.Metrics().Bounded {
		counts[c.What] = c.N
	}
	if counts["text"] != 15 || counts["value"] != 5 || counts["decision"] != 5 {
		t.Errorf("%v", counts)
	}
	line := `msg="an alert is stored without what is beyond the bounds" machine=m scenario=x`
	if n := strings.Count(log.String(), line); n != 1 {
		t.Errorf("%d lines:\n%.2000s", n, log.String())
	}
	r.Advance(11 * time.Second)
	_, err := r.AddAlerts(ctx, "m", []*engine.Alert{fresh()}, r.Now().UnixNano())
	wants(t, err, nil)
	if n := strings.Count(log.String(), line); n != 2 || !strings.Contains(log.String(), "more_since_the_last_line=4") {
		t.Errorf("%d lines:\n%.2000s", n, log.String())
	}
	// An alert that has lost all its decisions is dropped, whatever they were lost for.
	for _, values := range [][]string{{long}, {"nowhere"}, {long, "nowhere"}, {long, long}} {
		all := &engine.Alert{Source: engine.Source{Scope: "user"}}
		for _, value := range values {
			all.Decisions = append(all.Decisions, engine.NewDecision{Scope: "Ip", Value: value, Type: "ban", Duration: "4h"})
		}
		if ids, err := r.AddAlerts(ctx, "m", []*engine.Alert{all}, now); err != nil || len(ids) != 0 {
			t.Errorf("%.20q: %v, %v", values, ids, err)
		}
	}
	survives(t, r)
}

// longBan bans whatever an alert is about.
type longBan struct{ word string }

func (p longBan) Evaluate(a *engine.Alert, _ *engine.View, _ int64) (engine.Verdict, error) {
	return engine.Verdict{Decisions: []engine.NewDecision{{Scope: a.Source.Scope, Value: a.Source.Value, Type: p.word, Duration: "4h", Scenario: a.Scenario}}}, nil
}

// What rules make of an alert is bounded like what came along with one, and a
// value that is too long bans no other value.
func TestProfileBeyondTheBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("w", 1<<20)
	r := enginetest.NewRig(t, func(o *engine.Options) { o.Profiles = longBan{long} })
	ctx, now := context.Background(), r.Now().UnixNano()
	for value, want := range map[string]int{"bob": 1, long: 0} {
		ids, err := r.AddAlerts(ctx, "m", []*engine.Alert{{Scenario: long, StopAt: engine.StampOf(r.Now()), Source: engine.Source{Scope: "user", Value: value}}}, now)
		if err != nil || len(ids) != want {
			t.Fatal(ids, err)
		}
		if want == 0 {
			continue // nothing was left of it
		}
		_, ds, err := r.Alert(r.View(), ids[0])
		if err != nil || len(ds) != want {
			t.Errorf("%.10s: %d decisions, %v", value, len(ds), err)
		}
		for _, d := range ds {
			if d.Value() != value || len(d.Type().S) != engine.LongestName || len(d.Scenario().S) != engine.LongestName {
				t.Errorf("%q, %d, %d", d.Value(), len(d.Type().S), len(d.Scenario().S))
			}
		}
	}
}

// One sender cannot fill the disk with usage metrics, nor can many rows of one
// key; on the next day there is room again. What a report says of its sender
// counts all the same.
func TestUsageIsBounded(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	_, err := r.AddBouncer(ctx, &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey})
	wants(t, err, nil)
	_, err = r.AddBouncer(ctx, &engine.Bouncer{Name: "other", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}})
	wants(t, err, nil)
	at := int64(0)
	report := func(name, version string, size int) {
		at++
		wants(t, r.AddUsage(ctx, &engine.Usage{Kind: engine.UsageBouncer, Name: name, ReceivedAt: r.Now().UnixNano() + at, Version: version, Payload: make([]byte, size)}), nil)
	}
	kept := func(name string) (n, size int) {
		for u, err := range r.Usage(ctx, engine.UsageBouncer, name) {
			wants(t, err, nil)
			n, size = n+1, size+len(u.Payload)
		}
		return n, size
	}
	for i := range 20 {
		report("fw", fmt.Sprint(i), 1<<20)
	}
	if n, size := kept("fw"); n != 16 || size != 16<<20 {
		t.Errorf("%d reports of %d bytes are kept", n, size)
	}
	if v := r.View().Bouncer("fw").Load().Version; v != "19" {
		t.Errorf("the version is %s", v)
	}
	report("other", "1", 1<<20+1)
	report("other", "2", 100)
	if n, _ := kept("other"); n != 1 {
		t.Errorf("%d reports of another are kept", n)
	}
	r.Advance(24 * time.Hour)
	report("fw", "next day", 100)
	if n, _ := kept("fw"); n != 17 {
		t.Errorf("%d reports are kept on the next day", n)
	}
	for range 2005 { // nothing is known of it that changes, so each is one write
		report("other", "2", 2)
	}
	if n, _ := kept("other"); n != 2001 {
		t.Errorf("%d reports of one day are kept", n-1)
	}
}

// A record of a program without bounds can be changed, but no text of it can be
// made longer than it may be.
func TestOldRecordsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, long := context.Background(), strings.Repeat("x", 1<<20)
	m := &engine.Machine{ID: "m" + long, FeatureFlags: []string{long}, Scenarios: long, HubItems: map[string][]engine.HubItem{"parsers": {{Name: long}}}}
	wants(t, r.StoreUnbounded(ctx, m, &engine.Bouncer{Name: "b" + long, Software: &engine.Software{Type: long}}), nil)
	wants(t, r.ChangeMachine(ctx, m.ID, func(m *engine.Machine) { m.Validated = true }), nil)
	wants(t, r.ChangeMachine(ctx, m.ID, func(m *engine.Machine) { m.FeatureFlags = nil }), nil)
	wants(t, r.ChangeMachine(ctx, m.ID, func(m *engine.Machine) { m.FeatureFlags = []string{long} }), engine.ErrInvalid)
	wants(t, r.ChangeMachine(ctx, m.ID, func(m *engine.Machine) { m.HubItems = map[string][]engine.HubItem{"parsers": {{Name: long + "y"}}} }), engine.ErrInvalid)
	wants(t, r.ChangeBouncer(ctx, "b"+long, func(b *engine.Bouncer) { b.Version = "2" }), nil)
	wants(t, r.ChangeBouncer(ctx, "b"+long, func(b *engine.Bouncer) { b.Type = long + "y" }), engine.ErrInvalid)
	survives(t, r)
}
