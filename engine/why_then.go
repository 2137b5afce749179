package engine

// What was so at a moment of the past is known by revisions, and a moment by commits whose
// time is known: those of alerts that are kept, and those since the start.

// bracket is what is known of the revision at a moment: it is low at least, and below high.
type bracket struct{ low, high uint64 }

// revisionThen finds the bracket of the moment that is asked about. It costs a look at each
// alert that came later.
func (w *inquiry) revisionThen() bracket {
	if w.then != nil {
		return *w.then
	}
	b := bracket{high: uint64(w.view.revision) + 1}
	for id := range w.view.state.alerts.Descending(1, w.view.nextAlert) {
		h := w.view.alert(id)
		if h == nil {
			continue
		}
		if begun := h.begun.Load(); h.createdAt > w.at {
			b.high = min(b.high, begun)
		} else {
			b.low = begun
			break
		}
	}
	b.low = min(b.low, b.high-1)
	w.then = &b
	return b
}

// reached reports whether a revision was there at the moment, and whether that is known.
func (w *inquiry) reached(rev uint64) (there, known bool) {
	b, times := w.revisionThen(), &w.engine.times
	after, before := times.after(Revision(rev)), times.before(Revision(rev))
	switch {
	case rev <= b.low || after != 0 && after <= w.at:
		return true, true
	case rev >= b.high || before > w.at:
		return false, true
	}
	return false, false
}

// winThen reports whether allowlists won at the moment, and whether that is known.
func (w *inquiry) winThen() (wins, known bool) {
	if w.at >= w.now {
		return w.view.AllowlistsWin(), true
	}
	for i := len(w.view.modes) - 1; i >= 0; i-- {
		m := w.view.modes[i]
		switch there, known := w.reached(m.since); {
		case !known:
			return false, false
		case there:
			return m.wins, true
		}
	}
	return false, true
}

// wonThen reports whether allowlists win over a decision at the moment, on all of what is
// asked about.
func (w *inquiry) wonThen(r *record) bool {
	if w.at == w.now {
		return w.won(r, uint64(w.view.revision))
	}
	p := w.prefix
	if !p.IsValid() {
		p = w.view.state.targetOf(r)
	}
	if wins, _ := w.winThen(); !wins || !p.IsValid() {
		return false
	}
	if w.at > w.now {
		return (&allowances{set: w.view.allowlists, at: uint64(w.view.revision), now: w.at}).cover(p)
	}
	for _, m := range w.view.allowlistedAt(p, w.at) {
		if reaches(m.Item.Prefix, p) {
			return true
		}
	}
	return false
}

// admitLists says what is not known of allowlists at a moment of the past.
func (w *inquiry) admitLists() {
	if floor := w.view.allowlists.index.history.Floor(); floor != 0 {
		if there, known := w.reached(floor); !known || !there {
			w.note("what had been on an allowlist then and was removed since is not known any more")
		}
	}
	if _, known := w.winThen(); !known {
		w.note("whether allowlists won then (allowlist_wins) is not known")
	}
}
