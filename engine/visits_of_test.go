package engine

import (
	"testing"
)

// What another node tells of a row only leads forward, unless the bouncer began anew there; what this one told
// changes nothing here; and while this one has to tell that it began anew here, no place of another counts.
func TestVisitsOf(t *testing.T) {
	t.Parallel()
	const mine, other = 7, 8
	told := func(start uint64, cursor, acked uint64, anew bool) *visitsOf {
		return &visitsOf{start: start, bouncers: []placed{{visit{"fw", 1, cursor, acked}, 0, anew}}}
	}
	for name, test := range map[string]struct {
		cursor, acked uint64 // of the row
		begin         bool   // the bouncer has begun anew here
		notes         []*visitsOf
		want          [2]uint64
	}{
		"forward":                  {5, 4, false, []*visitsOf{told(other, 8, 9, false)}, [2]uint64{8, 9}},
		"not back":                 {5, 4, false, []*visitsOf{told(other, 3, 3, false)}, [2]uint64{5, 4}},
		"anew":                     {5, 4, false, []*visitsOf{told(other, 0, 0, true)}, [2]uint64{0, 0}},
		"anew, and on":             {5, 4, false, []*visitsOf{told(other, 3, 3, true)}, [2]uint64{3, 3}},
		"what this node told":      {5, 4, false, []*visitsOf{told(mine, 8, 8, false), told(mine, 0, 0, true)}, [2]uint64{5, 4}},
		"no more than there is":    {5, 4, false, []*visitsOf{told(other, 1<<60, 1<<63|5, false)}, [2]uint64{100, 100}},
		"it began anew here":       {5, 4, true, []*visitsOf{told(other, 9, 9, false)}, [2]uint64{5, 0}},
		"… and elsewhere":          {5, 4, true, []*visitsOf{told(other, 9, 9, true)}, [2]uint64{0, 0}},
		"… and that is told":       {5, 4, true, []*visitsOf{told(mine, 0, 0, true), told(other, 9, 9, false)}, [2]uint64{9, 9}},
		"… another thing was told": {5, 4, true, []*visitsOf{told(mine, 3, 3, false), told(other, 9, 9, false)}, [2]uint64{5, 0}},
	} {
		s := newState()
		s.notes.start = mine
		row := s.putBouncer(1, Bouncer{Name: "fw"})
		row.cursor.Store(test.cursor)
		row.acked.Store(test.acked)
		if test.begin {
			row.AcknowledgeAnew()
			row.toTell() // it is on its way
		}
		for _, o := range test.notes {
			o.apply(s, 100)
		}
		if got := [2]uint64{row.cursor.Load(), row.acked.Load()}; got != test.want {
			t.Errorf("%s: %d, not %d", name, got, test.want)
		}
	}
}

// A note that was made before its node had heard of a beginning elsewhere takes no bouncer forward again, and
// none is of a row that took the name of another.
func TestLateNotes(t *testing.T) {
	t.Parallel()
	s := newState()
	s.putBouncer(1, Bouncer{Name: "fw", CreatedAt: 5})
	note := func(seen Revision, born int64, cursor uint64, anew bool) []placed {
		o := &visitsOf{start: 8, seen: seen, bouncers: []placed{{visit{"fw", 1, cursor, cursor}, born, anew}}}
		o.leaveOut(s)
		return o.bouncers
	}
	(&visitsOf{bouncers: []placed{{visit{name: "fw"}, 5, true}}}).apply(s, 10)
	if len(note(9, 5, 4, false)) != 0 {
		t.Error("a place from before counts")
	}
	if got := note(9, 5, 4, true); len(got) != 1 || got[0].cursor != 0 || !got[0].anew {
		t.Errorf("another beginning, from before: %+v", got)
	}
	if len(note(10, 5, 4, false)) != 1 {
		t.Error("a place from behind it does not count")
	}
	if len(note(10, 6, 4, false)) != 0 {
		t.Error("a place of another row of that name counts")
	}
}
