package notify

import (
	"context"
	"time"

	"lapid/engine"
)

// Try sends a configuration's message about an alert that nobody reported, once. An error
// says why it was not taken, or cannot be put into words.
func Try(ctx context.Context, c *Configuration) error {
	format, err := compile(c.Format)
	if err != nil {
		return err
	}
	s, err := newSender(c)
	if err != nil {
		return err
	}
	defer closeSender(s)
	now := engine.StampOf(time.Now().UTC())
	const who, why = "10.10.10.10", "test alert"
	a := alertOf(&engine.Alert{Scenario: why, Message: why, EventsCount: 1, StartAt: now, StopAt: now, Source: engine.Source{Scope: engine.ScopeIP, Value: who, IP: who}},
		[]engine.PlannedDecision{{Until: now.At + int64(4*time.Hour), Scope: engine.ScopeIP, Value: who, Type: "ban", Origin: engine.OriginManual, Scenario: why}})
	text, err := render(format, []*Alert{a})
	if err != nil {
		return err
	}
	return (&courier{Configuration: c, sender: s}).attempt(ctx, text)
}
