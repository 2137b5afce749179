package engine

import "time"

// AlertID numbers alerts: from 1, never reused, given out by apply in ascending order, but
// for what is brought from another server (bring.go).
type AlertID uint64

// UUID is sixteen bytes of a version 4 identifier.
type UUID [16]byte

// Stamp is a moment as a client sent it: the instant, and the zone offset it
// was written with, because alerts are shown in the zone they came in.
type Stamp struct {
	At     int64 // Unix nanoseconds, whole seconds far away (moment.go)
	Offset int16 // minutes east of UTC
}

// StampOf turns a parsed time, of the years 0 to 9999, into a Stamp.
func StampOf(t time.Time) Stamp {
	_, east := t.Zone()
	return Stamp{At: momentOf(t), Offset: int16(east / 60)}
}

// Time gives the moment back, in the zone it was written in.
func (s Stamp) Time() time.Time {
	t := timeOf(s.At)
	if s.Offset == 0 {
		return t.UTC()
	}
	return t.In(time.FixedZone("", int(s.Offset)*60))
}

// Alert is what a machine reports: something seen in its logs, perhaps with
// decisions of its own. Strings are owned by the alert (copied from requests),
// an alert handed to the engine must not be changed afterwards.
type Alert struct {
	// Set by the engine; ignored on the way in.
	ID        AlertID
	UUID      UUID
	MachineID string // "" when the machine is gone
	CreatedAt int64  // Unix nanoseconds of reception

	Scenario        string
	ScenarioHash    string
	ScenarioVersion string
	Message         string
	Kind            string
	Leakspeed       string
	Capacity        int32
	EventsCount     int32
	Simulated       bool
	Remediation     bool
	StartAt         Stamp
	StopAt          Stamp
	Source          Source
	Meta            []Meta
	Events          []Event

	// Batch is what an import stores together; its name has at most LongestName bytes. With
	// List it is set by ReplaceList alone. It is no part of what the Local API shows.
	Batch Batch

	// Only on the way in: what rules may look at, what decisions came along.
	StartText string // start_at as sent
	StopText  string
	Labels    []string
	Decisions []NewDecision
	Unlogged  bool // its line of the log is written by the caller
}

// Source is what an alert is about: an address, say.
type Source struct {
	Scope     Scope
	Value     string
	IP        string
	Range     string
	AsName    string
	AsNumber  string
	Cn        string
	Latitude  float32
	Longitude float32
}

// Meta is one key and value.
type Meta struct {
	Key   string
	Value string
}

// Event is one log line of an alert.
type Event struct {
	Timestamp Stamp
	Text      string // timestamp as sent; only on the way in
	Meta      []Meta
	NoMeta    bool // the meta was too large and had to be dropped: shown as null
}

// NewDecision is a decision as proposed, by a machine or a profile. Its end is
// the alert's StopAt plus Duration.
type NewDecision struct {
	Duration string // in the grammar of ParseDuration
	Origin   string
	Scenario string
	Scope    Scope
	Type     string
	Value    string
}
