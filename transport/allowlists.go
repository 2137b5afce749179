package transport

import (
	"github.com/valyala/fasthttp"

	"lapid/engine"
	"lapid/transport/wire"
)

// listAllowlists shows the lists (http-api.md section 14), with their items if
// asked for.
func (s *Server) listAllowlists(x *exchange) error {
	x.out = wire.AppendAllowlists(x.out[:0], s.engine.View().Allowlists(), x.withContent(), x.now)
	x.json(fasthttp.StatusOK, x.out)
	return nil
}

func (x *exchange) withContent() bool {
	value, _ := wire.QueryValue(x.rawQuery(), "with_content")
	return string(value) == "true"
}

// getAllowlist shows one list.
func (s *Server) getAllowlist(x *exchange) error {
	name, err := x.param()
	if err != nil {
		return err
	}
	l := s.engine.View().Allowlist(name)
	if l == nil {
		return &answer{fasthttp.StatusInternalServerError, "allowlist '" + name + "' not found"} // quirkNotFound
	}
	x.out = wire.AppendAllowlist(x.out[:0], l, x.withContent(), x.now)
	x.json(fasthttp.StatusOK, x.out)
	return nil
}

// allowlisted looks an address or range up.
func (s *Server) allowlisted(view *engine.View, value string, now int64) ([]engine.AllowlistMatch, error) {
	p, err := engine.ParseTarget(value)
	if err != nil {
		return nil, &answer{fasthttp.StatusInternalServerError, err.Error()} // quirkFilters
	}
	return view.Allowlisted(nil, p, now), nil
}

// check says whether an address or range is allowlisted, and why.
func (s *Server) check(x *exchange) error {
	value, err := x.param()
	if err != nil {
		return err
	}
	matches, err := s.allowlisted(s.engine.View(), value, x.now)
	if err != nil {
		return err
	}
	x.out = wire.AppendCheck(x.out[:0], matches)
	x.json(fasthttp.StatusOK, x.out)
	return nil
}

// headCheck says it with its status alone.
func (s *Server) headCheck(x *exchange) error {
	value, err := x.param()
	if err != nil {
		return err
	}
	matches, err := s.allowlisted(s.engine.View(), value, x.now)
	switch {
	case err != nil:
		return err
	case len(matches) > 0:
		x.head()
	default:
		x.empty(fasthttp.StatusNoContent)
	}
	return nil
}

// checkMany is check for a list.
func (s *Server) checkMany(x *exchange) error {
	body, err := x.body(s)
	if err != nil {
		return err
	}
	targets, err := wire.ParseTargets(body)
	if err != nil {
		return err
	}
	view := s.engine.View()
	matches := make([][]engine.AllowlistMatch, len(targets))
	for i, t := range targets {
		if matches[i], err = s.allowlisted(view, t, x.now); err != nil {
			return err
		}
	}
	x.out = wire.AppendBulkCheck(x.out[:0], targets, matches)
	x.json(fasthttp.StatusOK, x.out)
	return nil
}
