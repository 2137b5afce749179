package capi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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
	mostPoll    = 1 << 30          // of an answer with orders, in bytes; it is read piece by piece
	mostOrder   = 32 << 20         // of one order, in bytes
	// mostOrders and mostKept, in bytes, are carried out of one answer, the oldest ones; the
	// next question asks for the others.
	mostOrders = 10_000
	mostKept   = 32 << 20
	// mostPassed is how many orders are remembered that may come again.
	mostPassed = 1 << 20
	// clocksDiffer is by how much the service's clock may be ahead of this one.
	clocksDiffer = 5 * time.Minute
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
	// passed are orders that are done with and may come again, since they are younger than
	// since, and their times.
	passed map[orderKey]int64
	again  pauses
	told   time.Time // that it fails; zero: it goes well
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
	if now := c.o.Now(); kept.Since > now.Add(clocksDiffer).UnixMilli() {
		return now.Unix() * 1000 // an older program believed an answer from the future
	}
	return kept.Since - kept.Since%1000
}

// turn asks once and carries out what comes, oldest first. It tells whether the place moved.
// An error means that the same is asked for again: orders are carried out at least once.
func (p *poller) turn(ctx context.Context) (moved bool, err error) {
	a, err := p.c.poll(ctx, p.since, pollTimeout, p.passed)
	if err != nil {
		return false, err
	}
	if _, err := p.c.carryOut(ctx, a.events, false); err != nil {
		return false, err
	}
	if a.more {
		p.c.log.Info("more orders of the console wait than are carried out at once: the oldest come first", "carried_out_now", len(a.events))
	}
	if moved, err = p.pass(a); !moved || err != nil {
		return false, err
	}
	return true, p.keep(ctx)
}

// pass goes on behind what was carried out. It tells whether the place moved.
func (p *poller) pass(a *pollAnswer) (moved bool, err error) {
	if len(a.events) == 0 {
		return false, nil
	}
	until := a.until
	if now := p.c.o.Now(); until > now.Add(clocksDiffer).UnixMilli() {
		until = now.UnixMilli() // otherwise nothing would come until then
	}
	if a.more { // of one moment some may be left
		until = max(min(until, a.left-1), p.since)
	} else if until == 0 {
		until = p.since
	}
	maps.DeleteFunc(p.passed, func(_ orderKey, at int64) bool { return at < until })
	for _, e := range a.events {
		if e.at > until || a.more && e.at == until {
			if p.passed == nil {
				p.passed = map[orderKey]int64{}
			}
			p.passed[e.key] = e.at
		}
	}
	moved, p.since = until != p.since, until
	if len(p.passed) > mostPassed {
		return moved, fmt.Errorf("more than %d orders have one time, or one that is still to come, and nothing behind them is carried out: have fewer of them in the console", mostPassed)
	}
	return moved, nil
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

// orderKey tells orders apart by all that they say.
type orderKey [16]byte

// pollAnswer is one answer, its orders oldest first.
type pollAnswer struct {
	events []*event
	until  int64 // Unix milliseconds; 0: it does not say
	more   bool  // it has orders beyond these
	left   int64 // the time of the oldest of them

	passed map[orderKey]int64 // these are left out
	bytes  int
	read   int // orders
}

// poll asks once. The path of the address is replaced, as other servers do it.
func (c *Client) poll(ctx context.Context, since int64, timeout time.Duration, passed map[orderKey]int64) (*pollAnswer, error) {
	u, err := url.Parse(c.ordersURL())
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath = "/v1/decisions/stream/poll", ""
	u.RawQuery = url.Values{"since_time": {strconv.FormatInt(since, 10)}, "timeout": {strconv.Itoa(int(timeout / time.Second))}}.Encode()
	c.o.Orders.asked.Store(c.o.Now().Unix())
	a := &pollAnswer{passed: passed}
	err = c.session.ask(ctx, &request{method: http.MethodGet, path: "v1/decisions/stream/poll", at: u.String(), read: a.readPoll})
	return a, err
}

// readPoll reads one document after the other, to the end of the body, and keeps the oldest
// orders. Of an answer that is not whole nothing is used.
func (a *pollAnswer) readPoll(body io.Reader) error {
	p := newPieces(body, mostPoll, mostOrder)
	for n := 0; ; n++ {
		p.next()
		var err error
		if p.More() {
			err = p.fields(func(name string) error { return a.field(p, name) })
		} else if _, err = p.Token(); err == io.EOF && n > 0 {
			a.arrange()
			return nil
		}
		switch {
		case p.in.piece <= 0 || p.in.most <= 0:
			return fmt.Errorf("%w: no order is carried out until the console has fewer, or smaller ones, for this server (lapid papi sync asks for the same)", err)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("it broke off: nothing of it is used")
		case err != nil:
			return err
		}
	}
}

// field reads one field of an answer.
func (a *pollAnswer) field(p *pieces, name string) error {
	var err error
	switch name {
	case "events":
		return p.items(func() error {
			var raw json.RawMessage
			if err := p.Decode(&raw); err != nil {
				return fmt.Errorf("it is no JSON of the kind that was asked for: %w", err)
			}
			a.add(raw)
			return nil
		})
	case "timestamp":
		var at int64
		err = p.Decode(&at)
		a.until = max(a.until, at)
	case "error":
		var text string
		if err = p.Decode(&text); err == nil && text != "" && text != nothingNew {
			return fmt.Errorf("it says %q", shortened(text))
		}
	default:
		err = p.skip()
	}
	if err != nil {
		err = fmt.Errorf("it is no JSON of the kind that was asked for: %w", err)
	}
	return err
}

// add keeps an order, for now.
func (a *pollAnswer) add(raw []byte) {
	sum := sha256.Sum256(raw)
	key := orderKey(sum[:16])
	if _, done := a.passed[key]; done {
		return
	}
	a.read++
	e := readEvent(raw)
	e.key, e.size, e.nth = key, len(raw), a.read
	a.events = append(a.events, e)
	if a.bytes += e.size; len(a.events) >= 2*mostOrders || a.bytes >= 2*mostKept {
		a.trim()
	}
}

// trim keeps the oldest orders, at least one. Of one moment the last comes first: the service
// sends the newest first.
func (a *pollAnswer) trim() {
	slices.SortFunc(a.events, func(x, y *event) int { return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(y.nth, x.nth)) })
	n, size := 0, 0
	for ; n < min(len(a.events), mostOrders); n++ {
		if size+a.events[n].size > mostKept && n > 0 {
			break
		}
		size += a.events[n].size
	}
	if n < len(a.events) {
		if at := a.events[n].at; !a.more || at < a.left {
			a.more, a.left = true, at
		}
		clear(a.events[n:])
	}
	a.events, a.bytes = a.events[:n], size
}

// arrange puts the oldest order first.
func (a *pollAnswer) arrange() {
	a.trim()
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

// SyncOrders asks for all orders that there are and carries out those about alerts and
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
	for p, more := (&poller{c: c, since: earliest}), true; more; {
		a, err := c.poll(ctx, p.since, time.Second, p.passed)
		if err != nil {
			return done, err
		}
		n, err := c.carryOut(ctx, a.events, true)
		done.Carried, done.Invalid, done.Passed = done.Carried+n.Carried, done.Invalid+n.Invalid, done.Passed+n.Passed
		if err != nil {
			return done, err
		}
		if _, err := p.pass(a); err != nil {
			return done, err
		}
		more = a.more
	}
	if alone {
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
