package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"lapid/engine"
)

// This is the slow twin of ParseAlerts: the standard library's decoder and the
// contract's sentences, one after the other.

type slowAlert struct {
	Capacity        *int32                  `json:"capacity"`
	CreatedAt       string                  `json:"created_at"`
	Decisions       slowList[*slowDecision] `json:"decisions"`
	Events          slowList[*slowEvent]    `json:"events"`
	EventsCount     *int32                  `json:"events_count"`
	ID              int64                   `json:"id"`
	Kind            string                  `json:"kind"`
	Labels          slowList[string]        `json:"labels"`
	Leakspeed       *string                 `json:"leakspeed"`
	MachineID       string                  `json:"machine_id"`
	Message         *string                 `json:"message"`
	Meta            slowList[*slowMeta]     `json:"meta"`
	Remediation     bool                    `json:"remediation"`
	Scenario        *string                 `json:"scenario"`
	ScenarioHash    *string                 `json:"scenario_hash"`
	ScenarioVersion *string                 `json:"scenario_version"`
	Simulated       *bool                   `json:"simulated"`
	Source          *slowSource             `json:"source"`
	StartAt         *string                 `json:"start_at"`
	StopAt          *string                 `json:"stop_at"`
	UUID            string                  `json:"uuid"`
}

type slowDecision struct {
	Duration  *string `json:"duration"`
	ID        int64   `json:"id"`
	Origin    *string `json:"origin"`
	Scenario  *string `json:"scenario"`
	Scope     *string `json:"scope"`
	Simulated *bool   `json:"simulated"`
	Type      *string `json:"type"`
	Until     string  `json:"until"`
	UUID      string  `json:"uuid"`
	Value     *string `json:"value"`
}

type slowSource struct {
	AsName    string  `json:"as_name"`
	AsNumber  string  `json:"as_number"`
	Cn        string  `json:"cn"`
	IP        string  `json:"ip"`
	Latitude  float32 `json:"latitude"`
	Longitude float32 `json:"longitude"`
	Range     string  `json:"range"`
	Scope     *string `json:"scope"`
	Value     *string `json:"value"`
}

type slowEvent struct {
	Meta      slowList[*slowMeta] `json:"meta"`
	Timestamp *string             `json:"timestamp"`
}

type slowMeta struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
}

// slowList is a list without null, read anew each time its name comes.
type slowList[T any] []T

func (l *slowList[T]) UnmarshalJSON(text []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	*l = nil
	if raw != nil {
		*l = slowList[T]{}
	}
	for _, r := range raw {
		var element T
		if err := json.Unmarshal(r, &element); err != nil {
			return err
		}
		if _, isText := any(element).(string); !isText && string(r) == "null" {
			return errors.New("json: null in a list")
		}
		*l = append(*l, element)
	}
	return nil
}

func slowParseAlerts(body []byte, now time.Time) ([]*engine.Alert, error) {
	var list slowList[*slowAlert]
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&list); err != nil {
		return nil, &Error{Kind: KindSyntax, Text: err.Error()}
	}
	var alerts []*engine.Alert
	for i, a := range list {
		if missing := a.missing(i); len(missing) > 0 {
			return nil, &Error{Kind: KindMissing, Text: slowFailures(missing)}
		}
		alerts = append(alerts, a.alert(now))
	}
	return alerts, nil
}

func slowFailures(lines []string) string {
	return "validation failure list:\n" + strings.Join(lines, "\n")
}

type slowField struct {
	name    string
	missing bool
}

func slowMissing(path string, list ...slowField) (lines []string) {
	for _, f := range list {
		if f.missing {
			lines = append(lines, path+f.name+" in body is required")
		}
	}
	return lines
}

func (a *slowAlert) missing(i int) (lines []string) {
	path := fmt.Sprintf("%d.", i)
	add := func(l ...string) { lines = append(lines, l...) }
	add(slowMissing(path, slowField{"capacity", a.Capacity == nil})...)
	for n, d := range a.Decisions {
		if l := d.missing(fmt.Sprintf("%sdecisions.%d.", path, n)); l != nil {
			add(slowFailures(l))
			break
		}
	}
	add(slowMissing(path, slowField{"events", a.Events == nil})...)
	for n, e := range a.Events {
		l := slowMissing(fmt.Sprintf("%sevents.%d.", path, n),
			slowField{"meta", e.Meta == nil}, slowField{"timestamp", e.Timestamp == nil})
		if l != nil {
			add(slowFailures(l))
			break
		}
	}
	add(slowMissing(path,
		slowField{"events_count", a.EventsCount == nil}, slowField{"leakspeed", a.Leakspeed == nil},
		slowField{"message", a.Message == nil}, slowField{"scenario", a.Scenario == nil},
		slowField{"scenario_hash", a.ScenarioHash == nil}, slowField{"scenario_version", a.ScenarioVersion == nil},
		slowField{"simulated", a.Simulated == nil}, slowField{"source", a.Source == nil})...)
	if s := a.Source; s != nil {
		l := slowMissing(path+"source.", slowField{"scope", s.Scope == nil}, slowField{"value", s.Value == nil})
		if l != nil {
			add(slowFailures(l))
		}
	}
	add(slowMissing(path, slowField{"start_at", a.StartAt == nil}, slowField{"stop_at", a.StopAt == nil})...)
	return lines
}

func (d *slowDecision) missing(path string) []string {
	return slowMissing(path,
		slowField{"duration", d.Duration == nil}, slowField{"origin", d.Origin == nil},
		slowField{"scenario", d.Scenario == nil}, slowField{"scope", d.Scope == nil},
		slowField{"type", d.Type == nil}, slowField{"value", d.Value == nil})
}

func (a *slowAlert) alert(now time.Time) *engine.Alert {
	s := a.Source
	out := &engine.Alert{
		Scenario: *a.Scenario, ScenarioHash: *a.ScenarioHash, ScenarioVersion: *a.ScenarioVersion,
		Message: *a.Message, Kind: a.Kind, Leakspeed: *a.Leakspeed,
		Capacity: *a.Capacity, EventsCount: *a.EventsCount, Simulated: *a.Simulated, Remediation: a.Remediation,
		StartAt: slowMoment(*a.StartAt, now), StopAt: slowMoment(*a.StopAt, now),
		StartText: *a.StartAt, StopText: *a.StopAt,
		Source: engine.Source{
			Scope: engine.CanonicalScope(*s.Scope), Value: *s.Value, IP: s.IP, Range: s.Range,
			AsName: s.AsName, AsNumber: s.AsNumber, Cn: s.Cn, Latitude: s.Latitude, Longitude: s.Longitude,
		},
	}
	for _, l := range a.Labels {
		out.Labels = append(out.Labels, l)
	}
	for _, m := range a.Meta {
		out.Meta = append(out.Meta, engine.Meta{
			Key:   slowText(m.Key[:min(len(m.Key), 255)]),
			Value: slowText(m.Value[:min(len(m.Value), 4095)]),
		})
	}
	for _, e := range a.Events {
		out.Events = append(out.Events, e.event(now))
	}
	for _, d := range a.Decisions {
		out.Decisions = append(out.Decisions, engine.NewDecision{
			Duration: *d.Duration, Origin: *d.Origin, Scenario: *d.Scenario,
			Scope: engine.CanonicalScope(*d.Scope), Type: *d.Type, Value: *d.Value,
		})
	}
	return out
}

// event strips the meta until the library writes it in 8191 bytes.
func (e *slowEvent) event(now time.Time) engine.Event {
	out := engine.Event{Timestamp: slowMoment(*e.Timestamp, now), Text: *e.Timestamp}
	text, _ := json.Marshal(e.Meta)
	for step := 2048; len(text) > 8191 && step > 0; step /= 2 {
		for _, m := range e.Meta {
			if len(m.Value) > 2*step {
				m.Value = m.Value[:step] + "<stripped>"
			}
		}
		text, _ = json.Marshal(e.Meta)
	}
	if len(text) > 8191 {
		out.NoMeta = true
		return out
	}
	for _, m := range e.Meta {
		out.Meta = append(out.Meta, engine.Meta{Key: m.Key, Value: slowText(m.Value)})
	}
	return out
}

// slowText is what becomes of a text that is written as JSON and read again.
func slowText(s string) string {
	text, _ := json.Marshal(s)
	var back string
	if err := json.Unmarshal(text, &back); err != nil {
		panic(err)
	}
	return back
}

func slowMoment(text string, now time.Time) engine.Stamp {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return engine.StampOf(now.UTC())
	}
	return engine.StampOf(t)
}
