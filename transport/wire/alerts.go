package wire

import (
	"strconv"
	"time"

	"lapid/engine"
)

// ParseAlerts reads the body of POST /v1/alerts. The scopes of sources and
// decisions are respelled, the meta of events and alerts is cut to its limits,
// and a time that cannot be read is now, in UTC. What the server gives out
// itself (ids, uuids, machine, reception) is left zero whatever was sent.
//
// Nothing in the alerts points into body. An error is of KindSyntax, or of
// KindMissing for the first alert that lacks something; there are no alerts
// then.
//
// The time taken is linear in the body. Alerts as machines write them take two
// to three times the memory of their text; the worst that fits the contract, a
// list of empty meta entries, takes thirty (TestAlertMemory).
func ParseAlerts(body []byte, now time.Time) ([]*engine.Alert, error) {
	return ParseAlertsInTurns(body, now, func(int) {})
}

// ParseAlertsInTurns is ParseAlerts for a server that has to look after its connections: a
// body of some megabytes takes tens of milliseconds. turn is called before each alert,
// decision, event and entry of meta, with its number among all of them from 0; it must not
// touch the body.
func ParseAlertsInTurns(body []byte, now time.Time, turn func(i int)) ([]*engine.Alert, error) {
	p := alertParser{now: engine.StampOf(now.UTC()), turn: turn}
	p.data, p.texts.room = body, len(body)
	var alerts []*engine.Alert
	if !p.null() {
		alerts = p.list()
	}
	switch {
	case p.err != nil:
		return nil, p.err
	case p.missing != "":
		return nil, &Error{Kind: KindMissing, Text: p.missing}
	}
	return alerts, nil
}

// alertParser reads alerts. Once something is missing the rest of the body is
// only read for its syntax, which has precedence, and what it holds is dropped.
type alertParser struct {
	reader
	now     engine.Stamp  // for times that cannot be read
	missing string        // of the first alert that lacks something
	index   int           // of the alert being read
	dropped *engine.Alert // takes in all alerts once something is missing
	meta    []engine.Meta // scratch: a list before its length is known
	turn    func(int)
	turns   int
}

// step is called before each element of a list.
func (p *alertParser) step() {
	p.turn(p.turns)
	p.turns++
}

// The smallest texts, with a comma, of what lists may hold.
const (
	smallestAlert    = 180
	smallestDecision = 73
	smallestEvent    = 27
	smallestMeta     = 3
	smallestLabel    = 3
)

// Fields of an alert, in the order in which clients write them and missing
// ones are listed.
const (
	alertCapacity = iota
	alertCreatedAt
	alertDecisions
	alertEvents
	alertEventsCount
	alertID
	alertKindName
	alertLabels
	alertLeakspeed
	alertMachineID
	alertMessage
	alertMeta
	alertRemediation
	alertScenarioName
	alertScenarioHash
	alertScenarioVersion
	alertIsSimulated
	alertSource
	alertStartAt
	alertStopAt
	alertUUID
)

var alertFields = newFields("Alert",
	"capacity", "created_at", "decisions", "events", "events_count", "id", "kind",
	"labels", "leakspeed", "machine_id", "message", "meta", "remediation", "scenario",
	"scenario_hash", "scenario_version", "simulated", "source", "start_at", "stop_at", "uuid",
)

// alertRequired are the fields an alert must have. Those that may be null or
// left out have a meaning of their own without a value.
const alertRequired = 1<<alertCapacity | 1<<alertEvents | 1<<alertEventsCount | 1<<alertLeakspeed |
	1<<alertMessage | 1<<alertScenarioName | 1<<alertScenarioHash | 1<<alertScenarioVersion |
	1<<alertIsSimulated | 1<<alertSource | 1<<alertStartAt | 1<<alertStopAt

// list reads all alerts. After the first that lacks something none is kept, but the
// rest is read to its end.
func (p *alertParser) list() []*engine.Alert {
	var alerts []*engine.Alert
	for p.open('[', "models.AddAlertsRequest"); p.more(']'); p.index++ {
		p.step()
		a := p.alert()
		if p.err != nil || p.missing != "" {
			alerts = nil
			continue
		}
		alerts = append(grown(alerts, p.rest(), smallestAlert), a)
	}
	return alerts
}

// alert reads one alert; nil when it is not to be stored. Lists are read as
// they come; a second field of the same name replaces the first.
func (p *alertParser) alert() *engine.Alert {
	a := p.dropped
	if a == nil {
		a = &engine.Alert{}
	}
	o, source := newObject(&alertFields), newObject(&sourceFields)
	var decisions, events string // what is missing in them
	for p.open('{', "models.Alert"); p.fieldOf(&o); {
		switch o.at {
		case alertDecisions:
			decisions = p.decisions(a)
		case alertEvents:
			events = p.events(a, &o)
		case alertSource:
			p.source(a, &o, &source)
		case alertLabels:
			p.labels(a)
		case alertMeta:
			p.alertMeta(a)
		default:
			p.alertValue(a, &o)
		}
	}
	if p.err != nil || p.missing != "" {
		return nil
	}
	if !o.has(alertRequired) || decisions != "" || events != "" || !source.has(sourceRequired) {
		p.missing, p.dropped = p.missingInAlert(&o, &source, decisions, events), a
		return nil
	}
	a.StartAt, a.StopAt = p.moment(a.StartText), p.moment(a.StopText)
	return a
}

// alertValue reads a field of an alert that is not a list or an object.
func (p *alertParser) alertValue(a *engine.Alert, o *object) {
	switch o.at {
	case alertCapacity:
		o.note(p.optionalInt32(&a.Capacity))
	case alertEventsCount:
		o.note(p.optionalInt32(&a.EventsCount))
	case alertLeakspeed:
		o.note(p.optionalString(&a.Leakspeed))
	case alertMessage:
		o.note(p.optionalString(&a.Message))
	case alertScenarioName:
		o.note(p.optionalString(&a.Scenario))
	case alertScenarioHash:
		o.note(p.optionalString(&a.ScenarioHash))
	case alertScenarioVersion:
		o.note(p.optionalString(&a.ScenarioVersion))
	case alertIsSimulated:
		o.note(p.optionalBool(&a.Simulated))
	case alertStartAt:
		o.note(p.optionalString(&a.StartText))
	case alertStopAt:
		o.note(p.optionalString(&a.StopText))
	case alertKindName:
		p.optionalString(&a.Kind)
	case alertRemediation:
		p.optionalBool(&a.Remediation)
	case alertID:
		p.ignoredInt()
	case alertUUID, alertMachineID, alertCreatedAt:
		p.ignoredString()
	default:
		p.skip()
	}
}

// moment reads an RFC 3339 time; anything else means now. The reference does
// the same, so a machine with a broken clock is not turned away.
func (p *alertParser) moment(text string) engine.Stamp {
	if len(text) < shortestTime {
		return p.now
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return p.now
	}
	return engine.StampOf(t)
}

// shortestTime is the length of a time with an hour of one digit, which is
// accepted.
const shortestTime = len("2006-01-02T5:04:05Z")

// missingInAlert writes the list of what the alert lacks, in the order of its
// fields; what is missing inside one of them stands in that field's place.
func (p *alertParser) missingInAlert(o, source *object, decisions, events string) string {
	path := strconv.Itoa(p.index) + "."
	var f failures
	for i, name := range alertFields.names {
		switch {
		case alertRequired&^o.seen&(1<<i) != 0:
			f.required(path, name)
		case i == alertDecisions:
			f.inner(decisions)
		case i == alertEvents:
			f.inner(events)
		case i == alertSource:
			f.inner(source.missing(path+"source.", sourceRequired))
		}
	}
	return f.String()
}
