package profile

import (
	"time"

	"lapid/engine"
)

// facts is the alert as expressions see it: the variable Alert, with the names
// and JSON keys the contract gives its fields. Texts are those of the alert.
type facts struct {
	Capacity        int            `json:"capacity"`
	CreatedAt       string         `json:"created_at,omitempty"` // empty: not stored yet
	Decisions       []*decisionRow `json:"decisions"`
	Events          []*eventRow    `json:"events"`
	EventsCount     int            `json:"events_count"`
	ID              int            `json:"id,omitempty"` // 0: not stored yet
	Kind            string         `json:"kind,omitempty"`
	Labels          []string       `json:"labels"`
	Leakspeed       string         `json:"leakspeed"`
	MachineID       string         `json:"machine_id,omitempty"`
	Message         string         `json:"message"`
	Meta            []metaRow      `json:"meta,omitempty"`
	Remediation     bool           `json:"remediation,omitempty"`
	Scenario        string         `json:"scenario"`
	ScenarioHash    string         `json:"scenario_hash"`
	ScenarioVersion string         `json:"scenario_version"`
	Simulated       bool           `json:"simulated"`
	Source          *sourceRow     `json:"source"`
	StartAt         string         `json:"start_at"`
	StopAt          string         `json:"stop_at"`
	UUID            string         `json:"uuid,omitempty"`

	alert  *engine.Alert
	source sourceRow
}

// sourceRow is the variable Alert.Source.
type sourceRow struct {
	AsName    string  `json:"as_name,omitempty"`
	AsNumber  string  `json:"as_number,omitempty"`
	Cn        string  `json:"cn,omitempty"`
	IP        string  `json:"ip,omitempty"`
	Latitude  float32 `json:"latitude,omitempty"`
	Longitude float32 `json:"longitude,omitempty"`
	Range     string  `json:"range,omitempty"`
	Scope     string  `json:"scope"`
	Value     string  `json:"value"`
}

// metaRow is one key and value.
type metaRow struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// eventRow is one of Alert.Events.
type eventRow struct {
	Meta      []metaRow `json:"meta"`
	Timestamp string    `json:"timestamp"`
}

// decisionRow is one of Alert.Decisions: what the alert brought, or what an earlier
// profile gave it.
type decisionRow struct {
	Duration  string `json:"duration"`
	ID        int    `json:"id,omitempty"`
	Origin    string `json:"origin"`
	Scenario  string `json:"scenario"`
	Scope     string `json:"scope"`
	Simulated bool   `json:"simulated"`
	Type      string `json:"type"`
	Until     string `json:"until,omitempty"`
	UUID      string `json:"uuid,omitempty"`
	Value     string `json:"value"`
}

// need names the parts of facts that cost something to lay out. They are
// filled in only when some expression of the set looks at them.
type need uint8

const (
	// One bit for each field of costlyFields.
	needMeta need = 1 << iota
	needEvents
	needDecisions
	needUUID
	needAll = needMeta | needEvents | needDecisions | needUUID
)

// costlyFields are the fields of Alert that are filled in only when they are needed.
var costlyFields = map[string]need{
	"Meta": needMeta, "Events": needEvents, "Decisions": needDecisions, "UUID": needUUID,
}

// fill lays out a. Nothing of it is copied that need not be; the rows are
// the evaluation's.
func (f *facts) fill(a *engine.Alert, needs need) {
	src := &a.Source
	*f = facts{
		Capacity: int(a.Capacity), EventsCount: int(a.EventsCount),
		Kind: a.Kind, Labels: a.Labels, Leakspeed: a.Leakspeed, MachineID: a.MachineID, Message: a.Message,
		Remediation: a.Remediation, Simulated: a.Simulated,
		Scenario: a.Scenario, ScenarioHash: a.ScenarioHash, ScenarioVersion: a.ScenarioVersion,
		StartAt: a.StartText, StopAt: a.StopText,
		alert: a,
		source: sourceRow{
			AsName: src.AsName, AsNumber: src.AsNumber, Cn: src.Cn, IP: src.IP, Range: src.Range,
			Latitude: src.Latitude, Longitude: src.Longitude, Scope: src.Scope, Value: src.Value,
		},
	}
	f.Source = &f.source
	if needs == 0 {
		return
	}
	if needs&needMeta != 0 {
		f.Meta = metaRows(a.Meta)
	}
	if needs&needEvents != 0 {
		f.Events = eventRows(a.Events)
	}
	if needs&needUUID != 0 {
		f.UUID = a.UUID.String()
	}
	f.decided(a.Decisions, needs)
}

// decided shows the decisions that came along or were made.
func (f *facts) decided(list []engine.NewDecision, needs need) {
	if needs&needDecisions == 0 || len(list) == 0 {
		return
	}
	rows := make([]decisionRow, len(list))
	f.Decisions = make([]*decisionRow, len(list))
	for i := range list {
		d := &list[i]
		rows[i] = decisionRow{
			Duration: d.Duration, Origin: d.Origin, Scenario: d.Scenario, Scope: d.Scope,
			Simulated: f.Simulated, Type: d.Type, Value: d.Value,
		}
		f.Decisions[i] = &rows[i]
	}
}

// GetScope is the scope of the source.
func (f *facts) GetScope() string { return f.source.Scope }

// GetValue is the value of the source.
func (f *facts) GetValue() string { return f.source.Value }

// GetScenario is the name of the scenario.
func (f *facts) GetScenario() string { return f.Scenario }

// GetEventsCount is the number of events the alert stands for.
func (f *facts) GetEventsCount() int { return f.EventsCount }

// GetMeta is the first value of that key, "" if there is none.
func (f *facts) GetMeta(key string) string { return metaValue(f.alert.Meta, key) }

// GetMeta is the first value of that key, "" if there is none.
func (e *eventRow) GetMeta(key string) string {
	for i := range e.Meta {
		if e.Meta[i].Key == key {
			return e.Meta[i].Value
		}
	}
	return ""
}

// GetValue is the value of the source.
func (s *sourceRow) GetValue() string { return s.Value }

// GetScope is the scope of the source.
func (s *sourceRow) GetScope() string { return s.Scope }

// GetAsNumberName joins number and name of the autonomous system, as far as
// they are known.
func (s *sourceRow) GetAsNumberName() string {
	text := ""
	if s.AsNumber != "0" {
		text = s.AsNumber
	}
	if s.AsName != "" {
		text += " " + s.AsName
	}
	return text
}

// String describes the source for a message: ip 192.0.2.7 (FR/64500).
func (s *sourceRow) String() string {
	if s == nil || s.Scope == "" {
		return "empty source"
	}
	from := s.Cn
	if s.AsNumber != "" {
		from += "/" + s.AsNumber
	}
	if from != "" {
		from = " (" + from + ")"
	}
	switch s.Scope {
	case engine.ScopeIP:
		return "ip " + s.Value + from
	case engine.ScopeRange:
		return "range " + s.Value + from
	}
	return s.Scope + " " + s.Value
}

// metaValue is the first value of a key, "" if there is none.
func metaValue(list []engine.Meta, key string) string {
	for i := range list {
		if list[i].Key == key {
			return list[i].Value
		}
	}
	return ""
}

// metaRows are entries of metadata as expressions see them.
func metaRows(list []engine.Meta) []metaRow {
	rows := make([]metaRow, len(list))
	for i := range list {
		rows[i] = metaRow{list[i].Key, list[i].Value}
	}
	return rows
}

// eventRows are events as expressions see them, their times as they were sent.
func eventRows(list []engine.Event) []*eventRow {
	rows := make([]eventRow, len(list))
	pointers := make([]*eventRow, len(list))
	for i := range list {
		text := list[i].Text
		if text == "" {
			text = list[i].Timestamp.Time().Format(time.RFC3339)
		}
		rows[i] = eventRow{Meta: metaRows(list[i].Meta), Timestamp: text}
		pointers[i] = &rows[i]
	}
	return pointers
}
