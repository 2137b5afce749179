package wire

import (
	"strconv"
	"strings"

	"lapid/engine"
)

// defaultAlertLimit is how many alerts a search gives that names no limit.
const defaultAlertLimit = 100

// ParseAlertQuery reads the query string of GET /v1/alerts into q. A parameter
// it does not know is an error, the first of two equal ones counts.
//
// All of q but Now is overwritten. Its strings may point into raw. An error is
// of KindFilter, or KindSyntax for a negative limit.
func ParseAlertQuery(q *engine.AlertQuery, raw []byte) error {
	return parseAlertForm(q, raw, false)
}

// ParseAlertDeletion is ParseAlertQuery for DELETE /v1/alerts: limit and sort
// are not looked at, q asks for all alerts that match.
func ParseAlertDeletion(q *engine.AlertQuery, raw []byte) error {
	return parseAlertForm(q, raw, true)
}

// parseAlertForm is both: what differs is which parameters count.
func parseAlertForm(q *engine.AlertQuery, raw []byte, deletion bool) error {
	*q = engine.AlertQuery{Now: q.Now}
	if !deletion {
		q.Limit = defaultAlertLimit
	}
	a := alertForm{q: q, form: form{rest: raw}, deletion: deletion}
	for a.next() {
		p := alertParams.find(a.name, int(a.last)+1)
		if p < 0 {
			return filterError("filter parameter '%s' is unknown (=%s): invalid filter", a.name, a.value())
		}
		a.last = alertParam(p)
		if bit := uint32(1) << p; a.seen&bit == 0 {
			a.seen |= bit
			if err := a.read(a.last); err != nil {
				return err
			}
		}
	}
	if q.Origin.Given {
		q.HideCommunity = false
	}
	return nil
}

// alertParam is one parameter of a question about alerts.
type alertParam uint8

const (
	alertContains alertParam = iota
	alertCreatedBefore
	alertDecisionType
	alertHasActive
	alertIncludeCAPI
	alertIP
	alertKind
	alertLimit
	alertOrigin
	alertRange
	alertScenario
	alertScope
	alertSimulated
	alertSince
	alertSort
	alertUntil
	alertValue
	alertWithDecisions
)

// alertParams are the spellings of alertParam. Unlike the names in bodies they
// are matched with regard to case.
var alertParams = words{
	"contains", "created_before", "decision_type", "has_active_decision", "include_capi", "ip", "kind", "limit",
	"origin", "range", "scenario", "scope", "simulated", "since", "sort", "until", "value", "with_decisions",
}

// alertForm fills an alert query from a query string. It stands on the
// stack: a question costs no memory but what has to be decoded.
type alertForm struct {
	form
	q        *engine.AlertQuery
	last     alertParam
	seen     uint32 // one bit for each parameter that has its value
	deletion bool
}

// read takes the value of a parameter that is seen for the first time.
func (a *alertForm) read(p alertParam) (err error) {
	q, v := a.q, borrow(a.value())
	word := engine.Word{Given: true, Text: v}
	switch p {
	case alertContains:
		return contains(&q.Inside, a.value())
	case alertIP, alertRange:
		return a.address()
	case alertHasActive:
		return a.activity(v)
	case alertSince:
		q.StartFrom, err = a.ago(v)
	case alertUntil:
		q.StartUpTo, err = a.ago(v)
	case alertCreatedBefore:
		q.CreatedUpTo, err = a.ago(v)
	case alertLimit:
		return a.limit(v)
	case alertSort:
		q.Ascending = v == "ASC" && !a.deletion
	case alertSimulated:
		q.HideSimulated = v == "false"
	case alertIncludeCAPI:
		q.HideCommunity = v == "false"
	case alertWithDecisions:
		q.WithoutDecisions = v == "false"
	case alertScope:
		q.Scope = engine.Word{Given: true, Text: addressScope(v)}
	case alertValue:
		q.Value = word
	case alertScenario:
		q.Scenario = word
	case alertDecisionType:
		q.DecisionType = word
	case alertOrigin:
		q.Origin = word
	case alertKind:
		q.Kind = word
	}
	return err
}

// addressScope respells ip and range; unlike elsewhere, as and country are
// left as they are.
func addressScope(v string) string {
	switch {
	case strings.EqualFold(v, engine.ScopeIP):
		return engine.ScopeIP
	case strings.EqualFold(v, engine.ScopeRange):
		return engine.ScopeRange
	}
	return v
}

// address takes ip or range, whichever comes first.
func (a *alertForm) address() error {
	p, err := a.target()
	if err != nil {
		return filterError("%s", err)
	}
	if !a.q.Address.IsValid() {
		a.q.Address = p
	}
	return nil
}

// activity takes has_active_decision: false asks for alerts without any decision, not
// for those whose decisions are over.
func (a *alertForm) activity(v string) error {
	yes, err := strconv.ParseBool(v)
	if err != nil {
		return filterError("'%s' is not a boolean: %s: unable to parse type", v, err)
	}
	a.q.Activity = engine.HasNone
	if yes {
		a.q.Activity = engine.HasRunning
	}
	return nil
}

// limit reads a number of alerts. The reference has no answer for one below
// zero; it is refused like any number that is not one.
func (a *alertForm) limit(v string) error {
	if a.deletion {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		bad := filterError("bad limit in parameters: [%s]: unable to query", v).(*Error)
		if err == nil {
			bad.Kind = KindSyntax
		}
		return bad
	}
	a.q.Limit = n
	return nil
}

// ago is the moment that lies a duration before the question. It is never 0,
// which in a query is no moment at all.
func (a *alertForm) ago(v string) (int64, error) {
	d, err := engine.ParseAge(v)
	if err != nil {
		return 0, filterError("while parsing duration: %s", err)
	}
	at := engine.Later(a.q.Now, -d)
	if at == 0 {
		at = 1
	}
	return at, nil
}
