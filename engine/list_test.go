package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

const day = 24 * time.Hour

// community is the community list with these values for a day.
func community(values ...string) *engine.List {
	return &engine.List{Origin: engine.OriginCAPI, Groups: []engine.ListGroup{groupOf("ssh-bf", day, values...)}}
}

// subscribed is a third-party list.
func subscribed(name string, values ...string) *engine.List {
	return &engine.List{Origin: engine.OriginLists, Name: name, Groups: []engine.ListGroup{groupOf(name, day, values...)}}
}

func groupOf(scenario string, lasts time.Duration, values ...string) engine.ListGroup {
	g := engine.ListGroup{Scope: engine.ScopeIP, Type: "ban", Scenario: scenario}
	for _, value := range values {
		g.Values = append(g.Values, engine.ListValue{Value: value, Lasts: lasts})
	}
	return g
}

// pulled are values of addresses, some thousands at most.
func pulled(from, to int) (values []string) {
	for i := from; i < to; i++ {
		values = append(values, fmt.Sprintf("198.%d.%d.%d", 18+i>>16, i>>8&255, i&255))
	}
	return values
}

func replace(t *testing.T, r *enginetest.Rig, l *engine.List) engine.ListChange {
	t.Helper()
	change, err := r.ReplaceList(context.Background(), l, r.Now().UnixNano())
	if err != nil {
		t.Fatal(err)
	}
	return change
}

// learns is what a bouncer that was at a revision is told at the next poll.
func learns(t *testing.T, r *enginetest.Rig, after engine.Revision) (begun, ended []string) {
	t.Helper()
	var d engine.Delta
	q := r.Ask()
	q.Dedup = true
	if !r.View().Changes(&d, after, q) {
		t.Fatal("the history does not reach back")
	}
	for _, n := range d.New {
		begun = append(begun, n.Value())
	}
	for _, o := range d.Deleted {
		ended = append(ended, o.Value())
	}
	slices.Sort(begun)
	slices.Sort(ended)
	return begun, ended
}

// A list of which little changed is little news, in one commit.
func TestReplacedListTellsWhatChanged(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	if c := replace(t, r, community(pulled(0, 50_000)...)); c.Begun != 50_000 || c.Alert == 0 {
		t.Fatalf("first pull: %+v", c)
	}
	r.Advance(2 * time.Hour)
	before := r.View().Revision()
	c := replace(t, r, community(pulled(100, 50_100)...))
	want := engine.ListChange{Alert: 2, Before: 50_000, Entries: 50_000, Begun: 100, Ended: 100}
	if c != want || r.View().Revision() != before+1 {
		t.Errorf("%+v in %d commits, not %+v in one", c, r.View().Revision()-before, want)
	}
	begun, ended := learns(t, r, before)
	if len(begun) != 100 || len(ended) != 100 || !slices.Equal(ended, sorted(pulled(0, 100))) || !slices.Equal(begun, sorted(pulled(50_000, 50_100))) {
		t.Errorf("a bouncer is told of %d new and %d ended", len(begun), len(ended))
	}
	before = r.View().Revision()
	if c := replace(t, r, community(pulled(100, 50_100)...)); c.Alert != 0 || r.View().Revision() != before {
		t.Errorf("the same list again made a commit: %+v", c)
	}
	v := r.View()
	a, _, err := r.Alert(v, 2)
	if err != nil || a.Scenario != "update : +100/-100 IPs" || a.Kind != "capi" || a.Source.Scope != "crowdsecurity/community-blocklist" {
		t.Errorf("%+v, %v", a, err)
	}
	r.Restart()
}

func sorted(list []string) []string { slices.Sort(list); return list }

// What stays in a list is decided anew before its time is over, never in its last part, and
// not all of it at once.
func TestListIsRenewedLittleByLittle(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	values := pulled(0, 1000)
	list := func() *engine.List {
		l := community(values...)
		l.Outlast = 2*time.Hour + 15*time.Minute
		return l
	}
	replace(t, r, list())
	most, all := 0, 0
	for range 36 {
		r.Advance(2 * time.Hour)
		before := r.View().Revision()
		c := replace(t, r, list())
		most, all = max(most, c.Renewed), all+c.Renewed
		if begun, ended := learns(t, r, before); len(begun) != c.Renewed || len(ended) != 0 {
			t.Fatalf("%+v: a bouncer is told of %d and %d ended", c, len(begun), len(ended))
		}
		q := r.Ask()
		q.Limit = -1
		running := r.View().Find(nil, q)
		if len(running) != len(values) || c.Begun != 0 {
			t.Fatalf("%d run, %+v", len(running), c)
		}
		for _, d := range running {
			if left := d.Until() - q.Now; left < int64(day/4)-int64(2*time.Hour) {
				t.Fatalf("%s ends in %v", d.Value(), time.Duration(left))
			}
		}
	}
	if most > 350 || all < 3000 {
		t.Errorf("at most %d at once, %d in three days", most, all)
	}
}

// A list that lost more than half is held back, but for what was deleted by name.
func TestShrunkenListIsHeldBack(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	replace(t, r, community(pulled(0, 10)...))
	for _, n := range []int{0, 4} {
		if c := replace(t, r, community(pulled(0, n)...)); !c.Held || c.Ended != 0 || c.Begun != 0 {
			t.Errorf("%d of 10: %+v", n, c)
		}
	}
	l := community()
	l.Deleted = []engine.ListGroup{groupOf("", 0, "198.18.0.1", "192.0.2.1")}
	l.Deleted[0].Scope = "ip"
	if c := replace(t, r, l); !c.Held || c.Ended != 1 {
		t.Errorf("deleted by name: %+v", c)
	}
	if c := replace(t, r, community(pulled(5, 10)...)); c.Held || c.Ended != 4 {
		t.Errorf("more than half: %+v", c)
	}
	l = community()
	l.Shrunken = true
	if c := replace(t, r, l); c.Held || c.Ended != 5 {
		t.Errorf("believed: %+v", c)
	}
}

// Lists are apart: of each other and of what was decided here.
func TestListsOwnTheirDecisions(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	alert := &engine.Alert{Scenario: "s", Decisions: []engine.NewDecision{{Duration: "4h", Type: "ban", Origin: "crowdsec", Scope: "Ip", Value: "198.18.0.1"}}}
	alert.StartAt = engine.StampOf(r.Now())
	alert.StopAt = alert.StartAt
	if _, err := r.AddAlerts(context.Background(), "", []*engine.Alert{alert}, r.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	replace(t, r, community("198.18.0.1", "198.18.0.2"))
	replace(t, r, subscribed("a", "198.18.0.1", "198.18.0.2", "198.18.0.3"))
	replace(t, r, subscribed("b", "198.18.0.3", "198.18.0.3", "not an address", ""))
	before := r.View().Revision()
	l := subscribed("a")
	l.Shrunken = true
	replace(t, r, l)
	if begun, ended := learns(t, r, before); len(begun) != 0 || len(ended) != 0 {
		t.Errorf("a value that others hold: told %v, %v", begun, ended)
	}
	before = r.View().Revision()
	replace(t, r, community("198.18.0.2"))
	l = subscribed("b")
	l.Shrunken = true
	replace(t, r, l)
	if begun, ended := learns(t, r, before); len(begun) != 0 || !slices.Equal(ended, []string{"198.18.0.3"}) {
		t.Errorf("told %v, %v", begun, ended)
	}
}

// What an allowlist overlaps does not come in, by address or by range.
func TestListLeavesOutWhatIsAllowlisted(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, now := context.Background(), r.Now().UnixNano()
	item := engine.AllowlistItem{Value: "198.18.0.0/30", Prefix: netip.MustParsePrefix("198.18.0.0/30")}
	if err := r.CreateAllowlist(ctx, "ours", "", now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.AddToAllowlist(ctx, "ours", []engine.AllowlistItem{item}, now); err != nil {
		t.Fatal(err)
	}
	if c := replace(t, r, community("198.18.0.1", "198.18.0.3", "198.18.0.0/16")); c.Allowlisted != 3 || c.Begun != 0 || c.Alert != 0 {
		t.Errorf("%+v", c)
	}
	if c := replace(t, r, community("198.18.0.1", "198.18.0.4", "nonsense")); c.Allowlisted != 1 || c.Begun != 1 || c.Unreadable != 1 {
		t.Errorf("%+v", c)
	}
}

// A list is refused whole when it is beyond a bound.
func TestListIsBounded(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	for _, l := range []*engine.List{
		subscribed(strings.Repeat("n", 2000), "198.18.0.1"), {Origin: "crowdsec"},
		{Origin: engine.OriginLists, Groups: []engine.ListGroup{{Values: make([]engine.ListValue, 5<<20)}}},
	} {
		if _, err := r.ReplaceList(context.Background(), l, r.Now().UnixNano()); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%.60v: %v", l.Name, err)
		}
	}
}

// Readers of the history see a list's alert and decisions, and whose they are.
func TestReplacedListIsTold(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	from := r.View().Revision()
	replace(t, r, subscribed("a", "198.18.0.1", "198.18.0.2"))
	commits, ok := r.Commits(from)
	if !ok {
		t.Fatal("no history")
	}
	kinds := map[engine.ChangeKind]int{}
	for _, c := range commits {
		for change := range c.Changes() {
			kinds[change.Kind]++
			if change.By.Kind != engine.ActorCentralAPI {
				t.Errorf("%s by %s", change.Kind, change.By)
			}
			if change.Kind == engine.AlertStored {
				if a, err := change.Report(); err != nil || a.Source.Scope != "lists:a" {
					t.Errorf("%+v, %v", a, err)
				}
			}
		}
	}
	if kinds[engine.AlertStored] != 1 || kinds[engine.DecisionBegun] != 2 {
		t.Errorf("%v", kinds)
	}
}

// A secret is replaced, survives a restart, and the same again costs nothing.
func TestKeptSecret(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx := context.Background()
	for _, s := range []string{"one", "two", "two"} {
		if err := r.KeepSecret(ctx, "token", []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if rev := r.View().Revision(); rev != 3 || string(r.View().Secret("token")) != "two" {
		t.Errorf("%q at revision %d", r.View().Secret("token"), rev)
	}
	r.Restart()
	if string(r.View().Secret("token")) != "two" || r.View().Secret("other") != nil {
		t.Error("the secret is lost")
	}
	if err := r.KeepSecret(ctx, "token", make([]byte, 1<<20)); !errors.Is(err, engine.ErrInvalid) {
		t.Error(err)
	}
}
