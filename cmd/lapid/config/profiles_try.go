package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"lapid/engine"
	"lapid/engine/profile"
)

// TrialRules are profiles as they are written, on their way to where the history is, to judge an alert
// that is not stored.
type TrialRules struct {
	Specs     []profile.Spec
	Sends     []string // the notifications that there are
	KeepGoing bool     // on_filter_error: continue
}

// TracedProfile is what one profile has said, and TracedPart what a filter of it has asked for.
type (
	TracedProfile = profile.Traced
	TracedPart    = profile.TracedPart
)

// Trial is what would come of the alert.
type Trial struct {
	Profiles    []TracedProfile `json:"profiles"`
	Refused     string          `json:"refused,omitempty"`     // a filter has failed: the whole request would be refused
	Allowlisted string          `json:"allowlisted,omitempty"` // the alert would be dropped, and no profile asked
	Stored      bool            `json:"stored"`                // the alert
	Simulated   bool            `json:"simulated"`
	Decisions   []TrialDecision `json:"decisions"`
	Discarded   int             `json:"discarded,omitempty"` // decisions that cannot be stored
	Notify      []TrialNotice   `json:"notify"`
	History     bool            `json:"history"` // a store was asked; else nothing was ever decided
}

// TrialDecision is a decision that would be stored.
type TrialDecision struct {
	Type     string `json:"type"`
	Scope    string `json:"scope"`
	Value    string `json:"value"`
	Origin   string `json:"origin"`
	Scenario string `json:"scenario"`
	Until    string `json:"until"`    // RFC 3339
	Duration string `json:"duration"` // what would be left of it
}

// TrialNotice is a notification that would be due.
type TrialNotice struct {
	Name      string `json:"name"`
	Type      string `json:"type,omitempty"`
	Undecided bool   `json:"undecided"` // it is told of the alert without decisions: the profile matched before one decided
}

// ProfileFiles are the files that profiles are read from, in their order; none: the stock rules hold.
func (s *Setup) ProfileFiles() []string {
	a := s.Config.API.Server
	if a == nil || a.ProfilesPath == "" {
		return nil
	}
	return []string{a.ProfilesPath + ".local", a.ProfilesPath}
}

// TrialRules reads and checks the rules as a start does; warnings go to log. kinds are the types of the notifications.
func (s *Setup) TrialRules(log *slog.Logger) (r *TrialRules, kinds map[string]string, err error) {
	specs, _, sent, err := s.Profiles(log)
	if err != nil {
		return nil, nil, err
	}
	r, kinds = &TrialRules{Specs: specs, KeepGoing: s.Own.OnFilterError == "continue"}, map[string]string{}
	for _, n := range sent {
		r.Sends = append(r.Sends, n.Name)
		kinds[n.Name] = n.Type
	}
	return r, kinds, nil
}

// TryRules judges an alert by TrialRules, which come as JSON, as it would be judged now (Unix nanoseconds). v may
// be nil: then nothing was ever decided. The rules are compiled anew, by the compiler that a server has, and
// their own log goes nowhere.
func TryRules(rules json.RawMessage, a *engine.Alert, v *engine.View, now int64) (any, error) {
	var r TrialRules
	if err := json.Unmarshal(rules, &r); err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	sends := map[string]bool{}
	for _, name := range r.Sends {
		sends[name] = true
	}
	set, _, err := profile.Compile(r.Specs, &profile.Options{
		Logger: slog.New(slog.DiscardHandler), KeepGoing: r.KeepGoing, Sends: func(name string) bool { return sends[name] },
	})
	if err != nil {
		return nil, fmt.Errorf("failed to compile profiles: %w", err)
	}
	trace := set.Trace()
	f, err := engine.Foresee(a, trace, v, now)
	t := &Trial{Profiles: trace.Profiles, Simulated: a.Simulated, Decisions: []TrialDecision{}, Notify: []TrialNotice{}, History: v != nil}
	switch {
	case errors.Is(err, engine.ErrProfile):
		t.Refused = err.Error()
		return t, nil
	case err != nil:
		return nil, err
	}
	t.Allowlisted, t.Stored, t.Discarded = f.Allowlisted, !f.Dropped, f.Discarded
	for i := range f.Decisions {
		d := &f.Decisions[i]
		until := time.Unix(0, d.Until)
		t.Decisions = append(t.Decisions, TrialDecision{d.Type, string(d.Scope), d.Value, d.Origin, d.Scenario,
			until.UTC().Format(time.RFC3339), until.Sub(time.Unix(0, now)).Truncate(time.Second).String()})
	}
	for i, name := range f.Verdict.Notify {
		t.Notify = append(t.Notify, TrialNotice{Name: name, Undecided: i < f.Verdict.Undecided})
	}
	if f.Dropped {
		t.Notify = t.Notify[:0] // of what is not stored nobody is told
	}
	return t, nil
}
