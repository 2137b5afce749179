package engine

import (
	"cmp"
	"slices"
)

// Selection is what Find gives, in four bytes for each decision: for lists as long
// as the state is large. It keeps its view alive. For one goroutine; it may be read
// as often as wanted.
type Selection struct {
	view  *View
	slots []slot
	told  []Decision // instead of them, where other is told than is stored
	other bool
}

const (
	// fewSelected is how many decisions a selection holds that asked for no room.
	fewSelected = 4096
	slotSize    = 4 // bytes
)

// Select finds what Find finds, in the same order. When more than some thousands
// answer q, it counts them first and asks for room, once, with how many bytes the
// selection will take; when there is none, ok is false and nothing was taken. room
// may wait.
func (v *View) Select(q *Query, room func(bytes int64) bool) (s Selection, ok bool) {
	s.view = v
	if q.resolve(v.state).never || q.Limit == 0 {
		return s, true
	}
	if q.shaped(v, uint64(v.revision)) {
		return v.selectEntries(q, room)
	}
	count := 0
	v.eachAnswer(q, func(n slot) bool {
		if count++; count <= fewSelected {
			s.slots = append(s.slots, n)
		}
		return true
	})
	if count > fewSelected {
		s.slots = nil
		if !room(int64(count) * slotSize) {
			return s, false
		}
		s.slots = make([]slot, 0, count)
		v.eachAnswer(q, func(n slot) bool { // no more than before: what comes is not of this view
			s.slots = append(s.slots, n)
			return len(s.slots) < count
		})
	}
	s.order(q)
	from, to := q.page(len(s.slots))
	s.slots = s.slots[from:to]
	return s, true
}

func (s *Selection) order(q *Query) {
	at := s.view.state.records.At
	if q.byID() {
		slices.SortFunc(s.slots, func(a, b slot) int { return cmp.Compare(at(a).id, at(b).id) })
		return
	}
	ban, _ := s.view.state.strings.Lookup("ban")
	slices.SortFunc(s.slots, func(a, b slot) int { return s.view.state.inOrder(at(a), at(b), ban) })
}

// entrySize is about what an entry takes of a selection that is told otherwise than it is
// stored, in bytes.
const entrySize = 128

// selectEntries is Select where other is told than is stored.
func (v *View) selectEntries(q *Query, room func(bytes int64) bool) (s Selection, ok bool) {
	count := 0
	v.eachEntry(q, func(Decision) bool { count++; return true })
	s.view, s.other = v, true
	if count > fewSelected && !room(int64(count)*entrySize) {
		return s, false
	}
	s.told = make([]Decision, 0, count)
	v.eachEntry(q, func(d Decision) bool {
		s.told = append(s.told, d)
		return len(s.told) < count
	})
	s.told = v.arrange(s.told, 0, q)
	return s, true
}

// Len is how many decisions it holds.
func (s *Selection) Len() int {
	if s.other {
		return len(s.told)
	}
	return len(s.slots)
}

// At gives one of them, from 0 on.
func (s *Selection) At(i int) Decision {
	if s.other {
		return s.told[i]
	}
	return Decision{s.view, s.view.state.records.At(s.slots[i])}
}
