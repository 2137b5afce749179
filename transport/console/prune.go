package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// pruning asks to delete the bouncers, or machines, that were not heard of for a while.
type pruning struct {
	Silence string   `json:"silence"`
	Waiting bool     `json:"not_validated_only"` // machines only: those that wait for validation, however long
	Names   []string `json:"names"`              // of those alone, as far as they are still silent; none: of all
	Dry     bool     `json:"dry_run"`
}

// shortestSilence is below what even the living look silent.
const shortestSilence = 2 * time.Minute

// asked is the same as the verbs ask for it.
func (n *pruning) asked() (*admin.Prune, error) {
	silence, err := engine.ParseDuration(n.Silence)
	if err != nil || silence < shortestSilence {
		return nil, bad(fmt.Sprintf("silence: give a duration of %s or more, such as 24h", shortestSilence))
	}
	return &admin.Prune{Silence: int64(silence), NotValidatedOnly: n.Waiting}, nil
}

// pruned says which were deleted, or would be.
type pruned struct {
	done
	Names []string `json:"names"`
}

// pruneBouncers deletes bouncers that have gone silent, by name: one that has come by meanwhile is spared.
func (s *Server) pruneBouncers(q *request) error {
	return s.prune(q, false, func(p *admin.Prune) (names []string, err error) {
		list, err := q.admin.StaleBouncers(q.Context(), p)
		if err != nil {
			return nil, err
		}
		for i := range list.Bouncers {
			names = append(names, list.Bouncers[i].Name)
		}
		return names, nil
	}, q.admin.PruneBouncers)
}

// pruneMachines does so with machines.
func (s *Server) pruneMachines(q *request) error {
	return s.prune(q, true, func(p *admin.Prune) (names []string, err error) {
		list, err := q.admin.StaleMachines(q.Context(), p)
		if err != nil {
			return nil, err
		}
		for i := range list.Machines {
			names = append(names, list.Machines[i].ID)
		}
		return names, nil
	}, q.admin.PruneMachines)
}

// prune deletes what find has found; waits: it may be asked for what waits for validation alone.
func (s *Server) prune(q *request, waits bool, find func(*admin.Prune) ([]string, error), drop func(context.Context, *admin.PruneNamed) (int, error)) error {
	var n pruning
	if err := q.read(&n); err != nil {
		return err
	}
	what, err := n.asked()
	if err != nil {
		return err
	}
	if n.Waiting && !waits {
		return bad("not_validated_only is of machines")
	}
	names, err := find(what)
	if err != nil {
		return err
	}
	if n.Names != nil {
		names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(n.Names, name) })
	}
	out := pruned{done{len(names), n.Dry}, append([]string{}, names...)}
	if !n.Dry && len(names) > 0 {
		if out.Count, err = drop(q.Context(), &admin.PruneNamed{Prune: *what, Names: names}); err != nil {
			return err
		}
	}
	return q.answer(http.StatusOK, out)
}

// silentNames is how many are named on a page, and deleted from it at once.
const silentNames = 200

func (s *Server) pruneBouncersForm(q *request) error {
	return s.pruneForm(q, "/bouncers", (*Server).bouncersPage)
}

func (s *Server) pruneMachinesForm(q *request) error {
	return s.pruneForm(q, "/machines", (*Server).machinesPage)
}

// pruneForm says which have gone silent, and deletes those that were shown, as far as they still are.
func (s *Server) pruneForm(q *request, list string, page func(*Server, *request) error) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	n := pruning{Silence: f.Get("silence"), Waiting: f.Has("waiting"), Names: f["silent"], Dry: f.Get("do") == "try"}
	if n.Dry {
		n.Names = nil
	} else if len(n.Names) == 0 {
		return s.again(q, bad("look first at which are silent"), page)
	}
	var out pruned
	if err := s.call(q, "POST /admin/v1"+list+"/prune", asked{body: &n, into: &out}); err != nil {
		return s.again(q, err, page)
	}
	if !n.Dry {
		return s.done(q, list, site.Notice{Text: fmt.Sprintf("%s deleted.", site.Count(out.Count))})
	}
	v := viewOf(q.Request)
	if len(out.Names) == 0 {
		v.notices = append(v.notices, site.Notice{Text: "None of them has been silent for so long."})
		return page(s, q)
	}
	v.form = url.Values{"silence": {n.Silence}, "silent": out.Names[:min(len(out.Names), silentNames)]}
	if n.Waiting {
		v.form.Set("waiting", "yes")
	}
	if more := len(out.Names) - silentNames; more > 0 {
		v.form.Set("more", strings.TrimSpace(site.Count(more)))
	}
	return page(s, q)
}
