package engine

// ChangesFrom is Changes for a bouncer that could see something else at the earlier
// revision: what it held there is by that sight, what it is to hold now by q's. So what has
// left its sight is told as deleted, what has come into it as new, in one walk over all
// decisions, and beside that what may have been told on the way. known is whether the earlier
// sight is known (View.SightAt); if not, everything that runs is told as new, and as deleted
// all that it may have held.
//
// Both sides are what a bouncer holds that stands at a revision, asks a question and has a
// sight: a pure function of those. For sights that are more than filters entryChanges finds
// both alike.
func (v *View) ChangesFrom(d *Delta, after Revision, q *Query, was *Sight, known bool) bool {
	d.Reset()
	if _, ok := v.state.history.Window(uint64(after), uint64(v.revision)); !ok || after > v.revision {
		return false
	}
	before := q.with(was)
	if q.bounded() || before.bounded() || q.shaped(v, uint64(after)) || before.shaped(v, uint64(after)) {
		v.entryChanges(d, after, before, q)
	} else {
		q.resolve(v.state)
		before.resolve(v.state)
		v.difference(d, stand{after, before}, stand{v.revision, q})
	}
	if !v.tellWay(d, after, before, q) {
		return false
	}
	d.page(q)
	if !known || v.renewed(after, q.Sight) || forgets(was, q.Sight) {
		v.tellAgain(d, q)
	}
	return true
}

// forgets reports whether a bouncer may forget what it was told by one sight before it is
// told again by another: the first cut durations, and the other does so later or not at all.
func forgets(was, now *Sight) bool {
	return was != nil && was.MaxDuration > 0 && (now == nil || now.MaxDuration == 0 || now.MaxDuration > was.MaxDuration)
}

// tellWay adds to a difference what may have been told on the way, by either sight: a bouncer
// may have heard an answer of which that is not known (shelf.changes).
func (v *View) tellWay(d *Delta, after Revision, was, q *Query) bool {
	var by [2]Delta
	for i, one := range [...]*Query{was, q} {
		way := one.with(one.Sight)
		way.Offset = 0
		if !v.changes(&by[i], after, way) {
			return false
		}
	}
	said := map[targetKey]struct{}{}
	note := func(list []Decision) {
		for _, x := range list {
			said[v.state.keyOf(x.rec)] = struct{}{}
		}
	}
	note(d.New)
	note(d.Deleted)
	for _, x := range by[1].New {
		if _, known := said[v.state.keyOf(x.rec)]; !known || !q.Dedup {
			d.New = append(d.New, x)
		}
	}
	note(by[1].New)
	is := v.sideOf(q, v.revision)
	for _, list := range [...][]Decision{by[1].Deleted, by[0].Deleted, by[0].New} {
		for _, x := range list {
			k := v.state.keyOf(x.rec)
			if _, known := said[k]; known {
				continue
			}
			said[k] = struct{}{}
			switch held := is.holder(&k); {
			case held == nil:
				d.Deleted = append(d.Deleted, v.told(&k, v.state.slotOf(x.rec.id), true))
			case held.until > q.Now: // it may have been let go by the other sight
				d.New = append(d.New, v.told(&k, v.state.slotOf(held.id), false))
			}
		}
	}
	return true
}

// with is the question as one asks it who has another sight.
func (q *Query) with(s *Sight) *Query {
	c := *q
	c.match, c.Sight = matcher{}, s
	return &c
}

// stand is where a bouncer stands that asks a question: it knows everything up to a revision.
type stand struct {
	at Revision
	q  *Query
}

// told reports whether a record is among what a bouncer is told that stands there, of
// others on its target regardless.
func (p stand) told(v *View, r *record) bool {
	return r.inForceAt(p.at) && p.q.admits(v.state, r) && p.q.relatesStream(v, r)
}

// inForceAt reports whether a record is in force in the state after a revision.
func (r *record) inForceAt(at Revision) bool {
	if r.begun > uint64(at) {
		return false
	}
	ended := r.endedRev.Load()
	return ended == 0 || ended > uint64(at)
}

// contrast is the decisions that stand for a target at two places; nil: none.
type contrast struct{ was, is *record }

// difference fills d with what a bouncer must hear to come from one place to another, in no
// order. Where another decision stands for a target that was told already, that is told only
// if it runs longer.
func (v *View) difference(d *Delta, from, to stand) {
	settle := func(s contrast) {
		switch {
		case s.is == nil:
			d.Deleted = append(d.Deleted, Decision{v, s.was})
		case s.is.until > to.q.Now && (s.was == nil || s.is.until > s.was.until):
			d.New = append(d.New, Decision{v, s.is})
		}
	}
	shared := map[targetKey]contrast{} // of targets that more than one decision is on
	v.each(func(r *record) bool {
		var s contrast
		if from.told(v, r) {
			s.was = r
		}
		if to.told(v, r) {
			s.is = r
		}
		switch {
		case s == contrast{}:
		case to.q.Dedup && r.marked(markCrowded):
			k := v.state.keyOf(r)
			had := shared[k]
			shared[k] = contrast{longerOf(had.was, s.was), longerOf(had.is, s.is)}
		default:
			settle(s)
		}
		return true
	})
	for _, s := range shared {
		settle(s)
	}
}

// longerOf is the one of two decisions that runs longer, of equal ones the first.
func longerOf(a, b *record) *record {
	if a == nil || b != nil && b.until > a.until {
		return b
	}
	return a
}

// tellAgain makes a delta tell everything that runs, as new.
func (v *View) tellAgain(d *Delta, q *Query) {
	clear(d.New)
	d.New = d.New[:0]
	var buf [128]Decision
	s := v.Scan(q)
	for batch := s.Running(buf[:]); len(batch) > 0; batch = s.Running(buf[:]) {
		d.New = append(d.New, batch...)
	}
}

// WalksAll reports whether what a bouncer must hear takes a look at all decisions: its
// duration bound is due (sight_renewal.go).
func (v *View) WalksAll(after Revision, q *Query) bool { return v.renewed(after, q.Sight) }

// Records is how many decisions there are, running or over: how long a look at all takes.
func (v *View) Records() int { return v.state.ids.Len() }
