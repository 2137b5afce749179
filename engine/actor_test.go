package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

func banOn(r *enginetest.Rig, value, duration string) []*engine.Alert {
	return []*engine.Alert{{Scenario: "s", StartAt: engine.StampOf(r.Now()), StopAt: engine.StampOf(r.Now()), Source: engine.Source{Scope: "Ip", Value: value},
		Decisions: []engine.NewDecision{{Scope: "Ip", Value: value, Type: "ban", Duration: duration, Origin: "crowdsec"}}}}
}

// endings is the actor that ended each decision, by id.
func endings(e *engine.Engine) (list []string) {
	v := e.View()
	for id := engine.DecisionID(1); ; id++ {
		d, ok := v.Decision(id)
		if !ok {
			return list
		}
		list = append(list, d.EndedBy().String())
	}
}

// The actor that ended a decision is known for as long as the decision is: after a restart from the
// journal, from a snapshot, and after a restore.
func TestEndsNameTheirActor(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	disk := persist.NewMemFS()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.FS, o.Dir = disk, "store" })
	now := r.Now().UnixNano()
	for i := range 5 {
		_, err := r.AddAlerts(ctx, "", banOn(r, fmt.Sprintf("192.0.2.%d", i+1), []string{"4h", "4h", "4h", "1s", "4h"}[i]), now)
		wants(t, err, nil)
	}
	long := strings.Repeat("n", 300)
	wants(t, r.EndDecision(engine.As(ctx, engine.Actor{Kind: engine.ActorOperator, Name: "root"}), 1, now), nil)
	wants(t, r.EndDecision(engine.As(ctx, engine.Actor{Kind: engine.ActorMachine, Name: long}), 2, now), nil)
	wants(t, r.CreateAllowlist(ctx, "ours", "", now), nil)
	_, _, err := r.AddToAllowlist(engine.As(ctx, engine.Actor{Kind: engine.ActorOperator, Name: "root"}), "ours",
		[]engine.AllowlistItem{{Value: "192.0.2.3", Prefix: netip.MustParsePrefix("192.0.2.3/32")}}, now)
	wants(t, err, nil)
	r.Advance(2 * time.Second)
	want := fmt.Sprint([]string{"operator root", "machine " + long[:256], "allowlist ours", "expiry", ""})
	told := func(what string, e *engine.Engine) {
		t.Helper()
		if got := fmt.Sprint(endings(e)); got != want {
			t.Errorf("%s: ended by %s, not %s", what, got, want)
		}
	}
	told("as made", r.Engine)
	r.Restart()
	told("from the journal", r.Engine)
	wants(t, r.Snapshot(ctx), nil)
	b := backup(t, r)
	r.Restart()
	told("from a snapshot", r.Engine)
	_, err = engine.Restore(&engine.Options{Dir: "restored", FS: disk, Now: r.Now}, engine.Actor{}, bytes.NewReader(b))
	wants(t, err, nil)
	e, err := engine.Open(&engine.Options{Dir: "restored", FS: disk, Now: r.Now})
	wants(t, err, nil)
	told("restored", e)
	wants(t, e.Close(), nil)
}

// More different actors than a record can number cost no memory and no place: beyond, the
// kind is known.
func TestVeryManyActors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	now := r.Now().UnixNano()
	const n = 1<<16 + 50
	a := banOn(r, "192.0.2.1", "4h")
	for i := range n + 2 { // three more than are ended at first
		d := a[0].Decisions[0]
		d.Value = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		a[0].Decisions = append(a[0].Decisions, d)
	}
	_, err := r.AddAlerts(ctx, "", a, now)
	wants(t, err, nil)
	wants(t, r.EndEach(n, now), nil)
	got := endings(r.Engine)
	for i, by := range got[:n] {
		if by != "machine "+fmt.Sprint(i+1) && (by != "machine" || i < 1<<16-100) {
			t.Fatalf("decision %d was ended by %q", i+1, by)
		}
	}
	// Kinds that a newer program has are not known here, and so have no place either.
	for i := range uint64(3) {
		wants(t, r.EndAs(engine.Actor{Kind: engine.ActorKind(200 + i), Name: "new"}, n+1+i, now), nil)
		if d, ok := r.View().Decision(engine.DecisionID(n + 1 + i)); !ok || !d.Ended() || d.EndedBy() != (engine.Actor{}) {
			t.Errorf("a decision that a kind of a newer program ended: %v, by %v", ok, d.EndedBy())
		}
	}
	if len(got) != n+3 || got[n-1] != "machine" {
		t.Errorf("%d ends, the last by %q", len(got), got[len(got)-1])
	}
	r.Restart()
}

// A push is noted on its machine, and lasts.
func TestLastPush(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "m"}, false), nil)
	push := func() int64 {
		_, err := r.AddAlerts(ctx, "m", banOn(r, "192.0.2.1", "4h"), r.Now().UnixNano())
		wants(t, err, nil)
		return r.Now().UnixNano()
	}
	told := func(want int64) {
		t.Helper()
		if got := r.View().Machine("m").LastPush; got != want {
			t.Errorf("the last push was at %d, not %d", got, want)
		}
	}
	told(0)
	push()
	r.Advance(time.Minute)
	last := push()
	told(last)
	r.Restart()
	told(last)
	wants(t, r.Snapshot(ctx), nil)
	wants(t, r.ChangeMachine(ctx, "m", func(m *engine.Machine) { m.Version = "2" }), nil)
	r.Restart()
	told(last)
	wants(t, r.AddMachine(ctx, &engine.Machine{ID: "m"}, true), nil)
	told(0)
}

// The time of commits never goes back, whatever the clock does within its slack; where it
// was truly set back, one commit says so.
func TestTimeOfCommits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	add := func(by time.Duration) {
		r.Step(by)
		_, err := r.AddAlerts(ctx, "", banOn(r, "192.0.2.1", "1h"), r.Now().UnixNano())
		wants(t, err, nil)
	}
	for _, by := range []time.Duration{0, time.Second, -time.Second, -500 * time.Millisecond, time.Second, -time.Hour, 0, time.Minute, -time.Second, -30 * time.Second} {
		add(by)
	}
	r.Restart()
	add(-24 * time.Hour) // while it was off
	add(2 * time.Hour)   // over by now
	r.Settle()
	if got := endings(r.Engine); got[len(got)-2] != "expiry" {
		t.Errorf("ends: %q", got)
	}
	r.Stop()
	s, err := persist.Open(&persist.Options{Dir: r.Options.Dir, FS: r.Options.FS, ReadOnly: true})
	wants(t, err, nil)
	defer s.Close()
	last, backs := int64(0), 0
	wants(t, s.Replay(0, func(rev uint64, record []byte) error {
		at, back, err := engine.CommitTimes(record)
		if back {
			backs++
		} else if at < last {
			t.Errorf("commit %d is of %d, and the one before of %d", rev, at, last)
		}
		last = at
		return err
	}), nil)
	if backs != 3 {
		t.Errorf("the clock was set back %d times", backs)
	}
}
