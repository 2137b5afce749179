package engine

// Uncertain reports whether a row's cursor, which is at a revision, may not say what its
// bouncer holds. Cursors are written down now and then, so a crash takes them back a little:
// the bouncer may know more than its cursor says, up to where the history was at the start;
// one that was at another node meanwhile, up to now.
// Decisions begin once and end once, so to be told that again does no harm. Where entries
// come and go without a decision that begins or ends (a bound of entries, items of
// allowlists, another sight) a difference of two revisions leaves out what came between
// and is gone, and what went and is back. Then the bouncer must be told everything, as one
// that does not let go of what it holds (Scan.Supersede). Any goroutine; it allocates nothing.
func (v *View) Uncertain(row *BouncerRow, at Revision, q *Query) bool {
	s, until := v.state, v.state.reborn
	if row.elsewhere() {
		until = v.revision
	}
	if at >= until || until > v.revision {
		return false
	}
	if row.Load().moved {
		return true
	}
	bounded := q.bounded()
	if bounded {
		if events, ok := s.history.Window(uint64(at), uint64(until)); !ok || events.Len() > 0 {
			return true
		}
	}
	if !q.shaped(v, uint64(at)) && !q.shaped(v, uint64(until)) {
		return false
	}
	items, ok := v.allowlists.index.history.Window(uint64(at), uint64(until))
	return !ok || items.Len() > 0 || v.modeChanged(at, until)
}

// modeChanged reports whether it was changed behind one revision, up to another, whether
// allowlists win.
func (v *View) modeChanged(after, upto Revision) bool {
	for _, m := range v.modes {
		if m.since > uint64(after) && m.since <= uint64(upto) {
			return true
		}
	}
	return false
}
