package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// holder is one process of a bouncer: what it really has, as revisions plus one.
type holder struct {
	way  string // "cursor", "place" or "stream"
	has  uint64
	open *engine.Listening
	told uint64
}

// TestAcknowledgedIsNeverMoreThanIsThere plays random histories of one row: answers are lost,
// bouncers start over, the server is killed, several processes share the row. What the row
// says is acknowledged is never more than the process has that asked last, nor than any
// open stream has; and who asks twice without a loss has acknowledged everything.
func TestAcknowledgedIsNeverMoreThanIsThere(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		for _, ways := range [][]string{{"cursor"}, {"place"}, {"stream"}, {"place", "place"}, {"cursor", "place"}, {"stream", "stream", "place"}} {
			t.Run(fmt.Sprint(ways, " ", seed), func(t *testing.T) {
				t.Parallel()
				newAcknowledging(t, seed, ways).play(120)
			})
		}
	}
}

type acknowledging struct {
	*testing.T
	rig   *enginetest.Rig
	rand  *rand.Rand
	all   []*holder
	bound uint64 // what the last to show anything has shown
	most  uint64 // what was ever claimed
	n     int
}

func newAcknowledging(t *testing.T, seed uint64, ways []string) *acknowledging {
	a := &acknowledging{T: t, rand: rand.New(rand.NewPCG(seed, 7))}
	a.rig = enginetest.NewRig(t, func(o *engine.Options) { o.FS = persist.NewCrashFS() })
	_, err := a.rig.AddBouncer(context.Background(), &engine.Bouncer{Name: "fw"})
	wants(t, err, nil)
	for _, way := range ways {
		a.all = append(a.all, &holder{way: way})
	}
	return a
}

func (a *acknowledging) row() *engine.BouncerRow { return a.rig.View().Bouncer("fw") }

func (a *acknowledging) newest() uint64 { return uint64(a.rig.View().Revision()) + 1 }

func (a *acknowledging) play(steps int) {
	for range steps {
		h := a.all[a.rand.IntN(len(a.all))]
		switch a.rand.IntN(10) {
		case 0, 1:
			a.n++
			populated{a.rig, a}.add(fmt.Sprintf("192.0.2.%d", 1+a.n%250), "4h")
		case 2: // the process is started again, and has nothing
			a.closed(h)
			h.has = 0
			a.ask(h, true, a.rand.IntN(3) > 0)
		case 3:
			if a.rand.IntN(4) == 0 {
				a.crash()
			}
		default:
			a.ask(h, false, a.rand.IntN(3) > 0)
		}
		a.check()
	}
	for range 2 {
		for _, h := range a.all {
			for again := range 3 {
				a.ask(h, h.way == "cursor" && h.has == 0 && again == 0, true)
			}
		}
	}
	if at, ok := a.row().Acknowledged(); !ok || uint64(at)+1 != a.newest() {
		a.Errorf("in the end %d is acknowledged of %d", at, a.newest()-1)
	}
}

// check compares what is claimed with what was shown.
func (a *acknowledging) check() {
	a.Helper()
	at, ok := a.row().Acknowledged()
	if !ok {
		return
	}
	claim, least := uint64(at)+1, a.bound
	for _, h := range a.all {
		if h.open != nil {
			least = min(least, h.has)
		}
	}
	if claim > least {
		a.Fatalf("%d is said to be acknowledged, there is %d", claim, least)
	}
	a.most = max(a.most, claim)
}

// ask has a process ask once; its answer arrives, or does not.
func (a *acknowledging) ask(h *holder, anew, arrives bool) {
	a.Helper()
	row, now := a.row(), a.rig.Now().UnixNano()
	a.bound = h.has
	switch h.way {
	case "stream":
		a.stream(row, h, arrives, now)
	case "place":
		if h.has == 0 {
			row.AcknowledgeNothing()
		} else {
			row.AcknowledgePlace(engine.Revision(h.has - 1))
		}
		a.check()
		if arrives {
			h.has = a.newest()
		}
	default:
		a.byCursor(row, h, anew, arrives, now)
	}
}

func (a *acknowledging) byCursor(row *engine.BouncerRow, h *holder, anew, arrives bool, now int64) {
	after, pulled := row.Cursor()
	d := &engine.Delivery{Row: row, After: after, To: a.rig.View().Revision(), All: anew || !pulled || h.has == 0} // clients ask for everything until they have it
	if d.All {
		row.AcknowledgeAnew()
	} else {
		row.AcknowledgeTold()
	}
	a.check()
	if !d.Offer(nil, now) {
		return
	}
	if a.rand.IntN(4) == 0 { // it asks once more before anything is known of it
		row.AcknowledgeTold()
		a.check()
	}
	if !arrives {
		d.Lost()
		return
	}
	if d.All || h.has >= uint64(after)+1 {
		h.has = uint64(d.To) + 1
	}
	d.Heard()
}

// stream opens one, or sends what is new over it; it may break.
func (a *acknowledging) stream(row *engine.BouncerRow, h *holder, arrives bool, now int64) {
	if h.open == nil {
		h.open = row.Listen(engine.Revision(max(h.has, 1)-1), h.has > 0)
		return
	}
	h.told = a.newest()
	h.open.Told(a.rig.View().Revision(), now)
	if !arrives {
		a.closed(h)
		return
	}
	h.has, a.bound = h.told, h.told
	h.open.Acknowledged(engine.Revision(h.told - 1))
	h.open.Acknowledged(engine.Revision(h.told + 100)) // what was never told does not count
}

func (a *acknowledging) closed(h *holder) {
	if h.open != nil {
		h.open.Close()
		h.open.Close()
		h.open = nil
	}
}

// crash kills the server. Streams break; what is claimed then was acknowledged once.
func (a *acknowledging) crash() {
	for _, h := range a.all {
		a.closed(h)
	}
	if a.rand.IntN(2) == 0 {
		a.rig.Advance(10 * time.Second)
	}
	if a.rand.IntN(2) == 0 {
		wants(a.T, a.rig.Snapshot(context.Background()), nil)
	}
	if a.rand.IntN(2) == 0 {
		a.rig.Restart()
	} else {
		a.rig.Crash()
	}
	a.bound = a.most
}

// TestAcknowledgedIsKept: a restart in good order, and one from a snapshot, know what was
// acknowledged; a restored backup does not, for what its bouncers have is not known.
func TestAcknowledgedIsKept(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	row, err := r.AddBouncer(context.Background(), &engine.Bouncer{Name: "fw"})
	wants(t, err, nil)
	if _, ok := row.Acknowledged(); ok {
		t.Fatal("it has acknowledged something")
	}
	at := r.View().Revision()
	row.AcknowledgePlace(at)
	for _, step := range []func(){func() { r.Advance(10 * time.Second) }, func() { wants(t, r.Snapshot(context.Background()), nil) }} {
		step()
		r.Restart()
		if got, ok := r.View().Bouncer("fw").Acknowledged(); !ok || got != at {
			t.Fatalf("%d is acknowledged, %v", got, ok)
		}
	}
	news := r.Acknowledging()
	r.View().Bouncer("fw").AcknowledgePlace(at)
	select {
	case <-news:
		t.Error("nothing was acknowledged, and it is told")
	default:
	}
	r.View().Bouncer("fw").AcknowledgePlace(at + 1)
	<-news
}

// TestAcknowledgingDoesNotAllocate: it is done at every poll.
func TestAcknowledgingDoesNotAllocate(t *testing.T) {
	row := engine.NewGuest(&engine.Bouncer{Name: "fw"})
	row.Advance(5, 1)
	at := engine.Revision(0)
	if n := testing.AllocsPerRun(100, func() {
		row.AcknowledgeTold()
		at++
		row.AcknowledgePlace(at)
		row.AcknowledgeSame(at, at+1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
