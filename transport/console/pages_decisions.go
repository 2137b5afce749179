package console

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// mostPicked is how many decisions may be ticked and ended at once; a page has no more.
const mostPicked = longestPage

// decisionFields are the parameters of a page of decisions that narrow it, which are those of the API.
var decisionFields = []string{"q", "ip", "range", "value", "scope", "type", "origin", "scenario", "country", "as", "machine", "alert", "state", "simulated", "since", "until"}

// decisionsPage is a list of decisions, the newest first. Those of the community and of lists are shown where they are asked for.
func (s *Server) decisionsPage(q *request) error {
	d, err := browsePage[decisionShown](s, q, "/decisions", decisionFields)
	if err != nil {
		return err
	}
	d.States = []string{"running", "ended", "all"}
	m := s.options.Engine.Metrics()
	for _, c := range m.Held {
		d.Running += c.N
	}
	if slices.ContainsFunc(d.Columns, func(c column) bool { return c.Name == "enforced" }) && m.Bouncers <= mostEnforcing {
		d.Enforced = map[uint64]string{}
		for i := range d.Rows {
			if one := &d.Rows[i]; one.Running && q.Context().Err() == nil {
				d.Enforced[one.ID] = s.enforced(q, one.ID).String()
			}
		}
	}
	return s.page(q, "decisions", "Decisions", d)
}

// mostEnforcing is with how many bouncers at most a list says by how many of them each of its rows is enforced.
const mostEnforcing = 200

// enforcement is by how many bouncers a decision is enforced, of those whom it concerns.
type enforcement struct {
	Has, Of int
	Waits   []string // names of those that have not shown that they have it
}

func (e *enforcement) String() string {
	if e.Of == 0 {
		return "no bouncer"
	}
	return fmt.Sprintf("%s of %s", site.Count(e.Has), site.Count(e.Of))
}

// enforced asks the bouncers' rows who has a decision. Who asks live has it; whom it does not concern, or who never asked, is
// left out.
func (s *Server) enforced(q *request, id uint64) *enforcement {
	out := &enforcement{}
	got, err := s.options.Engine.Await(q.Context(), &engine.Await{Decision: engine.DecisionID(id)}, 0)
	if err != nil {
		return out
	}
	for i := range got.Rows {
		switch got.Rows[i].State {
		case engine.HoldHas, engine.HoldLive:
			out.Has, out.Of = out.Has+1, out.Of+1
		case engine.HoldWaits:
			out.Of++
			out.Waits = append(out.Waits, got.Rows[i].Name)
		}
	}
	return out
}

// filters are the parameters of a page that are those of the API too: what is empty is left out, what neither
// knows is passed on and refused there.
func (q *request) filters(names []string) (url.Values, map[string]string, error) {
	query, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil {
		return nil, nil, bad("the address cannot be read: " + err.Error())
	}
	query.Del("said")
	filter := map[string]string{}
	for name, list := range query {
		if len(list) == 1 && list[0] == "" {
			query.Del(name)
		} else if slices.Contains(names, name) {
			filter[name] = list[0]
		}
	}
	return query, filter, nil
}

// chips are the filters in force.
func (s *Server) chips(path string, query url.Values, names []string) (list []chip) {
	for _, name := range names {
		if value := query.Get(name); value != "" {
			rest := url.Values{}
			for k, v := range query {
				if k != name && k != "cursor" {
					rest[k] = v
				}
			}
			list = append(list, chip{name, value, s.link(path, rest)})
		}
	}
	return list
}

// around are the ways to the first page and to the next; "": here it is, or there is none.
func (s *Server) around(path string, query url.Values, cursor string) (first, next string) {
	rest := url.Values{}
	for k, v := range query {
		if k != "cursor" {
			rest[k] = v
		}
	}
	if query.Get("cursor") != "" {
		first = s.link(path, rest)
	}
	if cursor != "" {
		rest.Set("cursor", cursor)
		next = s.link(path, rest)
	}
	return first, next
}

func (s *Server) link(path string, query url.Values) string {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return s.options.BasePath + path
}

// decisionPage is one decision, with its alert and others on its target.
func (s *Server) decisionPage(q *request) error {
	var d struct {
		decisionShown
		Others   []decisionShown
		Alert    *admin.Alert
		Enforced *enforcement // nil: it is over
	}
	if err := s.call(q, "GET /admin/v1/decisions/{id}", asked{path: map[string]string{"id": q.PathValue("id")}, into: &d.decisionShown}); err != nil {
		return err
	}
	if d.Running {
		d.Enforced = s.enforced(q, d.ID)
	}
	if prefix, err := engine.ParseTarget(d.Value); err == nil && engine.HoldsAddress(d.Scope) { // the index finds those at once
		query := url.Values{"ip": {spelled(prefix)}, "state": {"all"}, "limit": {"20"}}
		var list page[decisionShown]
		if err := s.call(q, "GET /admin/v1/decisions", asked{query: query, into: &list}); err != nil {
			return err
		}
		d.Others = slices.DeleteFunc(list.Items, func(o decisionShown) bool { return o.ID == d.ID })
	}
	var a admin.Alert
	if err := s.call(q, "GET /admin/v1/alerts/{id}", asked{path: map[string]string{"id": fmt.Sprint(d.AlertID)}, into: &a}); err == nil {
		d.Alert = &a
	}
	return s.page(q, "decision", fmt.Sprintf("Decision %d", d.ID), &d)
}

// spelled is an address or range as it is written.
func spelled(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// decisionForm is the form of a new decision.
type decisionForm struct {
	Value, Scope, Type, Duration, Reason string
	Bypass                               bool
	Outlook                              string // what it would do; "": that was not asked
	Warning                              string
	Back                                 string
	Types, Durations                     []string
}

// newDecisionPage is the form; a link may have filled it in.
func (s *Server) newDecisionPage(q *request) error {
	f := decisionForm{Type: "ban", Duration: "4h", Types: []string{"ban", "captcha"}, Durations: []string{"1h", "4h", "24h", "7d", "30d"}}
	from := q.URL.Query()
	if v := viewOf(q.Request); v.form != nil {
		from = v.form
		f.Outlook = v.form.Get("outlook")
	}
	for name, to := range map[string]*string{"value": &f.Value, "scope": &f.Scope, "type": &f.Type, "duration": &f.Duration, "reason": &f.Reason} {
		if text := from.Get(name); text != "" {
			*to = text
		}
	}
	f.Bypass, f.Back = from.Get("bypass") != "", within(from.Get("back"), "/decisions")
	if !slices.Contains(f.Types, f.Type) {
		f.Types = append(f.Types, f.Type)
	}
	return s.show(q.w, q.Request, q.who, &site.Page{Name: "decision-new", At: "decisions", Title: "Add a decision", Data: &f})
}

// addDecisionForm adds a decision, or says what that would do.
func (s *Server) addDecisionForm(q *request) error {
	if err := q.ParseForm(); err != nil {
		return bad("the form cannot be read: " + err.Error())
	}
	f := q.PostForm
	n := newDecision{
		Scope: f.Get("scope"), Value: strings.TrimSpace(f.Get("value")), Type: f.Get("type"), Duration: strings.TrimSpace(f.Get("duration")),
		Reason: f.Get("reason"), Bypass: f.Get("bypass") != "", Dry: f.Get("do") == "try",
	}
	var out struct {
		New     int    `json:"new"`
		Known   int    `json:"known"`
		Warning string `json:"warning"`
	}
	if err := s.call(q, "POST /admin/v1/decisions", asked{body: &n, into: &out}); err != nil {
		return s.again(q, err, (*Server).newDecisionPage)
	}
	if n.Dry {
		v := viewOf(q.Request)
		v.form = f
		v.form.Set("outlook", "It would begin: nothing on this target runs yet.")
		if out.New == 0 {
			v.form.Set("outlook", "It would add nothing: a decision on this target runs as long or longer.")
		}
		return s.newDecisionPage(q)
	}
	said := fmt.Sprintf("%s is decided: %s for %s.", n.Value, f.Get("type"), n.Duration)
	if out.Warning != "" {
		said += " " + out.Warning
	}
	return s.done(q, "/decisions", site.Notice{Text: said})
}

// endDecisionsForm ends the decisions that were ticked.
func (s *Server) endDecisionsForm(q *request) error {
	if err := q.ParseForm(); err != nil {
		return bad("the form cannot be read: " + err.Error())
	}
	ids := q.PostForm["id"]
	if len(ids) == 0 || len(ids) > mostPicked {
		return bad(fmt.Sprintf("tick 1 to %d decisions", mostPicked))
	}
	n := site.Notice{}
	count, missed := 0, ""
	var at []engine.Revision
	for _, id := range ids {
		var out ended
		if err := s.call(q, "DELETE /admin/v1/decisions/{id}", asked{path: map[string]string{"id": id}, into: &out}); err != nil {
			if status, detail := statusOf(err); status >= http.StatusInternalServerError {
				return err
			} else if missed == "" {
				missed = detail
			}
			continue
		}
		count, at = count+out.Count, append(at, out.At)
		if len(ids) == 1 && len(out.First) == 1 {
			n = undoEnding(&out.First[0])
		}
	}
	switch {
	case n.Text != "":
	case count == len(ids):
		n.Text, n.Undo = fmt.Sprintf("%d decisions have ended.", count), undoEndings(at)
	default:
		n.Text, n.Bad = fmt.Sprintf("%d of %d decisions have ended. The first of the others: %s", count, len(ids), missed), count == 0
		n.Undo = undoEndings(at)
	}
	return s.done(q, "/decisions", n)
}

// undoEnding says that a decision has ended, and offers to decide the same anew for what was left of it.
func undoEnding(d *admin.Decision) site.Notice {
	n := site.Notice{Text: fmt.Sprintf("%s has ended: %s is free of it, and bouncers are told.", d.Type, d.Value)}
	if d.Origin == engine.OriginManual || d.Origin == engine.OriginCrowdsec || d.Origin == engine.OriginImport {
		n.Undo = &site.Form{Action: "/decisions/add", Label: "Undo", Fields: [][2]string{
			{"value", d.Value}, {"scope", d.Scope}, {"type", d.Type}, {"duration", d.Duration}, {"reason", d.Scenario}, {"bypass", "yes"},
		}}
	}
	return n
}
