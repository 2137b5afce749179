package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// What was not heard is told again, whatever was heard since and whatever was
// written down meanwhile; a kill at any moment changes nothing about that.
func TestUnheardIsToldAgain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *enginetest.Rig, first, second *engine.Delivery) (told bool){
		"both are heard": func(_ *enginetest.Rig, first, second *engine.Delivery) bool {
			second.Heard()
			first.Heard()
			return true
		},
		"the first is lost": func(_ *enginetest.Rig, first, second *engine.Delivery) bool {
			first.Lost()
			second.Heard()
			return false
		},
		"the first is lost, late": func(r *enginetest.Rig, first, second *engine.Delivery) bool {
			second.Heard()
			r.Advance(10 * time.Second)
			first.Lost()
			first.Heard() // too late to say so
			return false
		},
		"a kill before anybody knows": func(r *enginetest.Rig, _, second *engine.Delivery) bool {
			second.Heard()
			return false
		},
		"the first is seen to be missed": func(_ *enginetest.Rig, first, second *engine.Delivery) bool {
			first.Watch(missed{})
			second.Row.Review(nil, 3) // it may come yet
			second.Row.Review(nil, 3_000_000_000)
			second.Heard()
			return false
		},
	} {
		for _, wait := range []time.Duration{0, 10 * time.Second} { // cursors are written down, or not yet
			t.Run(fmt.Sprint(name, " ", wait), func(t *testing.T) {
				t.Parallel()
				r := enginetest.NewRig(t, nil)
				row, err := r.AddBouncer(context.Background(), &engine.Bouncer{Name: "fw"})
				wants(t, err, nil)
				place := func() engine.Revision { at, _ := r.View().Bouncer("fw").Cursor(); return at }
				before := r.View().Revision()
				row.Advance(before, 1)
				answer := func() *engine.Delivery {
					after := place()
					populated{r, t}.add("192.0.2.1", "4h")
					d := &engine.Delivery{Row: row, After: after, To: r.View().Revision()}
					if !d.Offer(nil, 2) || place() != d.To {
						t.Fatal("the cursor does not move")
					}
					return d
				}
				first := answer()
				r.Advance(wait)
				second := answer()
				r.Advance(wait)
				if err := r.Snapshot(context.Background()); err != nil {
					t.Fatal(err)
				}
				want := before
				if end(r, first, second) {
					want = second.To
				}
				r.Advance(wait)
				r.Restart()
				if at := place(); at != want {
					t.Errorf("the cursor is at %d, want %d", at, want)
				}
			})
		}
	}
}

type missed struct{}

func (missed) Missed(late bool) bool { return late }

// TestOffer has answers overlap.
func TestOffer(t *testing.T) {
	t.Parallel()
	row := engine.NewGuest(&engine.Bouncer{Name: "fw"})
	offer := func(after, to engine.Revision, all bool) *engine.Delivery {
		d := &engine.Delivery{Row: row, After: after, To: to, All: all}
		if !d.Offer(nil, 1) {
			return nil
		}
		return d
	}
	at := func(want engine.Revision) {
		t.Helper()
		if got, _ := row.Cursor(); got != want {
			t.Fatalf("the cursor is at %d, want %d", got, want)
		}
	}
	start := offer(0, 10, true)
	at(10)
	next := offer(10, 20, false)
	row.Pass(20, 21, 1)
	at(21)
	start.Lost()
	if _, pulled := row.Cursor(); pulled {
		t.Fatal("it knows something")
	}
	row.Pass(21, 22, 1) // asked before the loss was noticed
	if late := offer(20, 30, false); late != nil {
		t.Fatal("what was made before the loss moves the cursor over it")
	}
	if _, pulled := row.Cursor(); pulled {
		t.Fatal("it knows something")
	}
	next.Heard()
	offer(0, 25, true).Heard()
	at(25)
	offer(0, 15, true).Heard() // of an older state: what came since is told again
	at(15)
	offer(10, 12, false).Heard() // told twice, and nothing back
	at(15)
	var many []*engine.Delivery
	for d := offer(15, 16, false); d != nil; d = offer(15, 16, false) {
		many = append(many, d)
	}
	if len(many) != 64 {
		t.Errorf("%d answers are under way", len(many))
	}
	for _, d := range many {
		d.Lost()
	}
	at(15)
}

// A bouncer that has heard everything is not taken back behind that by an earlier answer
// which turns out lost only then: it would be told everything as one that knows
// nothing, and keep what ended meanwhile.
func TestEarlierAnswersYieldToEverything(t *testing.T) {
	t.Parallel()
	type step struct {
		do    string // offer, heard or lost
		which int
	}
	for name, c := range map[string]struct {
		steps []step
		want  engine.Revision // the cursor in the end
		never bool            // never pulled
	}{
		"heard, then the earlier lost":     {[]step{{"offer", 0}, {"offer", 1}, {"heard", 1}, {"lost", 0}}, 20, false},
		"the earlier lost, then heard":     {[]step{{"offer", 0}, {"offer", 1}, {"lost", 0}, {"heard", 1}}, 20, false},
		"both lost":                        {[]step{{"offer", 0}, {"offer", 1}, {"lost", 0}, {"lost", 1}}, 0, true},
		"both lost, the later first":       {[]step{{"offer", 0}, {"offer", 1}, {"lost", 1}, {"lost", 0}}, 0, true},
		"the later lost, the first heard":  {[]step{{"offer", 0}, {"offer", 1}, {"lost", 1}, {"heard", 0}}, 10, false},
		"a delta behind them lost":         {[]step{{"offer", 0}, {"offer", 1}, {"offer", 2}, {"heard", 1}, {"lost", 0}, {"lost", 2}}, 20, false},
		"a delta between is of no matter":  {[]step{{"offer", 0}, {"heard", 0}, {"offer", 3}, {"offer", 1}, {"lost", 3}, {"heard", 1}}, 20, false},
		"a lost delta goes with the later": {[]step{{"offer", 0}, {"heard", 0}, {"offer", 3}, {"offer", 1}, {"lost", 3}, {"lost", 1}}, 10, false},
	} {
		row := engine.NewGuest(&engine.Bouncer{Name: "b"})
		all := []*engine.Delivery{
			{Row: row, All: true, To: 10}, {Row: row, All: true, To: 20},
			{Row: row, After: 20, To: 30}, {Row: row, After: 10, To: 15},
		}
		for i, s := range c.steps {
			switch d := all[s.which]; s.do {
			case "offer":
				if !d.Offer(nil, 1) {
					t.Errorf("%s: step %d is refused", name, i)
				}
			case "heard":
				d.Heard()
			case "lost":
				d.Lost()
			}
		}
		if at, pulled := row.Cursor(); at != c.want || pulled == c.never || row.Waiting() {
			t.Errorf("%s: at %d, pulled %v, waiting %v; want %d", name, at, pulled, row.Waiting(), c.want)
		}
	}
}
