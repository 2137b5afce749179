package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"lapid/engine"
)

// The activity is what happened, the newest first: alerts and decisions, of which the history in memory tells
// (engine.View.EventsBefore, AlertsBefore), and what people and the server did else, of which the audit does. Three
// readers stand in them, and a page ends where each of them stands.

const (
	// LongestActivity is how many entries a page has at most.
	LongestActivity = 500
	// mostRowsLookedAt bounds how many rows of the audit one page reads from the disk: by then it ends where
	// it is, be it empty, and Next goes on from there.
	mostRowsLookedAt = 20_000
)

// ActivityKinds are what entries can be about. What somebody was refused, or failed to do, is a failure, whatever
// it was about.
var ActivityKinds = []string{"alert", "decision", "machine", "bouncer", "allowlist", "export", "operator", "server", "failure"}

// ActivityRequest asks for a page of the activity.
type ActivityRequest struct {
	Query    engine.ActivityQuery
	Kinds    []string        // some of ActivityKinds; none: all
	Limit    int             // 1 to LongestActivity
	Cursor   string          // Next of the page before; "": from the newest on
	Revision engine.Revision // begin there; not beside Cursor; 0: at the newest
	Own      string          // of the audit's rows only those of this operator of the store; "": of all
}

// ActivityPage is one page of it.
type ActivityPage struct {
	Entries []*ActivityEntry
	Next    string          // "": there is nothing older
	Newest  engine.Revision // as of which the page is
	Floor   engine.Revision // up to there it is not known any more what began and ended of decisions
	Cut     bool            // so many rows of the audit were looked at that the page ended
	Audit   bool            // an audit is kept here
}

// ActivityEntry is one thing that happened, or several of one kind in one commit.
type ActivityEntry struct {
	Kind     string // of ActivityKinds
	What     string // alert.raised, decision.begun, decision.ended, or the action of the audit's row
	Revision engine.Revision
	At       int64 // Unix nanoseconds; 0: not known any more
	By       engine.Actor
	Address  string // from where
	Target   string // scope:value, or what the audit's row names
	Count    int    // decisions: how many began or ended, of which Target is one; of an alert: that it has
	Alert    uint64
	Decision uint64 // the last one of them
	Scenario string
	Type     string
	Origin   string
	Until    int64 // of a decision that began, Unix nanoseconds
	// Simulated says that bouncers are not told.
	Simulated     bool
	Row           uint64 // number in the audit; 0: it comes from the history
	Before, After string // of the audit's row, as JSON
	Outcome       string // ok, or why not
}

// activity answers from one view, and from the audit as far as it was told by now.
func (h *Handler) activity(ctx context.Context, q *ActivityRequest) (*ActivityPage, error) {
	if q.Limit < 1 || q.Limit > LongestActivity {
		return nil, invalid("a page of the activity has 1 to %d entries, not %d", LongestActivity, q.Limit)
	}
	for _, kind := range q.Kinds {
		if !slices.Contains(ActivityKinds, kind) {
			return nil, invalid("kinds of activity are %s, not %.100q", strings.Join(ActivityKinds, ", "), kind)
		}
	}
	kept := true
	if err := h.toldBy(ctx); errors.Is(err, engine.ErrRefused) {
		kept = false
	} else if err != nil {
		return nil, err
	}
	view := h.engine.View()
	m := &activityMerge{handler: h, view: view, request: q, adders: map[uint64]adder{}}
	if err := m.begin(); err != nil {
		return nil, err
	}
	m.page.Newest, m.page.Floor, m.page.Audit = view.Revision(), view.HistoryFloor(), kept
	m.run(ctx)
	if err := errors.Join(ctx.Err(), m.failed); err != nil {
		return nil, err
	}
	m.page.Entries = slices.DeleteFunc(m.page.Entries, func(e *ActivityEntry) bool { return e == nil })
	return &m.page, nil
}

// activityMerge makes a page.
type activityMerge struct {
	handler *Handler
	view    *engine.View
	request *ActivityRequest
	page    ActivityPage
	n       int              // entries that stay
	adders  map[uint64]adder // by alert
	failed  error            // of reading the audit

	// Where the readers stand.
	place engine.ActivityPlace
	row   uint64 // rows of smaller numbers come next; 0: the newest
	cut   bool
}

// adder is an entry that says who has added an alert by hand.
type adder struct {
	*ActivityEntry
	at int // among the page's; -1: it is not asked for, and names alone
}

// begin finds the place from which the page goes on.
func (m *activityMerge) begin() error {
	q := m.request
	m.place = m.view.ActivityAt(m.view.Revision())
	switch {
	case q.Cursor != "" && q.Revision != 0:
		return invalid("cursor and revision are two places in one list")
	case q.Revision != 0:
		m.place = m.view.ActivityAt(q.Revision)
	case q.Cursor != "":
		return m.goOn(q.Cursor)
	}
	return nil
}

// goOn reads where the page before has ended.
func (m *activityMerge) goOn(cursor string) error {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(strings.TrimPrefix(string(b), activityCursor), ".")
	var n [4]uint64
	for i := range n {
		if err == nil && len(parts) == len(n) {
			n[i], err = strconv.ParseUint(parts[i], 10, 63)
		}
	}
	if err != nil || len(parts) != len(n) {
		return invalid("the cursor is not one that a page before has given")
	}
	m.place, m.row = engine.ActivityPlace{Revision: engine.Revision(n[0]), Told: int(n[1]), Alert: engine.AlertID(n[2])}, n[3]
	return nil
}

// activityCursor begins a cursor.
const activityCursor = "activity:"

// cursor is the mirror.
func (m *activityMerge) cursor() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s%d.%d.%d.%d", activityCursor, m.place.Revision, m.place.Told, m.place.Alert, m.row))
}

// activityHead is the next of one reader.
type activityHead struct {
	entry *ActivityEntry
	taken func() // notes that the reader is behind it
}

// run merges until the page is full, or there is nothing more.
func (m *activityMerge) run(ctx context.Context) {
	readers := []func() (activityHead, bool){}
	for _, each := range []iter.Seq[activityHead]{m.rows(ctx), m.events(ctx), m.alerts(ctx)} {
		next, stop := iter.Pull(each)
		defer stop()
		readers = append(readers, next)
	}
	heads := make([]activityHead, len(readers))
	for i, next := range readers {
		heads[i], _ = next()
	}
	for {
		at := -1
		for i := range heads {
			if heads[i].entry != nil && (at < 0 || heads[i].entry.after(heads[at].entry)) {
				at = i
			}
		}
		if at < 0 && !m.cut {
			return
		}
		if at < 0 || m.n >= m.request.Limit || m.cut && heads[0].entry == nil {
			m.page.Next, m.page.Cut = m.cursor(), m.cut
			return
		}
		m.add(heads[at].entry)
		heads[at].taken()
		heads[at], _ = readers[at]()
	}
}

// after tells whether an entry is the later one. What is in no commit stands where its time is.
func (e *ActivityEntry) after(o *ActivityEntry) bool {
	if e.Revision != 0 && o.Revision != 0 {
		return e.Revision > o.Revision
	}
	return e.At > o.At
}

// add takes an entry. Who has added a decision by hand is known to the audit alone, which says so in a row of
// the same commit: that comes first, and gives its name to the entry that it is about.
func (m *activityMerge) add(e *ActivityEntry) {
	if e.Row != 0 && e.What == "decision.add" {
		var of struct {
			Alert uint64 `json:"alert"`
		}
		if json.Unmarshal([]byte(e.After), &of) == nil && of.Alert != 0 {
			m.adders[of.Alert] = adder{e, len(m.page.Entries)}
			if !m.wants(e.Kind) {
				m.adders[of.Alert] = adder{e, -1}
			}
		}
		if !m.wants(e.Kind) {
			return
		}
	}
	if giver, ok := m.adders[e.Alert]; ok && e.Row == 0 && e.What != "decision.ended" {
		e.By, e.Address = giver.By, giver.Address
		if giver.Row != 0 && giver.at >= 0 { // it says no more than this one, which gives the name from now on
			m.page.Entries[giver.at], m.adders[e.Alert] = nil, adder{e, len(m.page.Entries)}
			m.n--
		}
	}
	m.page.Entries = append(m.page.Entries, e)
	m.n++
}

// wants is whether a kind is asked for.
func (m *activityMerge) wants(kind string) bool {
	return len(m.request.Kinds) == 0 || slices.Contains(m.request.Kinds, kind)
}

// events are decisions that began or ended.
func (m *activityMerge) events(ctx context.Context) iter.Seq[activityHead] {
	return func(yield func(activityHead) bool) {
		if !m.wants("decision") {
			return
		}
		for h, behind := range m.view.EventsBefore(ctx, m.place, &m.request.Query) {
			e := entryOf(h)
			if !yield(activityHead{e, func() { m.place.Revision, m.place.Told = behind.Revision, behind.Told }}) {
				return
			}
		}
	}
}

// alerts are those that came.
func (m *activityMerge) alerts(ctx context.Context) iter.Seq[activityHead] {
	return func(yield func(activityHead) bool) {
		if !m.wants("alert") {
			return
		}
		for h := range m.view.AlertsBefore(ctx, m.place.Alert, &m.request.Query) {
			if m.request.Revision != 0 && h.Revision > m.request.Revision {
				continue
			}
			if !yield(activityHead{entryOf(h), func() { m.place.Alert = h.Alert }}) {
				return
			}
		}
	}
}

// entryOf is a happening as an entry.
func entryOf(h *engine.Happening) *ActivityEntry {
	e := &ActivityEntry{Revision: h.Revision, At: h.At, By: h.By, Count: h.Count, Alert: uint64(h.Alert), Outcome: engine.AuditOK}
	if h.Kind == engine.AlertRaised {
		e.Kind, e.What, e.Scenario, e.Target, e.Simulated = "alert", "alert.raised", h.Scenario, h.Scope, h.Simulated
		if h.Source.IsValid() {
			e.Target += ":" + spelledPrefix(h.Source)
		}
		return e
	}
	d := h.Decision
	e.Kind, e.What, e.Decision = "decision", "decision.ended", uint64(d.ID())
	e.Target, e.Scenario, e.Type, e.Origin, e.Simulated = d.Scope().S+":"+d.Value(), d.Scenario().S, d.Type().S, d.Origin().S, d.Simulated()
	if h.Kind == engine.DecisionsBegan {
		e.What, e.Until = "decision.begun", d.Decided()
	}
	return e
}

// spelledPrefix writes an address without its length.
func spelledPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// rows are those of the audit, but for what the history tells better.
func (m *activityMerge) rows(ctx context.Context) iter.Seq[activityHead] {
	return func(yield func(activityHead) bool) {
		looked, begun := 0, m.request.Revision == 0
		err := m.handler.engine.Trail().Each(ctx, &engine.AuditQuery{Since: m.request.Query.Since, Before: m.row}, func(r *engine.AuditRow) bool {
			number := r.Number
			if begun = begun || r.Revision != 0 && r.Revision <= m.request.Revision; begun && m.shows(r) {
				return yield(activityHead{entryOfRow(r), func() { m.row = number }})
			}
			if looked++; looked < mostRowsLookedAt {
				return true
			}
			m.cut, m.row = true, number
			return false
		})
		m.failed = errors.Join(m.failed, err)
	}
}

// shows tells whether a row is asked for, and is not told by the history.
func (m *activityMerge) shows(r *engine.AuditRow) bool {
	q := &m.request.Query
	switch {
	case r.Action == "alert.push", r.Action == "decision.delete" && r.Outcome == engine.AuditOK && r.Revision > m.page.Floor:
		return false
	case !m.wants(activityKindOf(r)) && (r.Action != "decision.add" || !m.wants("alert") && !m.wants("decision")): // it names who added them
		return false
	case m.request.Own != "" && r.By != (engine.Actor{Kind: engine.ActorNamedOperator, Name: m.request.Own}):
		return false
	case q.Until != 0 && r.At >= q.Until, q.Kind != "" && engine.AuditActorKind(r.By.Kind) != q.Kind, q.Actor != "" && r.By.Name != q.Actor:
		return false
	}
	return !q.About.IsValid() || overlaps(q.About, r.Address) || overlaps(q.About, targetValue(r.Target))
}

// targetValue is the value of a target that is scope:value, and names an address.
func targetValue(target string) string {
	scope, value, ok := strings.Cut(target, ":")
	if !ok || !engine.HoldsAddress(scope) {
		return ""
	}
	return value
}

// overlaps is whether a text is an address or range that lies in another or has it in itself.
func overlaps(about netip.Prefix, text string) bool {
	if text == "" {
		return false
	}
	p, err := engine.ParseTarget(text)
	return err == nil && about.Overlaps(p)
}

// entryOfRow is a row of the audit as an entry.
func entryOfRow(r *engine.AuditRow) *ActivityEntry {
	return &ActivityEntry{Kind: activityKindOf(r), What: r.Action, Revision: r.Revision, At: r.At, By: r.By, Address: r.Address, Target: r.Target,
		Row: r.Number, Before: r.Before, After: r.After, Outcome: r.Outcome}
}

// activityKindOf is what a row is about.
func activityKindOf(r *engine.AuditRow) string {
	noun, _, _ := strings.Cut(r.Action, ".")
	switch {
	case r.Outcome != engine.AuditOK:
		return "failure"
	case slices.Contains(ActivityKinds, noun):
		return noun
	}
	return "server"
}

// ActivityObject is an entry in JSON, as the verb and the API give it. Its keys are promised.
type ActivityObject struct {
	Time      *time.Time      `json:"time"` // null: not known any more
	Revision  uint64          `json:"revision"`
	Kind      string          `json:"kind"`
	What      string          `json:"what"`
	ActorKind string          `json:"actor_kind"`
	Actor     string          `json:"actor"`
	Address   string          `json:"address"`
	Target    string          `json:"target"`
	Count     int             `json:"count,omitempty"`
	Alert     uint64          `json:"alert_id,omitempty"`
	Decision  uint64          `json:"decision_id,omitempty"`
	Scenario  string          `json:"scenario,omitempty"`
	Type      string          `json:"type,omitempty"`
	Origin    string          `json:"origin,omitempty"`
	Until     *time.Time      `json:"until,omitempty"`
	Simulated bool            `json:"simulated,omitempty"`
	Row       uint64          `json:"audit_number,omitempty"`
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`
	Outcome   string          `json:"outcome"`
}

// Object is the entry as an ActivityObject.
func (e *ActivityEntry) Object() *ActivityObject {
	o := &ActivityObject{Time: timeAt(e.At), Revision: uint64(e.Revision), Kind: e.Kind, What: e.What, ActorKind: engine.AuditActorKind(e.By.Kind), Actor: e.By.Name,
		Address: e.Address, Target: e.Target, Count: e.Count, Alert: e.Alert, Decision: e.Decision, Scenario: e.Scenario, Type: e.Type, Origin: e.Origin,
		Until: timeAt(e.Until), Simulated: e.Simulated, Row: e.Row, Outcome: e.Outcome}
	for _, text := range []struct {
		from string
		to   *json.RawMessage
	}{{e.Before, &o.Before}, {e.After, &o.After}} {
		if json.Valid([]byte(text.from)) { // a row that other hands have changed may have anything
			*text.to = json.RawMessage(text.from)
		}
	}
	return o
}

// timeAt is nil for never.
func timeAt(at int64) *time.Time {
	if at == 0 {
		return nil
	}
	t := time.Unix(0, at).UTC()
	return &t
}

// Activity asks for a page of what happened, the newest first. engine.ErrInvalid for what cannot be read.
func (c *Client) Activity(ctx context.Context, q *ActivityRequest) (*ActivityPage, error) {
	return ask[ActivityPage](ctx, c, "/activity/list", q)
}
