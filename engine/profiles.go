package engine

// Profiles judges alerts by the operator's rules. It is the one thing the
// engine needs from above; engine/profile fills it.
//
// Evaluate is called on the way in, from many goroutines at once, before the
// alert has an id. view answers questions such as "how many decisions had this
// address before?"; it does not show the other alerts of the same request. An
// error refuses the whole request; it should wrap ErrProfile.
//
// An alert that brings decisions is evaluated too, but only for the
// notifications it causes.
type Profiles interface {
	Evaluate(a *Alert, view *View, now int64) (Verdict, error)
}

// Verdict is what the rules made of an alert.
type Verdict struct {
	Decisions []NewDecision // nil when no profile matched, or the alert brought its own
	Notify    []string      // names of notifications to send, at most LongestName bytes each
	Undecided int           // how many of them, the first, were named before a profile decided
}

// Judge asks the rules in force about an alert as if it came in now, and stores nothing:
// which notifications would be due. The alert is read, never changed or kept. Without rules
// the verdict is empty. Errors are those of the rules.
func (e *Engine) Judge(a *Alert) (Verdict, error) {
	p := e.profiles.Load()
	if p == nil || *p == nil {
		return Verdict{}, nil
	}
	return (*p).Evaluate(a, e.View(), e.Now())
}
