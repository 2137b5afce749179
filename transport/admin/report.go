package admin

import (
	"time"

	"lapid/engine"
)

// Report is how readiness is written for programs: the answer of /ready and of
// "lapid ready -o json".
type Report struct {
	Ready   bool     `json:"ready"`
	Reasons []Reason `json:"reasons"` // never null in what ReportOf makes
}

// Reason is one trouble as JSON has it: its kind, a sentence for a person that says
// what to do, and since when.
type Reason struct {
	Kind  string `json:"kind"`
	Text  string `json:"text"`
	Since string `json:"since"` // RFC 3339, in whole seconds, UTC
}

// ReportOf is what is to be answered about these troubles, a reason for each, in their
// order: ready when there are none but those that are aside.
func ReportOf(list []engine.Trouble) *Report {
	r := &Report{Ready: true, Reasons: make([]Reason, len(list))}
	for i, t := range list {
		r.Ready = r.Ready && t.Kind.Aside()
		r.Reasons[i] = Reason{string(t.Kind), t.Text, time.Unix(0, t.Since).UTC().Format(time.RFC3339)}
	}
	return r
}
