package admin

import (
	"context"

	"lapid/engine"
)

// Orders is how far the orders of the console came in.
type Orders struct {
	Last string // when the last one was received, in RFC 3339; "": never
}

// OrdersSynced is what came of all orders being asked for again.
type OrdersSynced struct {
	Carried int // were carried out, or had been
	Invalid int // made no sense, or failed
	Passed  int // are about lists and logins, and are passed over
}

// lastOrder is the name under which the moment of the last order is kept.
const lastOrder = "papi:last_pull"

func (h *Handler) orders(context.Context, *struct{}) (*Orders, error) {
	return &Orders{Last: string(h.engine.View().Secret(lastOrder))}, nil
}

func (h *Handler) syncOrders(ctx context.Context, _ *struct{}) (*OrdersSynced, error) {
	if h.SyncOrders == nil {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: "nobody here asks for orders of the console"}
	}
	done, err := h.SyncOrders(ctx)
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "had the orders of the console carried out again", "carried_out", done.Carried, "invalid", done.Invalid)
	return done, nil
}

// Orders tells how far the orders of the console came in.
func (c *Client) Orders(ctx context.Context) (*Orders, error) {
	return ask[Orders](ctx, c, "/orders/get", struct{}{})
}

// SyncOrders has all orders of the console be asked for and carried out again, but for those
// about lists and logins; engine.ErrInvalid when the server cannot ask for them.
func (c *Client) SyncOrders(ctx context.Context) (*OrdersSynced, error) {
	return ask[OrdersSynced](ctx, c, "/orders/sync", struct{}{})
}
