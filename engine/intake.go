package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// AddAlerts is the way in of every alert, whatever reports it: clean, leave out
// what is allowlisted, let the rules judge, propose. All of them are stored in
// one commit, or none. It returns the ids of those that were stored, in order;
// an alert that was dropped (allowlisted, or without one usable decision)
// leaves no gap. It returns after the commit is durable and visible; the log says
// at info what was stored (alert_log.go).
//
// The alerts belong to the engine from here on. Errors: ErrInvalid for a
// duration that cannot be read, ErrProfile, ErrBusy, ErrDisk, ErrClosed.
func (e *Engine) AddAlerts(ctx context.Context, machine string, alerts []*Alert, now int64) ([]AlertID, error) {
	return e.AddChosenAlerts(ctx, machine, alerts, nil, now)
}

// AddChosenAlerts is AddAlerts for decisions that the caller has chosen by the allowlists of a
// view: they are stored only while there are no others, else nothing is and the error is an
// ErrChanged. With nil they were chosen by none.
func (e *Engine) AddChosenAlerts(ctx context.Context, machine string, alerts []*Alert, by *View, now int64) ([]AlertID, error) {
	if machine != "" {
		ctx = orElse(ctx, Actor{ActorMachine, machine})
	}
	o := &addAlerts{pace: e.pace, machine: machine, at: now, alerts: make([]incoming, 0, len(alerts))}
	view := e.View()
	for _, a := range alerts {
		a.MachineID, a.CreatedAt = machine, now
		if _, err := rand.Read(a.UUID[:]); err != nil {
			return nil, fmt.Errorf("making a uuid: %w", err)
		}
		a.UUID[6], a.UUID[8] = a.UUID[6]&0x0f|0x40, a.UUID[8]&0x3f|0x80
		in, keep, err := e.intake(a, view, now)
		if err != nil {
			return nil, err
		}
		if keep {
			o.alerts = append(o.alerts, in)
		}
	}
	if len(o.alerts) == 0 {
		return nil, nil
	}
	p := &proposal{op: o, ahead: true}
	p.resolve = func(v *View) (op, error) {
		if by != nil && !v.SameAllowlists(by) {
			return nil, &Error{Kind: ErrChanged, Text: "allowlists change all the time: try again"}
		}
		if v.allowlists != view.allowlists && e.recheck(o, v) {
			p.bytes = nil // to be written anew
		}
		if len(o.alerts) == 0 {
			return nil, nil
		}
		return o, nil
	}
	if err := e.propose(ctx, p); err != nil {
		return nil, err
	}
	if p.known {
		return o.ids, nil
	}
	e.logAlerts(o)
	return o.ids, nil
}

// recheck drops what came to be allowlisted while it was on its way, and
// reports whether anything was: an allowlist ends what it overlaps, so nothing
// may slip in behind it.
func (e *Engine) recheck(o *addAlerts, v *View) bool {
	before := len(o.alerts)
	o.alerts = slices.DeleteFunc(o.alerts, func(in incoming) bool {
		return in.judged != nil && e.allowlisted(in.judged, v, o.at)
	})
	return len(o.alerts) != before
}

// intake makes one alert ready to be stored; keep is false when it is dropped.
func (e *Engine) intake(a *Alert, view *View, now int64) (in incoming, keep bool, err error) {
	a.clean()
	own := len(a.Decisions) > 0
	if !own && e.allowlisted(a, view, now) {
		return in, false, nil
	}
	if !own {
		in.judged = a
	}
	decisions := a.Decisions
	if profiles := e.profiles.Load(); profiles != nil {
		verdict, err := (*profiles).Evaluate(a, view, now)
		if err != nil {
			return in, false, err
		}
		if !own {
			decisions = verdict.Decisions
		}
		in.notify = verdict.notices()
	}
	var lost cuts
	in.plans, err = a.plans(decisions, &lost, e.pace)
	if err != nil {
		return in, false, err
	}
	if unreadable := len(decisions) - len(in.plans) - lost.decisions; unreadable > 0 {
		e.logDiscarded(a, decisions, unreadable)
	}
	in.lines = e.alertLinesOf(a, decisions)
	// Rules have seen the alert as it came, what is stored is bounded.
	if a.bound(&lost); lost.any() {
		e.bounded.alert(e, a, &lost)
	}
	if len(decisions) > 0 && len(in.plans) == 0 {
		return in, false, nil
	}
	in.scenario, in.startAt, in.simulated, in.batch = a.Scenario, a.StartAt.At, a.Simulated, a.Batch
	in.community = len(in.plans) == 0 && communityScope(a.Source.Scope)
	for i := range in.plans {
		in.community = in.community || in.plans[i].origin == OriginCAPI || in.plans[i].origin == OriginLists
	}
	body := drafts.Get().(*[]byte)
	*body = a.appendBody((*body)[:0])
	in.body = slices.Clone(*body)
	putDraft(body)
	return in, true, nil
}

// clean respells scopes, and takes out what no answer can say.
func (a *Alert) clean() {
	a.Source.Latitude, a.Source.Longitude = degrees(a.Source.Latitude), degrees(a.Source.Longitude)
	a.Source.Scope = CanonicalScope(a.Source.Scope)
	for i := range a.Decisions {
		a.Decisions[i].Scope = CanonicalScope(a.Decisions[i].Scope)
	}
}

// allowlisted reports whether an alert must be dropped because its source is
// never to be banned. A source that cannot be read is not allowlisted.
func (e *Engine) allowlisted(a *Alert, view *View, now int64) bool {
	matches := a.sparedBy(view, now)
	if len(matches) == 0 {
		return false
	}
	for _, m := range matches {
		e.spared.note(m, now)
	}
	if e.alertLog.may(now, 1, 0) {
		e.log.Info(fmt.Sprintf("alert source %s is allowlisted by %s, skipping", a.Source.Value, matches[0].Reason()),
			"scenario", a.Scenario, "machine", a.MachineID)
	}
	return true
}

// sparedBy are the items of allowlists that keep an alert without decisions of its own away. A source that
// cannot be read has none.
func (a *Alert) sparedBy(view *View, now int64) []AllowlistMatch {
	if a.Source.Scope != ScopeIP && a.Source.Scope != ScopeRange {
		return nil
	}
	target, ok := parseTarget(a.Source.Value)
	if !ok {
		return nil
	}
	return view.Allowlisted(nil, target, now)
}

// plans makes plans of decisions. Those that must name an address and do not are
// left out, and so are those whose value is too long to be stored.
func (a *Alert) plans(decisions []NewDecision, lost *cuts, pace pace) ([]plan, error) {
	plans := make([]plan, 0, len(decisions))
	var last string // imports repeat themselves
	var length time.Duration
	for i := range decisions {
		pace.step(i)
		d := decisions[i] // rules keep theirs
		if !d.bound(lost) {
			continue
		}
		if last == "" || d.Duration != last {
			var err error
			if length, err = ParseDuration(d.Duration); err != nil {
				return nil, a.badDuration(d.Duration, err)
			}
			last = d.Duration
		}
		var target netip.Prefix
		if HoldsAddress(d.Scope) {
			var ok bool
			if target, ok = parseTarget(d.Value); !ok {
				continue
			}
		}
		p := makePlan(d.Scope, d.Value, target)
		p.until = Later(a.StopAt.At, length)
		p.kind, p.origin, p.scenario = d.Type, d.Origin, d.Scenario
		plans = append(plans, p)
	}
	return plans, nil
}

func (a *Alert) badDuration(text string, cause error) error {
	return &Error{Kind: ErrInvalid, Cause: cause, Text: fmt.Sprintf(
		"machine %q: building decisions for alert %s: creating alert decisions: decision duration '%s': %s: unable to parse duration",
		a.MachineID, a.UUID.String(), text, cause)}
}
