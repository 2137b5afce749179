package engine_test

import (
	"testing"

	"lapid/engine"
)

// Who has heard everything is not taken back behind that by an earlier answer
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
