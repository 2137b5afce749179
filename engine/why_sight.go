package engine

import (
	"fmt"
	"slices"
	"strings"
)

// sightOf is a question that many rows share: whether a sight hides a decision.
type sightOf struct {
	sight *Sight
	rec   *record
}

// hides says what hides a decision from whoever has a sight, as the verbs and settings have it; "" when
// nothing does.
func (w *inquiry) hides(sight *Sight, r *record) string {
	key := sightOf{sight, r}
	by, known := w.hidden[key]
	if !known {
		if w.hidden == nil {
			w.hidden = map[sightOf]string{}
		}
		switch {
		case w.won(r, uint64(w.view.revision)):
			by = "allowlist_wins: it is on an allowlist"
		case sight != nil:
			if by = w.filter(sight, r); by == "" {
				by = w.allowlistHiding(sight, r)
			}
			if by == "" {
				by = w.crowding(sight, r)
			}
		}
		w.hidden[key] = by
	}
	return by
}

// won reports whether allowlists win after a revision over a decision, on all of what is asked about.
func (w *inquiry) won(r *record, rev uint64) bool {
	p := w.prefix
	if !p.IsValid() {
		p = w.view.state.targetOf(r)
	}
	return p.IsValid() && w.view.allowlistsWin(rev) && (&allowances{set: w.view.allowlists, at: rev}).cover(p)
}

// seen reports whether a sight showed a decision after a revision.
func (w *inquiry) seen(sight *Sight, r *record, rev uint64) bool {
	if w.won(r, rev) {
		return false
	}
	if sight == nil {
		return true
	}
	if w.filter(sight, r) != "" {
		return false
	}
	t := w.view.state.targetOf(r)
	if len(sight.Allowlists) > 0 && t.IsValid() && (&allowances{set: w.view.allowlists, at: rev, lists: sight.Allowlists}).cover(t) {
		return false
	}
	return sight.MaxEntries == 0 || w.first(sight, r, rev+1)
}

// filter is the filter of a sight that a decision does not pass.
func (w *inquiry) filter(sight *Sight, r *record) string {
	key := sightOf{sight, r}
	by, known := w.filtered[key]
	if !known {
		if w.filtered == nil {
			w.filtered = map[sightOf]string{}
		}
		by = sight.hiding(w.view, r)
		w.filtered[key] = by
	}
	return by
}

// hiding is the filter that a decision does not pass.
func (s *Sight) hiding(v *View, r *record) string {
	origin, scope, kind := v.state.strings.At(v.state.wordsOf(r).Origin), v.state.strings.At(v.state.wordsOf(r).Scope), v.state.strings.At(v.state.wordsOf(r).Type)
	scenario := v.state.strings.At(v.state.wordsOf(r).Scenario)
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
	t := w.view.state.targetOf(r)
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

// mostRanked is how many places of bouncers with a bound are looked at for what came first there; and
// each that lies before what is kept of that costs a look at all decisions.
const mostRanked, mostRankedAnew = 256, 4

// rankedAt is a place whose first entries are asked for.
type rankedAt struct {
	sightOf
	place uint64 // as BouncerRow.cursor
}

// crowding is the bound of a sight that has no room for a decision now.
func (w *inquiry) crowding(s *Sight, r *record) string {
	if s.MaxEntries == 0 || w.first(s, r, uint64(w.view.revision)+1) {
		return ""
	}
	return fmt.Sprintf("max-entries %d: as many come first by priority %s", s.MaxEntries, s.Priority)
}

// first reports whether a decision is on one of the targets that come first for a sight with a bound, at
// a place, for a bouncer that asks for addresses and ranges and nothing else. What cannot be known counts
// as not.
func (w *inquiry) first(s *Sight, r *record, place uint64) bool {
	if !HoldsAddress(w.view.state.strings.At(w.view.state.wordsOf(r).Scope)) {
		return true // whoever asks for another scope has a list of its own
	}
	key := rankedAt{sightOf{s, r}, place}
	is, known := w.ranked[key]
	if known {
		return is
	}
	if len(w.ranked) >= mostRanked {
		w.unranked++
		return false
	}
	q := &Query{Now: w.now, Sight: s, Dedup: true, Limit: -1, Scopes: Words{Given: true, List: []string{ScopeIP, ScopeRange}}}
	if q.resolve(w.view.state).never {
		return false
	}
	is, known = w.view.state.shelves.of(q).heldAt(w.view, Revision(place-1), w.view.state.keyOf(r), &w.rankedAnew)
	if !known {
		w.unranked++
	}
	if w.ranked == nil {
		w.ranked = map[rankedAt]bool{}
	}
	w.ranked[key] = is
	return is
}

// heldAt reports whether an entry was among the first at a revision, the view's or an earlier one; not known
// where history does not reach back, or when anew, the times that may be looked at all decisions, is used up.
func (s *shelf) heldAt(v *View, at Revision, key shelfKey, anew *int) (held, known bool) {
	s.enter(false)
	defer s.leave()
	if s.made && s.base > at {
		if *anew++; *anew > mostRankedAnew {
			return false, false
		}
	}
	was, how := s.bring(v, at, false)
	if how != shelfDone {
		return false, false
	}
	if was != nil {
		return slices.ContainsFunc(was, func(e shelfEntry) bool { return e.key == key }), true
	}
	s.foldLog(at, s.rev)
	f, moved := s.folds[key]
	clear(s.folds)
	if moved {
		return f.was != 0, true
	}
	e := s.entries[key]
	return e != nil && e.in, true
}
