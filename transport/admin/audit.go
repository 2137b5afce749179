package admin

import (
	"context"
	"errors"
	"iter"

	"lapid/engine"
)

// AuditRequest asks for rows of the audit.
type AuditRequest struct {
	Query engine.AuditQuery
	Limit int // 0: all
}

// AuditExpected are hashes of rows that the operator has kept, by their numbers.
type AuditExpected struct{ Hashes map[uint64]string }

// listAudit yields rows one by one, those of commits that were answered by now among them.
func (h *Handler) listAudit(ctx context.Context, q *AuditRequest, yield func(*engine.AuditRow) bool) error {
	if err := h.toldBy(ctx); err != nil {
		return err
	}
	n := 0
	return h.engine.Trail().Each(ctx, &q.Query, func(r *engine.AuditRow) bool {
		n++
		return yield(r) && (q.Limit == 0 || n < q.Limit)
	})
}

// toldBy has the audit tell what was committed by now. A disk that takes nothing, or a
// history that cannot be read, is no reason to show nothing.
func (h *Handler) toldBy(ctx context.Context) error {
	if h.Settle != nil {
		if err := h.Settle(ctx); err != nil && !errors.Is(err, engine.ErrRefused) {
			h.log.Warn("the audit is shown without who came last", "error", err)
		}
	}
	err := h.engine.Trail().Follow(ctx, false)
	if errors.Is(err, engine.ErrRefused) || errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrClosed) {
		return err
	}
	if err != nil {
		h.log.Warn("the audit is shown without what came last", "error", err)
	}
	return nil
}

func (h *Handler) verifyAudit(ctx context.Context, q *AuditExpected) (*engine.AuditVerdict, error) {
	if err := h.toldBy(ctx); err != nil {
		return nil, err
	}
	return h.engine.Trail().Verify(ctx, q.Hashes)
}

// Audit yields rows of the audit. An error is the last thing it yields: engine.ErrRefused
// where none is kept.
func (c *Client) Audit(ctx context.Context, q *AuditRequest) iter.Seq2[*engine.AuditRow, error] {
	return each[engine.AuditRow](ctx, c, "/audit/list", q)
}

// VerifyAudit has every row be looked at.
func (c *Client) VerifyAudit(ctx context.Context, q *AuditExpected) (*engine.AuditVerdict, error) {
	return ask[engine.AuditVerdict](ctx, c, "/audit/verify", q)
}
