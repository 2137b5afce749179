package capi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"lapid/engine"
)

// Bounds of an order.
const (
	mostBegun = 100_000 // decisions of one order
	mostEnded = 100_000 // decisions that one order ends by name
)

// event is an order as the service hands it out.
type event struct {
	at    int64 // Unix milliseconds, by the service's clock
	order order
	wrong error // it cannot be read

	key  orderKey
	size int // of its JSON, in bytes
	nth  int // in the answer
}

// order is what somebody wants in the console.
type order struct {
	Header *struct {
		Type    string `json:"operation_type"`
		Command string `json:"operation_cmd"`
		Message string `json:"message"`
		UUID    string `json:"uuid"`
		Source  *struct {
			User string `json:"user"`
		} `json:"source"`
	} `json:"header"`
	Data json.RawMessage `json:"data"`

	stored map[engine.UUID]engine.DecisionID // the decisions that this answer names, as far as they are there
}

// called names an order in the log.
func (o *order) called() string {
	if o.Header == nil {
		return ""
	}
	return shortened(o.Header.Type + " " + o.Header.Command)
}

func (o *order) user() string {
	if o.Header == nil || o.Header.Source == nil {
		return ""
	}
	return shortened(o.Header.Source.User)
}

// management tells whether an order is about lists and logins.
func (e *event) management() bool {
	return e.wrong == nil && e.order.Header != nil && e.order.Header.Type == "management"
}

// carryOut does what orders say, one after the other, and one answer at a time. again: all are
// carried out again, those about lists and logins are passed over, and nothing is noted. An
// error is one of the store, or the end: the orders have to come again.
func (c *Client) carryOut(ctx context.Context, events []*event, again bool) (done Synced, err error) {
	select {
	case c.obeying <- struct{}{}:
		defer func() { <-c.obeying }()
	case <-ctx.Done():
		return done, ctx.Err()
	}
	known := c.stored(events)
	for _, e := range events {
		if again && e.management() {
			done.Passed++
			continue
		}
		e.order.stored = known
		obeyed, err := c.carryOutOne(ctx, e, again)
		switch {
		case err != nil:
			return done, err
		case obeyed:
			done.Carried++
		default:
			done.Invalid++
		}
	}
	return done, nil
}

// stored finds the decisions that orders name, in one walk for all of them.
func (c *Client) stored(events []*event) map[engine.UUID]engine.DecisionID {
	var uuids []engine.UUID
	for _, e := range events {
		if e.wrong == nil {
			uuids = e.order.named(uuids)
		}
	}
	known := map[engine.UUID]engine.DecisionID{}
	for u, d := range c.o.Engine.View().WithUUIDs(uuids) {
		known[u] = d.ID()
	}
	return known
}

// named appends the UUIDs of decisions that an order may be about.
func (o *order) named(dst []engine.UUID) []engine.UUID {
	var q struct {
		UUID      string            `json:"uuid"`
		Decisions []json.RawMessage `json:"decisions"`
	}
	if json.Unmarshal(o.Data, &q) != nil {
		return dst
	}
	of, _ := engine.ParseUUID(q.UUID)
	for i, raw := range q.Decisions {
		var d struct {
			UUID string `json:"uuid"`
		}
		if json.Unmarshal(raw, &d.UUID) != nil {
			_ = json.Unmarshal(raw, &d) // what is none is told when it is carried out
		}
		dst = append(dst, decisionUUID(of, d.UUID, i))
	}
	return dst
}

// decisionUUID is what tells a decision of an order apart: its own, or one that follows from
// the order.
func decisionUUID(of engine.UUID, text string, i int) engine.UUID {
	if u, ok := engine.ParseUUID(text); ok {
		return u
	}
	return derived(of, strconv.Itoa(i))
}

// carryOutOne does what an order says and notes when it was received. What makes no sense or
// fails is told and counted.
func (c *Client) carryOutOne(ctx context.Context, e *event, again bool) (obeyed bool, err error) {
	received := c.o.Now()
	o := &e.order
	ctx = engine.As(ctx, engine.Actor{Kind: engine.ActorConsole, Name: o.user()})
	if err = e.wrong; err == nil {
		err = c.obey(ctx, o)
	}
	if ctx.Err() != nil || errors.Is(err, engine.ErrDisk) || errors.Is(err, engine.ErrBusy) || errors.Is(err, engine.ErrClosed) {
		return false, errors.Join(err, ctx.Err())
	}
	if err != nil {
		c.o.Orders.invalid.Add(1)
		c.log.Warn("an order of the console is not carried out", "order", o.called(), "user", o.user(), "error", err)
		return false, nil
	}
	c.o.Orders.carried.Add(1)
	if again {
		return true, nil
	}
	return true, c.o.Engine.KeepSecret(engine.As(ctx, central), LastOrder, []byte(received.UTC().Format(time.RFC3339Nano)))
}

// obey does what an order says.
func (c *Client) obey(ctx context.Context, o *order) error {
	switch {
	case o.Header == nil:
		return errors.New("it has no header")
	case o.Header.Source == nil:
		return errors.New("it does not say who gives it")
	}
	switch o.Header.Type + "/" + o.Header.Command {
	case "alert/add":
		return c.addOrdered(ctx, o)
	case "decision/delete":
		return c.endOrdered(ctx, o)
	case "management/blocklist_unsubscribe":
		return c.endList(ctx, o)
	case "management/allowlist_unsubscribe":
		return c.dropAllowlist(ctx, o)
	case "management/force_pull":
		return c.pullOrdered(ctx, o)
	case "management/reauth":
		c.log.Info("an order of the console: the next request to the Central API logs in again", "user", o.user())
		return c.session.forget(ctx)
	}
	return errors.New("nothing of that kind is known here")
}

// read reads what an order is about.
func (o *order) read(into any) error {
	if len(o.Data) == 0 {
		return errors.New("it says nothing of what it is about")
	}
	if err := json.Unmarshal(o.Data, into); err != nil {
		return fmt.Errorf("what it is about is not of the kind that belongs to it: %w", err)
	}
	return nil
}

// orderedAlert is what is to be decided.
type orderedAlert struct {
	UUID      string            `json:"uuid"`
	CreatedAt string            `json:"created_at"`
	StartAt   string            `json:"start_at"`
	StopAt    string            `json:"stop_at"`
	Decisions []orderedDecision `json:"decisions"`
}

type orderedDecision struct {
	UUID     string `json:"uuid"`
	Duration string `json:"duration"`
	Origin   string `json:"origin"`
	Scenario string `json:"scenario"`
	Scope    string `json:"scope"`
	Type     string `json:"type"`
	Value    string `json:"value"`
}

// addOrdered makes decisions. Those that are stored already, running or over, are left out, so
// the same order twice is as once; when some are new they get an alert like the first one,
// since what is stored of an alert does not change. Decisions on what is allowlisted are left
// out too.
func (c *Client) addOrdered(ctx context.Context, o *order) error {
	var a orderedAlert
	if err := o.read(&a); err != nil {
		return err
	}
	uuid, ok := engine.ParseUUID(a.UUID)
	switch {
	case !ok:
		return fmt.Errorf("its alert's uuid %q is none", shortened(a.UUID))
	case len(a.Decisions) == 0:
		return errors.New("it decides nothing")
	case len(a.Decisions) > mostBegun:
		return fmt.Errorf("it has %d decisions, and at most %d are taken", len(a.Decisions), mostBegun)
	}
	now := c.o.Now()
	b := engine.Brought{Alert: engine.Alert{UUID: uuid, Scenario: o.Header.Message, Kind: "papi"}}
	var created time.Time
	for _, t := range []struct {
		text string
		into *time.Time
		keep *engine.Stamp
	}{{a.CreatedAt, &created, new(engine.Stamp)}, {a.StartAt, new(time.Time), &b.Alert.StartAt}, {a.StopAt, new(time.Time), &b.Alert.StopAt}} {
		if *t.into = now; t.text != "" {
			var err error
			if *t.into, err = time.Parse(time.RFC3339, t.text); err != nil || t.into.Year() < 1 || t.into.Year() > 9999 {
				return fmt.Errorf("its time %q is none", shortened(t.text))
			}
		}
		*t.keep = engine.StampOf(*t.into)
	}
	b.Alert.CreatedAt = engine.StampOf(created).At
	return c.bring(ctx, o, &a, &b)
}

// bring stores those of an order's decisions that can be used, are not allowlisted and are new.
func (c *Client) bring(ctx context.Context, o *order, a *orderedAlert, b *engine.Brought) error {
	more, from := false, b.Alert.StopAt.At
	for i := range a.Decisions {
		if _, there := o.stored[decisionUUID(b.Alert.UUID, a.Decisions[i].UUID, i)]; there {
			more, from = true, b.Alert.CreatedAt
		}
	}
	var unusable, allowlisted leftOut
	taken := map[engine.UUID]bool{}
	for i := range a.Decisions {
		uuid := decisionUUID(b.Alert.UUID, a.Decisions[i].UUID, i)
		if _, there := o.stored[uuid]; there || taken[uuid] {
			continue
		}
		taken[uuid] = true
		d, err := a.Decisions[i].brought(from, o.Header.Message)
		if err != nil {
			unusable.add(a.Decisions[i].Value, err.Error())
			continue
		}
		if by := c.allowlistedBy(d.Value); by != "" {
			allowlisted.add(d.Value, by)
			continue
		}
		d.UUID = uuid
		b.Decisions = append(b.Decisions, d)
	}
	if n := unusable.n; n > 0 {
		c.log.Warn("decisions of an order of the console cannot be used and are left out", "user", o.user(), "decisions", n, "first", unusable.value, "error", unusable.why)
	}
	if n := allowlisted.n; n > 0 {
		c.log.Info("an order of the console decides on what is allowlisted, which is left out", "user", o.user(), "decisions", n, "first", allowlisted.value, "allowlist", allowlisted.why)
	}
	switch {
	case unusable.n == len(a.Decisions):
		return errors.New("none of its decisions can be used")
	case len(b.Decisions) == 0:
		return nil
	case more:
		b.Alert.UUID = derived(b.Alert.UUID, b.Decisions[0].UUID.String())
	}
	return c.store(ctx, o, b)
}

// leftOut is what of an order is not done, for one line of the log.
type leftOut struct {
	n          int
	value, why string // of the first
}

func (l *leftOut) add(value, why string) {
	if l.n++; l.n == 1 {
		l.value, l.why = shortened(value), shortened(why)
	}
}

func (c *Client) store(ctx context.Context, o *order, b *engine.Brought) error {
	b.Alert.Source = engine.Source{Scope: b.Decisions[0].Scope, Value: b.Decisions[0].Value}
	as, err := c.o.Engine.Bring(ctx, []engine.Brought{*b})
	if err == nil {
		for i, id := range as[0].Decisions {
			o.stored[b.Decisions[i].UUID] = id
		}
		c.log.Info("an order of the console: decisions were made", "user", o.user(), "message", shortened(o.Header.Message), "alert", uint64(as[0].Alert),
			"decisions", len(b.Decisions), "first", shortened(b.Decisions[0].Value))
	}
	return err
}

// allowlistedBy names what keeps a value from being decided on; "": nothing.
func (c *Client) allowlistedBy(value string) string {
	target, err := engine.ParseTarget(value)
	if err != nil {
		return ""
	}
	on := c.o.Engine.View().Allowlisted(nil, target, c.o.Now().UnixNano())
	if len(on) == 0 {
		return ""
	}
	return on[0].Reason()
}

// brought is the decision as it is stored; it runs for its duration after a moment.
func (d *orderedDecision) brought(from int64, message string) (b engine.BroughtDecision, err error) {
	for _, field := range []struct{ name, text string }{{"duration", d.Duration}, {"scope", d.Scope}, {"type", d.Type}, {"value", d.Value}} {
		if field.text == "" {
			return b, errors.New("it has no " + field.name)
		}
	}
	if len(d.Value) > engine.LongestValue {
		return b, fmt.Errorf("its value has %d bytes, and at most %d are taken", len(d.Value), engine.LongestValue)
	}
	if engine.HoldsAddress(d.Scope) {
		if _, err := engine.ParseTarget(d.Value); err != nil {
			return b, err
		}
	}
	lasts, err := engine.ParseDuration(d.Duration)
	if err != nil || lasts <= 0 {
		return b, fmt.Errorf("its duration %q is none", shortened(d.Duration))
	}
	b = engine.BroughtDecision{Scope: d.Scope, Value: d.Value, Type: d.Type, Origin: d.Origin, Scenario: d.Scenario, Until: engine.Later(from, lasts)}
	if b.Scenario == "" {
		b.Scenario = message
	}
	if b.Origin == "" {
		b.Origin = "console"
	}
	return b, nil
}

// derived makes a UUID that follows from another one.
func derived(from engine.UUID, what string) (u engine.UUID) {
	sum := sha256.Sum256(append(from[:], what...))
	copy(u[:], sum[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// endOrdered ends decisions by their UUIDs. Those that are over, or not here, are passed over.
func (c *Client) endOrdered(ctx context.Context, o *order) error {
	var q struct {
		Decisions []string `json:"decisions"`
	}
	if err := o.read(&q); err != nil {
		return err
	}
	if n := len(q.Decisions); n == 0 || n > mostEnded {
		return fmt.Errorf("it names %d decisions, and 1 to %d are taken", n, mostEnded)
	}
	var ids []engine.DecisionID
	any := false
	for _, text := range q.Decisions {
		u, ok := engine.ParseUUID(text)
		if any = any || ok; o.stored[u] != 0 {
			ids = append(ids, o.stored[u])
		}
	}
	if !any {
		return fmt.Errorf("none of the decisions that it names has a UUID: %q", shortened(q.Decisions[0]))
	}
	ended, err := c.o.Engine.EndThese(ctx, ids, c.o.Now().UnixNano())
	if err == nil {
		c.log.Info("an order of the console: decisions were deleted", "user", o.user(), "asked", len(q.Decisions), "ended", ended)
	}
	return err
}

// endList ends what a third-party list has decided; an operator's own of that name stays.
func (c *Client) endList(ctx context.Context, o *order) error {
	var q struct {
		Name string `json:"name"`
	}
	if err := o.read(&q); err != nil {
		return err
	}
	if q.Name == "" {
		return errors.New("it names no list")
	}
	ended, err := c.o.Engine.EndDecisions(ctx, &engine.Query{
		Now: c.o.Now().UnixNano(), Simulated: true, Limit: -1, NotOwn: true,
		Origin: engine.Word{Given: true, Text: engine.OriginLists}, Scenario: engine.Word{Given: true, Text: q.Name},
	})
	if err == nil {
		c.log.Info("an order of the console: a list is not subscribed to any more", "user", o.user(), "list", shortened(q.Name), "ended", ended)
	}
	return err
}

// dropAllowlist removes an allowlist of the console.
func (c *Client) dropAllowlist(ctx context.Context, o *order) error {
	var q struct {
		Name string `json:"name"`
		ID   string `json:"id"`
	}
	if err := o.read(&q); err != nil {
		return err
	}
	if q.Name == "" || q.ID == "" {
		return errors.New("it lacks the name or the id of the allowlist")
	}
	name, err := c.o.Engine.DropConsoleAllowlist(ctx, q.ID)
	if err == nil {
		c.log.Info("an order of the console: an allowlist is not subscribed to any more", "user", o.user(), "list", name)
	}
	return err
}

// pullOrdered pulls everything, or one list, now. A pull that is under way is waited for.
func (c *Client) pullOrdered(ctx context.Context, o *order) error {
	var q struct {
		Blocklist *blocklistLink `json:"blocklist"`
		Allowlist *struct {
			allowlistLink
			Created string `json:"created_at"`
			Updated string `json:"updated_at"`
		} `json:"allowlist"`
	}
	if len(o.Data) > 0 {
		if err := o.read(&q); err != nil {
			return err
		}
	}
	c.log.Info("an order of the console: lists are pulled", "user", o.user())
	ctx = engine.As(ctx, central)
	return c.withPull(ctx, func(st *state) error {
		switch {
		case q.Blocklist != nil && !q.Blocklist.whole():
			return errors.New("the list that it names lacks something")
		case q.Blocklist != nil:
			return c.list(ctx, st, q.Blocklist, true)
		case q.Allowlist != nil && (!q.Allowlist.whole() || q.Allowlist.Description == "" || q.Allowlist.Created == "" || q.Allowlist.Updated == ""):
			return errors.New("the allowlist that it names lacks something")
		case q.Allowlist != nil:
			return c.allowlist(ctx, &q.Allowlist.allowlistLink)
		}
		failed, err := c.pull(ctx, st, true)
		if err == nil && len(failed) > 0 {
			err = fmt.Errorf("%d lists could not be fetched, the first is %q", len(failed), failed[0].Name)
		}
		return err
	})
}
