package admin

import (
	"time"

	"lapid/engine"
)

// Alert is an alert with its decisions as the operator's tools show it: the
// field names and their order are those of the Local API's answers.
// Moments are RFC 3339; Labels and Events may be null, as there. It is a copy:
// changing it changes nothing in the engine.
type Alert struct {
	Capacity        int32      `json:"capacity"`
	CreatedAt       string     `json:"created_at"`
	Decisions       []Decision `json:"decisions"`
	Events          []Event    `json:"events"`
	EventsCount     int32      `json:"events_count"`
	ID              uint64     `json:"id"`
	Kind            string     `json:"kind,omitempty"`
	Labels          []string   `json:"labels"`
	Leakspeed       string     `json:"leakspeed"`
	MachineID       string     `json:"machine_id"`
	Message         string     `json:"message"`
	Meta            []Meta     `json:"meta,omitempty"`
	Remediation     bool       `json:"remediation,omitempty"`
	Scenario        string     `json:"scenario"`
	ScenarioHash    string     `json:"scenario_hash"`
	ScenarioVersion string     `json:"scenario_version"`
	Simulated       bool       `json:"simulated"`
	Source          Source     `json:"source"`
	StartAt         string     `json:"start_at"`
	StopAt          string     `json:"stop_at"`
	UUID            string     `json:"uuid,omitempty"`

	// What of lapid's own the alert belongs to; the Local API does not show it.
	Batch string `json:"batch,omitempty"` // what an import stored
	List  string `json:"list,omitempty"`  // named list that an import set
}

// Decision is one decision of an alert. Duration is what is left of it, in
// whole seconds, negative when it is over.
type Decision struct {
	Duration  string `json:"duration"`
	ID        uint64 `json:"id"`
	Origin    string `json:"origin"`
	Scenario  string `json:"scenario"`
	Scope     string `json:"scope"`
	Simulated bool   `json:"simulated"`
	Type      string `json:"type"`
	Value     string `json:"value"`
}

// Event is one log line of an alert. Meta is null for an event that came
// without, and empty for one that came with none.
type Event struct {
	Meta      []Meta `json:"meta"`
	Timestamp string `json:"timestamp"`
}

// Meta is one key and value.
type Meta struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
}

// Source is what an alert is about. Scope and value are what decisions
// without a target of their own are made for.
type Source struct {
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

// AlertOf shows an alert of the engine at a moment (Unix nanoseconds). An
// alert whose machine is gone has the sender "N/A". Decisions are nil when
// ds is empty.
func AlertOf(a *engine.Alert, ds []engine.Decision, now int64) *Alert {
	out := &Alert{
		Capacity: a.Capacity, CreatedAt: time.Unix(0, a.CreatedAt).UTC().Format(time.RFC3339),
		EventsCount: a.EventsCount, ID: uint64(a.ID), Kind: a.Kind, Leakspeed: a.Leakspeed,
		MachineID: a.MachineID, Message: a.Message, Meta: metaOf(a.Meta), Remediation: a.Remediation,
		Scenario: a.Scenario, ScenarioHash: a.ScenarioHash, ScenarioVersion: a.ScenarioVersion,
		Simulated: a.Simulated, StartAt: a.StartAt.Time().Format(time.RFC3339),
		StopAt: a.StopAt.Time().Format(time.RFC3339), UUID: a.UUID.String(),
		Source: Source{
			AsName: a.Source.AsName, AsNumber: a.Source.AsNumber, Cn: a.Source.Cn, IP: a.Source.IP,
			Latitude: a.Source.Latitude, Longitude: a.Source.Longitude, Range: a.Source.Range,
			Scope: a.Source.Scope, Value: a.Source.Value,
		},
	}
	if out.Batch = a.Batch.Name; a.Batch.List {
		out.Batch, out.List = "", a.Batch.Name
	}
	if out.MachineID == "" {
		out.MachineID = "N/A"
	}
	for i := range a.Events {
		e := &a.Events[i]
		shown := Event{Timestamp: e.Timestamp.Time().String()}
		if !e.NoMeta {
			shown.Meta = append([]Meta{}, metaOf(e.Meta)...)
		}
		out.Events = append(out.Events, shown)
	}
	if len(ds) > 0 {
		out.Decisions = make([]Decision, 0, len(ds))
	}
	for _, d := range ds {
		out.Decisions = append(out.Decisions, decisionOf(d, now))
	}
	return out
}

// decisionOf shows a decision at a moment; its texts are copied out of the view.
func decisionOf(d engine.Decision, now int64) Decision {
	return Decision{
		Duration: TimeLeft(engine.Left(d.Until(), now)), ID: uint64(d.ID()), Origin: d.Origin().S, Scenario: d.Scenario().S,
		Scope: d.Scope().S, Simulated: d.Simulated(), Type: d.Type().S, Value: d.Value(),
	}
}

// TimeLeft writes nanoseconds as the contract does: whole seconds, rounded
// half away from zero, hours without limit.
func TimeLeft(ns int64) string { return time.Duration(ns).Round(time.Second).String() }

// metaOf is nil for none.
func metaOf(ms []engine.Meta) []Meta {
	var out []Meta
	for _, m := range ms {
		out = append(out, Meta(m))
	}
	return out
}

// AlertFilter asks for alerts; the zero filter asks for all of them. Times
// are nanoseconds before now. A field that is nil asks for nothing; one that
// points to an empty text asks for just that.
type AlertFilter struct {
	Scope         *string
	Value         *string
	Scenario      *string
	DecisionType  *string
	Origin        *string
	Kind          *string
	Batch         string // "": any; what an import stored
	List          string // "": any; named list that imports set
	Address       string // address or range some decision relates to
	Inside        bool   // … that lies inside Address, instead of containing it
	Since         int64  // started no longer ago
	Until         int64  // started at least as long ago
	HideSimulated bool
	HideCommunity bool
	Active        bool   // some decision is running
	Concerned     bool   // show only the decisions that Address, DecisionType and Origin ask for
	Limit         int    // 0: all
	Before        uint64 `json:",omitempty"` // those with smaller ids; 0: all

	// Counted asks AlertParts for how many decisions an alert has of each type, in the
	// place of these.
	Counted bool `json:",omitempty"`
}

// query resolves the filter against the moment of asking. The error is an
// ErrInvalid about the address.
func (f *AlertFilter) query(now int64) (*engine.AlertQuery, error) {
	q := &engine.AlertQuery{
		Now: now, Inside: f.Inside, HideSimulated: f.HideSimulated, HideCommunity: f.HideCommunity,
		Scope: word(f.Scope), Value: word(f.Value), Scenario: word(f.Scenario),
		DecisionType: word(f.DecisionType), Origin: word(f.Origin), Kind: word(f.Kind), Limit: max(f.Limit, 0), Before: engine.AlertID(f.Before),
	}
	q.Batch = batchOf(f.Batch, f.List)
	if f.Origin != nil || q.Batch.Name != "" {
		q.HideCommunity = false // what is named is to be seen
	}
	if f.Address != "" {
		p, err := engine.ParseTarget(f.Address)
		if err != nil {
			return nil, err
		}
		q.Address = p
	}
	if f.Since != 0 {
		q.StartFrom = now - f.Since
	}
	if f.Until != 0 {
		q.StartUpTo = now - f.Until
	}
	if f.Active {
		q.Activity = engine.HasRunning
	}
	return q, nil
}

// word is a field of a filter as the engine has it.
func word(s *string) engine.Word {
	if s == nil {
		return engine.Word{}
	}
	return engine.Word{Given: true, Text: *s}
}
