package wire

import (
	"strconv"

	"lapid/engine"
)

// Fields of a source.
const (
	sourceAsName = iota
	sourceAsNumber
	sourceCn
	sourceIP
	sourceLatitude
	sourceLongitude
	sourceRange
	sourceScope
	sourceValue
)

// Names that are the same but for case are one field, as everywhere in bodies.
var sourceFields = newFields("Source",
	"as_name", "as_number", "cn", "ip", "latitude", "longitude", "range", "scope", "value",
)

// A source with neither would be about nothing.
const sourceRequired = 1<<sourceScope | 1<<sourceValue

// source reads the field of an alert that says what it is about. A second one
// adds to the first, null takes it back.
func (p *alertParser) source(a *engine.Alert, o, s *object) {
	if p.null() {
		a.Source, *s = engine.Source{}, newObject(&sourceFields)
		o.note(false)
		return
	}
	o.note(true)
	for p.open('{', "models.Source"); p.fieldOf(s); {
		switch s.at {
		case sourceScope:
			s.note(p.scope(&a.Source.Scope))
		case sourceValue:
			s.note(p.optionalString(&a.Source.Value))
		case sourceAsName:
			p.optionalString(&a.Source.AsName)
		case sourceAsNumber:
			p.optionalString(&a.Source.AsNumber)
		case sourceCn:
			p.optionalString(&a.Source.Cn)
		case sourceIP:
			p.optionalString(&a.Source.IP)
		case sourceLatitude:
			p.optionalFloat32(&a.Source.Latitude)
		case sourceLongitude:
			p.optionalFloat32(&a.Source.Longitude)
		case sourceRange:
			p.optionalString(&a.Source.Range)
		default:
			p.skip()
		}
	}
}

// Fields of a decision.
const (
	decisionDuration = iota
	decisionID
	decisionOrigin
	decisionScenario
	decisionScope
	decisionSimulated
	decisionType
	decisionUntil
	decisionUUID
	decisionValue
)

// They stand in the order in which missing ones are listed, which is the alphabet's.
var decisionFields = newFields("Decision",
	"duration", "id", "origin", "scenario", "scope", "simulated", "type", "until", "uuid", "value",
)

// What the server can fill in is not among them.
const decisionRequired = 1<<decisionDuration | 1<<decisionOrigin | 1<<decisionScenario |
	1<<decisionScope | 1<<decisionType | 1<<decisionValue

// decisions reads the decisions an alert brings along and gives the list of
// what is missing in the first bad one.
func (p *alertParser) decisions(a *engine.Alert) (missing string) {
	a.Decisions = nil
	if p.null() {
		return ""
	}
	list, i := a.Decisions, 0
	for p.open('[', "[]models.Decision"); p.more(']'); i++ {
		p.step()
		n := len(list)
		if list = grown(list, p.rest(), smallestDecision)[:n+1]; n > 0 {
			list[n] = list[n-1] // its words are likely to be the same
		}
		seen := p.decision(&list[n])
		switch {
		case p.err != nil || missing != "":
			list = list[:n]
		case !seen.has(decisionRequired):
			list = list[:n]
			path := strconv.Itoa(p.index) + ".decisions." + strconv.Itoa(i) + "."
			missing = seen.missing(path, decisionRequired)
		}
	}
	if len(list) > 0 {
		a.Decisions = list
	}
	return missing
}

// decision reads one decision. Texts that d holds already are shared. What
// the server gives out itself, id, until and uuid, must have the right type
// and is dropped.
func (p *alertParser) decision(d *engine.NewDecision) object {
	o := newObject(&decisionFields)
	for p.open('{', "models.Decision"); p.fieldOf(&o); {
		switch o.at {
		case decisionDuration:
			o.note(p.optionalString(&d.Duration))
		case decisionOrigin:
			o.note(p.optionalString(&d.Origin))
		case decisionScenario:
			o.note(p.optionalString(&d.Scenario))
		case decisionScope:
			o.note(p.scope(&d.Scope))
		case decisionSimulated:
			var simulated bool
			p.optionalBool(&simulated)
		case decisionType:
			o.note(p.optionalString(&d.Type))
		case decisionValue:
			o.note(p.optionalString(&d.Value))
		case decisionID:
			p.ignoredInt()
		case decisionUntil, decisionUUID:
			p.ignoredString()
		default:
			p.skip()
		}
	}
	return o
}

// scope reads a scope, or null, and respells it. The text it gives is its
// own, not the body's.
func (p *alertParser) scope(dst *engine.Scope) bool {
	b, ok := p.optionalText()
	if ok && *dst != string(b) {
		if *dst = engine.CanonicalScope(borrow(b)); *dst == string(b) {
			*dst = p.texts.keep(b) // what was not respelled is borrowed
		}
	}
	return ok
}

// labels reads a list of words; they are for rules and are not stored. null among
// them is an empty word.
func (p *alertParser) labels(a *engine.Alert) {
	a.Labels = nil
	if p.null() {
		return
	}
	for p.open('[', "[]string"); p.more(']'); {
		label := ""
		p.optionalString(&label)
		a.Labels = append(grown(a.Labels, p.rest(), smallestLabel), label)
	}
}
