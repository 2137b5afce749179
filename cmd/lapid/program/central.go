package program

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/transport"
	"lapid/transport/capi"
)

// connection is that to the Central API: one client at a time, which a reload may exchange.
// Nothing of the server waits for it.
type connection struct {
	figures capi.Figures
	rules   capi.Rules  // of sharing, by which the history was looked at
	next    chan change // at most one: the latest

	unusable atomic.Pointer[engine.Trouble] // configured, and cannot be; nil: it can
}

// change is what a connection shall be from now on.
type change struct {
	options  *capi.Options // nil: none
	forget   bool          // with no options: there will be none, and no history is kept for it
	unusable error         // why there are none though there should be
	renew    bool          // with the options that are in force: the client logs in anew
	turned   chan struct{} // closed once what was before takes nothing on any more; nil: nobody waits
}

func newConnection() *connection { return &connection{next: make(chan change, 1)} }

// turn has the connection be changed. One goroutine at a time may call it.
func (c *connection) turn(to change) {
	select {
	case <-c.next: // overtaken
	default:
	}
	c.next <- to
	if to.unusable == nil {
		c.unusable.Store(nil)
	} else if text := fmt.Sprintf("there is no connection to the Central API: %v: mend the file and reload", to.unusable); c.unusable.Load() == nil || c.unusable.Load().Text != text {
		c.unusable.Store(&engine.Trouble{Kind: engine.TroubleCentral, Text: text, Since: time.Now().UnixNano()})
	}
}

// wanted is the change that the configuration asks for.
func (p *program) wanted() change {
	if p.noCentral {
		return change{}
	}
	// A file that cannot be read today may be mended tomorrow.
	return change{options: p.central, unusable: p.unusable, forget: p.central == nil && p.setup.Config.API.Server.Online == nil}
}

// runCentral keeps the connection as it shall be until ctx ends. A client that is exchanged
// first brings away what it has begun, at most five seconds long.
func (p *program) runCentral(ctx context.Context) error {
	var client *capi.Client
	leave := func() {}
	for {
		select {
		case to := <-p.connection.next:
			if to.renew {
				if client != nil {
					client.Renew()
				}
				continue
			}
			leave()
			if to.turned != nil {
				close(to.turned)
			}
			client, leave = p.beginCentral(ctx, to)
		case <-ctx.Done():
			leave()
			return nil
		}
	}
}

// beginCentral starts a client; leave ends it and waits for that.
func (p *program) beginCentral(ctx context.Context, to change) (client *capi.Client, leave func()) {
	p.orders.client.Store(nil)
	if to.options == nil {
		p.connection.figures.Reset()
		if to.forget && p.engine.Writes() {
			if err := capi.Forget(ctx, p.engine); err != nil && ctx.Err() == nil {
				p.log.Warn("the history is kept for signals that are not sent any more", "error", err)
			}
		}
		return nil, func() {}
	}
	o := *to.options
	o.Engine, o.Logger, o.Version, o.Figures = p.engine, p.log.Logger, p.version, &p.connection.figures
	o.Orders, o.Rules = &p.orders.counts, &p.connection.rules
	o.MostEntries = p.bounds.listed
	client, err := capi.New(&o)
	if err != nil {
		p.log.Error("there is no connection to the Central API", "error", err)
		return nil, func() {}
	}
	p.orders.client.Store(client)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.asWriter(ctx, client.Run)
	}()
	return client, func() { cancel(); <-done }
}

// central is what the collector of metrics reads; nil: there is no connection.
func (c *connection) central() *transport.Central {
	r := c.figures.Report()
	if len(r.Jobs) == 0 && !r.LoggedIn {
		return nil
	}
	out := &transport.Central{
		Held: len(r.Held), Failing: len(r.Failing), Enrolled: r.Enrolled,
		SignalsSent: r.SignalsSent, SignalsRefused: r.SignalsRefused, SignalGaps: r.SignalGaps, Waiting: r.Waiting,
	}
	for _, j := range r.Jobs {
		one := transport.CentralJob{Name: j.Name, Well: j.Well, Failed: j.Failed, Failing: !j.Since.IsZero()}
		if !j.LastWell.IsZero() {
			one.LastWell = j.LastWell.Unix()
		}
		out.Jobs = append(out.Jobs, one)
	}
	return out
}

// trouble is what an operator should look at though the server is ready; nil: nothing.
func (c *connection) trouble() *engine.Trouble {
	if t := c.unusable.Load(); t != nil {
		return t
	}
	text, since := c.figures.Warning(time.Now())
	if text == "" {
		return nil
	}
	return &engine.Trouble{Kind: engine.TroubleCentral, Text: text, Since: since.UnixNano()}
}
