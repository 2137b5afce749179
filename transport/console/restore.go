package console

import (
	"fmt"
	"net/http"
	"strconv"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// restoreDecisions takes back that decisions were ended.
func (s *Server) restoreDecisions(q *request) error {
	var n admin.DecisionRestoration
	if err := q.read(&n); err != nil {
		return err
	}
	if n.Revision == 0 {
		return bad("say which by revision: the ended_at of the answer that has ended them")
	}
	out, err := q.admin.RestoreDecisions(q.Context(), &n)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, out)
}

// restoreDecisionsForm does so from a page that has said what was ended, by one or more orders.
func (s *Server) restoreDecisionsForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	revisions := f["revision"]
	if len(revisions) == 0 || len(revisions) > mostPicked {
		return bad(fmt.Sprintf("the form has 1 to %d revisions", mostPicked))
	}
	var all admin.Restored
	for _, text := range revisions {
		at, err := strconv.ParseUint(text, 10, 63)
		if err != nil || at == 0 {
			return bad("a revision is a number")
		}
		var out admin.Restored
		if err := s.call(q, "POST /admin/v1/decisions/restore", asked{body: &admin.DecisionRestoration{Revision: engine.Revision(at)}, into: &out}); err != nil {
			return err
		}
		all.N, all.Running, all.Allowlisted, all.Over, all.Lists = all.N+out.N, all.Running+out.Running, all.Allowlisted+out.Allowlisted, all.Over+out.Over, all.Lists+out.Lists
	}
	n := site.Notice{Text: fmt.Sprintf("%s decisions run again until they would have ended, with other numbers; bouncers are told.", site.Count(all.N)), Bad: all.N == 0}
	for _, left := range []struct {
		n   int
		why string
	}{{all.Running, "are decided anew already"}, {all.Allowlisted, "are allowlisted by now"}, {all.Over, "would be over"}, {all.Lists, "are of a list, which sets its own ends"}} {
		if left.n > 0 {
			n.Text += fmt.Sprintf(" %s %s: they stay ended.", site.Count(left.n), left.why)
		}
	}
	return s.done(q, "/decisions", n)
}

// undoEndings offers to take ends back.
func undoEndings(revisions []engine.Revision) *site.Form {
	form := &site.Form{Action: "/decisions/restore", Label: "Undo"}
	for _, at := range revisions {
		if at != 0 {
			form.Fields = append(form.Fields, [2]string{"revision", fmt.Sprint(at)})
		}
	}
	if len(form.Fields) == 0 {
		return nil
	}
	return form
}
