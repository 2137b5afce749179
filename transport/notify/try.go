package notify

import (
	"context"
	"time"

	"lapid/engine"
)

// TestAlert is an alert that nobody reported, as the field's tools try notifications with.
func TestAlert() *Alert {
	now := engine.StampOf(time.Now().UTC())
	const who, why = "10.10.10.10", "test alert"
	return alertOf(&engine.Alert{Scenario: why, Message: why, EventsCount: 1, StartAt: now, StopAt: now, Source: engine.Source{Scope: engine.ScopeIP, Value: who, IP: who}},
		[]engine.PlannedDecision{{Until: now.At + int64(4*time.Hour), Scope: engine.ScopeIP, Value: who, Type: "ban", Origin: engine.OriginManual, Scenario: why}})
}

// Try sends a configuration's message about one alert, once, and not by way of the history.
// An error says why it was not taken, or cannot be put into words. What only some of its
// receivers will ever have is an error too.
func Try(ctx context.Context, c *Configuration, a *Alert) error {
	format, err := compile(c.Format)
	if err != nil {
		return err
	}
	s, err := newSender(c)
	if err != nil {
		return err
	}
	defer closeSender(s)
	hidden := maskOf(c)
	text, err := render(format, []*Alert{a})
	if err != nil {
		return hidden.error(err)
	}
	return hidden.error((&courier{Configuration: c, sender: s}).attempt(ctx, text))
}
