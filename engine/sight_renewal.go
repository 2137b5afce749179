package engine

import (
	"slices"
	"time"
)

// A bouncer whose durations have an upper bound M forgets a decision M after it was told,
// though the decision runs on. So it is told again before: the time of the history is cut
// into periods of M/2, and a delta that leads from one period into another has everything
// that runs in new, with what is left of it, up to M. A poll that comes at least every M/2
// finds its decisions renewed in time.
//
// A period begins with the first commit in it, which the committer makes if nobody else
// does; so a delta is a function of its two revisions, here and on every other machine.

// renewal is the period that a bound is in.
type renewal struct {
	bound  time.Duration
	period int64    // of the history's time
	began  Revision // the first revision in it; 0: nobody had the bound then
}

func periodOf(at int64, bound time.Duration) int64 { return at / max(int64(bound/2), 1) }

// renewed reports whether a period of the sight's bound has begun since a revision, up to
// the view's.
func (v *View) renewed(since Revision, s *Sight) bool {
	if s == nil || s.MaxDuration == 0 {
		return false
	}
	for i := range v.renewals {
		if r := &v.renewals[i]; r.bound == s.MaxDuration {
			return r.began > since
		}
	}
	return false
}

// Stalled reports whether the history has stood still for so long, because nothing can be
// written, that a bouncer with a duration bound may have forgotten what it was told.
func (v *View) Stalled(s *Sight, now int64) bool {
	return s != nil && s.MaxDuration > 0 && periodOf(now, s.MaxDuration) > periodOf(v.at, s.MaxDuration)+1
}

// renew begins the periods that have come with a commit.
func (s *state) renew(rev Revision) {
	copied := false
	for i := range s.next.renewals {
		period := periodOf(s.at, s.next.renewals[i].bound)
		if period == s.next.renewals[i].period {
			continue
		}
		if !copied {
			s.next.renewals, copied = slices.Clone(s.next.renewals), true
		}
		s.next.renewals[i].period, s.next.renewals[i].began = period, rev
	}
}

// renewalDue reports whether a period begins by a time.
func (s *state) renewalDue(now int64) bool {
	return slices.ContainsFunc(s.next.renewals, func(r renewal) bool { return periodOf(max(now, s.at), r.bound) != r.period })
}

// addBound takes the bound of a sight into account that is new; began is when its period
// did, as far as that is known.
func (s *state) addBound(sight *Sight, began Revision) {
	if sight == nil || sight.MaxDuration == 0 {
		return
	}
	for i := range s.next.renewals {
		if s.next.renewals[i].bound == sight.MaxDuration {
			return
		}
	}
	s.next.renewals = append(slices.Clone(s.next.renewals), renewal{sight.MaxDuration, periodOf(s.at, sight.MaxDuration), began})
}

// dropBounds forgets the bounds that no bouncer has any more.
func (s *state) dropBounds() {
	s.next.renewals = slices.DeleteFunc(slices.Clone(s.next.renewals), func(r renewal) bool {
		for _, one := range s.sights.known {
			if one.MaxDuration == r.bound {
				return false
			}
		}
		return true
	})
}

// renewalOf is when the period of a sight's bound began.
func (v *View) renewalOf(s *Sight) Revision {
	for i := range v.renewals {
		if s != nil && v.renewals[i].bound == s.MaxDuration {
			return v.renewals[i].began
		}
	}
	return 0
}
