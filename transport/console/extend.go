package console

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// extensionAsked asks for another end of running decisions: of one by its number, or of all that fit.
type extensionAsked struct {
	ID       uint64  `json:"id"`
	IP       string  `json:"ip"`
	Inside   bool    `json:"contains_only"`
	Type     *string `json:"type"`
	Value    *string `json:"value"`
	Scenario *string `json:"scenario"`
	Origin   *string `json:"origin"`
	Batch    string  `json:"batch"`
	List     string  `json:"list"`
	Duration string  `json:"duration"` // as admin.ParseExtension reads it
	Dry      bool    `json:"dry_run"`
}

// extendDecisions moves the end of decisions. What says nothing of which is refused.
func (s *Server) extendDecisions(q *request) error {
	var n extensionAsked
	if err := q.read(&n); err != nil {
		return err
	}
	x, err := admin.ParseExtension(n.Duration)
	if err != nil {
		return err
	}
	f := admin.DecisionFilter{ID: n.ID, Dry: n.Dry, Address: n.IP, Inside: n.Inside, Type: n.Type, Value: n.Value, Scenario: n.Scenario, Origin: n.Origin, Batch: n.Batch, List: n.List}
	if f.Narrows() == (f.ID != 0) {
		return bad("say which decisions are meant, by id alone, or by ip, value, type, scenario, origin, batch or list")
	}
	e, err := q.admin.ExtendDecisions(q.Context(), &admin.DecisionExtension{DecisionFilter: f, By: int64(x.By), FromEnd: x.FromEnd})
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, e)
}

// extendDecisionForm moves the end of one.
func (s *Server) extendDecisionForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	id, err := strconv.ParseUint(f.Get("id"), 10, 63)
	if err != nil || id == 0 {
		return bad("the decision has no number")
	}
	var out admin.Extended
	if err := s.call(q, "POST /admin/v1/decisions/extend", asked{body: &extensionAsked{ID: id, Duration: strings.TrimSpace(f.Get("duration"))}, into: &out}); err != nil {
		return err
	}
	n := site.Notice{Bad: out.N == 0}
	switch {
	case out.N > 0:
		d := &out.First[0]
		n.Text = fmt.Sprintf("%s of %s runs until %s now, as another decision; bouncers are told.", d.Type, d.Value, d.Until.Format("2006-01-02 15:04:05 UTC"))
	case out.Lists > 0:
		n.Text = "It is of a list, which sets its own ends: it stays as it is."
	case out.Over > 0:
		n.Text = "It would be over: end it, if that is meant. It stays as it is."
	default:
		n.Text = "It is over, or ends then already: nothing is changed."
	}
	return s.done(q, "/decisions", n)
}
