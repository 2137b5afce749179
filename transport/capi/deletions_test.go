package capi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"lapid/engine"
)

// decided makes a decision for each value and returns their UUIDs.
func (f *fake) decided(values ...string) (ids []engine.DecisionID, uuids []string) {
	f.t.Helper()
	a := &engine.Alert{Scenario: "s", StartAt: engine.StampOf(f.rig.Now()), StopAt: engine.StampOf(f.rig.Now())}
	for _, value := range values {
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: engine.ScopeIP, Value: value, Type: "ban", Origin: engine.OriginManual, Duration: "4h"})
	}
	alerts, err := f.rig.AddAlerts(f.t.Context(), "", []*engine.Alert{a}, f.rig.Now().UnixNano())
	if err != nil {
		f.t.Fatal(err)
	}
	_, decisions, err := f.rig.Alert(f.rig.View(), alerts[0])
	if err != nil || len(decisions) != len(values) {
		f.t.Fatal(decisions, err)
	}
	for _, d := range decisions {
		ids, uuids = append(ids, d.ID()), append(uuids, d.UUID().String())
	}
	return ids, uuids
}

// deletes ends decisions as somebody.
func (f *fake) deletes(kind engine.ActorKind, ids ...engine.DecisionID) {
	f.t.Helper()
	ctx := engine.As(f.t.Context(), engine.Actor{Kind: kind, Name: "x"})
	if n, err := f.rig.EndThese(ctx, ids, f.rig.Now().UnixNano()); err != nil || n != len(ids) {
		f.t.Fatal(n, err)
	}
}

// reported are the bodies of all reports so far.
func (f *fake) reported() (all [][]string) {
	for _, r := range f.asked("/v3/decisions/delete") {
		var list []string
		if err := json.Unmarshal(r.body, &list); err != nil {
			f.t.Errorf("%s: %v", r.body, err)
		}
		all = append(all, list)
	}
	return all
}

func managed(o *Options) { o.Console.Management = true }

// The console is told of what an operator, a machine or an order deleted, and of nothing else.
func TestDeletionsReported(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	ids, uuids := f.decided("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6")
	f.deletes(engine.ActorOperator, ids[0]) // before the first start that reports
	c := f.client(managed)
	r := c.newReporter()
	r.begin(t.Context())
	f.deletes(engine.ActorOperator, ids[1])
	f.deletes(engine.ActorMachine, ids[2])
	f.deletes(engine.ActorImport, ids[3])
	f.orders(c, answerWith(1000, ordered("decision", "delete", `{"decisions":["`+uuids[4]+`"]}`)))
	target, _ := engine.ParseTarget("192.0.2.6")
	if _, err := f.rig.PutConsoleAllowlist(t.Context(), &engine.Allowlist{Name: "a", Items: []engine.AllowlistItem{{Value: "192.0.2.6", Prefix: target}}}, f.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	list := &engine.List{Origin: engine.OriginLists, Name: "bots", Groups: []engine.ListGroup{{Scope: "Ip", Type: "ban", Scenario: "bots", Values: []engine.ListValue{{Value: "192.0.2.9", Lasts: time.Hour}}}}}
	if _, err := f.rig.ReplaceList(t.Context(), list, f.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	f.orders(c, answerWith(1001, ordered("management", "blocklist_unsubscribe", `{"name":"bots"}`)))
	f.decided("192.0.2.7")
	f.rig.Advance(5 * time.Hour) // what is left runs out
	f.rig.Settle()
	for range 2 {
		if err := r.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := f.reported(), [][]string{{uuids[1], uuids[2], uuids[4]}}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v are reported, not %v\n%s", got, want, &f.log)
	}
}

// Reports are of fifty, one that fails is sent again and nothing after it before, and a
// restart goes on where it was.
func TestReportsThatFail(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	c := f.client(managed)
	r := c.newReporter()
	r.begin(t.Context())
	var values []string
	for i := range 120 {
		values = append(values, fmt.Sprintf("192.0.2.%d", i))
	}
	ids, uuids := f.decided(values...)
	f.deletes(engine.ActorOperator, ids...)
	f.fails("/v3/decisions/delete", says(""), status(503), status(500))
	for range 2 {
		if err := r.turn(t.Context()); err == nil {
			t.Error("a failure is not told")
		}
	}
	f.rig.Restart()
	c = f.client(managed)
	r = c.newReporter()
	r.begin(t.Context())
	f.fails("/v3/decisions/delete", status(422))
	if err := r.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := f.reported()
	var sizes []int
	for _, list := range got {
		sizes = append(sizes, len(list))
	}
	// Within a commit a restart begins anew. What is refused together is taken apart.
	if want := []int{50, 50, 50, 50, 25, 25, 50, 20}; !slices.Equal(sizes, want) {
		t.Fatalf("%v, not %v", sizes, want)
	}
	if !slices.Equal(slices.Concat(got[4], got[5], got[6], got[7]), uuids) || !slices.Equal(got[1], got[2]) || !slices.Equal(got[1], got[6]) {
		t.Error("something is missing, or comes in another order")
	}
	r = c.newReporter()
	if r.begin(t.Context()); r.turn(t.Context()) != nil || len(f.reported()) != 8 {
		t.Errorf("%d reports", len(f.reported()))
	}
}

// Without an enrolment nobody is told, and what was deleted then is not told later; without
// the switches nothing of the history is held back.
func TestDeletionsNotReported(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(func(o *Options) { o.Console.Manual = true })
	r := c.newReporter()
	r.begin(t.Context())
	ids, _ := f.decided("192.0.2.1", "192.0.2.2")
	f.deletes(engine.ActorOperator, ids[0])
	if err := r.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.extra = enrolled
	if err := c.session.forget(t.Context()); err != nil { // the next token says more
		t.Fatal(err)
	}
	if err := r.turn(t.Context()); err != nil || f.reported() != nil {
		t.Errorf("%v, %v", f.reported(), err)
	}
	f.deletes(engine.ActorOperator, ids[1])
	if err := r.turn(t.Context()); err != nil || len(f.reported()) != 1 {
		t.Errorf("%v, %v", f.reported(), err)
	}
	f.client(nil).reportJob(t.Context())
	if _, stored := f.rig.Bookmark(deletedMark).At(); stored {
		t.Error("the history is held back for nothing")
	}
}

// A service that cannot be asked holds the reports, and is asked with growing pauses.
func TestReportJob(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.extra = enrolled
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waits []time.Duration
	ids, uuids := f.decided("192.0.2.1")
	c := f.client(func(o *Options) {
		managed(o)
		o.After = func(d time.Duration) <-chan time.Time {
			switch waits = append(waits, d); len(waits) {
			case 1:
				f.fails("/v3/decisions/delete", status(500), status(500))
				f.deletes(engine.ActorOperator, ids...)
			case 5:
				cancel()
				return nil
			}
			over := make(chan time.Time)
			close(over)
			return over
		}
	})
	c.reportJob(ctx)
	want := []time.Duration{10 * time.Second, 20*time.Second - 2500*time.Millisecond, 40*time.Second - 5*time.Second, 10 * time.Second, 10 * time.Second}
	if !slices.Equal(waits, want) {
		t.Errorf("waited %v, not %v\n%s", waits, want, &f.log)
	}
	if got := f.reported(); len(got) != 3 || !slices.Equal(got[2], uuids) {
		t.Errorf("%v", got)
	}
}
