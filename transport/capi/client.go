package capi

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"lapid/engine"
)

// Client keeps this server in step with the Central API.
type Client struct {
	o       Options
	log     *slog.Logger
	session *session
	links   *http.Client // for what a link names: without the token

	pulling chan struct{} // one token: whoever has it may pull, and owns what follows
	known   *state        // of lists; nil: not loaded yet
	obeying chan struct{} // one token: whoever has it carries out an order
}

// New makes a client; it asks nobody yet. An error says which field of the credentials
// is missing or cannot be used.
func New(o *Options) (*Client, error) {
	c := &Client{o: *o, pulling: make(chan struct{}, 1), obeying: make(chan struct{}, 1)}
	if err := c.o.complete(); err != nil {
		return nil, err
	}
	c.log = c.o.Logger
	c.session = newSession(&c.o)
	c.links = &http.Client{Transport: newTransport(&c.o), CheckRedirect: checkLink}
	return c, nil
}

// Renew has the client log in anew within half a minute, whatever its token is worth: what
// this server is to the service may have changed. Any goroutine may call it.
func (c *Client) Renew() { c.session.stale.Store(true) }

// Run does the jobs until ctx ends, and has left nothing behind when it returns. What fails
// is said in the log and tried again.
func (c *Client) Run(ctx context.Context) {
	ctx = engine.As(ctx, central)
	var jobs sync.WaitGroup
	for _, job := range []func(context.Context){c.pullJob, c.pushJob, c.presenceJob, c.usageJob, c.papiJob, c.reportJob} {
		jobs.Go(func() { job(ctx) })
	}
	jobs.Wait()
	c.session.http.CloseIdleConnections()
	c.links.CloseIdleConnections()
}

// went notes how a turn of a job ended, but for what only failed because the server ends.
func (c *Client) went(ctx context.Context, job string, err error) {
	if ctx.Err() == nil {
		c.o.Figures.went(job, err, c.o.Now())
	}
}

// pauses grow while something fails.
type pauses struct{ first, longest, next time.Duration }

// failed is how long to wait before it is tried again: it doubles, and chance takes up to
// a quarter off, so that many servers do not come at once.
func (p *pauses) failed(jitter func(time.Duration) time.Duration) time.Duration {
	p.next = min(max(2*p.next, p.first), p.longest)
	return p.next - jitter(p.next/4)
}

func (p *pauses) well() { p.next = 0 }

// around is a period with chance to both sides.
func (c *Client) around(period, spread time.Duration) time.Duration {
	return period - spread + c.o.Jitter(2*spread)
}
