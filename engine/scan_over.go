package engine

import "net/netip"

// supersession is of a full state that a bouncer puts on top of what it holds, because
// history does not reach back to its cursor: what that is follows from nothing any more but
// what is stored, and what the bouncer could see.
type supersession struct {
	before []*Query               // as it was asked then, with one sight after the other
	first  map[targetKey]struct{} // with Sight.MaxEntries: what is told
	told   map[entryKey]struct{}  // in deleted, of targets that more than one decision may be told as
	keys   []entryKey             // scratch, of one record
}

// Supersede makes Over list everything that is stored, running or over, that the query or the
// same with one of some earlier sights admits and that Running does not tell: what a bouncer may hold
// that once had those sights and does not let go of what it holds. So it comes to hold what
// Running tells, and no more. Without a bound and with the same sight Over lists that anyhow.
// Call it before Running. It takes memory for targets with several decisions.
func (s *Scan) Supersede(was []*Sight) {
	q := s.query
	if !s.bounded && len(was) == 0 {
		return
	}
	p := &supersession{told: map[entryKey]struct{}{}}
	for _, sight := range was {
		before := q.with(sight)
		before.resolve(s.view.state)
		p.before = append(p.before, before)
	}
	if s.bounded {
		all := s.view.state.shelves.of(q).listing(s.view, s.view.revision)
		p.first = make(map[targetKey]struct{}, len(all))
		for i := range all {
			p.first[all[i].key] = struct{}{}
		}
	}
	if s.over.to == 0 { // the query admits nothing now
		from, to := s.view.state.ids.Bounds()
		s.over = walk{from, min(to, s.view.nextDecision), max(q.Offset, 0)}
	}
	s.supersedes = p
}

// appendSuperseded appends what of one record a bouncer may hold and is not told.
func (s *Scan) appendSuperseded(dst []Decision, r *record) []Decision {
	p, v, q := s.supersedes, s.view, s.query
	admitted := q.admits(v.state, r) && q.relatesStream(v, r)
	for _, before := range p.before {
		admitted = admitted || before.admits(v.state, r) && before.relatesStream(v, r)
	}
	if !admitted || v.forgotten(r, q) {
		return dst
	}
	e := s.era()
	for _, k := range s.spellings(e, r) {
		if p.holds(e, &k, q.Now) {
			continue
		}
		if _, twice := p.told[k]; twice {
			continue
		}
		if v.state.keyOf(r) != k.targetKey || e.canonical || r.marked(markCrowded) {
			p.told[k] = struct{}{}
		}
		dst = append(dst, Decision{v, e.spelt(r, &k.targetKey, true)})
	}
	return dst
}

// spellings are the entries that a record was or is, by either sight and whatever was
// allowlisted, as far as that is known.
func (s *Scan) spellings(e *era, r *record) []entryKey {
	p, id := s.supersedes, uint64(0)
	if !s.query.Dedup {
		id = r.id
	}
	p.keys = append(p.keys[:0], entryKey{e.view.state.keyOf(r), id})
	if r.flags()&flagAddress == 0 {
		return p.keys
	}
	clean := e.canonical
	for _, before := range p.before {
		was, _ := before.sightShape()
		clean = clean || was
	}
	t := e.view.state.targetOf(r)
	if k := (entryKey{e.view.state.cleanKey(t, e.view.state.wordsOf(r).Type), id}); clean && p.keys[0] != k {
		p.keys = append(p.keys, k)
	}
	if !s.won || s.untouched(r) {
		return p.keys
	}
	all := allowances{set: s.view.allowlists}
	e.items = all.ever(e.items[:0], t)
	n := 0
	eachNode(t, e.items, func(part netip.Prefix) bool {
		if part != t {
			p.keys = append(p.keys, e.pieceKey(r, part))
		}
		n++
		return n < mostPieces
	})
	return p.keys
}

// holds reports whether an entry is told.
func (p *supersession) holds(e *era, k *entryKey, now int64) bool {
	if p.first != nil {
		_, told := p.first[k.targetKey]
		return told
	}
	h := e.holder(k)
	return h != nil && h.until > now
}
