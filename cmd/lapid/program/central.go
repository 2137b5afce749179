package program

import (
	"context"

	"lapid/transport/capi"
)

// centralAPI is the client of the Central API, nil where there is no connection. Nothing
// of the server waits for it.
func (p *program) centralAPI(ctx context.Context) *capi.Client {
	if p.central == nil {
		// A file that cannot be read today may be mended tomorrow.
		if a := p.setup.Config.API.Server; a.Online == nil {
			if err := capi.Forget(ctx, p.engine); err != nil {
				p.log.Warn("the history is kept for signals that are not sent any more", "error", err)
			}
		}
		return nil
	}
	if p.noCentral {
		p.log.Info("there is no connection to the Central API in this run: -no-capi was given")
		return nil
	}
	o := *p.central
	o.Engine, o.Logger, o.Version, o.Orders = p.engine, p.log.Logger, p.version, &p.orders.counts
	c, err := capi.New(&o)
	if err != nil {
		p.log.Error("there is no connection to the Central API", "error", err)
		return nil
	}
	p.orders.client.Store(c)
	return c
}
