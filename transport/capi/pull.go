package capi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"lapid/engine"
)

const (
	pullEvery  = 2 * time.Hour
	pullSpread = 5 * time.Minute
	// pullAgain: a start within that time after a pull does not pull again.
	pullAgain = 90 * time.Minute
	// outlast is how long a decision of a list must still run to stay as it is.
	outlast = pullEvery + 15*time.Minute
	// pullPatience bounds a pull with all its lists.
	pullPatience = 15 * time.Minute
)

// pullJob pulls at once, unless a run before this one did, and then every two hours. What
// failed is tried again earlier: the pull, or the lists of it that failed.
func (c *Client) pullJob(ctx context.Context) {
	if !c.awaitScenarios(ctx) {
		return
	}
	due := c.o.Now()
	if c.withPull(ctx, func(st *state) error { due = c.firstPull(st); return nil }) != nil {
		return
	}
	var failed []blocklistLink
	again := pauses{first: time.Minute, longest: 30 * time.Minute}
	for {
		if c.session.pause(ctx, due.Sub(c.o.Now())) != nil {
			return
		}
		now := c.o.Now()
		err := c.withPull(ctx, func(st *state) (err error) { failed, err = c.pull(ctx, st, false); return err })
		if c.went(ctx, JobPull, err); err != nil {
			wait := again.failed(c.o.Jitter)
			c.warn(ctx, "the lists of the Central API could not be pulled, and stay as they are", "error", err, "again_in", wait.Round(time.Second).String())
			due = now.Add(wait)
			continue
		}
		due = now.Add(c.around(pullEvery, pullSpread))
		again.well()
		for len(failed) > 0 {
			wait := again.failed(c.o.Jitter)
			if !c.o.Now().Add(wait).Before(due) {
				break
			}
			if c.session.pause(ctx, wait) != nil {
				return
			}
			if c.withPull(ctx, func(st *state) error { failed = c.lists(ctx, st, failed, false); return nil }) != nil {
				return
			}
		}
		again.well()
	}
}

// firstPull is when a start pulls.
func (c *Client) firstPull(st *state) time.Time {
	now := c.o.Now()
	if age := now.Sub(st.Pulled); st.Asked == c.asks() && age >= 0 && age < pullAgain && c.anyRuns(engine.OriginCAPI, "") {
		return st.Pulled.Add(c.around(pullEvery, pullSpread))
	}
	return now
}

// withPull has one pull at a time work with what is known of lists. Its error is that of
// work, or of ctx.
func (c *Client) withPull(ctx context.Context, work func(*state) error) error {
	select {
	case c.pulling <- struct{}{}:
		defer func() { <-c.pulling }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.known == nil {
		c.known = loadState(c.o.Engine, c.session.whose())
	}
	return work(c.known)
}

// warn writes a line, but for what only failed because the server ends.
func (c *Client) warn(ctx context.Context, text string, args ...any) {
	if ctx.Err() == nil {
		c.log.Warn(text, args...)
	}
}

// awaitScenarios waits until some machine runs scenarios: the service's answer depends on
// them. It looks once a second, and says once that it waits.
func (c *Client) awaitScenarios(ctx context.Context) bool {
	for said := false; len(scenarios(c.o.Engine.View())) == 0; said = true {
		if !said {
			c.log.Info("no machine has told its scenarios yet: the lists of the Central API are pulled once one has logged in")
		}
		if c.session.pause(ctx, time.Second) != nil {
			return false
		}
	}
	return ctx.Err() == nil
}

// anyRuns tells whether some decision of a list runs.
func (c *Client) anyRuns(origin, name string) bool {
	_, any := c.firstEnd(origin, name)
	return any
}

// firstEnd is when the first of a list's decisions ends; false: none runs.
func (c *Client) firstEnd(origin, name string) (first int64, any bool) {
	q := &engine.Query{Now: c.o.Now().UnixNano(), Simulated: true, Limit: -1, Origin: engine.Word{Given: true, Text: origin}}
	if name != "" {
		q.Scenario = engine.Word{Given: true, Text: name}
	}
	scan, buf := c.o.Engine.View().Scan(q), make([]engine.Decision, 256)
	for batch := scan.Running(buf); len(batch) > 0; batch = scan.Running(buf) {
		for _, d := range batch {
			if until := d.Until(); !any || until < first {
				first, any = until, true
			}
		}
	}
	return first, any
}

// pull asks for everything and puts it in force: allowlists first, so that nothing comes in
// that they hold. It returns the lists that failed; an error is of the answer itself.
// force: every list is fetched whole.
func (c *Client) pull(ctx context.Context, st *state, force bool) (failed []blocklistLink, err error) {
	ctx, cancel := c.o.Within(ctx, pullPatience)
	defer cancel()
	if err := c.session.renewFor(ctx, scenarios(c.o.Engine.View())); err != nil {
		return nil, err
	}
	var a pulled
	if err := c.session.ask(ctx, &request{method: http.MethodGet, path: c.pullPath(), read: a.readPull, wait: pullPatience}); err != nil {
		return nil, err
	}
	if a.skipped > 0 || a.surplus > 0 {
		c.log.Warn("parts of the Central API's answer are not used", "incomplete", a.skipped, "links_beyond_the_bound", a.surplus)
	}
	for i := range a.allowlists {
		l := &a.allowlists[i]
		if slices.ContainsFunc(a.allowlists[:i], func(o allowlistLink) bool { return o.ID == l.ID }) {
			c.log.Warn("two allowlists of the console have one id: the second is not used", "list", l.Name, "id", l.ID)
			continue
		}
		if err := c.allowlist(ctx, l); err != nil {
			c.warn(ctx, "an allowlist of the console stays as it is", "list", l.Name, "error", err)
		}
	}
	if err := c.community(ctx, &a); err != nil {
		return nil, err
	}
	failed = c.lists(ctx, st, a.blocklists, force)
	names := []string{communityName}
	for _, l := range a.blocklists {
		names = append(names, l.Name)
	}
	for _, l := range a.allowlists {
		names = append(names, allowlistName(l.Name))
	}
	c.o.Figures.only(names)
	for name := range st.Lists {
		if !slices.ContainsFunc(a.blocklists, func(l blocklistLink) bool { return l.Name == name }) {
			delete(st.Lists, name)
		}
	}
	st.Pulled, st.Asked = c.o.Now(), c.asks()
	c.keep(ctx, st)
	return failed, nil
}

// pullPath always asks for the whole list: what is replaced must be whole.
func (c *Client) pullPath() string {
	path := "v3/decisions/stream?startup=true"
	if c.o.NoCommunity {
		path += "&community_pull=false"
	}
	if c.o.NoBlocklists {
		path += "&additional_pull=false"
	}
	return path
}

// asks is what a pull depends on but for the credentials: after a change the next start, or
// reload, pulls at once.
func (c *Client) asks() string {
	h := sha256.New()
	fmt.Fprintln(h, c.pullPath(), c.o.Shrunken, c.o.Whitelist)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (c *Client) keep(ctx context.Context, st *state) {
	if err := st.keep(ctx, c.o.Engine); err != nil {
		c.warn(ctx, "it cannot be noted what was pulled: the next start pulls again", "error", err)
	}
}

// community puts the community list in force. Without entries only what was deleted by
// name ends: that the list is empty now is not believed.
func (c *Client) community(ctx context.Context, a *pulled) error {
	l := &engine.List{Origin: engine.OriginCAPI, Groups: a.groups, Deleted: a.deleted, Shrunken: c.o.Shrunken, Outlast: outlast}
	if len(a.groups) == 0 {
		if len(a.deleted) == 0 {
			return nil
		}
		l.Partial = true
	} else if !readable(a.groups) {
		return fmt.Errorf("none of the %d entries of the community list is an address or range", a.values)
	}
	_, err := c.replace(ctx, l, "the community list")
	return err
}

// communityName is what figures call the community list.
const communityName = "community"

// replace puts a list in force and says what came of it.
func (c *Client) replace(ctx context.Context, l *engine.List, called string) (engine.ListChange, error) {
	c.exempt(l)
	name := l.Name
	if name == "" {
		name = communityName
	}
	if others, entries := c.others(l), entriesOf(l); !l.Partial && !c.fits(others, entries) {
		c.noRoom(name, called, entries, others)
		return engine.ListChange{Held: true}, nil
	}
	change, err := c.o.Engine.ReplaceList(ctx, l, c.o.Now().UnixNano())
	if err != nil {
		return change, fmt.Errorf("putting %s in force: %w", called, err)
	}
	if change.Held {
		c.o.Figures.list(name, fmt.Sprintf("%d entries came, %d are in force: if it is right, %s", change.Entries, change.Before, believe), "")
		c.log.Warn(fmt.Sprintf("%s is held back: it has %d entries, and %d of it are in force; what is in force goes on until its time is over. "+
			"If the list is right, "+believe, called, change.Entries, change.Before))
		return change, nil
	}
	c.o.Figures.list(name, "", "")
	log := c.log.Info
	if change.Alert == 0 && change.Ended == 0 {
		log = c.log.Debug
	}
	log(called+" was pulled", "entries", change.Entries, "new", change.Begun, "renewed", change.Renewed, "ended", change.Ended,
		"allowlisted", change.Allowlisted+l.Exempt, "unreadable", change.Unreadable)
	return change, nil
}

// errNoRoom: a list has more entries than all lists together may have.
var errNoRoom = errors.New("there is no room for it")

func entriesOf(l *engine.List) (n int) {
	for i := range l.Groups {
		n += len(l.Groups[i].Values)
	}
	return n
}

// others is how many decisions of other lists run.
func (c *Client) others(l *engine.List) (n int) {
	for _, r := range c.o.Engine.Metrics().Running {
		if r.Origin == engine.OriginCAPI && l.Origin != engine.OriginCAPI || r.Origin == engine.OriginLists && (l.Origin != engine.OriginLists || r.Scenario != l.Name) {
			n += int(r.N)
		}
	}
	return n
}

// fits tells whether there is room for a list beside the others.
func (c *Client) fits(others, entries int) bool {
	return c.o.MostEntries <= 0 || others+entries <= c.o.MostEntries
}

// noRoom says that a list is held back for want of memory.
func (c *Client) noRoom(name, called string, entries, others int) {
	c.o.Figures.list(name, fmt.Sprintf("it has %d entries or more, the other lists %d, and the memory allows %d of all lists: %s", entries, others, c.o.MostEntries, moreRoom), "")
	c.log.Warn(fmt.Sprintf("%s is held back: it has %d entries or more, the other lists have %d, and the memory allows %d of all lists together; what is in force of it goes on until its time is over: %s",
		called, entries, others, c.o.MostEntries, moreRoom))
}

// moreRoom is what an operator does about it.
const moreRoom = "raise memory in lapid.yaml (LAPID_MEMORY) and restart, or unsubscribe from a list in the console"

// exempt takes out what Options.Whitelist holds. What of it is in force ends, even where the
// list is held back.
func (c *Client) exempt(l *engine.List) {
	if len(c.o.Whitelist) == 0 {
		return
	}
	white := newWhitelist(c.o.Whitelist)
	for i := range l.Groups {
		g := &l.Groups[i]
		if !engine.HoldsAddress(g.Scope) {
			continue
		}
		out := engine.ListGroup{Scope: g.Scope, Type: g.Type, Scenario: g.Scenario}
		g.Values = slices.DeleteFunc(g.Values, func(v engine.ListValue) bool {
			p, err := engine.ParseTarget(v.Value)
			if err != nil || !white.holds(p) {
				return false
			}
			out.Values = append(out.Values, v)
			return true
		})
		if l.Exempt += len(out.Values); len(out.Values) > 0 {
			l.Deleted = append(l.Deleted, out)
		}
	}
}

// readable tells whether there is any entry that is what it should be: an address or a
// range, where the scope says so.
func readable(groups []engine.ListGroup) bool {
	return slices.ContainsFunc(groups, func(g engine.ListGroup) bool {
		return slices.ContainsFunc(g.Values, func(v engine.ListValue) bool {
			if !engine.HoldsAddress(g.Scope) {
				return true
			}
			_, err := engine.ParseTarget(v.Value)
			return err == nil
		})
	})
}

// whitelist finds a prefix among many: each length that there is costs one look.
type whitelist struct {
	prefixes map[netip.Prefix]bool
	lengths  []int
}

func newWhitelist(list []netip.Prefix) *whitelist {
	w := &whitelist{prefixes: make(map[netip.Prefix]bool, len(list))}
	for _, p := range list {
		w.prefixes[p.Masked()] = true
		if !slices.Contains(w.lengths, p.Bits()) {
			w.lengths = append(w.lengths, p.Bits())
		}
	}
	return w
}

// holds tells whether all of p is in the list.
func (w *whitelist) holds(p netip.Prefix) bool {
	return slices.ContainsFunc(w.lengths, func(bits int) bool {
		if bits > p.Bits() {
			return false
		}
		at, err := p.Addr().Prefix(bits)
		return err == nil && w.prefixes[at]
	})
}
