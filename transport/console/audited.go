package console

import (
	"strings"

	"lapid/engine"
	"lapid/transport/audit"
)

// What the audit is told of here is in no commit: who logged in and out, and who was refused.
// What operators write names them, their address and token in the commit itself (admin.Remote).

// note tells the audit of the request's sender.
func (s *Server) note(q *request, n audit.Note) {
	if s.options.Audit == nil {
		return
	}
	n.At = s.options.Engine.Now()
	if q.address.IsValid() {
		n.Address = q.address.String()
	}
	s.options.Audit(n)
}

// entered tells that an operator has logged in, or out.
func (s *Server) entered(q *request, o *engine.Operator, action, how string) {
	s.note(q, audit.Note{By: engine.Actor{Kind: engine.ActorNamedOperator, Name: o.Name}, Action: action, Target: how, Outcome: engine.AuditOK, Deed: true})
}

// stranger tells of somebody whose credentials were no good: a name that was given, or none.
func (s *Server) stranger(q *request, name, action, how, why string) {
	s.note(q, audit.Note{By: engine.Actor{Kind: engine.ActorStranger, Name: cutName(name)}, Action: action, Target: how, Outcome: "refused: " + why})
}

// denied tells that an operator may not do what it asked for.
func (s *Server) denied(q *request, action, why string) {
	s.note(q, audit.Note{By: engine.Actor{Kind: engine.ActorNamedOperator, Name: q.who.Name}, Token: q.token, Action: action, Outcome: "refused: " + why})
}

// cutName is what is kept of a name that a stranger gave.
func cutName(name string) string {
	if len(name) > engine.LongestOperator {
		name = name[:engine.LongestOperator]
	}
	return strings.ToValidUTF8(name, "")
}

// action is what the audit calls a route: DELETE …/bouncers/{name} is bouncer.delete,
// POST …/machines/{name}/validate machine.validate, POST …/operators/{name}/tokens operator.add_tokens. A form is
// called what it asks for.
func (r *route) action() string {
	if r.asks != "" {
		return apiRoutes()[r.asks].action()
	}
	noun, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.path, "/admin/v1"), "/"), "/")
	verb := map[string]string{"GET": "read", "POST": "add", "PATCH": "edit", "DELETE": "delete"}[r.method]
	if words := strings.Split(rest, "/"); len(words) > 1 && !strings.HasPrefix(words[1], "{") {
		verb += "_" + words[1]
	}
	if r.method == "POST" && strings.HasSuffix(r.path, "/validate") {
		verb = "validate"
	}
	return strings.TrimSuffix(noun, "s") + "." + verb
}
