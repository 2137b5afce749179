package console

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

const (
	// usualPage and longestPage are how many entries a page of a list has.
	usualPage, longestPage = 100, 500
	// mostLooked is how many decisions a page looks at at most; one that has found too few by then is
	// shorter, and its cursor goes on behind them.
	mostLooked = 2_000_000
	// lookedAtOnce is how many are looked at between two looks whether the client is still there.
	lookedAtOnce = 1024
)

// page is a list as it is answered. Next is the cursor of the following one, "" behind the last.
type page[T any] struct {
	Items    []T             `json:"items"`
	Next     string          `json:"next,omitempty"`
	Revision engine.Revision `json:"revision,omitempty"`
}

// words are the parameters of a request: those that a route does not know are refused by name, for a
// filter with a slip of the pen would show, or delete, what is not meant.
type words struct {
	values url.Values
	known  map[string]bool
	fault  error
}

func (q *request) words() *words {
	values, err := url.ParseQuery(q.URL.RawQuery)
	w := &words{values: values, known: map[string]bool{}}
	if err != nil {
		w.fault = bad("the query cannot be read: " + err.Error())
	}
	return w
}

// text is a parameter, nil when it is not there.
func (w *words) text(name string) *string {
	w.known[name] = true
	list := w.values[name]
	if len(list) > 1 && w.fault == nil {
		w.fault = bad(fmt.Sprintf("%s is given %d times", name, len(list)))
	}
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

// plain is a parameter, "" when it is not there.
func (w *words) plain(name string) string {
	if s := w.text(name); s != nil {
		return *s
	}
	return ""
}

// yes is a parameter that is true or false.
func (w *words) yes(name string) bool {
	switch w.plain(name) {
	case "true":
		return true
	case "", "false":
	default:
		w.wrong("%s is true or false", name)
	}
	return false
}

// span is a duration in nanoseconds, 0 when it is not there.
func (w *words) span(name string) int64 {
	text := w.plain(name)
	if text == "" {
		return 0
	}
	d, err := engine.ParseDuration(text)
	if err != nil || d <= 0 {
		w.wrong("%s is a duration such as 4h or 7d, not %.100q", name, text)
	}
	return int64(d)
}

// limit is how long the page is to be.
func (w *words) limit() int {
	text := w.plain("limit")
	if text == "" {
		return usualPage
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > longestPage {
		w.wrong("limit is a number from 1 to %d", longestPage)
	}
	return n
}

// cursor is where the page begins: behind this id; 0 for the first.
func (w *words) cursor() uint64 {
	text := w.plain("cursor")
	if text == "" {
		return 0
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	id, bad := strconv.ParseUint(strings.TrimPrefix(string(b), "before:"), 10, 64)
	if err != nil || bad != nil || id == 0 {
		w.wrong("cursor is what the page before gave as next")
	}
	return id
}

// cursorAt is the mirror.
func cursorAt(id uint64) string {
	return base64.RawURLEncoding.EncodeToString([]byte("before:" + strconv.FormatUint(id, 10)))
}

func (w *words) wrong(format string, args ...any) {
	if w.fault == nil {
		w.fault = bad(fmt.Sprintf(format, args...))
	}
}

// err is the first fault, or the name that the route does not know.
func (w *words) err() error {
	for name := range w.values {
		if !w.known[name] && w.fault == nil {
			w.fault = bad(fmt.Sprintf("there is no parameter %.100q here", name))
		}
	}
	return w.fault
}

// decisionShown is a decision in a list.
type decisionShown struct {
	ID        uint64     `json:"id"`
	AlertID   uint64     `json:"alert_id"`
	UUID      string     `json:"uuid"`
	Scope     string     `json:"scope"`
	Value     string     `json:"value"`
	Type      string     `json:"type"`
	Origin    string     `json:"origin"`
	Scenario  string     `json:"scenario"`
	Simulated bool       `json:"simulated"`
	CreatedAt *time.Time `json:"created_at"`
	Until     *time.Time `json:"until"`
	Running   bool       `json:"running"`
	EndedBy   string     `json:"ended_by,omitempty"`
}

func decisionOf(d engine.Decision, now int64) decisionShown {
	out := decisionShown{
		ID: uint64(d.ID()), AlertID: uint64(d.AlertID()), UUID: d.UUID().String(), Scope: d.Scope().S, Value: d.Value(), Type: d.Type().S,
		Origin: d.Origin().S, Scenario: d.Scenario().S, Simulated: d.Simulated(), CreatedAt: moment(d.CreatedAt()), Until: moment(d.Until()),
		Running: d.Running(now),
	}
	if d.Ended() {
		out.EndedBy = d.EndedBy().String()
	}
	return out
}

// moment is a time as JSON has it, null for never.
func moment(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	t := time.Unix(0, ns).UTC()
	return &t
}

// decisionFilter is what a list of decisions is narrowed by.
type decisionFilter struct {
	scope, value, kind, origin, scenario *string
	state                                string // running, ended or all
	ip                                   string
	now                                  int64
}

func (w *words) decisionFilter(now int64) *decisionFilter {
	f := &decisionFilter{
		scope: w.text("scope"), value: w.text("value"), kind: w.text("type"), origin: w.text("origin"), scenario: w.text("scenario"),
		state: w.plain("state"), ip: w.plain("ip"), now: now,
	}
	if f.state != "" && f.state != "running" && f.state != "ended" && f.state != "all" {
		w.wrong("state is running, ended or all")
	}
	if f.scope != nil {
		scope := engine.CanonicalScope(*f.scope)
		f.scope = &scope
	}
	return f
}

func (f *decisionFilter) admits(d engine.Decision) bool {
	if running := d.Running(f.now); f.state != "all" && running != (f.state != "ended") {
		return false
	}
	for _, c := range [...]struct {
		want *string
		has  string
	}{{f.scope, d.Scope().S}, {f.kind, d.Type().S}, {f.origin, d.Origin().S}, {f.scenario, d.Scenario().S}} {
		if c.want != nil && *c.want != c.has {
			return false
		}
	}
	return f.value == nil || *f.value == d.Value()
}

// listDecisions is a page of decisions, the newest first. With ip those that concern it, which the
// index finds; else ids are walked.
func (s *Server) listDecisions(q *request) error {
	now := s.options.Engine.Now()
	w := q.words()
	filter, limit, before := w.decisionFilter(now), w.limit(), w.cursor()
	if err := w.err(); err != nil {
		return err
	}
	view := s.options.Engine.View()
	out := page[decisionShown]{Items: []decisionShown{}, Revision: view.Revision()}
	if filter.ip != "" {
		return s.decisionsOn(q, view, filter, limit, before)
	}
	looked := 0
	view.DecisionsBefore(engine.DecisionID(before), func(d engine.Decision) bool {
		if len(out.Items) == limit || looked == mostLooked || looked%lookedAtOnce == 0 && q.Context().Err() != nil {
			out.Next = cursorAt(uint64(d.ID()) + 1)
			return false
		}
		looked++
		if filter.admits(d) {
			out.Items = append(out.Items, decisionOf(d, now))
		}
		return true
	})
	if err := q.Context().Err(); err != nil {
		return err
	}
	return q.answer(200, out)
}

// decisionsOn is the page of those whose address or range contains all of ip.
func (s *Server) decisionsOn(q *request, view *engine.View, filter *decisionFilter, limit int, before uint64) error {
	target, err := engine.ParseTarget(filter.ip)
	if err != nil {
		return err
	}
	out := page[decisionShown]{Items: []decisionShown{}, Revision: view.Revision()}
	var newest []engine.Decision // at most limit+1, the newest first
	view.Stored(target, func(d engine.Decision) bool {
		if before != 0 && uint64(d.ID()) >= before || !filter.admits(d) {
			return true
		}
		at := len(newest)
		for at > 0 && newest[at-1].ID() < d.ID() {
			at--
		}
		if at <= limit {
			newest = append(newest[:at], append([]engine.Decision{d}, newest[at:]...)...)
			newest = newest[:min(len(newest), limit+1)]
		}
		return q.Context().Err() == nil
	})
	if len(newest) > limit {
		newest = newest[:limit]
		out.Next = cursorAt(uint64(newest[limit-1].ID()))
	}
	for _, d := range newest {
		out.Items = append(out.Items, decisionOf(d, filter.now))
	}
	return q.answer(200, out)
}

// listAlerts is a page of alerts, the newest first, each with its first decisions.
func (s *Server) listAlerts(q *request) error {
	w := q.words()
	limit := w.limit()
	f := admin.AlertFilter{
		Scope: w.text("scope"), Value: w.text("value"), Scenario: w.text("scenario"), DecisionType: w.text("decision_type"), Origin: w.text("origin"),
		Kind: w.text("kind"), Batch: w.plain("batch"), List: w.plain("list"), Address: w.plain("ip"), Inside: w.yes("contains_only"),
		Since: w.span("since"), Until: w.span("until"), Active: w.yes("active"), HideSimulated: w.yes("hide_simulated"), HideCommunity: !w.yes("community"),
		Before: w.cursor(), Limit: limit + 1,
	}
	if err := w.err(); err != nil {
		return err
	}
	out := page[*admin.Alert]{Items: []*admin.Alert{}}
	for part, err := range q.admin.AlertParts(q.Context(), &f) {
		if err != nil {
			return err
		}
		if part.Alert == nil {
			continue // more decisions of the alert before: the alert itself has them all
		}
		if len(out.Items) == limit {
			out.Next = cursorAt(out.Items[limit-1].ID)
			break
		}
		part.Alert.Events = nil // what one alert has is shown with it
		out.Items = append(out.Items, part.Alert)
	}
	return q.answer(200, out)
}
