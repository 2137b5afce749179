package engine_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"lapid/engine"
	"lapid/persist"
)

// startExample is an engine with a disk in memory and a clock that stands: what a program does at
// its start and at its end. Leave FS and Now out for the machine's own.
func startExample() (e *engine.Engine, stop func()) {
	e, err := engine.Open(&engine.Options{
		Dir: "store", FS: persist.NewMemFS(),
		Now: func() time.Time { return time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := <-ended; err != nil {
			log.Fatal(err)
		}
		if err := e.Close(); err != nil {
			log.Fatal(err)
		}
	}
}

// ban stores an alert of a machine that brings one decision.
func ban(e *engine.Engine, scope engine.Scope, value, duration string) {
	_, err := e.AddAlerts(context.Background(), "edge-1", []*engine.Alert{{
		Scenario: "ssh-bf",
		StopAt:   engine.StampOf(time.Unix(0, e.Now())), // durations are counted from here
		Source:   engine.Source{Scope: scope, Value: value},
		Decisions: []engine.NewDecision{{
			Scope: scope, Value: value, Type: "ban", Duration: duration, Origin: "crowdsec", Scenario: "ssh-bf",
		}},
	}}, e.Now())
	if err != nil {
		log.Fatal(err)
	}
}

// Alerts bring decisions; a view says which of them hold for an address. What
// AddAlerts has answered is on the disk, and in every view that is taken after.
func Example() {
	e, stop := startExample()
	defer stop()

	ban(e, engine.ScopeIP, "192.0.2.7", "4h")
	ban(e, engine.ScopeRange, "192.0.2.0/24", "30m")

	q := &engine.Query{Now: e.Now(), Limit: -1, Address: netip.MustParsePrefix("192.0.2.7/32")}
	for _, d := range e.View().Find(nil, q) {
		fmt.Println(d.ID(), d.Type().S, d.Value(), "for", time.Duration(d.Until()-q.Now))
	}
	// Output:
	// 2 ban 192.0.2.0/24 for 30m0s
	// 1 ban 192.0.2.7 for 4h0m0s
}

// A bouncer that follows takes everything once, remembers the view's revision, and
// asks for what changed since.
func ExampleView_Changes() {
	ctx := context.Background()
	e, stop := startExample()
	defer stop()
	ban(e, engine.ScopeIP, "192.0.2.7", "4h")
	ban(e, engine.ScopeIP, "192.0.2.8", "4h")

	view := e.View()
	q := &engine.Query{Now: e.Now(), Limit: -1, Dedup: true}
	var buf [64]engine.Decision // as many are read at a time
	whole := view.Scan(q)
	for batch := whole.Running(buf[:]); len(batch) > 0; batch = whole.Running(buf[:]) {
		for _, d := range batch {
			fmt.Println("at first", d.Value())
		}
	}
	cursor := view.Revision()

	ban(e, engine.ScopeIP, "198.51.100.1", "1h")
	if err := e.EndDecision(ctx, 1, e.Now()); err != nil {
		log.Fatal(err)
	}

	var delta engine.Delta
	if !e.View().Changes(&delta, cursor, q) {
		log.Fatal("too far behind: start over with Scan")
	}
	for _, d := range delta.New {
		fmt.Println("new", d.Value())
	}
	for _, d := range delta.Deleted {
		fmt.Println("deleted", d.Value())
	}
	// Output:
	// at first 192.0.2.7
	// at first 192.0.2.8
	// new 198.51.100.1
	// deleted 192.0.2.7
}

// What is on an allowlist gets no decision any more, and what it has ends.
func ExampleEngine_AddToAllowlist() {
	ctx := context.Background()
	e, stop := startExample()
	defer stop()
	ban(e, engine.ScopeIP, "192.0.2.7", "4h")

	if err := e.CreateAllowlist(ctx, "office", "our own addresses", e.Now()); err != nil {
		log.Fatal(err)
	}
	added, ended, err := e.AddToAllowlist(ctx, "office", []engine.AllowlistItem{
		{Value: "192.0.2.0/24", Prefix: netip.MustParsePrefix("192.0.2.0/24")},
	}, e.Now())
	fmt.Println(added, "added,", ended, "decision ended,", err)

	ids, err := e.AddAlerts(ctx, "edge-1", []*engine.Alert{{
		Scenario: "ssh-bf", Source: engine.Source{Scope: engine.ScopeIP, Value: "192.0.2.9", IP: "192.0.2.9"},
	}}, e.Now())
	fmt.Println(len(ids), "alerts stored,", err)
	// Output:
	// 1 added, 1 decision ended, <nil>
	// 0 alerts stored, <nil>
}
