package notify

import (
	"fmt"
	"time"

	"lapid/engine"
)

// Alert is an alert as templates see it: names, JSON keys and what is a pointer are the
// field's, so that templates written for other servers go on working.
type Alert struct {
	Capacity        *int32      `json:"capacity"`
	CreatedAt       string      `json:"created_at,omitempty"`
	Decisions       []*Decision `json:"decisions"`
	Events          []*Event    `json:"events"`
	EventsCount     *int32      `json:"events_count"`
	ID              int64       `json:"id,omitempty"`
	Kind            string      `json:"kind,omitempty"`
	Labels          []string    `json:"labels"`
	Leakspeed       *string     `json:"leakspeed"`
	MachineID       string      `json:"machine_id,omitempty"`
	Message         *string     `json:"message"`
	Meta            []*Meta     `json:"meta"`
	Remediation     bool        `json:"remediation,omitempty"`
	Scenario        *string     `json:"scenario"`
	ScenarioHash    *string     `json:"scenario_hash"`
	ScenarioVersion *string     `json:"scenario_version"`
	Simulated       *bool       `json:"simulated"`
	Source          *Source     `json:"source"`
	StartAt         *string     `json:"start_at"`
	StopAt          *string     `json:"stop_at"`
	UUID            string      `json:"uuid,omitempty"`
}

// Source is what an alert is about.
type Source struct {
	AsName    string  `json:"as_name,omitempty"`
	AsNumber  string  `json:"as_number,omitempty"`
	Cn        string  `json:"cn,omitempty"`
	IP        string  `json:"ip,omitempty"`
	Latitude  float32 `json:"latitude,omitempty"`
	Longitude float32 `json:"longitude,omitempty"`
	Range     string  `json:"range,omitempty"`
	Scope     *string `json:"scope"`
	Value     *string `json:"value"`
}

// Decision is one that the alert led to.
type Decision struct {
	Duration  *string `json:"duration"`
	ID        int64   `json:"id,omitempty"`
	Origin    *string `json:"origin"`
	Scenario  *string `json:"scenario"`
	Scope     *string `json:"scope"`
	Simulated *bool   `json:"simulated,omitempty"`
	Type      *string `json:"type"`
	Until     string  `json:"until,omitempty"`
	UUID      string  `json:"uuid,omitempty"`
	Value     *string `json:"value"`
}

// Event is one line of a log.
type Event struct {
	Meta      []*Meta `json:"meta"`
	Timestamp *string `json:"timestamp"`
}

// Meta is one key and value.
type Meta struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
}

// alertOf lays out what the history says of an alert. Number and time of reception are left
// out, as in the field, where messages are made before an alert is stored.
func alertOf(a *engine.Alert, planned []engine.PlannedDecision) *Alert {
	start, stop := a.StartAt.Time().Format(time.RFC3339), a.StopAt.Time().Format(time.RFC3339)
	m := &Alert{
		Capacity: &a.Capacity, EventsCount: &a.EventsCount, Kind: a.Kind, Leakspeed: &a.Leakspeed, MachineID: a.MachineID,
		Message: &a.Message, Meta: metaOf(a.Meta), Remediation: a.Remediation, Scenario: &a.Scenario, ScenarioHash: &a.ScenarioHash,
		ScenarioVersion: &a.ScenarioVersion, Simulated: &a.Simulated, StartAt: &start, StopAt: &stop, UUID: a.UUID.String(),
		Source: &Source{
			AsName: a.Source.AsName, AsNumber: a.Source.AsNumber, Cn: a.Source.Cn, IP: a.Source.IP, Latitude: a.Source.Latitude,
			Longitude: a.Source.Longitude, Range: a.Source.Range, Scope: &a.Source.Scope, Value: &a.Source.Value,
		},
	}
	for i := range a.Events {
		at := a.Events[i].Timestamp.Time().Format(time.RFC3339)
		m.Events = append(m.Events, &Event{Meta: metaOf(a.Events[i].Meta), Timestamp: &at})
	}
	for i := range planned {
		p := &planned[i]
		lasts := spelledDuration(time.Duration(p.Until - a.StopAt.At))
		d := &Decision{Duration: &lasts, Origin: &p.Origin, Scenario: &p.Scenario, Scope: &p.Scope, Type: &p.Type, Value: &p.Value}
		if p.UUID != (engine.UUID{}) {
			d.UUID = p.UUID.String()
		}
		if a.Simulated {
			d.Simulated = &a.Simulated
		}
		m.Decisions = append(m.Decisions, d)
	}
	return m
}

func metaOf(list []engine.Meta) []*Meta {
	out := make([]*Meta, len(list))
	for i, m := range list {
		out[i] = &Meta{Key: m.Key, Value: m.Value}
	}
	return out
}

// spelledDuration is a duration as an operator writes it: 4h, not 4h0m0s. What was written
// is not kept; it may have been 240m.
func spelledDuration(d time.Duration) string {
	text := d.String()
	if d%time.Minute == 0 && d != 0 {
		text = text[:len(text)-len("0s")]
	}
	if d%time.Hour == 0 && d != 0 {
		text = text[:len(text)-len("0m")]
	}
	return text
}

// GetScope is the scope of the source.
func (a *Alert) GetScope() string { return a.Source.GetScope() }

// GetValue is the value of the source.
func (a *Alert) GetValue() string { return a.Source.GetValue() }

// GetScenario is the name of the scenario.
func (a *Alert) GetScenario() string { return word(a.Scenario) }

// GetEventsCount is the number of events the alert stands for.
func (a *Alert) GetEventsCount() int32 {
	if a.EventsCount == nil {
		return 0
	}
	return *a.EventsCount
}

// GetMeta is the first value of a key of the alert's own, "" if there is none.
func (a *Alert) GetMeta(key string) string { return firstOf(a.Meta, key) }

// GetMeta is the first value of a key, "" if there is none.
func (e *Event) GetMeta(key string) string { return firstOf(e.Meta, key) }

func firstOf(list []*Meta, key string) string {
	for _, m := range list {
		if m.Key == key {
			return m.Value
		}
	}
	return ""
}

// GetScope is the scope.
func (s *Source) GetScope() string {
	if s == nil {
		return ""
	}
	return word(s.Scope)
}

// GetValue is the value.
func (s *Source) GetValue() string {
	if s == nil {
		return ""
	}
	return word(s.Value)
}

// GetAsNumberName is number and name of the autonomous system, as far as they are known.
func (s *Source) GetAsNumberName() string {
	text := ""
	if s.AsNumber != "0" {
		text = s.AsNumber
	}
	if s.AsName != "" {
		text += " " + s.AsName
	}
	return text
}

// String names the source in a sentence.
func (s *Source) String() string {
	if s == nil || word(s.Scope) == "" {
		return "empty source"
	}
	from := s.Cn
	if s.AsNumber != "" {
		from += "/" + s.AsNumber
	}
	if from != "" {
		from = " (" + from + ")"
	}
	return fmt.Sprintf("%s %s%s", *s.Scope, word(s.Value), from)
}

func word(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
