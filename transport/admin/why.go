package admin

import (
	"context"
	"time"

	"lapid/engine"
)

// WhyRequest asks why something is decided against, or is not. The answer is engine.Why, in JSON as it
// stands.
type WhyRequest struct {
	Target  string
	Bouncer string `json:",omitempty"` // "": all
	At      int64  `json:",omitempty"` // Unix nanoseconds; 0: now
	// Ago is nanoseconds before the server's now, or after it when negative; then At is 0.
	Ago      int64 `json:",omitempty"`
	Most     int   `json:",omitempty"` // as in engine.WhyQuery
	EveryRow bool  `json:",omitempty"`
}

// why answers from one view. It is a question to memory: it waits for no writer, and none waits for it.
func (h *Handler) why(ctx context.Context, q *WhyRequest) (*engine.Why, error) {
	at := q.At
	if q.Ago != 0 {
		at = engine.Later(h.engine.Now(), -time.Duration(q.Ago))
	}
	return h.engine.Why(ctx, &engine.WhyQuery{Target: q.Target, Bouncer: q.Bouncer, At: at, Most: q.Most, EveryRow: q.EveryRow})
}

// Why asks why something is decided against, or is not. engine.ErrInvalid for what cannot be read,
// engine.ErrNotFound for a decision, an alert or a bouncer that is not there.
func (c *Client) Why(ctx context.Context, q *WhyRequest) (*engine.Why, error) {
	return ask[engine.Why](ctx, c, "/why", q)
}
