package wire

import (
	"strconv"

	"lapid/engine"
)

// Fields of a source.
const (
	sourceScope = iota
	sourceValue
	sourceAsName
	sourceAsNumber
	sourceCn
	sourceIP
	sourceLatitude
	sourceLongitude
	sourceRange
)

var sourceFields = fields{"Source", words{
	"scope", "value", "as_name", "as_number", "cn", "ip", "latitude", "longitude", "range",
}}

const sourceRequired = 1<<sourceScope | 1<<sourceValue

// source reads the field of an alert that says whom it is about. A second one
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
			s.note(p.optionalString(&a.Source.Scope))
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
	a.Source.Scope = engine.CanonicalScope(a.Source.Scope)
}

// Fields of a decision.
const (
	decisionDuration = iota
	decisionOrigin
	decisionScenario
	decisionScope
	decisionType
	decisionValue
	decisionID
	decisionSimulated
	decisionUntil
	decisionUUID
)

var decisionFields = fields{"Decision", words{
	"duration", "origin", "scenario", "scope", "type", "value", "id", "simulated", "until", "uuid",
}}

const decisionRequired = 1<<decisionID - 1

// decisions reads the decisions an alert brings along and gives the list of
// what is missing in the first bad one.
func (p *alertParser) decisions(a *engine.Alert) (missing string) {
	a.Decisions = nil
	if p.null() {
		return ""
	}
	i := 0
	for p.open('[', "[]models.Decision"); p.more(']'); i++ {
		d, seen := p.decision()
		switch {
		case p.err != nil || missing != "":
		case seen.has(decisionRequired):
			a.Decisions = append(grown(a.Decisions, p.rest(), smallestDecision), d)
		default:
			path := strconv.Itoa(p.index) + ".decisions." + strconv.Itoa(i) + "."
			missing = seen.missing(path, decisionRequired)
		}
	}
	return missing
}

// decision reads one decision. Its words are compared with those of the one
// before, and shared when they are the same.
func (p *alertParser) decision() (engine.NewDecision, object) {
	d, o := p.last, newObject(&decisionFields)
	for p.open('{', "models.Decision"); p.fieldOf(&o); {
		switch o.at {
		case decisionDuration:
			o.note(p.optionalString(&d.Duration))
		case decisionOrigin:
			o.note(p.optionalString(&d.Origin))
		case decisionScenario:
			o.note(p.optionalString(&d.Scenario))
		case decisionScope:
			o.note(p.optionalString(&d.Scope))
		case decisionType:
			o.note(p.optionalString(&d.Type))
		case decisionValue:
			o.note(p.optionalString(&d.Value))
		case decisionID:
			p.ignoredInt()
		case decisionSimulated:
			var simulated bool
			p.optionalBool(&simulated)
		case decisionUntil, decisionUUID:
			p.ignoredString()
		default:
			p.skip()
		}
	}
	p.last = d
	d.Scope = engine.CanonicalScope(d.Scope)
	return d, o
}

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
