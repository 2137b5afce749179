package admin

import (
	"context"
	"encoding/json"

	"lapid/engine"
)

// Shadow is a server that stands in front of another, as the operator's verbs ask it. Its methods may be called from
// several goroutines.
type Shadow interface {
	Report() (json.RawMessage, error)            // what came of the comparison so far
	Answer(side string, bouncers []string) error // who answers from now on
	Reset() error                                // begin the comparison anew
}

// Answering asks for who answers: theirs or ours, and with ours these bouncers alone, or all for none.
type Answering struct {
	Side     string
	Bouncers []string
}

// errNoShadow is what other servers say.
var errNoShadow = &engine.Error{Kind: engine.ErrNotFound, Text: "the server that runs is no shadow: 'lapid shadow --upstream http://HOST:PORT --listen HOST:PORT' starts one"}

func (h *Handler) shadowReport(context.Context, *struct{}) (*json.RawMessage, error) {
	if h.Shadow == nil {
		return nil, errNoShadow
	}
	text, err := h.Shadow.Report()
	return &text, err
}

func (h *Handler) shadowAnswer(_ context.Context, q *Answering) (*Done, error) {
	if h.Shadow == nil {
		return nil, errNoShadow
	}
	if err := h.Shadow.Answer(q.Side, q.Bouncers); err != nil {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: err.Error()}
	}
	return &Done{1}, nil
}

func (h *Handler) shadowReset(context.Context, *struct{}) (*Done, error) {
	if h.Shadow == nil {
		return nil, errNoShadow
	}
	return &Done{1}, h.Shadow.Reset()
}

// ShadowReport asks a shadow for what came of the comparison, in JSON (shadow.Report).
func (c *Client) ShadowReport(ctx context.Context) (json.RawMessage, error) {
	text, err := ask[json.RawMessage](ctx, c, "/shadow/report", struct{}{})
	if err != nil {
		return nil, err
	}
	return *text, nil
}

// ShadowAnswer says who answers from now on. What makes no sense is ErrInvalid.
func (c *Client) ShadowAnswer(ctx context.Context, q *Answering) error {
	_, err := ask[Done](ctx, c, "/shadow/answer", q)
	return err
}

// ShadowReset begins the comparison anew.
func (c *Client) ShadowReset(ctx context.Context) error {
	_, err := ask[Done](ctx, c, "/shadow/reset", struct{}{})
	return err
}
