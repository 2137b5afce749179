package admin

import "lapid/engine"

// Outlook is what would come of decisions that were not stored.
type Outlook struct {
	New   int // nothing of the type runs on the target yet
	Known int // something does: the decision would stand beside it
	Again int // the same target and type came before in the same input

	// Overflows are the bouncers that may hold only so many decisions, and would be told
	// of more: those of the lowest priority are kept from them.
	Overflows []Overflow `json:",omitempty"`
}

// Overflow is a bouncer whose bound would be passed. Fresh are the targets that it would be
// told of beside those that it holds.
type Overflow struct {
	Bouncer    string
	MaxEntries int
	Now        int
	Fresh      int
}

// foresight looks at decisions one by one, as they would meet one view.
type foresight struct {
	view *engine.View
	now  int64
	out  Outlook
}

func newForesight(view *engine.View, now int64) *foresight { return &foresight{view: view, now: now} }

// see counts one decision; again says that its target and type came before.
func (f *foresight) see(d *engine.NewDecision, again bool) {
	p := engine.Proposed{Scope: d.Scope, Type: d.Type, Value: d.Value, Origin: d.Origin, Reason: d.Scenario}
	if engine.HoldsAddress(d.Scope) {
		p.Target, _ = engine.ParseTarget(d.Value)
	}
	switch {
	case again:
		f.out.Again++
	case f.view.Decides(&p, f.now):
		f.out.Known++
	default:
		f.out.New++
	}
}

func (f *foresight) done() *Outlook { return &f.out }
