package capi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// OrdersURL is where the orders of the console are asked for unless the credentials say
// otherwise.
const OrdersURL = "https://papi.api.crowdsec.net/"

const (
	pollTimeout = 45 * time.Second // how long the service holds a question
	mostPoll    = 32 << 20         // of an answer with orders, in bytes
	mostOrders  = 10_000           // of one answer
	// earliest asks for all orders that there are.
	earliest = -62135596800000
	// planLook is how often the token is looked at for an enrolment.
	planLook = 20 * time.Second
	// leastPoll: an answer that brings nothing sooner than that is followed by a pause.
	leastPoll = time.Second
	// tellAgain is how often it is told that orders cannot be fetched.
	tellAgain = 30 * time.Minute
	// nothingNew is how the service says that there are no orders.
	nothingNew = "no events before timeout"
)

// Secrets under which the engine keeps how far orders came in.
const (
	// LastOrder is when the last order was received, by our own clock, in RFC 3339.
	LastOrder   = "papi:last_pull"
	sinceSecret = "papi:since"
)

// OrderCounts are what became of the orders of the console. Any goroutine may read them.
type OrderCounts struct{ carried, invalid, failed, asked atomic.Int64 }

// Carried is how many orders were carried out since the start.
func (n *OrderCounts) Carried() int64 { return n.carried.Load() }

// Invalid is how many orders made no sense or failed.
func (n *OrderCounts) Invalid() int64 { return n.invalid.Load() }

// Failed is how many questions for orders were not answered, or not understood.
func (n *OrderCounts) Failed() int64 { return n.failed.Load() }

// Asked is when orders were last asked for, in Unix seconds; 0: never.
func (n *OrderCounts) Asked() int64 { return n.asked.Load() }

// mayPoll tells why orders are not asked for with such a token; "": they are.
func (c *claims) mayPoll() (why string) {
	switch {
	case !c.enrolled():
		return "this server is not enrolled in the console (lapid console enroll)"
	case c.Plan != "ENTERPRISE" && c.Plan != "SECOPS":
		return fmt.Sprintf("the subscription is %q, and has no orders", c.Plan)
	}
	return ""
}

// account is what the token in use says of this server; it logs in where there is none.
func (s *session) account(ctx context.Context) (claims, error) {
	text, err := s.bearer(ctx)
	if err != nil {
		return claims{}, err
	}
	c, _ := claimsOf(text) // what cannot be read says nothing
	return c, nil
}

// forget has the next request log in again.
func (s *session) forget(ctx context.Context) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	s.loaded, s.token = true, token{}
	return nil
}

// poller asks for orders, and carries them out.
type poller struct {
	c     *Client
	since int64 // Unix milliseconds, by the service's clock: all before is done with
	again pauses
	told  time.Time // that it fails; zero: it goes well
}

func (c *Client) newPoller() *poller {
	return &poller{c: c, since: c.loadSince(), again: pauses{first: time.Second, longest: 30 * time.Second}}
}

// keptSince is since as it is kept.
type keptSince struct {
	Of    string `json:"of"` // base and login
	Since int64  `json:"since"`
}

// papiJob asks for orders as long as the token says that this server is enrolled and has a
// plan for them, which is looked at with every new token.
func (c *Client) papiJob(ctx context.Context) {
	p := c.newPoller()
	logins := pauses{first: time.Minute, longest: 10 * time.Minute}
	told, unpaid := "", "" // why nothing is asked for; the plan that the service takes no money for
	for ctx.Err() == nil {
		who, err := c.session.account(ctx)
		if err != nil {
			c.awaitLogin(ctx, logins.failed(c.o.Jitter)) // its failure is told by the job for lists
			continue
		}
		logins.well()
		why := who.mayPoll()
		if why == "" && unpaid != "" && unpaid == who.Plan {
			why = fmt.Sprintf("the service wants to be paid for the subscription %q", unpaid)
		}
		if why != told {
			if !p.told.IsZero() {
				p.well(ctx) // what is not asked for does not fail
			}
			c.tellPolling(why)
			told = why
		}
		if why != "" {
			_ = c.session.pause(ctx, planLook)
			continue
		}
		unpaid = ""
		if p.ask(ctx) {
			unpaid = who.Plan
		}
	}
}

// awaitLogin waits, and no longer than until another job has logged in.
func (c *Client) awaitLogin(ctx context.Context, wait time.Duration) {
	for ; wait > 0 && ctx.Err() == nil; wait -= planLook {
		_ = c.session.pause(ctx, min(wait, planLook))
		if c.session.loggedIn(ctx) {
			return
		}
	}
}

// loggedIn tells whether there is a token that can be used.
func (s *session) loggedIn(ctx context.Context) bool {
	done, err := s.alone(ctx)
	if err != nil {
		return false
	}
	defer done()
	s.load()
	return s.token.good(s.o.Now())
}

// ask asks once, and waits a little after what failed. It tells whether the service wants to
// be paid.
func (p *poller) ask(ctx context.Context) (unpaid bool) {
	c := p.c
	begun := c.o.Now()
	moved, err := p.turn(ctx)
	var refused *Refusal
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusPaymentRequired:
		p.well(ctx)
		return true
	case err != nil:
		c.went(ctx, JobOrders, err)
		wait := p.again.failed(c.o.Jitter)
		c.o.Orders.failed.Add(1)
		if now := c.o.Now(); p.told.IsZero() || now.Sub(p.told) >= tellAgain {
			p.told = now
			c.warn(ctx, "orders of the console cannot be fetched: it is tried again until it goes well", "error", err, "again_in", wait.Round(time.Second).String())
		}
		_ = c.session.pause(ctx, wait)
		return false
	}
	p.well(ctx)
	if !moved && c.o.Now().Sub(begun) < leastPoll {
		_ = c.session.pause(ctx, leastPoll) // a service that answers at once would be asked without end
	}
	return false
}

// well notes that nothing fails any more.
func (p *poller) well(ctx context.Context) {
	p.c.went(ctx, JobOrders, nil)
	if !p.told.IsZero() {
		p.c.log.Info("orders of the console do not fail any more")
	}
	p.told = time.Time{}
	p.again.well()
}

func (c *Client) tellPolling(why string) {
	if why == "" {
		c.log.Info("orders of the console are asked for", "url", c.ordersURL())
		return
	}
	c.log.Info("orders of the console are not asked for: " + why)
}

// loadSince is where an earlier run came to, in whole seconds: what came in the last of them
// comes again, and does no harm.
func (c *Client) loadSince() int64 {
	var kept keptSince
	text := c.o.Engine.View().Secret(sinceSecret)
	if at, ok := movedSince(c.o.Engine); ok && text == nil {
		return at - at%1000 // where the server was whose database was taken over
	}
	if json.Unmarshal(text, &kept) != nil || kept.Of != c.session.whose() || kept.Since < 0 {
		return earliest
	}
	return kept.Since - kept.Since%1000
}

// turn asks once and carries out what comes, oldest first. It tells whether the place moved.
// An error means that the same is asked for again: orders are carried out at least once.
func (p *poller) turn(ctx context.Context) (moved bool, err error) {
	a, err := p.c.poll(ctx, p.since, pollTimeout)
	if err != nil {
		return false, err
	}
	if _, err := p.c.carryOut(ctx, a.events, false); err != nil {
		return false, err
	}
	if len(a.events) == 0 || a.until == p.since || a.until == 0 {
		return false, nil
	}
	p.since = a.until
	return true, p.keep(ctx)
}

func (p *poller) keep(ctx context.Context) error {
	b, err := json.Marshal(keptSince{p.c.session.whose(), p.since})
	if err != nil {
		return err
	}
	return p.c.o.Engine.KeepSecret(ctx, sinceSecret, b)
}

func (c *Client) ordersURL() string {
	if c.o.Credentials.Orders == "" {
		return OrdersURL
	}
	return c.o.Credentials.Orders
}

// pollAnswer is one answer, its orders oldest first.
type pollAnswer struct {
	events []*event
	until  int64 // Unix milliseconds; 0: it does not say
}

// poll asks once. The path of the address is replaced, as other servers do it.
func (c *Client) poll(ctx context.Context, since int64, timeout time.Duration) (*pollAnswer, error) {
	u, err := url.Parse(c.ordersURL())
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath = "/v1/decisions/stream/poll", ""
	u.RawQuery = url.Values{"since_time": {strconv.FormatInt(since, 10)}, "timeout": {strconv.Itoa(int(timeout / time.Second))}}.Encode()
	c.o.Orders.asked.Store(c.o.Now().Unix())
	a := &pollAnswer{}
	err = c.session.ask(ctx, &request{method: http.MethodGet, path: "v1/decisions/stream/poll", at: u.String(), read: a.read})
	return a, err
}

// read reads one document after the other, to the end of the body. Of an answer that is not
// whole nothing is used.
func (a *pollAnswer) read(body io.Reader) error {
	in := &io.LimitedReader{R: body, N: mostPoll + 1}
	d := json.NewDecoder(in)
	for n := 0; ; n++ {
		var doc struct {
			Events    []json.RawMessage `json:"events"`
			Timestamp int64             `json:"timestamp"`
			Error     string            `json:"error"`
		}
		err := d.Decode(&doc)
		switch {
		case in.N <= 0:
			return fmt.Errorf("it is longer than %d MiB", mostPoll>>20)
		case errors.Is(err, io.EOF) && n > 0:
			a.arrange()
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("it broke off: nothing of it is used")
		case err != nil:
			return fmt.Errorf("it is no JSON of the kind that was asked for: %w", err)
		case doc.Error != "" && doc.Error != nothingNew:
			return fmt.Errorf("it says %q", shortened(doc.Error))
		case len(a.events)+len(doc.Events) > mostOrders:
			return fmt.Errorf("it has more than %d orders", mostOrders)
		}
		a.until = max(a.until, doc.Timestamp)
		for _, raw := range doc.Events {
			a.events = append(a.events, readEvent(raw))
		}
	}
}

// arrange puts the oldest order first. Of one moment the last comes first: the service sends
// the newest first.
func (a *pollAnswer) arrange() {
	slices.Reverse(a.events)
	slices.SortStableFunc(a.events, func(x, y *event) int {
		switch {
		case x.at < y.at:
			return -1
		case x.at > y.at:
			return 1
		}
		return 0
	})
	if n := len(a.events); a.until == 0 && n > 0 {
		a.until = a.events[n-1].at
	}
}

// Permissions are what the service lets this server have of the console.
type Permissions struct {
	Status     string   `json:"status"`
	Plan       string   `json:"plan"`
	Categories []string `json:"categories"`
}

// AskPermissions logs in once, keeps nothing, and asks what orders there are for this server.
// o.Engine is not needed. An error may be a *Refusal.
func AskPermissions(ctx context.Context, o Options) (Permissions, Account, error) {
	var p Permissions
	if err := o.alone(); err != nil {
		return p, Account{}, err
	}
	c := &Client{o: o, session: newSession(&o)}
	t, err := c.session.newToken(ctx, []string{})
	if err != nil {
		return p, Account{}, err
	}
	said, _ := claimsOf(t.Text)
	who := Account{Enrolled: said.enrolled(), Plan: said.Plan}
	r := &request{method: http.MethodGet, path: "v1/permissions", at: c.ordersURL() + "v1/permissions", read: readJSON(&p)}
	return p, who, c.session.send(ctx, r, &t.Text)
}

// Synced is what came of SyncOrders: orders that were carried out, that made no sense or
// failed, and that were passed over.
type Synced struct{ Carried, Invalid, Passed int }

// SyncOrders asks once for all orders that there are and carries out those about alerts and
// decisions; those about lists and logins are passed over, and where the polling goes on is
// not changed. Then it reports what was deleted, and sends signals, if no job does that.
func (c *Client) SyncOrders(ctx context.Context, alone bool) (done Synced, err error) {
	ctx = engine.As(ctx, central)
	who, err := c.session.account(ctx)
	if err == nil && who.mayPoll() != "" { // a token may be older than the enrolment
		if err = c.session.forget(ctx); err == nil {
			who, err = c.session.account(ctx)
		}
	}
	if err != nil {
		return done, err
	}
	if why := who.mayPoll(); why != "" {
		return done, errors.New("orders cannot be asked for: " + why)
	}
	a, err := c.poll(ctx, earliest, time.Second)
	if err != nil {
		return done, err
	}
	if done, err = c.carryOut(ctx, a.events, true); err == nil && alone {
		err = errors.Join(c.reportOnce(ctx), c.pushOnce(ctx))
	}
	return done, err
}

// readEvent reads an event; what is wrong with it is kept for the moment at which it would be
// carried out.
func readEvent(raw []byte) *event {
	var said struct {
		ID        string `json:"id"`
		Timestamp int64  `json:"timestamp"`
		Data      string `json:"data"`
	}
	e := &event{}
	err := json.Unmarshal(raw, &said)
	e.at = said.Timestamp
	if _, ok := engine.ParseUUID(said.ID); err == nil && !ok {
		err = fmt.Errorf("its id %q is no UUID", shortened(said.ID))
	}
	if err == nil {
		err = json.Unmarshal([]byte(said.Data), &e.order)
	}
	e.wrong = err
	return e
}
