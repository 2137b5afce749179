package console

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lapid/engine"
)

const (
	// usualPage and longestPage are how many entries a page of a list has.
	usualPage, longestPage = 100, 500
)

// page is a list as it is answered. Next is the cursor of the following one, "" behind the last. What is behind
// it, decisions and alerts have.
type page[T any] struct {
	Items    []T             `json:"items"`
	Next     string          `json:"next,omitempty"`
	Revision engine.Revision `json:"revision,omitempty"` // as of which the list is, from its first page to its last

	Previous string       `json:"previous,omitempty"`
	Total    *int         `json:"total,omitempty"`    // rows of the list
	Matches  *int         `json:"matches,omitempty"`  // decisions, where a row stands for several
	AtLeast  bool         `json:"at_least,omitempty"` // there may be more than Total: the disk was not asked for all
	Facets   []facetShown `json:"facets,omitempty"`
}

// facetShown is how often the values of a field occur, with the choice of that field left aside.
type facetShown struct {
	Field  string       `json:"field"`
	Values []valueShown `json:"values"`
	More   int          `json:"more"` // how many other values there are
}

type valueShown struct {
	Value string `json:"value"`
	Label string `json:"label,omitempty"`
	Count int    `json:"count"`
}

// words are the parameters of a request: those that a route does not know are refused by name, for a
// filter with a slip of the pen would show, or delete, what is not meant.
type words struct {
	values url.Values
	bare   map[string]bool // which stand without "="
	known  map[string]bool
	fault  error
}

func (q *request) words() *words {
	values, err := url.ParseQuery(q.URL.RawQuery)
	w := &words{values: values, bare: map[string]bool{}, known: map[string]bool{}}
	if err != nil {
		w.fault = bad("the query cannot be read: " + err.Error())
	}
	for one := range strings.SplitSeq(q.URL.RawQuery, "&") {
		if name, err := url.QueryUnescape(one); err == nil && !strings.Contains(one, "=") {
			w.bare[name] = true
		}
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

// yes is a parameter that is true or false, false when it is not there.
func (w *words) yes(name string) bool {
	yes := w.flag(name)
	return yes != nil && *yes
}

// flag is a parameter that is true or false, nil when it is not there. Its name alone is true; an empty value is
// refused, for it may be a variable that was not set.
func (w *words) flag(name string) *bool {
	text := w.text(name)
	if text == nil {
		return nil
	}
	yes := *text == "true" || w.bare[name]
	if !yes && *text != "false" {
		w.wrong("%s is true or false, not %.100q", name, *text)
	}
	return &yes
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
	Country   string     `json:"country,omitempty"`
	AsNumber  string     `json:"as_number,omitempty"`
	AsName    string     `json:"as_name,omitempty"`
	Machine   string     `json:"machine,omitempty"`
	Count     int        `json:"count,omitempty"` // with grouped: how many decisions on the target it stands for
	EndedBy   string     `json:"ended_by,omitempty"`
}

func decisionOf(d engine.Decision, now int64) decisionShown {
	out := decisionShown{
		ID: uint64(d.ID()), AlertID: uint64(d.AlertID()), UUID: d.UUID().String(), Scope: d.Scope().S, Value: d.Value(), Type: d.Type().S,
		Origin: d.Origin().S, Scenario: d.Scenario().S, Simulated: d.Simulated(), CreatedAt: moment(d.CreatedAt()), Until: moment(d.Until()),
		Running: d.Running(now), Machine: d.Machine(),
	}
	source := d.Source()
	out.Country, out.AsNumber, out.AsName = source.Country, source.AsNumber, source.AsName
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
