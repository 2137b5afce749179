package audit

import (
	"time"

	"lapid/engine"
)

// Verdict is what a look at all rows has found, in JSON. Its keys are promised.
type Verdict struct {
	Whole  bool    `json:"whole"`
	Told   uint64  `json:"told_up_to_revision"`
	Series []Seal  `json:"series"`
	Faults []Fault `json:"faults"`
	More   int     `json:"further_faults"`
}

// Seal says where a series begins and ends: kept elsewhere, it is what to compare with later.
type Seal struct {
	Series    string     `json:"series"`
	Rows      uint64     `json:"rows"`
	Ever      uint64     `json:"rows_ever"`
	Forgotten uint64     `json:"forgotten_up_to"`
	Since     *time.Time `json:"forgotten_at"`
	Last      uint64     `json:"last"`
	Hash      string     `json:"hash"`
}

// Fault is a place where the audit is not as it was written.
type Fault struct {
	Number uint64 `json:"number"`
	Series string `json:"series"`
	Text   string `json:"text"`
}

// VerdictOf is what was found, as a Verdict.
func VerdictOf(v *engine.AuditVerdict) *Verdict {
	o := &Verdict{Whole: len(v.Faults) == 0, Told: uint64(v.Told), Series: []Seal{}, Faults: []Fault{}, More: v.More}
	for _, s := range v.Seals {
		seal := Seal{Series: SeriesName(s.Series), Rows: s.Rows, Ever: s.Ever, Forgotten: s.Gone, Last: s.Last, Hash: s.Hash}
		if s.GoneAt != 0 {
			at := time.Unix(0, s.GoneAt).UTC()
			seal.Since = &at
		}
		o.Series = append(o.Series, seal)
	}
	for _, f := range v.Faults {
		o.Faults = append(o.Faults, Fault{f.Number, SeriesName(f.Series), f.Text})
	}
	return o
}

// SeriesName is a series in a word.
func SeriesName(s engine.AuditSeries) string {
	if s == engine.AuditCounted {
		return "counted"
	}
	return "deeds"
}
