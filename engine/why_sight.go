package engine

import (
	"slices"
	"strings"
)

// sightOf is a question that many rows share: whether a sight hides a decision.
type sightOf struct {
	sight *Sight
	rec   *record
}

// hides says which part of a sight hides a decision, as the verbs have it; "" when none does.
func (w *inquiry) hides(sight *Sight, r *record) string {
	if sight == nil {
		return ""
	}
	key := sightOf{sight, r}
	by, known := w.hidden[key]
	if !known {
		if w.hidden == nil {
			w.hidden = map[sightOf]string{}
		}
		by = sight.hiding(w.view, r)
		if by == "" {
			by = w.allowlistHiding(sight, r)
		}
		w.hidden[key] = by
	}
	return by
}

// hiding is the filter that a decision does not pass.
func (s *Sight) hiding(v *View, r *record) string {
	origin, scope, kind := v.state.strings.At(r.origin), v.state.strings.At(r.scope), v.state.strings.At(r.kind)
	scenario := v.state.strings.At(r.scenario)
	occurs := func(word string) bool { return containsFold(scenario, word) }
	for _, f := range [...]struct {
		list   []string
		hidden bool
		name   string
		is     string
	}{
		{s.Origins, !slices.Contains(s.Origins, origin), "origins", "origin " + origin},
		{s.NotOrigins, slices.Contains(s.NotOrigins, origin), "not-origins", "origin " + origin},
		{s.Scopes, !slices.Contains(s.Scopes, scope), "scopes", "scope " + scope},
		{s.Types, !slices.Contains(s.Types, kind), "types", "type " + kind},
		{s.Containing, !slices.ContainsFunc(s.Containing, occurs), "scenarios-containing", "scenario " + scenario},
		{s.NotContaining, slices.ContainsFunc(s.NotContaining, occurs), "not-containing", "scenario " + scenario},
	} {
		if len(f.list) > 0 && f.hidden {
			return "--" + f.name + " " + someWords(f.list) + ": its " + cutText(f.is)
		}
	}
	return ""
}

// allowlistHiding is the list of the sight's own that covers a decision.
func (w *inquiry) allowlistHiding(s *Sight, r *record) string {
	t := r.target()
	if len(s.Allowlists) == 0 || !t.IsValid() {
		return ""
	}
	for _, m := range w.view.Allowlisted(nil, t, w.now) {
		if reaches(m.Item.Prefix, t) && slices.Contains(s.Allowlists, m.List) {
			return "--allowlist " + m.List + ": " + cutText(m.Item.Value)
		}
	}
	return ""
}

// someWords are the first words of a list.
func someWords(list []string) string {
	const most = 4
	if len(list) <= most {
		return cutText(strings.Join(list, ","))
	}
	return cutText(strings.Join(list[:most], ",")) + ",…"
}
