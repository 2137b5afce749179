package profile

import (
	"fmt"
	"log/slog"
	"time"

	"lapid/engine"
)

// The engine knows of rules only this.
var _ engine.Profiles = (*Set)(nil)

// Evaluate judges one alert: it implements engine.Profiles. now is the moment
// of judging in Unix nanoseconds, which rules see as the present. The alert is
// read, never changed or kept. v answers how many decisions an address had;
// nil stands for no history at all.
//
// The error wraps engine.ErrProfile; its text names the filter and the cause,
// and the filter has been logged. The verdict is then empty.
func (s *Set) Evaluate(a *engine.Alert, v *engine.View, now int64) (engine.Verdict, error) {
	e := s.idle.Get().(*evaluation)
	e.begin(a, v, now)
	verdict, err := e.judge()
	e.end()
	s.idle.Put(e)
	return verdict, err
}

// judge walks the profiles. The first profile that gives decisions decides;
// later ones add notifications only. An alert that brought its own is judged
// for notifications.
func (e *evaluation) judge() (engine.Verdict, error) {
	var verdict engine.Verdict
	brought := len(e.alert.Decisions) > 0
	for i := range e.set.profiles {
		p := &e.set.profiles[i]
		e.profile = p
		e.trace.reached(i)
		trues, err := e.match(p)
		matched, stop := trues > 0, p.breaks
		if err != nil {
			trues = 0
			if brought {
				continue
			}
			switch e.reaction(p) {
			case unsaid:
				return engine.Verdict{}, &engine.Error{Kind: engine.ErrProfile, Text: err.Error(), Cause: err}
			case apply:
				matched = true
			case halt:
				stop = true
			}
		}
		if !matched {
			continue
		}
		decides := !brought && len(verdict.Decisions) == 0
		if decides {
			verdict.Decisions = e.decide(p, trues)
			e.facts.decided(verdict.Decisions, e.set.needs)
		}
		e.trace.matched(p, decides && len(verdict.Decisions) > 0, stop)
		if verdict.Notify = append(verdict.Notify, p.notify...); !brought && len(verdict.Decisions) == 0 {
			verdict.Undecided = len(verdict.Notify)
		}
		e.notSending(p)
		if stop {
			break
		}
	}
	return verdict, nil
}

// notSending says of each notification of p, once in the life of a set, that it
// was due and was not sent.
func (e *evaluation) notSending(p *profile) {
	for _, u := range p.unsent {
		if !u.told.Load() && u.told.CompareAndSwap(false, true) {
			e.log(slog.LevelWarn, "a notification was due and was not sent, for it is not configured; this is said once for each",
				"notification", clip(u.name))
		}
	}
}

// match counts the true filters; none is skipped once one is true, for each adds its
// decisions. It stops at the first that fails and says so in the log.
func (e *evaluation) match(p *profile) (trues int, err error) {
	for i, x := range p.filters {
		ok, err := e.test(x)
		e.trace.filter(e, i, x, ok, err)
		if err != nil {
			e.complain(p, x, err)
			return trues, err
		}
		if p.spec.Debug {
			e.debug(x, ok)
		}
		if ok {
			trues++
		}
	}
	return trues, nil
}

// test runs one filter. Anything but a boolean is an error.
func (e *evaluation) test(x *expression) (bool, error) {
	out, err := e.run(x)
	if err != nil {
		return false, fmt.Errorf("while running expression %s: %w", x.text, err)
	}
	ok, is := out.(bool)
	if !is {
		return false, fmt.Errorf("unexpected type %s (%s) while running '%s'", clip(fmt.Sprintf("%t", out)), clip(fmt.Sprint(out)), x.text)
	}
	return ok, nil
}

// reaction is what p does about a failing filter.
func (e *evaluation) reaction(p *profile) reaction {
	if p.onError == unsaid && e.set.options.KeepGoing {
		return proceed
	}
	return p.onError
}

// decide fills in the templates, the whole list once per true filter. That
// is the contract's own arithmetic: two true filters, two equal decisions.
func (e *evaluation) decide(p *profile, trues int) []engine.NewDecision {
	if trues == 0 || len(p.orders) == 0 {
		return nil
	}
	list := make([]engine.NewDecision, 0, trues*len(p.orders))
	for range trues {
		for i := range p.orders {
			o := &p.orders[i]
			scope := o.scope
			if scope == "" {
				scope = e.alert.Source.Scope
			}
			list = append(list, engine.NewDecision{
				Duration: e.lasting(p, o),
				Origin:   o.origin,
				Scenario: e.alert.Scenario,
				Scope:    scope,
				Type:     o.kind,
				Value:    e.alert.Source.Value,
			})
		}
	}
	return list
}

// lasting gives the duration of a decision: what duration_expr says, if that
// is a duration, else what the template says. It cannot fail: what is wrong
// with the expression is in the log.
func (e *evaluation) lasting(p *profile, o *order) string {
	if p.duration == nil {
		return o.duration
	}
	out, err := e.run(p.duration)
	if err != nil {
		e.trace.lasted(e, p.duration, o.duration, err)
		e.log(slog.LevelWarn, "Failed to run duration_expr : "+err.Error(), "duration", o.duration)
		return o.duration
	}
	text := fmt.Sprint(out)
	if d, is := out.(time.Duration); is {
		text = d.String()
	}
	if _, err := engine.ParseDuration(text); err != nil {
		e.trace.lasted(e, p.duration, o.duration, fmt.Errorf("%s is no duration: %w", clip(text), err))
		e.log(slog.LevelWarn, "Failed to parse expr duration result", "result", clip(text), "error", clip(err.Error()), "duration", o.duration)
		return o.duration
	}
	e.trace.lasted(e, p.duration, text, nil)
	return text
}
