package console

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/audit"
)

// activityRequest reads which page of the activity is asked for. Of what the audit tells, who is no admin sees what he
// did himself.
func (w *words) activityRequest(q *request, now int64) *admin.ActivityRequest {
	a := &admin.ActivityRequest{Limit: w.limit(), Cursor: w.plain("cursor")}
	for kind := range strings.SplitSeq(w.plain("kind"), ",") {
		if kind != "" {
			a.Kinds = append(a.Kinds, kind)
		}
	}
	a.Query.Kind, a.Query.Actor = audit.Who(w.plain("actor"))
	a.Query.Since, a.Query.Until = w.moment("since", now), w.moment("until", now)
	if text := w.plain("address"); text != "" {
		p, err := engine.ParseTarget(text)
		if err != nil {
			w.wrong("address: %v", err)
		}
		a.Query.About = p
	}
	if text := w.plain("revision"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 {
			w.wrong("revision is a number")
		}
		a.Revision = engine.Revision(n)
	}
	if a.Cursor != "" {
		a.Revision = 0 // the page before began there
	}
	if q.who.Role < admins {
		a.Own = q.who.Name
	}
	return a
}

// activityAnswer is a page of it in JSON.
type activityAnswer struct {
	Items    []*admin.ActivityObject `json:"items"`
	Next     string                  `json:"next,omitempty"`
	Revision engine.Revision         `json:"revision"`
	Floor    engine.Revision         `json:"history_floor"`
	Cut      bool                    `json:"cut,omitempty"`
}

// listActivity is a page of what happened, the newest first.
func (s *Server) listActivity(q *request) error {
	w := q.words()
	ask := w.activityRequest(q, s.options.Engine.Now())
	if err := w.err(); err != nil {
		return err
	}
	found, err := q.admin.Activity(q.Context(), ask)
	if err != nil {
		return err
	}
	out := activityAnswer{Items: []*admin.ActivityObject{}, Next: found.Next, Revision: found.Newest, Floor: found.Floor, Cut: found.Cut}
	for _, e := range found.Entries {
		out.Items = append(out.Items, e.Object())
	}
	return q.answer(http.StatusOK, &out)
}

// activityFields are what the page is narrowed by, and where it begins.
var activityFields = []string{"kind", "address", "actor", "until", "revision", "limit"}

// activityShown is the page.
type activityShown struct {
	Filter      map[string]string
	Chips       []chip
	Rows        []happening
	Kinds       []string
	First, Next string
	Shown       string
	Own         bool      // of the audit, only what who asks has done
	Late        []concern // bouncers that are behind, or silent, by now
	Refused     string    // why there is nothing to be seen
	*admin.ActivityPage
}

// happening is an entry as the page has it.
type happening struct {
	*admin.ActivityEntry
	Says  string // what happened, in words
	Value string // of the target, where it is an address
	Link  string // to what it is about; "": nowhere
	Told  string // reason, or what changed, in short
}

// ActorKind is the word for who it was; templates ask for it.
func (h happening) ActorKind() string { return engine.AuditActorKind(h.By.Kind) }

// activityPage is what happened, the newest first.
func (s *Server) activityPage(q *request) error {
	w := q.words()
	_ = w.plain("said")
	ask := w.activityRequest(q, s.options.Engine.Now())
	fault := w.err()
	parameters, filter, err := q.filters(activityFields)
	if err != nil {
		return err
	}
	d := activityShown{Filter: filter, Kinds: admin.ActivityKinds, Own: q.who.Role < admins, Chips: s.chips("/activity", parameters, activityFields[:5]), ActivityPage: &admin.ActivityPage{}}
	if fault == nil {
		d.ActivityPage, fault = q.admin.Activity(q.Context(), ask)
	}
	if fault != nil {
		status, detail := statusOf(fault)
		viewOf(q.Request).status, d.Refused, d.ActivityPage = status, detail, &admin.ActivityPage{}
	}
	if (filter["kind"] == "" || filter["kind"] == "bouncer") && filter["address"]+filter["actor"]+filter["until"]+filter["revision"]+ask.Cursor == "" {
		if _, err := s.bouncersInAll(q, &d.Late); err != nil {
			return err
		}
	}
	for _, e := range d.Entries {
		d.Rows = append(d.Rows, s.happeningOf(e))
	}
	d.First, d.Next = s.around("/activity", parameters, d.ActivityPage.Next)
	d.Shown = fmt.Sprintf("%d entries on this page", len(d.Rows))
	return s.page(q, "activity", "Activity", &d)
}

// happeningOf puts an entry into words.
func (s *Server) happeningOf(e *admin.ActivityEntry) happening {
	h := happening{ActivityEntry: e, Says: e.What, Told: e.Scenario}
	if scope, value, ok := strings.Cut(e.Target, ":"); ok && engine.HoldsAddress(scope) {
		if _, err := engine.ParseTarget(value); err == nil {
			h.Value = value
		}
	}
	switch e.What {
	case "alert.raised":
		h.Says, h.Link = "Alert raised", fmt.Sprintf("/alerts/%d", e.Alert)
	case "decision.begun":
		h.Says, h.Link = "Decision added", fmt.Sprintf("/decisions/%d", e.Decision)
	case "decision.ended":
		h.Says, h.Link = "Decision ended", fmt.Sprintf("/decisions/%d", e.Decision)
	default:
		if noun, verb, ok := strings.Cut(e.What, "."); ok && noun != "" {
			h.Says = strings.ToUpper(noun[:1]) + noun[1:] + ": " + verb
		}
		return h
	}
	if e.Count > 1 && e.Kind == "decision" {
		h.Says = strings.Replace(h.Says, "Decision", fmt.Sprintf("%d decisions", e.Count), 1)
	}
	return h
}
