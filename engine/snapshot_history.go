package engine

import (
	"cmp"
	"slices"
)

type endEvent struct {
	rev  uint64
	slot slot
}

// rebuildHistory makes the events after the floor anew from the records: when
// each began and ended is written on it.
func (l *loader) rebuildHistory(most int) {
	s := l.state
	// The floor was read while commits went on, so it may lie beyond the view;
	// what is replayed after the view makes its events anew.
	floor := min(l.floor, l.rev)
	slices.SortFunc(l.ends, func(a, b endEvent) int {
		return compareEvents(a.rev, a.slot, b.rev, b.slot)
	})
	begins := l.begins(floor, most)
	if surplus := len(begins) + len(l.ends) - most; surplus > 0 {
		floor = max(floor, oldestKept(begins, l.ends, surplus))
	}
	s.history.Reset(floor)
	for b, e := 0, 0; b < len(begins) || e < len(l.ends); {
		// Within one revision things end before others begin: expiry goes first.
		if e < len(l.ends) && (b == len(begins) || l.ends[e].rev <= begins[b].rev) {
			if l.ends[e].rev > floor {
				s.history.Append(l.ends[e].rev, l.ends[e].slot, true)
			}
			e++
			continue
		}
		if begins[b].rev > floor {
			s.history.Append(begins[b].rev, begins[b].slot, false)
		}
		b++
	}
	s.history.Publish(l.rev)
}

// begins are the events of records that began after a revision, in order; of more than
// may be kept one too many.
func (l *loader) begins(floor uint64, most int) (begins []endEvent) {
	for n := l.state.records.End() - 1; n > 0 && (l.scattered || len(begins) <= most); n-- {
		r := l.state.records.At(n)
		if r.begun > floor && !bornOver(r) {
			begins = append(begins, endEvent{r.begun, n})
		}
		if r.begun <= floor && !l.scattered {
			break // and so are all before it
		}
	}
	slices.Reverse(begins)
	if l.scattered {
		slices.SortStableFunc(begins, func(a, b endEvent) int { return cmp.Compare(a.rev, b.rev) })
	}
	return begins
}

// bornOver reports whether a record was over on arrival and never announced.
func bornOver(r *record) bool {
	return r.endedRev.Load() == r.begun && r.endedAt == r.until
}

// oldestKept returns the revision up to which events must be forgotten so that
// about surplus fewer remain.
func oldestKept(begins, ends []endEvent, surplus int) uint64 {
	revs := make([]uint64, 0, len(begins)+len(ends))
	for _, e := range begins {
		revs = append(revs, e.rev)
	}
	for _, e := range ends {
		revs = append(revs, e.rev)
	}
	slices.Sort(revs)
	return revs[surplus-1]
}

func compareEvents(ra uint64, sa slot, rb uint64, sb slot) int {
	switch {
	case ra != rb && ra < rb:
		return -1
	case ra != rb:
		return 1
	case sa < sb:
		return -1
	case sa > sb:
		return 1
	}
	return 0
}
