package engine

import "slices"

// entryChanges fills d with what a bouncer must hear that held the entries of one question
// at a revision and is to hold those of another in the view: both may have sights of any
// kind. An entry that another decision is behind is told again if that runs longer. It takes
// a look at all decisions for each question whose entries have no bound.
func (v *View) entryChanges(d *Delta, after Revision, was, q *Query) {
	before, behind := v.sideOf(was, after), v.sideOf(q, v.revision)
	before.each(func(key *shelfKey, n slot) {
		if behind.holder(key) == nil {
			d.Deleted = append(d.Deleted, v.told(key, n, true))
		}
	})
	behind.each(func(key *shelfKey, n slot) {
		r, had := v.state.records.At(n), before.holder(key)
		if r.until > q.Now && (had == nil || r.until > had.until) {
			d.New = append(d.New, v.told(key, n, false))
		}
	})
	for _, list := range [...]*[]Decision{&d.New, &d.Deleted} {
		slices.SortFunc(*list, byEntry)
		*list = slices.CompactFunc(*list, func(a, b Decision) bool { return byEntry(a, b) == 0 && v.state.keyOf(a.rec) == v.state.keyOf(b.rec) })
	}
}

// side is the entries of a question at a revision.
type side struct {
	standings
	view  *View
	at    Revision
	list  []shelfEntry      // of a question whose sight has a bound
	first map[shelfKey]slot // the same; nil: it has none
}

func (v *View) sideOf(q *Query, at Revision) *side {
	s := &side{standings: standings{query: q.kept(), priority: Longest}, view: v, at: at}
	if q.bounded() {
		s.list, s.first = v.state.shelves.of(q).listing(v, at), map[shelfKey]slot{}
		for _, e := range s.list {
			s.first[e.key] = e.rec
		}
		return s
	}
	s.look(v)
	s.was.at(v, uint64(at), &s.query)
	return s
}

func (s *side) each(yield func(key *shelfKey, n slot)) {
	for i := range s.list {
		yield(&s.list[i].key, s.list[i].rec)
	}
	if s.first == nil {
		s.standings.each(s.view, s.at, func(one *standing) { yield(&one.key, one.rec) })
	}
}

// holder is the decision behind an entry; nil: there is none.
func (s *side) holder(key *shelfKey) *record {
	if s.first == nil {
		return s.was.holder(&entryKey{targetKey: *key})
	}
	if n := s.first[*key]; n != 0 {
		return s.view.state.records.At(n)
	}
	return nil
}
