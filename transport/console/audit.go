package console

import (
	"fmt"
	"net/http"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/audit"
)

// auditQuery reads what is asked of the audit. Who is no admin sees what he did himself.
func (w *words) auditQuery(q *request, now int64) engine.AuditQuery {
	a := engine.AuditQuery{Action: w.plain("action"), Target: w.plain("target"), Deeds: w.yes("deeds")}
	a.Kind, a.Actor = audit.Who(w.plain("actor"))
	for name, to := range map[string]*int64{"since": &a.Since, "until": &a.Until} {
		*to = w.moment(name, now)
	}
	if q.who.Role >= admins {
		return a
	}
	kind := engine.ActorNamedOperator.String()
	if a.Kind != "" && a.Kind != kind || a.Actor != "" && a.Actor != q.who.Name {
		w.fault = &fault{http.StatusForbidden, fmt.Sprintf("the role admin sees what others did; '%s' sees what %s did", q.who.Name, q.who.Name)}
	}
	a.Kind, a.Actor = kind, q.who.Name
	return a
}

// listAudit is a page of the audit, the newest first.
func (s *Server) listAudit(q *request) error {
	w := q.words()
	ask := admin.AuditRequest{Query: w.auditQuery(q, s.options.Engine.Now())}
	limit := w.limit()
	ask.Limit, ask.Query.Before = limit+1, w.cursor()
	if err := w.err(); err != nil {
		return err
	}
	out := page[*audit.Object]{Items: []*audit.Object{}}
	for row, err := range q.admin.Audit(q.Context(), &ask) {
		if err != nil {
			return err
		}
		if len(out.Items) == limit {
			out.Next = cursorAt(out.Items[limit-1].Number)
			break
		}
		out.Items = append(out.Items, audit.ObjectOf(row))
	}
	return q.answer(http.StatusOK, out)
}

// exportAudit streams rows for other programs, the oldest first. What breaks off is cut off, which
// the client sees.
func (s *Server) exportAudit(q *request) error {
	w := q.words()
	ask := admin.AuditRequest{Query: w.auditQuery(q, s.options.Engine.Now())}
	ask.Query.Oldest, ask.Query.Before = true, w.cursor()
	format, kind := w.plain("format"), "application/x-ndjson"
	switch format {
	case "cef":
		kind = "text/plain; charset=utf-8"
	case "", "ndjson":
		format = "ndjson"
	default:
		w.wrong("format is ndjson or cef")
	}
	if err := w.err(); err != nil {
		return err
	}
	status, err := q.admin.Status(q.Context())
	if err != nil {
		return err
	}
	begun, line := false, []byte(nil)
	begin := func() {
		q.w.Header().Set("Content-Type", kind)
		q.w.Header().Set("Content-Disposition", `attachment; filename="audit.`+format+`"`)
		begun = true
	}
	for row, err := range q.admin.Audit(q.Context(), &ask) {
		if err == nil {
			if line = line[:0]; format == "cef" {
				line = audit.AppendCEF(line, row, status.Program)
			} else {
				line, err = audit.AppendNDJSON(line, row)
			}
		}
		if err != nil && !begun {
			return err
		}
		if !begun {
			begin()
		}
		if err == nil {
			_, err = q.w.Write(line)
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	if !begun {
		begin()
	}
	return nil
}

// verifyAudit has every row be looked at; expect are rows that were kept, as NUMBER:HASH.
func (s *Server) verifyAudit(q *request) error {
	parameters := q.URL.Query()
	hashes, err := audit.Expected(parameters["expect"])
	if err != nil {
		return bad("expect=" + err.Error())
	}
	if delete(parameters, "expect"); len(parameters) > 0 {
		return bad(fmt.Sprintf("a verification takes expect, and nothing else: %.200q", parameters.Encode()))
	}
	v, err := q.admin.VerifyAudit(q.Context(), &admin.AuditExpected{Hashes: hashes})
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, audit.VerdictOf(v))
}
