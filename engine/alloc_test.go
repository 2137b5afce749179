package engine_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// What is asked ten thousand times a second allocates nothing.
func TestAnswersAllocateNothing(t *testing.T) {
	r := stocked(t)
	v := r.View()
	before := v.Revision()
	r.add("192.0.2.200", "4h")
	small := r.View()

	found := make([]engine.Decision, 0, 64)
	live := func(address string, inside bool) *engine.Query {
		q := r.Ask()
		q.Scopes = engine.Words{}
		q.Address, q.Inside = netip.MustParsePrefix(address), inside
		return q
	}
	hit, miss, within := live("192.0.2.7/32", false), live("203.0.113.9/32", false), live("10.1.2.3/32", false)
	six, covering := live("2001:db8::7/128", false), live("10.1.2.0/28", false)
	ask, delta := r.Ask(), &engine.Delta{New: make([]engine.Decision, 0, 64), Deleted: make([]engine.Decision, 0, 64)}
	matches := make([]engine.AllowlistMatch, 0, 4)
	batch := make([]engine.Decision, 32)
	n := 0
	count := func(engine.Decision) bool { n++; return true }

	for name, answer := range map[string]func(){
		"hit":                  func() { found = v.Find(found[:0], hit) },
		"miss":                 func() { found = v.Find(found[:0], miss) },
		"in a range":           func() { found = v.Find(found[:0], within) },
		"IPv6":                 func() { found = v.Find(found[:0], six) },
		"range in a range":     func() { found = v.Find(found[:0], covering) },
		"empty delta":          func() { mustChange(t, small, delta, small.Revision(), ask) },
		"small delta":          func() { mustChange(t, small, delta, before, ask) },
		"full state":           func() { n += scanWhole(v, ask, batch) },
		"no allowlists":        func() { matches = v.Allowlisted(matches[:0], hit.Address, r.Now().UnixNano()) },
		"rules ask":            func() { v.Stored(hit.Address, count) },
		"time":                 func() { n += int(r.Engine.Now() & 1) },
		"view":                 func() { n += int(r.View().Revision() & 1) },
		"value in an answer":   func() { found = appendValues(found, v, hit) },
		"decision by number":   func() { _, _ = v.Decision(1) },
		"bouncers of one key":  func() { _, k := v.OldestBouncer(&engine.KeyHash{1}); n += k },
		"bouncer of a key":     func() { _ = v.BouncerFor(&engine.KeyHash{1}, hit.Address.Addr()) },
		"cursor moves, visits": func() { row := v.Bouncer("fw"); row.Advance(before, int64(n)); row.Visit(int64(n)) },
	} {
		answer() // grows what it is given
		if allocated := fewestAllocations(answer); allocated != 0 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
	if len(delta.New) == 0 && n == 0 {
		t.Error("nothing was asked")
	}
}

// fewestAllocations is what a call allocates on its own. The committer works beside it and
// is counted too, on a slow machine more than once in a hundred calls; what the call
// itself allocates it does each time.
func fewestAllocations(call func()) float64 {
	fewest := testing.AllocsPerRun(100, call)
	for try := 0; try < 10 && fewest > 0; try++ {
		fewest = min(fewest, testing.AllocsPerRun(100, call))
	}
	return fewest
}

// scanWhole goes through a full state, and counts it.
func scanWhole(v *engine.View, q *engine.Query, buf []engine.Decision) (n int) {
	s := v.Scan(q)
	for got := s.Running(buf); len(got) > 0; got = s.Running(buf) {
		n += len(got)
	}
	for got := s.Over(buf); len(got) > 0; got = s.Over(buf) {
		n += len(got)
	}
	return n
}

func mustChange(t *testing.T, v *engine.View, d *engine.Delta, after engine.Revision, q *engine.Query) {
	if !v.Changes(d, after, q) {
		t.Error("the history does not reach back")
	}
}

func appendValues(found []engine.Decision, v *engine.View, q *engine.Query) []engine.Decision {
	var text [64]byte
	found = v.Find(found[:0], q)
	for _, d := range found {
		if len(d.AppendValue(text[:0])) == 0 || d.Scope().S == "" {
			panic("a decision without value")
		}
	}
	return found
}

// populated is a rig whose tests add decisions one by one.
type populated struct {
	*enginetest.Rig
	t testing.TB
}

// stocked holds hosts and ranges of both families, some of them ended, crowded
// targets among them, and one bouncer.
func stocked(t testing.TB) populated {
	p := populated{enginetest.NewRig(t, nil), t}
	for i := range 100 {
		p.add(fmt.Sprintf("192.0.2.%d", i), "4h")
		p.add(fmt.Sprintf("2001:db8::%x", i), "4h")
	}
	for range 3 {
		p.add("192.0.2.7", "4h")
		p.add("10.0.0.0/8", "4h")
		p.add("10.1.0.0/16", "1s")
	}
	p.Advance(2 * time.Second)
	if _, err := p.AddBouncer(context.Background(), &engine.Bouncer{Name: "fw", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash{1}}); err != nil {
		t.Fatal(err)
	}
	return p
}

// add bans one address or range for so long.
func (p populated) add(value, duration string) engine.AlertID {
	p.t.Helper()
	a := &engine.Alert{Scenario: "ssh-bf", StopAt: engine.StampOf(p.Rig.Now()), Decisions: []engine.NewDecision{{
		Scope: "Ip", Value: value, Type: "ban", Origin: "crowdsec", Scenario: "ssh-bf", Duration: duration}}}
	ids, err := p.AddAlerts(context.Background(), "edge-1", []*engine.Alert{a}, p.Rig.Now().UnixNano())
	if err != nil || len(ids) != 1 {
		p.t.Fatalf("adding %s: %v, %v", value, ids, err)
	}
	return ids[0]
}
