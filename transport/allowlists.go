package transport

import (
	"net/http"

	"lapid/engine"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// allowlists are the lines about allowlists.
type allowlists struct{ *core }

// all shows the lists (http-api.md section 14), with their items if
// asked for.
func (s allowlists) all(x *exchange) error {
	all, content, now := s.engine.View().Allowlists(), x.withContent(), x.now
	return x.list(false, func(w *feed.Writer) (err error) {
		w.Buf, err = wire.WriteAllowlists(w.Buf, all, content, now, w.Flushed)
		return err
	})
}

func (x *exchange) withContent() bool {
	value, _ := wire.QueryValue(x.request.Query, "with_content")
	return string(value) == "true"
}

// get shows one list.
func (s allowlists) get(x *exchange) error {
	name, err := x.param()
	if err != nil {
		return err
	}
	l := s.engine.View().Allowlist(name)
	if l == nil {
		return &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounAllowlist, Name: name}
	}
	content, now := x.withContent(), x.now
	return x.list(false, func(w *feed.Writer) (err error) {
		w.Buf, err = wire.WriteAllowlist(w.Buf, l, content, now, w.Flushed)
		return err
	})
}

// allowlisted looks an address or range up.
func (s allowlists) allowlisted(view *engine.View, value string, now int64) ([]engine.AllowlistMatch, error) {
	p, err := engine.ParseTarget(value)
	if err != nil {
		return nil, &answer{http.StatusInternalServerError, err.Error()} // quirkFilters
	}
	return view.Allowlisted(nil, p, now), nil
}

// check says whether an address or range is allowlisted, and why.
func (s allowlists) check(x *exchange) error {
	value, err := x.param()
	if err != nil {
		return err
	}
	matches, err := s.allowlisted(s.engine.View(), value, x.now)
	if err != nil {
		return err
	}
	x.out = wire.AppendCheck(x.out[:0], matches)
	x.json(http.StatusOK, x.out)
	return nil
}

// headCheck says it with its status alone.
func (s allowlists) headCheck(x *exchange) error {
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
		x.empty(http.StatusNoContent)
	}
	return nil
}

// checkMany is check for a list.
func (s allowlists) checkMany(x *exchange) error {
	body, err := x.body()
	if err != nil {
		return err
	}
	targets, err := wire.ParseTargets(body)
	if err != nil {
		return err
	}
	view, now := s.engine.View(), x.now
	for _, t := range targets { // all of them, before anything is answered
		if _, err := engine.ParseTarget(t); err != nil {
			return &answer{http.StatusInternalServerError, err.Error()} // quirkFilters
		}
	}
	x.keepBody = true
	return x.list(false, func(w *feed.Writer) (err error) {
		var found []engine.AllowlistMatch
		matches := func(i int) []engine.AllowlistMatch {
			p, _ := engine.ParseTarget(targets[i]) // as before
			found = view.Allowlisted(found[:0], p, now)
			return found
		}
		w.Buf, err = wire.WriteBulkCheck(w.Buf, targets, matches, w.Flushed)
		return err
	})
}
