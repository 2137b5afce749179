package engine

import (
	"encoding/binary"
	"slices"
)

// A bouncer's cursor may be from a time when its sight was another. What it was told then is
// by that one, so the row keeps its earlier sights until a written cursor has passed them.
// Few rows have any; those that do are marked.

// pastSight is a sight that a row had.
type pastSight struct {
	sight *Sight   // shared; nil: everything
	until Revision // the first at which it was another
}

// pastSights is how many are kept of one row. With one more the oldest is forgotten, and a
// bouncer that was told by that one is told as one whose sight is unknown (Told).
const pastSights = 8

// pastOf are the earlier sights of a row, oldest first.
func (s *state) pastOf(row *BouncerRow) []pastSight {
	list, _ := s.pasts.Load(row)
	past, _ := list.([]pastSight)
	return past
}

// SightAt is what a row's bouncer could see at a revision; false when that is forgotten.
// Take the revision's view before, so that the row is at least as new. It is for any
// goroutine and allocates nothing.
func (v *View) SightAt(row *BouncerRow, rev Revision) (*Sight, bool) {
	b := row.Load()
	if !b.moved {
		return b.Sight, true
	}
	past := v.state.pastOf(row)
	for i := range past {
		if rev < past[i].until {
			return past[i].sight, i > 0 || len(past) < pastSights
		}
	}
	return b.Sight, true
}

// SightsSince are the sights that a row's bouncer had before its present one, from a revision
// on; the first may be nil also because it is forgotten. For any goroutine.
func (v *View) SightsSince(row *BouncerRow, rev Revision) (list []*Sight) {
	if !row.Load().moved {
		return nil
	}
	past := v.state.pastOf(row)
	for i := range past {
		if rev >= past[i].until {
			continue
		}
		if i == 0 && len(past) == pastSights {
			list = append(list, nil)
		}
		list = append(list, past[i].sight)
	}
	return list
}

// keepSight notes, before a row becomes what it is from a revision on, which sight it had
// until then. Replayed over a snapshot that knew better, it forgets what comes later: that
// is replayed too.
func (s *state) keepSight(rev Revision, row *BouncerRow, b *Bouncer) {
	old := row.Load()
	if b.moved = old.moved; !old.moved && old.Sight == b.Sight {
		return
	}
	past, had := s.pastOf(row), old.Sight
	for i := range past {
		if past[i].until >= rev {
			had, past = past[i].sight, past[:i]
			break
		}
	}
	past = slices.Clone(past)
	if had != b.Sight {
		past = append(past, pastSight{had, rev})
		s.next.edited = rev
	}
	if len(past) > pastSights {
		past = past[len(past)-pastSights:]
	}
	s.forgetSights(row, past)
	b.moved = len(past) > 0
}

// passSights forgets the sights that a cursor has passed, as it was written down.
func (s *state) passSights(row *BouncerRow, cursor uint64) {
	past := s.pastOf(row)
	i := 0
	for i < len(past) && cursor > uint64(past[i].until) { // at the first revision of the next, or behind
		i++
	}
	if i == 0 {
		return // also where it never pulled: a first answer may be on its way
	}
	rest := slices.Clone(past[i:])
	if len(rest) == 0 {
		b := *row.Load()
		b.moved = false
		row.value.Store(&b)
	}
	s.forgetSights(row, rest)
}

// forgetSights makes a list a row's past, which may have sights of the one before.
func (s *state) forgetSights(row *BouncerRow, list []pastSight) {
	old := s.pastOf(row)
	for i := range list {
		list[i].sight = s.sights.acquire(list[i].sight)
	}
	if len(list) > 0 {
		s.pasts.Store(row, list)
	} else if old != nil {
		s.pasts.Delete(row)
	}
	for i := range old {
		s.releaseSight(old[i].sight)
	}
}

// keepPast gives a row that was just loaded its past.
func (s *state) keepPast(row *BouncerRow, past []pastSight) {
	if len(past) > 0 {
		s.forgetSights(row, past)
		row.Load().moved = true // nobody has seen it yet
	}
}

// sightsOf yields what a row has and had.
func (s *state) sightsOf(row *BouncerRow) func(yield func(*Sight) bool) {
	return func(yield func(*Sight) bool) {
		if now := row.Load().Sight; now != nil && !yield(now) {
			return
		}
		for _, p := range s.pastOf(row) {
			if p.sight != nil && !yield(p.sight) {
				return
			}
		}
	}
}

// EditedAt is the last revision at which some bouncer's sight was changed; 0: none was since
// the start.
func (v *View) EditedAt() Revision { return v.edited }

// keptBouncer is what is written down of a row. The committer's, or whoever has the view.
func (v *View) keptBouncer(row *BouncerRow) keptBouncer {
	s, b := v.state, row.Load()
	k := keptBouncer{value: b, lastPull: row.lastPull.Load(), cursor: row.kept(), acked: row.acked.Load()}
	if k.renewed = v.renewalOf(b.Sight); b.moved {
		k.past = s.pastOf(row)
	}
	return k
}

func appendPast(dst []byte, past []pastSight) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(past)))
	for i := range past {
		from := len(dst)
		dst = endRow(binary.AppendUvarint(appendSight(dst, past[i].sight), uint64(past[i].until)), from)
	}
	return dst
}

func (d *decoder) past() []pastSight {
	n := d.count(3)
	if n > pastSights {
		d.fail()
		return nil
	}
	list := make([]pastSight, n)
	for i := range list {
		behind := d.open()
		list[i] = pastSight{d.optionalSight(), Revision(d.uvarint())}
		d.close(behind)
		if i > 0 && list[i].until <= list[i-1].until {
			d.fail()
			return nil
		}
	}
	return list
}
