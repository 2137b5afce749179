package engine

import (
	"math"
	"time"
)

const (
	// surveyStep is how many rows the committer looks at in one go, a few
	// milliseconds: writers wait no longer for it, however many rows there are.
	surveyStep = 8192

	// surveyAgain is when the next step follows.
	surveyAgain = 10 * time.Millisecond

	// dropsAtOnce is how many idle bouncers or machines one commit drops at most.
	dropsAtOnce = 4096
)

// survey looks once a minute at every bouncer and machine, a step at a time: how
// far the slowest bouncer is that still comes by, and which have been idle for longer
// than the operator wants. What changes behind it counts a minute later. Owned by
// the committer.
type survey struct {
	under    bool     // way
	idlers   bool     // those that have been idle for long are dropped
	bouncers bool     // have been looked at
	at       uint64   // place or serial to go on from
	slowest  Revision // so far
	quiet    []*BouncerRow
	idle     []*machineRow
}

// look takes the next step of a survey that is under way and says whether there
// is more to do.
func (e *Engine) look(now int64) bool {
	s := &e.survey
	if !s.under {
		return false
	}
	if !s.bouncers {
		s.bouncers = e.lookAtBouncers(now)
		if s.bouncers || len(s.quiet) >= dropsAtOnce {
			e.dropQuiet(now)
		}
		if s.bouncers {
			s.at = 0
			e.trimHistory(s.slowest)
		}
		return true
	}
	s.under = !e.lookAtMachines(now)
	if !s.under {
		e.dropMachines()
	}
	return s.under
}

// begin starts a survey unless one is under way. Without idlers nothing is dropped: the
// clock, or that every bouncer could be heard, is not certain.
func (s *survey) begin(idlers bool) {
	if !s.under {
		*s = survey{under: true, idlers: idlers, slowest: math.MaxUint64}
	}
}

// lookAtBouncers takes a step and says whether it was the last.
func (e *Engine) lookAtBouncers(now int64) (done bool) {
	s, n := &e.survey, 0
	done = true
	e.View().bouncers.order.From(s.at, func(place uint64, row *BouncerRow) bool {
		if n++; n > surveyStep {
			s.at, done = place, false
			return false
		}
		last := row.LastPull()
		if at := row.behind(); at != 0 && last > now-int64(followerPatience) {
			s.slowest = min(s.slowest, Revision(at-1))
		}
		if s.idlers && e.options.Retention.idle(row, now) {
			s.quiet = append(s.quiet, row)
		}
		return true
	})
	return done
}

// idle reports whether a bouncer pulled last so long ago that it goes.
func (r *Retention) idle(row *BouncerRow, now int64) bool {
	limit, last := r.BouncersKey, row.LastPull()
	if row.Load().AuthType == AuthTLS {
		limit = r.BouncersCert
	}
	return limit > 0 && last != 0 && last < now-int64(limit)
}

// dropQuiet drops those that were found idle and still are.
func (e *Engine) dropQuiet(now int64) {
	var names []string
	for _, row := range e.survey.quiet {
		if !row.Gone() && e.options.Retention.idle(row, now) {
			names = append(names, row.Load().Name)
		}
	}
	e.survey.quiet = nil
	for len(names) > 0 {
		n := min(len(names), dropsAtOnce)
		e.drop(&dropBouncers{names: names[:n]}, "dropped bouncers that have not pulled for long", n)
		names = names[n:]
	}
}

// lookAtMachines takes a step and says whether it was the last.
func (e *Engine) lookAtMachines(now int64) (done bool) {
	r, s, n := &e.options.Retention, &e.survey, 0
	if !s.idlers || r.MachinesPassword <= 0 && r.MachinesCert <= 0 {
		return true
	}
	done = true
	e.View().machines.bySerial.From(s.at, func(serial uint64, row *machineRow) bool {
		if n++; n > surveyStep {
			s.at, done = serial, false
			return false
		}
		m := row.load()
		limit := r.MachinesPassword
		if m.AuthType == AuthTLS {
			limit = r.MachinesCert
		}
		if limit > 0 && m.LastHeartbeat != 0 && m.LastHeartbeat < now-int64(limit) && !local(m.IP) {
			s.idle = append(s.idle, row)
		}
		return true
	})
	return done
}

// dropMachines drops the idle ones that own no alert.
func (e *Engine) dropMachines() {
	idle := e.survey.idle
	e.survey.idle = nil
	if len(idle) == 0 {
		return
	}
	owners := e.View().alertOwners()
	var ids []string
	for _, row := range idle {
		if !owners[row.serial] && !row.gone {
			ids = append(ids, row.value.Load().ID)
		}
	}
	for len(ids) > 0 {
		n := min(len(ids), dropsAtOnce)
		e.drop(&dropMachines{ids: ids[:n]}, "dropped machines that have not been heard of for long", n)
		ids = ids[n:]
	}
}

// few says whether one step is enough for all.
func (e *Engine) few() bool {
	v := e.View()
	return v.bouncers.order.Len() <= surveyStep && v.machines.bySerial.Len() <= surveyStep
}
