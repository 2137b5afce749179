package capi

import (
	"slices"
	"sync"

	"lapid/engine"
)

// mostEras is how many changes of the rules are told apart while signals wait; beyond it the
// two oldest become one, that shares only what both do.
const mostEras = 64

// Rules remembers by which rules of sharing the history was looked at first, for the clients
// that follow each other (Options.Rules): an alert that was withheld stays so when an option
// is switched on, however long it takes to get past it. A restart forgets that. Any goroutine
// may have it.
type Rules struct {
	mu   sync.Mutex
	eras []era // the oldest first
}

// era is a part of the history that was looked at by the same rules.
type era struct {
	upTo  engine.Revision
	rules Console
}

// look notes that all up to a revision that was not looked at yet is now, by these rules.
func (r *Rules) look(rules Console, upTo engine.Revision) {
	rules.Management = false // is no rule for alerts
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n := len(r.eras); {
	case n > 0 && r.eras[n-1].upTo >= upTo:
	case n > 0 && r.eras[n-1].rules == rules:
		r.eras[n-1].upTo = upTo
	default:
		r.eras = append(r.eras, era{upTo, rules})
	}
	if len(r.eras) > mostEras {
		a, b := r.eras[0].rules, &r.eras[1].rules
		*b = Console{Manual: a.Manual && b.Manual, Custom: a.Custom && b.Custom, Tainted: a.Tainted && b.Tainted, Context: a.Context && b.Context}
		r.eras = slices.Delete(r.eras, 0, 1)
	}
}

// of are the rules for what a revision brought; by default those that are given.
func (r *Rules) of(rev engine.Revision, rules Console) Console {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.eras {
		if rev <= e.upTo {
			return e.rules
		}
	}
	return rules
}

// past forgets what nobody asks for any more.
func (r *Rules) past(rev engine.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.eras = slices.DeleteFunc(r.eras, func(e era) bool { return e.upTo <= rev })
}
