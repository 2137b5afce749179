package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// clocks is a machine's two clocks: the steady one always goes on, the wall
// clock can be set.
type clocks struct {
	*enginetest.Rig
	wall, steady atomic.Int64
	client       *enginetest.Client
}

func newClocks(t *testing.T, change func(*engine.Options)) *clocks {
	c := &clocks{}
	c.wall.Store(enginetest.Epoch.UnixNano())
	c.steady.Store(int64(time.Hour))
	c.Rig = enginetest.NewRig(t, func(o *engine.Options) {
		o.Now = func() time.Time { return time.Unix(0, c.wall.Load()).UTC() }
		o.Steady = func() time.Duration { return time.Duration(c.steady.Load()) }
		if change != nil {
			change(o)
		}
	})
	if _, err := c.AddBouncer(context.Background(), &engine.Bouncer{Name: "fw"}); err != nil {
		t.Fatal(err)
	}
	c.client = &enginetest.Client{Query: c.Ask()}
	return c
}

// pass lets time pass, looking at the clock every few seconds as traffic does.
func (c *clocks) pass(d time.Duration) {
	for ; d > 0; d -= 20 * time.Second {
		by := int64(min(d, 20*time.Second))
		c.wall.Add(by)
		c.steady.Add(by)
		c.Settle()
	}
}

// set sets the wall clock.
func (c *clocks) set(by time.Duration) { c.wall.Add(int64(by)); c.Settle() }

// ban bans an address from the right time on, as a log processor whose clock is
// right asks for it.
func (c *clocks) ban(value string, from time.Time, length string) {
	c.T.Helper()
	a := one(c.Rig, value)
	a[0].StopAt, a[0].Decisions[0].Duration = engine.StampOf(from), length
	if _, err := c.AddAlerts(context.Background(), "", a, c.Engine.Now()); err != nil {
		c.T.Fatal(err)
	}
}

// holds polls and reports how many addresses the bouncer holds; it must be what
// runs.
func (c *clocks) holds() int {
	c.T.Helper()
	c.Settle()
	row := c.View().Bouncer("fw")
	d, err := c.client.PollAs(c.Engine, row, c.Engine.Now())
	if err != nil {
		c.T.Fatal(err)
	}
	d.Heard()
	running := map[enginetest.Target]bool{}
	q := c.Ask()
	q.Now = c.Engine.Now()
	listed, _ := enginetest.FullState(c.View(), q)
	for _, d := range listed {
		running[enginetest.Target{Scope: d.Scope().S, Value: d.Value(), Type: d.Type().S}] = true
	}
	if !maps.Equal(running, c.client.Holds) {
		c.T.Errorf("the bouncer holds %v, %v run", c.client.Holds, running)
	}
	return len(running)
}

func (c *clocks) want(n int, when string) {
	c.T.Helper()
	if got := c.holds(); got != n {
		c.T.Errorf("%s: %d run, want %d", when, got, n)
	}
}

var right = enginetest.Epoch // what time it really is when a test begins

// A step that is taken back within ten minutes does nothing at all.
func TestStepThatIsTakenBack(t *testing.T) {
	t.Parallel()
	years := 50 * 365 * 24 * time.Hour
	for _, step := range []time.Duration{time.Hour, -time.Hour, years, -years} {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			c := newClocks(t, nil)
			c.ban("192.0.2.1", right, "30m")
			c.want(1, "before")
			c.set(step)
			c.want(1, "at once")
			c.pass(9 * time.Minute)
			c.ban("192.0.2.2", right.Add(9*time.Minute), "30m")
			c.want(2, "nine minutes later")
			c.set(-step)
			c.pass(20*time.Minute + 40*time.Second)
			c.want(2, "a little before the end")
			c.pass(40 * time.Second)
			c.want(1, "after the end")
			c.pass(9 * time.Minute)
			c.want(0, "after the end of the second")
		})
	}
}

// A step that stays is believed after ten minutes. Then time is what the wall
// clock says: forward, what is over by it is lifted; back, nothing is lifted
// early, and what is decided from then on ends when it should.
func TestStepThatStays(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			c := newClocks(t, nil)
			c.ban("192.0.2.1", right, "40m")
			c.ban("192.0.2.2", right, "4h")
			c.want(2, "before")
			c.set(step)
			c.pass(9 * time.Minute)
			c.want(2, "nine minutes later")
			c.pass(2 * time.Minute)
			now := right.Add(step + 11*time.Minute) // as all clocks say now
			if got := c.Engine.Now(); got != now.UnixNano() {
				t.Errorf("eleven minutes later it is %v, want %v", time.Unix(0, got).UTC(), now)
			}
			left := 2
			if step > 0 {
				left = 1
			}
			c.want(left, "eleven minutes later")
			c.ban("192.0.2.3", now, "30m")
			c.want(left+1, "with a new one")
			c.pass(29*time.Minute + 40*time.Second)
			c.want(left+1, "before the end of the new one")
			c.pass(40 * time.Second)
			c.want(left, "after the end of the new one")
			c.pass(6 * time.Hour)
			c.want(0, "in the end")
			c.Restart()
			c.want(0, "after a restart")
		})
	}
}

// A clock that is at 1970, or in the far future, for hours, and comes back.
func TestLeapAndBack(t *testing.T) {
	t.Parallel()
	for name, leap := range map[string]time.Time{"1970": time.Unix(100, 0), "2099": time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClocks(t, func(o *engine.Options) { o.Retention.MaxAge = 24 * time.Hour })
			by := leap.Sub(right)
			c.ban("192.0.2.1", right, "8h")
			c.want(1, "before")
			c.set(by)
			c.pass(2 * time.Hour) // long enough to be believed
			c.ban("192.0.2.2", right.Add(2*time.Hour), "8h")
			c.set(-by)
			c.pass(11 * time.Minute)
			now := right.Add(2*time.Hour + 11*time.Minute)
			if got := c.Engine.Now(); got != now.UnixNano() {
				t.Errorf("after the leap it is %v, want %v", time.Unix(0, got).UTC(), now)
			}
			if name == "1970" {
				c.want(2, "after the leap")
			}
			c.ban("192.0.2.3", now, "30m")
			before := c.holds()
			c.pass(29*time.Minute + 40*time.Second)
			c.want(before, "before the end of the new one")
			c.pass(40 * time.Second)
			c.want(before-1, "after the end of the new one")
			c.Restart()
			c.want(before-1, "after a restart")
			c.pass(9 * time.Hour)
			c.want(0, "in the end")
			if at, _ := c.View().Bouncer("fw").Cursor(); at != c.View().Revision() {
				t.Errorf("the bouncer is at %d of %d", at, c.View().Revision())
			}
			c.wall.Add(int64(25 * time.Hour))
			c.steady.Add(int64(25 * time.Hour))
			c.pass(2 * time.Minute)
			alerts := 0
			err := c.Alerts(context.Background(), c.View(), &engine.AlertQuery{Now: c.Engine.Now()}, func(*engine.Alert, []engine.Decision) bool { alerts++; return true })
			if err != nil || alerts != 0 {
				t.Errorf("%d alerts are kept for ever, %v", alerts, err)
			}
			if late := c.View().Bouncer("fw").LastPull() - c.Engine.Now(); late > int64(time.Minute) {
				t.Errorf("the last pull lies %v ahead", time.Duration(late))
			}
		})
	}
}

// A start with a wrong clock: in the past nothing is lifted, and all is well once
// the clock is set; in the future what is over by it is lifted, for it may
// well be over.
func TestStartWithAWrongClock(t *testing.T) {
	t.Parallel()
	c := newClocks(t, nil)
	c.ban("192.0.2.1", right, "4h")
	c.want(1, "before")
	by := time.Unix(100, 0).Sub(right)
	c.wall.Add(int64(by))
	c.Restart()
	c.want(1, "after a start in 1970")
	c.pass(time.Hour)
	c.want(1, "an hour later")
	c.ban("192.0.2.2", right.Add(time.Hour), "30m")
	c.want(2, "with a new one")
	c.set(-by)
	c.pass(20 * time.Minute)
	c.want(2, "once the clock is set")
	c.pass(11 * time.Minute)
	c.want(1, "after the end of the new one")
	c.wall.Add(int64(24 * time.Hour))
	c.Restart()
	c.want(0, "after a start a day ahead")
	c.wall.Add(-int64(24 * time.Hour))
	c.Restart()
	c.ban("192.0.2.3", right.Add(91*time.Minute), "1h")
	c.want(1, "with a new one, after a start at the right time")
	c.pass(time.Hour)
	c.want(0, "after its end")
}

// A wall clock that is set about at random, with restarts and snapshots: bouncers
// hold what runs, a replay comes to the same state, and once the clock is right
// nothing is kept for ever.
func TestClockAtRandom(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	chance := rand.New(rand.NewPCG(s, 4))
	c := newClocks(t, nil)
	ctx := context.Background()
	off := time.Duration(0)
	var last engine.AlertID
	for range 250 {
		now := time.Unix(0, c.wall.Load()).Add(-off)
		switch chance.IntN(10) {
		case 0, 1:
			by := []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 40 * 365 * 24 * time.Hour}[chance.IntN(5)]
			if chance.IntN(2) == 0 {
				by = -by
			}
			if chance.IntN(2) == 0 {
				by = -off
			}
			off += by
			c.set(by)
		case 2, 3:
			c.pass(time.Duration(1+chance.IntN(15)) * time.Minute)
		case 4:
			if err := c.Snapshot(ctx); err != nil {
				t.Error(err)
			}
		case 5:
			c.Restart()
		case 6:
			if last > 0 {
				_ = c.DeleteAlert(ctx, 1+engine.AlertID(chance.Uint64N(uint64(last))), c.Engine.Now()) // perhaps gone already
			}
		default:
			c.ban(fmt.Sprintf("192.0.2.%d", chance.IntN(5)), now, []string{"1s", "10m", "30m", "2h"}[chance.IntN(4)])
			last++
		}
		c.holds()
		if t.Failed() {
			t.FailNow()
		}
	}
	c.set(-off)
	c.pass(30 * time.Minute)
	c.wall.Add(int64(24 * time.Hour))
	c.steady.Add(int64(24 * time.Hour))
	c.want(0, "in the end")
}

// Doors read the clock from many goroutines.
func TestClockIsReadByAll(t *testing.T) {
	t.Parallel()
	c := newClocks(t, nil)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 20_000 {
				if now := c.Engine.Now(); now < right.UnixNano() || now > right.Add(90*time.Minute).UnixNano() {
					t.Errorf("it is %v", time.Unix(0, now))
					return
				}
			}
		})
	}
	for i := range 80 {
		c.wall.Add(int64(time.Minute))
		c.steady.Add(int64(time.Minute))
		if i == 20 || i == 40 {
			c.wall.Add(int64(30-i) * int64(time.Minute)) // ten minutes forth and back
		}
	}
	readers.Wait()
}
