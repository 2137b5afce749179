package admin

import (
	"context"
	"strings"
	"time"

	"lapid/engine"
)

// DecisionExtension asks for another end of the running decisions of a filter. The zero filter is none of
// them: an extension says what it is for.
type DecisionExtension struct {
	DecisionFilter
	By      int64 // nanoseconds
	FromEnd bool  // By counts from each one's end, and may be less than 0; else it is what is left from now on
}

// Extended says which decisions end at another time, or would, and which stay as they are.
// It is what every interface shows.
type Extended struct {
	N     int                `json:"count"`
	Dry   bool               `json:"dry_run,omitempty"`
	Over  int                `json:"would_be_over"` // they would be over: delete them
	Lists int                `json:"of_lists"`      // they are of a list, whose next content would begin them anew
	Same  int                `json:"unchanged"`     // they end there already
	First []ExtendedDecision `json:"first"`         // at most engine.ShownExtended
}

// ExtendedDecision is a decision as it was, and when it ends now.
type ExtendedDecision struct {
	Decision
	Until time.Time `json:"until"`
}

// ParseExtension reads how an end is to be moved: "+4h" and "-1h" count from each one's end, "4h" and "forever" are what is
// left from now on.
func ParseExtension(text string) (engine.Extension, error) {
	rest := strings.TrimSpace(text)
	x, less := engine.Extension{}, strings.HasPrefix(rest, "-")
	if x.FromEnd = less || strings.HasPrefix(rest, "+"); x.FromEnd {
		rest = rest[1:]
	}
	grammar, err := decisionDuration(rest)
	if err == nil {
		x.By, err = engine.ParseDuration(grammar)
	}
	if err != nil || x.By <= 0 {
		return x, invalid("%q is no extension: give how much longer (+4h), how much shorter (-1h), or what shall be left from now on (4h, forever)", text)
	}
	if less {
		x.By = -x.By
	}
	return x, nil
}

// extendDecisions moves the end of what matches, in one commit.
func (h *Handler) extendDecisions(ctx context.Context, q *DecisionExtension) (*Extended, error) {
	now, view := h.engine.Now(), h.engine.View()
	x := engine.Extension{By: time.Duration(q.By), FromEnd: q.FromEnd}
	var done engine.Extended
	var err error
	switch {
	case q.Listed != nil:
		return nil, invalid("a list cannot be extended: name decisions")
	case q.ID != 0 && q.Dry:
		done, err = h.engine.WouldExtendDecision(engine.DecisionID(q.ID), x, now)
	case q.ID != 0:
		done, err = h.engine.ExtendDecision(ctx, engine.DecisionID(q.ID), x, now)
	case !q.Narrows():
		return nil, invalid("nothing says which decisions are meant")
	default:
		var query *engine.Query
		if query, err = q.query(view, now); err != nil {
			return nil, err
		}
		if q.Dry {
			done, err = h.engine.WouldExtendDecisions(query, x)
		} else {
			done, err = h.engine.ExtendDecisions(ctx, query, x)
		}
	}
	if err != nil {
		return nil, err
	}
	out := &Extended{N: done.N, Dry: q.Dry, Over: done.Over, Lists: done.Lists, Same: done.Same, First: []ExtendedDecision{}}
	for _, one := range done.First {
		out.First = append(out.First, ExtendedDecision{decisionOf(one.Decision, now), time.Unix(0, one.Until).UTC()})
	}
	if !q.Dry && out.N > 0 {
		h.logChange(ctx, "extended decisions", "decisions", out.N, "asked", q.asked(), "by", x.By, "from_end", x.FromEnd, "first", out.First[0].named())
	}
	return out, nil
}

// ExtendDecisions moves the end of running decisions, or says what it would do (Dry); engine.ErrNotFound for an id,
// engine.ErrInvalid for too many.
func (c *Client) ExtendDecisions(ctx context.Context, q *DecisionExtension) (*Extended, error) {
	return ask[Extended](ctx, c, "/decisions/extend", q)
}
