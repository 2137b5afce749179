package engine_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

const years = 10 * 365 * 24 * time.Hour

// keeper is a server that keeps nothing for longer than it must.
type keeper struct {
	*clocks
	all string // what there is
}

func newKeeper(t *testing.T) *keeper {
	k := &keeper{clocks: newClocks(t, func(o *engine.Options) {
		o.Retention = engine.Retention{MaxItems: 1000, MaxAge: 7 * 24 * time.Hour, UsageMaxAge: 7 * 24 * time.Hour,
			BouncersKey: 24 * time.Hour, BouncersCert: 24 * time.Hour, MachinesPassword: 24 * time.Hour, MachinesCert: 24 * time.Hour}
	})}
	ctx, now := context.Background(), k.Engine.Now()
	k.must(k.AddMachine(ctx, &engine.Machine{ID: "edge-1", Validated: true, IP: "192.0.2.200"}, false))
	k.Heartbeat("edge-1", now)
	k.must(k.CreateAllowlist(ctx, "trusted", "", now))
	_, _, err := k.AddToAllowlist(ctx, "trusted", []engine.AllowlistItem{{Value: "10.0.0.0/8", Prefix: netip.MustParsePrefix("10.0.0.0/8"),
		ExpiresAt: right.Add(48 * time.Hour).UnixNano()}}, now)
	k.must(err)
	k.must(k.AddUsage(ctx, &engine.Usage{Kind: engine.UsageMachine, Name: "edge-1", ReceivedAt: now, Payload: []byte("{}")}))
	k.ban("192.0.2.1", right, "1m")
	k.ban("192.0.2.2", right, "5000h")
	k.pass(2 * time.Minute)
	k.want(1, "before")
	k.all = k.there()
	if want := "alert 2, alert 1, bouncer fw, machine edge-1, trusted 1, usage 1"; k.all != want {
		t.Fatalf("at first there is %s, not %s", k.all, want)
	}
	return k
}

func (k *keeper) must(err error) {
	k.T.Helper()
	if err != nil {
		k.T.Fatal(err)
	}
}

// there is everything that retention could delete.
func (k *keeper) there() string {
	var list []string
	ctx, v := context.Background(), k.View()
	k.must(k.Alerts(ctx, v, &engine.AlertQuery{Now: k.Engine.Now()}, func(a *engine.Alert, _ []engine.Decision) bool {
		list = append(list, fmt.Sprint("alert ", a.ID))
		return true
	}))
	for _, b := range v.Bouncers() {
		list = append(list, "bouncer "+b.Load().Name)
	}
	for _, m := range v.Machines() {
		list = append(list, "machine "+m.ID)
	}
	for _, l := range v.Allowlists() {
		list = append(list, fmt.Sprint(l.Name, " ", len(l.Items)))
	}
	n := 0
	for _, err := range k.Usage(ctx, engine.UsageMachine, "") {
		k.must(err)
		n++
	}
	return strings.Join(append(list, fmt.Sprint("usage ", n)), ", ")
}

// keeps wants nothing to be missing, and the clock to be in doubt or not.
func (k *keeper) keeps(when string, doubt bool) {
	k.T.Helper()
	if got := k.there(); got != k.all {
		k.T.Errorf("%s there is %s, not %s", when, got, k.all)
	}
	k.doubts(when, doubt)
}

func (k *keeper) doubts(when string, doubt bool) {
	k.T.Helper()
	list := k.Troubles()
	if doubt != (len(list) == 1 && list[0].Kind == engine.TroubleClock && strings.Contains(list[0].Text, "--trust-clock")) || len(list) > 1 {
		k.T.Errorf("%s the troubles are %+v", when, list)
	}
}

// startAt starts anew with another wall clock.
func (k *keeper) startAt(by time.Duration) {
	k.T.Helper()
	k.Stop()
	k.wall.Add(int64(by))
	k.Start()
	k.Settle()
}

// One start with a clock years ahead deletes nothing; when the clock is set all is
// as before, at once.
func TestStartYearsAhead(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("twice=", again), func(t *testing.T) {
			t.Parallel()
			k := newKeeper(t)
			k.startAt(years)
			k.keeps("at the start", true)
			k.pass(9 * time.Minute)
			k.keeps("nine minutes later", true)
			if again { // the operator tries a restart, then the power fails for a day
				k.startAt(0)
				k.keeps("at the second start", true)
				k.pass(9 * time.Minute)
				k.must(k.Snapshot(context.Background()))
				k.keeps("after a snapshot", true)
				k.startAt(24 * time.Hour)
				k.wall.Add(-int64(24 * time.Hour)) // the day did not pass
				k.keeps("at the third start", true)
			}
			k.set(-years)
			k.keeps("when the clock is set", false)
			if now := k.Engine.Now(); now != k.wall.Load() {
				t.Errorf("it is %v", time.Unix(0, now).UTC())
			}
			k.pass(20 * time.Minute)
			k.keeps("later", false)
			k.startAt(0)
			k.keeps("after a start at the right time", false)
			k.pass(11 * time.Minute)
			k.keeps("later", false)
			k.ban("192.0.2.3", time.Unix(0, k.wall.Load()), "1h")
			k.want(1, "with a new one: the others are over, as nobody could know better")
		})
	}
}

// A wrong clock that is put right by a start, not by a step.
func TestStartAfterAWrongOne(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.startAt(years)
	k.pass(5 * time.Minute)
	k.startAt(-years)
	k.keeps("at the right time", false)
	k.pass(20 * time.Minute)
	k.keeps("later", false)
	k.startAt(years) // nothing is left of the first
	k.keeps("wrong once more", true)
}

// A clock that stays is believed after ten minutes in which it did not move.
// Bouncers and machines that come by meanwhile are kept.
func TestClockThatStaysIsBelieved(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.startAt(years)
	k.pass(5 * time.Minute)
	k.set(time.Hour) // it moves, and ten minutes begin anew when that is believed
	k.pass(9 * time.Minute)
	k.keeps("while it moves", true)
	k.pass(10 * time.Minute)
	k.keeps("before it has agreed for ten minutes", true)
	k.Heartbeat("edge-1", k.Engine.Now())
	k.holds()
	k.pass(3 * time.Minute)
	k.doubts("afterwards", false)
	k.pass(15 * time.Minute)
	if got, want := k.there(), "bouncer fw, machine edge-1, trusted 0, usage 0"; got != want {
		t.Errorf("there is %s, not %s", got, want)
	}
	k.startAt(0)
	k.doubts("after another start", false)
}

// A bouncer that was silent while the server was off may speak first.
func TestSilenceWhileOff(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.startAt(8 * 24 * time.Hour)
	k.pass(2 * time.Minute)
	if got, want := k.there(), "alert 2, bouncer fw, machine edge-1, trusted 0, usage 0"; got != want {
		t.Errorf("a week later there is %s, not %s", got, want)
	}
	k.doubts("a week later", false)
	k.holds()
	k.pass(12 * time.Minute)
	if got, want := k.there(), "alert 2, bouncer fw, trusted 0, usage 0"; got != want {
		t.Errorf("then there is %s, not %s", got, want)
	}
}

// An operator that knows better says so.
func TestTrustedClock(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.startAt(years)
	k.keeps("at the start", true)
	k.Options.TrustClock = true
	k.startAt(0)
	k.pass(2 * time.Minute)
	k.doubts("trusted", false)
	if got, want := k.there(), "bouncer fw, machine edge-1, trusted 0, usage 0"; got != want {
		t.Errorf("there is %s, not %s", got, want)
	}
	k.Options.TrustClock = false
	k.startAt(0)
	k.doubts("later", false)
}

// A month off is nothing that is doubted, whatever is kept for how long; and what
// is kept for longer than that may be off for as long.
func TestHowLongAServerMayBeOff(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, c := range []struct {
		keep, off time.Duration
		doubt     bool
	}{{0, 30 * day, false}, {0, 33 * day, true}, {day, 30 * day, false}, {day, 33 * day, true}, {90 * day, 80 * day, false}, {90 * day, 100 * day, true}} {
		k := &keeper{clocks: newClocks(t, func(o *engine.Options) { o.Retention.BouncersKey = c.keep })}
		k.startAt(c.off)
		k.doubts(fmt.Sprint("kept ", c.keep, ", off for ", c.off), c.doubt)
	}
}
