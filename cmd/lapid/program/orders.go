package program

import (
	"context"
	"errors"
	"sync/atomic"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/capi"
)

// orders is what the rest of the house asks of the orders of the console.
type orders struct {
	counts capi.OrderCounts
	client atomic.Pointer[capi.Client] // the one that runs; nil: none yet
}

// figures are for the metrics.
func (o *orders) figures() (invalid, failed, asked int64) {
	return o.counts.Invalid(), o.counts.Failed(), o.counts.Asked()
}

// sync is the operator's: all orders are asked for and carried out again.
func (o *orders) sync(ctx context.Context) (*admin.OrdersSynced, error) {
	c := o.client.Load()
	if c == nil {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: "the server has no connection to the Central API: see its log"}
	}
	done, err := c.SyncOrders(ctx, false)
	var known *engine.Error
	if err != nil && !errors.As(err, &known) && ctx.Err() == nil {
		err = &engine.Error{Kind: engine.ErrInvalid, Text: err.Error(), Cause: err}
	}
	return &admin.OrdersSynced{Carried: done.Carried, Invalid: done.Invalid, Passed: done.Passed}, err
}
