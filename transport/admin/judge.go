package admin

import (
	"context"
	"encoding/json"
	"time"

	"lapid/engine"
)

// JudgeRequest asks which notifications the rules in force name for an alert, which need
// not be stored.
type JudgeRequest struct{ Alert *Alert }

// Judged are their names, in the order of the rules, as often as they are named.
type Judged struct{ Notify []string }

// judge stores nothing. An alert with decisions is judged for notifications alone, as one
// that comes in.
func (h *Handler) judge(_ context.Context, q *JudgeRequest) (*Judged, error) {
	if q.Alert == nil {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: "an alert is missing"}
	}
	v, err := h.engine.Judge(alertFrom(q.Alert))
	if err != nil {
		return nil, err
	}
	return &Judged{Notify: v.Notify}, nil
}

// Judge asks which notifications the rules in force name for an alert.
func (c *Client) Judge(ctx context.Context, a *Alert) (*Judged, error) {
	return ask[Judged](ctx, c, "/alerts/judge", JudgeRequest{a})
}

// TrialRequest asks what rules would make of an alert that is not stored.
type TrialRequest struct {
	Alert *Alert
	Rules json.RawMessage
}

// Trialled is what they would; its form is between those who write the rules and those who judge.
type Trialled struct{ Trial json.RawMessage }

// tryProfiles stores nothing.
func (h *Handler) tryProfiles(_ context.Context, q *TrialRequest) (*Trialled, error) {
	if q.Alert == nil || h.TryRules == nil {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: "an alert is missing, or nobody here judges one that is not stored"}
	}
	now := h.engine.Now()
	found, err := h.TryRules(q.Rules, ComingAlert(q.Alert, now), h.engine.View(), now)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(found)
	return &Trialled{text}, err
}

// TryProfiles asks what rules would make of an alert that is not stored.
func (c *Client) TryProfiles(ctx context.Context, a *Alert, rules json.RawMessage) (json.RawMessage, error) {
	t, err := ask[Trialled](ctx, c, "/profiles/try", TrialRequest{a, rules})
	if err != nil {
		return nil, err
	}
	return t.Trial, nil
}

// ComingAlert is an alert as one that comes in at a moment (Unix nanoseconds): times that are missing or cannot be
// read are that moment, as at the Local API.
func ComingAlert(a *Alert, now int64) *engine.Alert {
	out := alertFrom(a)
	out.CreatedAt = now
	for _, s := range []*engine.Stamp{&out.StartAt, &out.StopAt} {
		if *s == (engine.Stamp{}) {
			*s = engine.StampOf(time.Unix(0, now).UTC())
		}
	}
	return out
}

// alertFrom is an alert that was shown, as the rules see one that comes in.
func alertFrom(a *Alert) *engine.Alert {
	out := &engine.Alert{
		MachineID: a.MachineID, Scenario: a.Scenario, ScenarioHash: a.ScenarioHash, ScenarioVersion: a.ScenarioVersion, Message: a.Message,
		Kind: a.Kind, Leakspeed: a.Leakspeed, Capacity: a.Capacity, EventsCount: a.EventsCount, Simulated: a.Simulated, Remediation: a.Remediation,
		StartAt: stampFrom(a.StartAt), StopAt: stampFrom(a.StopAt), StartText: a.StartAt, StopText: a.StopAt, Labels: a.Labels,
		Source: engine.Source{
			AsName: a.Source.AsName, AsNumber: a.Source.AsNumber, Cn: a.Source.Cn, IP: a.Source.IP, Latitude: a.Source.Latitude,
			Longitude: a.Source.Longitude, Range: a.Source.Range, Scope: a.Source.Scope, Value: a.Source.Value,
		},
		Meta: metaFrom(a.Meta),
	}
	for i := range a.Events {
		e := &a.Events[i]
		out.Events = append(out.Events, engine.Event{Timestamp: stampFrom(e.Timestamp), Text: e.Timestamp, Meta: metaFrom(e.Meta)})
	}
	for i := range a.Decisions {
		d := &a.Decisions[i]
		out.Decisions = append(out.Decisions, engine.NewDecision{Duration: d.Duration, Origin: d.Origin, Scenario: d.Scenario,
			Scope: d.Scope, Type: d.Type, Value: d.Value})
	}
	return out
}

// stampFrom reads a moment as it is shown; the zero one, where it is none.
func stampFrom(text string) engine.Stamp {
	for _, form := range []string{time.RFC3339, "2006-01-02 15:04:05.999999999 -0700 MST"} {
		if t, err := time.Parse(form, text); err == nil {
			return engine.StampOf(t)
		}
	}
	return engine.Stamp{}
}

func metaFrom(list []Meta) []engine.Meta {
	out := make([]engine.Meta, len(list))
	for i, m := range list {
		out[i] = engine.Meta(m)
	}
	return out
}
