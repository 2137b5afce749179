package admin

import (
	"context"

	"lapid/engine"
)

// DecisionRestoration asks for decisions to run again that were ended at a revision.
type DecisionRestoration struct {
	Revision engine.Revision `json:"revision"` // as Ended tells it
	Dry      bool            `json:"dry_run"`
}

// Restored says how many run again, or would, and which stay ended. It is what every interface shows.
type Restored struct {
	N           int  `json:"count"`
	Dry         bool `json:"dry_run,omitempty"`
	Running     int  `json:"running"`     // a decision like them runs on their target, for as long at least
	Allowlisted int  `json:"allowlisted"` // by now
	Over        int  `json:"over"`        // their time is
	Lists       int  `json:"of_lists"`    // which set their own ends
}

// restoreDecisions takes the end of decisions back, in one commit.
func (h *Handler) restoreDecisions(ctx context.Context, q *DecisionRestoration) (*Restored, error) {
	done, err := h.engine.RestoreDecisions(ctx, q.Revision, q.Dry)
	if err != nil {
		return nil, err
	}
	if !q.Dry && done.N > 0 {
		h.logChange(ctx, "restored decisions", "decisions", done.N, "ended_at_revision", uint64(q.Revision))
	}
	return &Restored{done.N, q.Dry, done.Running, done.Allowlisted, done.Over, done.Lists}, nil
}

// RestoreDecisions has decisions run again that an operator has ended; engine.ErrNotFound where none was ended at that
// revision, engine.ErrInvalid for too many.
func (c *Client) RestoreDecisions(ctx context.Context, q *DecisionRestoration) (*Restored, error) {
	return ask[Restored](ctx, c, "/decisions/restore", q)
}
