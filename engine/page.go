package engine

// DecisionsBefore yields the stored decisions, running or not, that have smaller ids than before, the
// newest first, until yield returns false; 0 is after the newest. It walks the ids alone: a page costs
// what is looked at on the way to it, and waits for no writer.
func (v *View) DecisionsBefore(before DecisionID, yield func(Decision) bool) {
	last := v.nextDecision
	if before > 0 && uint64(before) < last {
		last = uint64(before)
	}
	if last <= 1 {
		return
	}
	for id := range v.state.ids.Descending(1, last) {
		if d, ok := v.Decision(DecisionID(id)); ok && !yield(d) {
			return
		}
	}
}
