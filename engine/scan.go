package engine

// Scan goes through a full state in batches, in order of id: first what is in
// force, then what is over. It is for one goroutine, allocates nothing, and may
// be left at any time; the query is its own until then.
//
//	s := view.Scan(q)
//	for batch := s.Running(buf); len(batch) > 0; batch = s.Running(buf) { … }
//	for batch := s.Over(buf); len(batch) > 0; batch = s.Over(buf) { … }
type Scan struct {
	view  *View
	query *Query

	running, over walk
	met           uint64       // the first id that was met and is over; 0: none yet
	first         []shelfEntry // with Sight.MaxEntries: what is left of those in force
	bounded       bool

	shaped  bool       // what is told may be other than what is stored (entry.go)
	won     bool       // allowlists win, or did so within the history
	related bool       // the query names an address or a value
	pending []Decision // of one record, not filled in yet

	supersedes *supersession // nil: who is told this holds nothing, or lets go of it
}

// walk is what of one list is left.
type walk struct {
	at, to uint64 // ids to look at, the last excluded
	skip   int    // how many to leave out, which is the offset
}

// Scan asks for a full state.
func (v *View) Scan(q *Query) Scan {
	s := Scan{view: v, query: q, bounded: q.bounded()}
	if s.bounded {
		s.first = v.state.shelves.of(q).listing(v, v.revision)
		s.first = s.first[min(max(q.Offset, 0), len(s.first)):]
		q.Dedup = true // an entry is one
	}
	if q.resolve(v.state).never {
		return s
	}
	s.won = q.Entries && v.allowlistsWon(v.state.history.Floor()) && v.allowlists.index.ranges.Len() > 0
	s.shaped, s.related = s.won || q.shaped(v, uint64(v.revision)), q.Value.Given || q.Address.IsValid()
	from, to := v.state.ids.Bounds()
	s.running = walk{from, min(to, v.nextDecision), max(q.Offset, 0)}
	s.over = s.running
	return s
}

// Running fills buf, up to its length, with the next of what a full state lists
// as new: every running decision that the query admits, with q.Dedup only those
// no other on the target outlasts. There is no more when nothing is filled. When q.Sight
// has MaxEntries these are the entries that come first (shelf.go).
func (s *Scan) Running(buf []Decision) []Decision {
	if s.bounded {
		return s.fillFirst(buf[:0:len(buf)])
	}
	return s.fill(buf[:0:len(buf)], &s.running, true)
}

// Over does the same with what a full state lists as deleted: every stored
// decision that is over, with q.Dedup only where nothing runs on the target and
// none ended later. A decision whose alert is gone is listed while a bouncer may still
// hold it: until its decided end, and for as long as the history reaches back to where
// it ended. After Running it begins with the first of them that Running met.
func (s *Scan) Over(buf []Decision) []Decision {
	if s.over.at < s.running.at && !s.shaped && s.supersedes == nil {
		s.over.at = s.running.at
		if s.met != 0 {
			s.over.at = s.met
		}
		s.running.at = 0 // once
	}
	return s.fill(buf[:0:len(buf)], &s.over, false)
}

// fillFirst gives the next of those that come first.
func (s *Scan) fillFirst(dst []Decision) []Decision {
	for len(s.first) > 0 && len(dst) < cap(dst) {
		if s.view.state.records.At(s.first[0].rec).until > s.query.Now {
			dst = append(dst, s.view.told(&s.first[0].key, s.first[0].rec, false))
		}
		s.first = s.first[1:]
	}
	return dst
}

// fill walks the records this view shows, tombstones too, until dst is full.
func (s *Scan) fill(dst []Decision, w *walk, running bool) []Decision {
	v, q, state := s.view, s.query, s.view.state
	dst = s.drain(dst, w)
	id := w.at
	for ; id < w.to && len(dst) < cap(dst); id++ {
		if id&1023 == 0 {
			if id = state.ids.NextPage(id); id >= w.to {
				break
			}
		}
		n := state.slotOf(id)
		if n == 0 {
			continue
		}
		r := state.records.At(n)
		if r.id != id || !v.shows(r) {
			continue
		}
		if over := !running && s.supersedes != nil; over || s.shaped && !s.asStored(r) {
			if over {
				s.pending = s.appendSuperseded(s.pending, r)
			} else {
				s.pending = s.appendEntries(s.pending, r, running)
			}
			dst = s.drain(dst, w)
			continue
		}
		if v.running(r, q.Now) != running {
			if running && s.met == 0 {
				s.met = id
			}
			continue
		}
		if !q.admits(state, r) || (s.related && !q.relates(v, r)) || (q.Dedup && v.outlasted(r, q)) || v.forgotten(r, q) {
			continue
		}
		if w.skip > 0 {
			w.skip--
			continue
		}
		dst = append(dst, Decision{v, r})
	}
	w.at = id
	return dst
}

// drain fills in what is pending.
func (s *Scan) drain(dst []Decision, w *walk) []Decision {
	if len(s.pending) == 0 {
		return dst
	}
	skip := min(w.skip, len(s.pending))
	w.skip -= skip
	n := min(len(s.pending)-skip, cap(dst)-len(dst))
	dst = append(dst, s.pending[skip:skip+n]...)
	if s.pending = s.pending[skip+n:]; len(s.pending) == 0 {
		s.pending = nil
	}
	return dst
}

// era is the view as the query sees it.
func (s *Scan) era() *era {
	e := &s.query.match.now
	if e.view != s.view {
		e.at(s.view, uint64(s.view.revision), s.query)
	}
	return e
}

// asStored reports whether a record is told as it is, if at all.
func (s *Scan) asStored(r *record) bool {
	return s.untouched(r) && (!s.era().canonical || r.flags()&flagAddress == 0)
}

// untouched reports whether no item has to do with a record, nor had, as far as the history
// reaches.
func (s *Scan) untouched(r *record) bool {
	if !s.won {
		return s.era().plain(r)
	}
	all := allowances{set: s.view.allowlists}
	return r.flags()&flagAddress == 0 || !all.near(wider(s.view.state.targetOf(r)))
}
