package engine

// Foreseen is what would come of an alert, had it come in.
type Foreseen struct {
	Allowlisted string            // what keeps it from being judged and stored, an item and its list; "": nothing
	Verdict     Verdict           // of the rules
	Decisions   []PlannedDecision // that would be stored
	Discarded   int               // decisions that could not be stored: no address where one must be, or a text without a place
	Dropped     bool              // the alert would not be stored: it is allowlisted, or none of its decisions can be stored
}

// Foresee says what AddAlerts would make of an alert at a moment (Unix nanoseconds), by these rules and
// with the allowlists and the history of a view, and stores nothing. A nil view has neither, and stands for a store
// that is empty. The alert's scopes are respelled; it is not kept. Errors are those of AddAlerts.
func Foresee(a *Alert, rules Profiles, v *View, now int64) (*Foreseen, error) {
	a.clean()
	f, own := &Foreseen{}, len(a.Decisions) > 0
	if !own && v != nil {
		if matches := a.sparedBy(v, now); len(matches) > 0 {
			f.Allowlisted, f.Dropped = matches[0].Reason(), true
			return f, nil
		}
	}
	var err error
	if f.Verdict, err = rules.Evaluate(a, v, now); err != nil {
		return nil, err
	}
	decisions := a.Decisions
	if !own {
		decisions = f.Verdict.Decisions
	}
	var lost cuts
	plans, err := a.plans(decisions, &lost, nil)
	if err != nil {
		return nil, err
	}
	f.Decisions, f.Discarded = plannedOf(plans), len(decisions)-len(plans)
	f.Dropped = len(decisions) > 0 && len(plans) == 0
	return f, nil
}

// plannedOf shows plans.
func plannedOf(plans []plan) []PlannedDecision {
	list := make([]PlannedDecision, len(plans))
	for i := range plans {
		p := &plans[i]
		list[i] = PlannedDecision{Until: p.until, Scope: p.scope, Value: p.spelling(), Type: p.kind, Origin: p.origin, Scenario: p.scenario}
	}
	return list
}
