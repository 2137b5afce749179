package console

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// alertFields are the parameters of a page of alerts that narrow it, which are those of the API.
var alertFields = append([]string{"kind", "decision_type", "batch", "list", "active", "hide_simulated", "contains_only"}, decisionFields...)

// alertsPage is a list of alerts, the newest first.
func (s *Server) alertsPage(q *request) error {
	d, err := browsePage[*admin.Alert](s, q, "/alerts", alertFields)
	if err != nil {
		return err
	}
	d.Spans = []string{"1h", "24h", "7d", "30d"}
	return s.page(q, "alerts", "Alerts", d)
}

// alertShown is one alert with what belongs to it.
type alertShown struct {
	*admin.Alert
	Bars    []bar
	Context []admin.Meta
	Events  []eventShown
	More    int // events left out
	Others  []*admin.Alert
	Near    string // the network around its source
	Raw     string
	Runs    int // decisions that still run
}

// eventShown is an event with its meta in order.
type eventShown struct {
	At   string
	Meta []admin.Meta
}

// bar is a column of the timeline: X and Y from the upper left, H high, of 100.
type bar struct {
	X, Y, H int
	Title   string
}

const (
	shownEvents   = 200
	timelineSlots = 50
	longestRaw    = 256 << 10
)

// alertPage is one alert with its timeline.
func (s *Server) alertPage(q *request) error {
	d := alertShown{Alert: &admin.Alert{}}
	if err := s.call(q, "GET /admin/v1/alerts/{id}", asked{path: map[string]string{"id": q.PathValue("id")}, into: d.Alert}); err != nil {
		return err
	}
	d.Bars, d.Context = timeline(d.Alert.Events), d.Meta
	for i := range d.Alert.Events {
		if i == shownEvents {
			d.More = len(d.Alert.Events) - i
			break
		}
		d.Events = append(d.Events, eventShown{d.Alert.Events[i].Timestamp, d.Alert.Events[i].Meta})
	}
	for i := range d.Decisions {
		if !strings.HasPrefix(d.Decisions[i].Duration, "-") && d.Decisions[i].Duration != "0s" {
			d.Runs++
		}
	}
	if raw, err := json.MarshalIndent(d.Alert, "", "  "); err == nil && len(raw) <= longestRaw {
		d.Raw = string(raw)
	}
	if prefix, err := engine.ParseTarget(d.Source.Value); err == nil && engine.HoldsAddress(d.Source.Scope) {
		d.Near = around(prefix)
		var list page[*admin.Alert]
		if err := s.call(q, "GET /admin/v1/alerts", asked{query: url.Values{"ip": {spelled(prefix)}, "limit": {"10"}}, into: &list}); err == nil {
			d.Others = slices.DeleteFunc(list.Items, func(a *admin.Alert) bool { return a.ID == d.ID })
		}
	}
	return s.show(q.w, q.Request, q.who, &site.Page{Name: "alert", At: "alerts", Title: fmt.Sprintf("Alert %d", d.ID), Data: &d})
}

// around is the network of a host that neighbours share: a /24, or a /64.
func around(p netip.Prefix) string {
	bits := 24
	if p.Addr().Is6() {
		bits = 64
	}
	if p.Bits() <= bits {
		return ""
	}
	near, err := p.Addr().Prefix(bits)
	if err != nil {
		return ""
	}
	return near.String()
}

// timeline is how many events came when, between the first and the last. Nil where no two moments can be read.
func timeline(events []admin.Event) []bar {
	var at []int64
	for i := range events {
		if t, ok := eventTime(events[i].Timestamp); ok {
			at = append(at, t.UnixNano())
		}
	}
	if len(at) < 2 {
		return nil
	}
	from, to := slices.Min(at), slices.Max(at)
	var slots [timelineSlots]int
	for _, t := range at {
		if i := 0; to > from {
			i = int((t - from) / ((to-from)/timelineSlots + 1))
			slots[min(i, timelineSlots-1)]++
		} else {
			slots[0]++
		}
	}
	most := slices.Max(slots[:])
	var bars []bar
	for i, n := range slots {
		if n == 0 {
			continue
		}
		h := max(n*96/most, 4)
		begin := time.Unix(0, from+int64(i)*((to-from)/timelineSlots)).UTC()
		bars = append(bars, bar{i * 2, 100 - h, h, fmt.Sprintf("%d at %s UTC", n, begin.Format("2006-01-02 15:04:05"))})
	}
	return bars
}

// eventTime reads what clients write as a time of an event.
func eventTime(text string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05.999999999 -0700 MST"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// deleteAlertForm deletes an alert with its decisions.
func (s *Server) deleteAlertForm(q *request) error {
	if err := s.call(q, "DELETE /admin/v1/alerts/{id}", asked{path: map[string]string{"id": q.PathValue("id")}}); err != nil {
		return err
	}
	return s.done(q, "/alerts", site.Notice{Text: fmt.Sprintf("Alert %s is deleted, and its decisions have ended.", q.PathValue("id"))})
}

// whyShown is the answer to a question, or the question alone.
type whyShown struct {
	Target, Ago string
	Answer      *engine.Why
	Refused     string
	Address     bool // it is an address or a range: it can be banned and allowed
	Lists       []string
}

// whyPage says why something is decided against, or is not.
func (s *Server) whyPage(q *request) error {
	query, _, err := q.filters([]string{"target", "ago", "bouncer", "every_row"})
	if err != nil {
		return err
	}
	d := whyShown{Target: strings.TrimSpace(query.Get("target")), Ago: query.Get("ago")}
	if d.Target == "" {
		return s.page(q, "why", "Why", &d)
	}
	query.Set("target", d.Target)
	var out engine.Why
	if err := s.call(q, "GET /admin/v1/why", asked{query: query, into: &out}); err != nil {
		status, detail := statusOf(err)
		if status >= 500 {
			return err
		}
		viewOf(q.Request).status, d.Refused = status, detail
		return s.page(q, "why", "Why", &d)
	}
	d.Answer = &out
	_, err = engine.ParseTarget(out.Target)
	d.Address = err == nil
	if d.Address && q.who.Role >= operator {
		var lists page[allowlistShown]
		if err := s.call(q, "GET /admin/v1/allowlists", asked{into: &lists}); err != nil {
			return err
		}
		for i := range lists.Items {
			if !lists.Items[i].FromConsole {
				d.Lists = append(d.Lists, lists.Items[i].Name)
			}
		}
	}
	return s.page(q, "why", "Why "+out.Target, &d)
}
