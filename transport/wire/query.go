package wire

import (
	"fmt"
	"strconv"
	"strings"

	"lapid/engine"
)

// ParseQuery reads the query string of GET /v1/decisions into q. Parameters it
// does not know are ignored; the first of two equal ones counts.
//
// q is reset before, only Now is kept. Its strings may point into raw. An error
// is of KindFilter; q is then good for nothing but another Parse.
func ParseQuery(q *engine.Query, raw []byte) error {
	start(q)
	q.Entries = true
	d := decisionForm{q: q, form: form{rest: raw}}
	for d.next() {
		if err := d.read(d.common()); err != nil {
			return err
		}
	}
	return nil
}

// ParseStreamQuery reads the query string of GET /v1/decisions/stream into q,
// as ParseQuery does, with startup and dedup, and scopes ip and range where
// none are named. limit and id_gt are not looked at; offset must be a number
// but has no effect, for a cursor moves past what it would leave out.
func ParseStreamQuery(q *engine.Query, raw []byte) error {
	start(q)
	q.Dedup, q.Entries = true, true
	d := decisionForm{q: q, form: form{rest: raw}}
	for d.next() {
		p := d.stream()
		if err := d.read(p); err != nil {
			return err
		}
	}
	q.Limit, q.Offset = -1, 0
	if !q.Scopes.Given {
		q.Scopes.Given = true
		q.Scopes.List = append(q.Scopes.List, engine.ScopeIP, engine.ScopeRange)
	}
	return nil
}

// ParseDeletion reads the query string of DELETE /v1/decisions into q, as
// ParseQuery does, with the deletion's own parameters: any other is an error of
// KindFilter. Simulated decisions are asked for too.
func ParseDeletion(q *engine.Query, raw []byte) error {
	start(q)
	q.Simulated = true
	d := decisionForm{q: q, form: form{rest: raw}}
	for d.next() {
		p := d.deletion()
		if p == paramUnknown {
			return filterError("'%s' doesn't exist: invalid filter", d.name)
		}
		if err := d.read(p); err != nil {
			return err
		}
	}
	return nil
}

// start empties a query but for the moment it was asked.
func start(q *engine.Query) {
	now := q.Now
	q.Reset()
	q.Now = now
}

// param is one parameter of a question about decisions.
type param uint32

const (
	paramUnknown param = iota
	paramIP
	paramRange
	paramContains
	paramScope
	paramScopes
	paramExactScopes
	paramValue
	paramType
	paramOrigins
	paramOrigin
	paramScenario
	paramContaining
	paramNotContaining
	paramSimulated
	paramLimit
	paramOffset
	paramAfterID
	paramStartup
	paramDedup
	paramUUID
)

// decisionForm fills a query from a query string. It stands on the stack, as
// the hot path asks for.
type decisionForm struct {
	form
	q    *engine.Query
	seen param // one bit for each parameter that has its value
}

// common names the current parameter as the live query does. Names are
// compared with regard to case; a switch on constants needs no table.
func (d *decisionForm) common() param {
	switch string(d.name) {
	case "ip":
		return paramIP
	case "range":
		return paramRange
	case "contains":
		return paramContains
	case "scope":
		return paramScope
	case "scopes":
		return paramScopes
	case "value":
		return paramValue
	case "type":
		return paramType
	case "origins":
		return paramOrigins
	case "scenarios_containing":
		return paramContaining
	case "scenarios_not_containing":
		return paramNotContaining
	case "simulated":
		return paramSimulated
	case "limit":
		return paramLimit
	case "offset":
		return paramOffset
	case "id_gt":
		return paramAfterID
	}
	return paramUnknown
}

// stream names the current parameter as the stream does.
func (d *decisionForm) stream() param {
	switch string(d.name) {
	case "startup":
		return paramStartup
	case "dedup":
		return paramDedup
	}
	p := d.common()
	if p == paramLimit || p == paramAfterID {
		return paramUnknown
	}
	return p
}

// deletion names the current parameter as DELETE does.
func (d *decisionForm) deletion() param {
	switch string(d.name) {
	case "scopes":
		return paramExactScopes
	case "origin":
		return paramOrigin
	case "scenario":
		return paramScenario
	case "uuid":
		return paramUUID
	}
	switch p := d.common(); p {
	case paramIP, paramRange, paramContains, paramValue, paramType:
		return p
	}
	return paramUnknown
}

// read takes the value of a parameter unless it already has one.
func (d *decisionForm) read(p param) error {
	if p == paramUnknown {
		return nil
	}
	if bit := param(1) << p; d.seen&bit == 0 {
		d.seen |= bit
	} else if p != paramUUID { // the only one that may be repeated
		return nil
	}
	switch p {
	case paramIP, paramRange:
		return d.address()
	case paramContains:
		return contains(&d.q.Inside, d.value())
	case paramLimit, paramOffset, paramAfterID:
		return d.number(p)
	}
	d.words(p, borrow(d.value()))
	return nil
}

// words takes the value of a parameter that every text is good for.
func (d *decisionForm) words(p param, v string) {
	q := d.q
	switch p {
	case paramScope:
		split(&q.Scope, v, true)
	case paramScopes:
		split(&q.Scopes, v, true)
	case paramExactScopes:
		single(&q.Scopes, v)
	case paramValue:
		q.Value = engine.Word{Given: true, Text: v}
	case paramType:
		q.Type = engine.Word{Given: true, Text: v}
	case paramOrigins:
		split(&q.Origins, v, false)
	case paramOrigin:
		q.Origin = engine.Word{Given: true, Text: v}
	case paramScenario:
		q.Scenario = engine.Word{Given: true, Text: v}
	case paramContaining:
		split(&q.Containing, v, false)
	case paramNotContaining:
		split(&q.NotContaining, v, false)
	case paramUUID:
		single(&q.UUIDs, v)
	case paramSimulated:
		q.Simulated = v != "false"
	case paramStartup:
		q.Startup = v == "true"
	case paramDedup:
		q.Dedup = v != "false"
	}
}

// address takes ip or range, which mean the same; of two different ones the
// first that came counts.
func (d *decisionForm) address() error {
	p, err := d.target()
	if err != nil {
		return filterError("unable to convert '%s' to int: %s: invalid ip address / range", d.value(), err)
	}
	if !d.q.Address.IsValid() {
		d.q.Address = p
	}
	return nil
}

// number takes limit, offset or id_gt. A limit below zero is no limit.
func (d *decisionForm) number(p param) error {
	n, err := strconv.Atoi(borrow(d.value()))
	if err != nil {
		return filterError("invalid %s value: %s: invalid filter", d.name, err)
	}
	switch p {
	case paramLimit:
		d.q.Limit = max(n, -1)
	case paramOffset:
		d.q.Offset = max(n, 0)
	case paramAfterID:
		d.q.AfterID, d.q.HasAfterID = engine.DecisionID(max(n, 0)), true
	}
	return nil
}

// contains takes the parameter of that name: false asks for what lies inside.
func contains(inside *bool, value []byte) error {
	yes, err := strconv.ParseBool(borrow(value))
	if err != nil {
		return filterError("invalid contains value: %s: invalid filter", err)
	}
	*inside = !yes
	return nil
}

// split takes a comma list; an empty text is a list of one empty word.
func split(w *engine.Words, v string, scopes bool) {
	w.Given = true
	for more := true; more; {
		var word string
		word, v, more = strings.Cut(v, ",")
		if scopes {
			word = engine.CanonicalScope(word)
		}
		w.List = append(w.List, word)
	}
}

// single adds a text as it is, commas included.
func single(w *engine.Words, v string) {
	w.Given = true
	w.List = append(w.List, v)
}

// filterError is the error about a filter. It repeats what the client wrote, as the
// contract does.
func filterError(format string, args ...any) error {
	return &Error{Kind: KindFilter, Text: fmt.Sprintf(format, args...)}
}
