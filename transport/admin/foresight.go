package admin

import "lapid/engine"

// Outlook is what would come of decisions that were not stored.
type Outlook struct {
	New   int // nothing of the type runs on the target yet
	Known int // something does: the decision would stand beside it
	Again int // the same target and type came before in the same input

	// Overflows are the views of bouncers that may hold only so many decisions, whether or not
	// that is passed.
	Overflows []Overflow `json:",omitempty"`
}

// Overflow is what bouncers with a bound would have to hold. Fresh are the targets that they
// would be told of beside those that they hold; what ends at the same time is not taken off.
type Overflow struct {
	Bouncer    string // the oldest of those that have this view
	Others     int    // how many more have it
	MaxEntries int
	Now        int // entries, before the bound
	Fresh      int
}

// foresight looks at decisions one by one, as they would meet one view.
type foresight struct {
	view    *engine.View
	now     int64
	out     Outlook
	bounded []boundedSight
}

// boundedSight is one that bouncers have.
type boundedSight struct {
	sight *engine.Sight
	fresh func(*engine.Proposed) bool
	told  Overflow
}

func newForesight(view *engine.View, now int64) *foresight {
	f := &foresight{view: view, now: now}
	at := map[uint64]int{}
	view.EachBouncer(func(row *engine.BouncerRow) bool {
		b := row.Load()
		if b.Sight == nil || b.Sight.MaxEntries == 0 {
			return true
		}
		i, known := at[b.Sight.Fingerprint()]
		if known {
			f.bounded[i].told.Others++
			return true
		}
		at[b.Sight.Fingerprint()] = len(f.bounded)
		f.bounded = append(f.bounded, boundedSight{
			b.Sight, view.Fresh(b.Sight, now), Overflow{Bouncer: b.Name, MaxEntries: b.Sight.MaxEntries},
		})
		return true
	})
	return f
}

// see counts one decision; again says that its target and type came before.
func (f *foresight) see(d *engine.NewDecision, again bool) {
	if again {
		f.out.Again++
		return
	}
	p := engine.Proposed{Scope: d.Scope, Type: d.Type, Value: d.Value, Origin: d.Origin, Reason: d.Scenario}
	if engine.HoldsAddress(d.Scope) {
		p.Target, _ = engine.ParseTarget(d.Value)
	}
	if f.view.Decides(&p, f.now) {
		f.out.Known++
	} else {
		f.out.New++
	}
	for i := range f.bounded {
		if b := &f.bounded[i]; b.fresh(&p) {
			b.told.Fresh++
		}
	}
}

// done adds what bouncers hold now.
func (f *foresight) done() *Outlook {
	for i := range f.bounded {
		b := &f.bounded[i]
		q := &engine.Query{Now: f.now, Sight: b.sight, Limit: -1, Entries: true}
		b.told.Now = f.view.CountEntries(q).Admitted
		f.out.Overflows = append(f.out.Overflows, b.told)
	}
	return &f.out
}
