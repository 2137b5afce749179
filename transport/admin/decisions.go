package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"lapid/engine"
)

// NewDecision asks for one decision of the operator's own. Duration is in
// the grammar of the engine or "forever"; a scope is respelled.
type NewDecision struct {
	Machine  string // named as the sender of the alert, if it exists
	Scope    string
	Value    string
	Type     string
	Duration string
	Reason   string
	Bypass   bool // add it although the value is allowlisted
	Dry      bool // store nothing, only say what would come of it
}

// DecisionFilter asks which running decisions to end. The zero filter is all
// of them.
type DecisionFilter struct {
	Dry      bool   // end nothing, only say what would end
	ID       uint64 // 0: by the fields below
	Address  string
	Inside   bool // decisions inside Address, instead of those that contain it
	Type     *string
	Value    *string
	Scenario *string
	Origin   *string
	Batch    string // "": any; what an import stored
	List     string // "": any; named list that imports set

	Listed *Listed `json:",omitempty"` // what a list has, in place of all others
}

// Narrows reports whether the filter says less than all decisions, its number aside.
func (q *DecisionFilter) Narrows() bool {
	return q.Address != "" || q.Type != nil || q.Value != nil || q.Scenario != nil || q.Origin != nil || q.Batch != "" || q.List != ""
}

// ShownEnded is how many of the decisions that ended are told one by one.
const ShownEnded = 10

// Ended says which decisions ended, or would.
type Ended struct {
	N     int
	First []Decision      // the first of them, at most ShownEnded, as they were before
	At    engine.Revision `json:",omitempty"` // by which it is taken back (DecisionRestoration); 0: none has ended

	Listing *Listing `json:",omitempty"` // of Listed
}

// addDecision stores one decision as an alert of its own, as the reference's command
// line does. Everything is judged here, whatever the client: the verb's own checks
// only make for better sentences.
func (h *Handler) addDecision(ctx context.Context, q *NewDecision) (done *Imported, err error) {
	for range choices {
		if done, err = h.addDecisionOnce(ctx, q); !errors.Is(err, engine.ErrChanged) {
			break
		}
	}
	return done, err
}

// addDecisionOnce is addDecision, with an ErrChanged when allowlists have changed on the way.
func (h *Handler) addDecisionOnce(ctx context.Context, q *NewDecision) (*Imported, error) {
	now, view := h.engine.Now(), h.engine.View()
	scope := engine.CanonicalScope(q.Scope)
	warning, err := protected(view, q, scope, now)
	if err != nil {
		return nil, err
	}
	duration, err := decisionDuration(q.Duration)
	if err != nil {
		return nil, err
	}
	if err := usableWords(scope, q.Type, q.Value); err != nil {
		return nil, err
	}
	d := engine.NewDecision{
		Duration: duration, Origin: engine.OriginManual, Scenario: q.Reason, Scope: scope, Type: q.Type, Value: q.Value,
	}
	if err := d.Fits(); err != nil {
		return nil, err
	}
	if q.Dry {
		look := newForesight(view, now)
		look.see(&d, false)
		return &Imported{Stored: 1, Outlook: look.done()}, nil
	}
	a := operatorsAlert(view, q.Machine, now)
	a.Scenario, a.Message, a.Leakspeed, a.EventsCount, a.Remediation = q.Reason, q.Reason, "0", 1, true
	a.Source = engine.Source{Scope: scope, Value: q.Value, IP: q.Value}
	a.Decisions = []engine.NewDecision{d}
	by := view
	if q.Bypass {
		by = nil
	}
	ids, err := h.engine.AddChosenAlerts(ctx, a.MachineID, []*engine.Alert{a}, by, now)
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "added a decision", "decision", fmt.Sprintf("%s %s on %s %.100s", duration, q.Type, scope, q.Value), "reason", q.Reason)
	return &Imported{Stored: len(ids), Warning: warning}, nil
}

// protected is the refusal of a decision on what is allowlisted, or, where that was to be
// bypassed, the warning that bouncers will not be told.
func protected(view *engine.View, q *NewDecision, scope engine.Scope, now int64) (warning string, err error) {
	if !engine.HoldsAddress(scope) {
		return "", nil
	}
	p, err := engine.ParseTarget(q.Value)
	if err != nil {
		return "", err
	}
	m := view.Allowlisted(nil, p, now)
	switch {
	case len(m) == 0:
		return "", nil
	case !q.Bypass:
		return "", &engine.Error{Kind: engine.ErrRefused, Noun: engine.NounAllowlist, Text: fmt.Sprintf(
			"%s is allowlisted by item %s", q.Value, reasons(m))}
	case !view.AllowlistsWin():
		return "", nil
	}
	const shown = 3
	more := ""
	if len(m) > shown {
		more = fmt.Sprintf(" and %d more", len(m)-shown)
	}
	return fmt.Sprintf("allowlist_wins is on: what is allowlisted of %s stays free for bouncers, by item %s%s", q.Value, reasons(m[:min(len(m), shown)]), more), nil
}

// operatorsAlert is an alert that carries an operator's decisions. It is
// signed with the machine's name only if there is such a machine.
func operatorsAlert(view *engine.View, machine string, now int64) *engine.Alert {
	a := &engine.Alert{Kind: "cscli", StartAt: engine.Stamp{At: now}, StopAt: engine.Stamp{At: now}}
	if machine != "" && view.Machine(machine) != nil {
		a.MachineID = machine
	}
	return a
}

// reasons joins what the items say.
func reasons(ms []engine.AllowlistMatch) string {
	text := ""
	for i, m := range ms {
		if i > 0 {
			text += ", "
		}
		text += m.Reason()
	}
	return text
}

// deleteDecisions ends what matches in one commit. What is told by name is what
// matched a moment before, at most ShownEnded of it; N is what ended.
func (h *Handler) deleteDecisions(ctx context.Context, q *DecisionFilter) (*Ended, error) {
	now, view := h.engine.Now(), h.engine.View()
	if q.ID != 0 {
		return h.deleteDecision(ctx, view, q, now)
	}
	if q.Listed != nil {
		return h.endListed(ctx, view, q, now)
	}
	query, err := q.query(view, now)
	if err != nil {
		return nil, err
	}
	found, _ := view.Select(query, func(int64) bool { return true })
	out := &Ended{N: found.Len()}
	for i := range min(found.Len(), ShownEnded) {
		out.First = append(out.First, decisionOf(found.At(i), now))
	}
	if q.Dry {
		return out, nil
	}
	if out.N, out.At, err = h.engine.EndDecisionsAt(ctx, query); err != nil {
		return out, err
	}
	if out.N == 0 {
		return out, nil
	}
	h.logChange(ctx, "deleted decisions", "decisions", out.N, "asked", q.asked(), "first", firstOf(out))
	return out, nil
}

// query asks for what a filter without a number finds.
func (q *DecisionFilter) query(view *engine.View, now int64) (*engine.Query, error) {
	if err := q.batchThere(view); err != nil {
		return nil, err
	}
	query := &engine.Query{
		Now: now, Batch: batchOf(q.Batch, q.List), Inside: q.Inside, Type: word(q.Type), Value: word(q.Value), Scenario: word(q.Scenario),
		Origin: word(q.Origin), Simulated: true, Limit: -1,
	}
	if q.Address != "" {
		p, err := engine.ParseTarget(q.Address)
		if err != nil {
			return nil, err
		}
		query.Address = p
	}
	return query, nil
}

// deleteDecision ends one by its number; none, when it is over already. ErrNotFound when it
// is not there.
func (h *Handler) deleteDecision(ctx context.Context, view *engine.View, q *DecisionFilter, now int64) (*Ended, error) {
	out := &Ended{N: 1}
	d, ok := view.Decision(engine.DecisionID(q.ID))
	if ok {
		out.First = []Decision{decisionOf(d, now)}
	}
	if ok && !d.Running(now) {
		return &Ended{}, nil
	}
	if q.Dry && !ok {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounDecision, Name: strconv.FormatUint(q.ID, 10)}
	}
	if q.Dry {
		return out, nil
	}
	if err := h.engine.EndDecision(ctx, engine.DecisionID(q.ID), now); err != nil {
		return nil, err
	}
	if d, ok := h.engine.View().Decision(engine.DecisionID(q.ID)); ok {
		out.At = d.EndedAt()
	}
	h.logChange(ctx, "deleted decisions", "decisions", 1, "asked", q.asked(), "first", firstOf(out))
	return out, nil
}

// firstOf is the first of what ended, for the log.
func firstOf(out *Ended) string {
	if len(out.First) == 0 {
		return ""
	}
	return out.First[0].named()
}

// named is a decision in a line of the log.
func (d *Decision) named() string {
	return fmt.Sprintf("%.100s on %.100s %.100s", d.Type, d.Scope, d.Value)
}
