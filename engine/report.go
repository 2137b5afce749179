package engine

import (
	"slices"
	"sync"
)

// Figure is one of what a bouncer counts of itself: its name, where it came from, in what
// unit. Names, origins and units are those of a small set that the caller chooses.
type Figure struct {
	Name, Origin, Unit string
	Value              float64
}

// Report is what a bouncer has told of itself in its usage metrics. Active is how many
// decisions it holds, which counts only with HasActive.
type Report struct {
	At        int64 // when it came, Unix nanoseconds
	Sent      int64 // when it was made, by the sender's clock; 0: it does not say
	Active    int64
	HasActive bool
	Figures   []Figure // what has happened since the report before
	// Holds is what Active is made of, by origin and unit, figuresKept at most; it counts only with HasActive.
	Holds []Figure
}

const (
	// reportsKept is of how many rows the reports are remembered: those that reported
	// last. Figures of others are added up under no row.
	reportsKept = 2000
	// figuresKept is how many figures are kept for a row. Others are left out.
	figuresKept = 80
)

// reports are what bouncers have told of themselves since the start. Any goroutine.
type reports struct {
	mu    sync.Mutex
	rows  map[*BouncerRow]*Report // Figures added up, Holds as they came last
	since map[*BouncerRow]int64   // when the first of them came, Unix nanoseconds
	other []Figure                // of rows that are not among them any more
}

// NoteReport remembers what a bouncer has told. One that is sent again, for its answer was
// lost, counts once. Unknown names do nothing.
func (e *Engine) NoteReport(name string, told *Report) {
	r := e.View().Bouncer(name)
	if r == nil {
		return
	}
	s := &e.reports
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows == nil {
		s.rows, s.since = map[*BouncerRow]*Report{}, map[*BouncerRow]int64{}
	}
	has := s.rows[r]
	if has == nil {
		s.makeRoom()
		has = &Report{}
		s.rows[r], s.since[r] = has, told.At
	} else if told.Sent != 0 && told.Sent == has.Sent {
		return
	}
	has.At, has.Sent = told.At, told.Sent
	if told.HasActive {
		has.Active, has.HasActive, has.Holds = told.Active, true, AddFigures(nil, told.Holds)
	}
	has.Figures = AddFigures(has.Figures, told.Figures)
}

// makeRoom lets the row go that has reported longest ago. What it counted stays, for
// counters only grow. Called with the lock.
func (s *reports) makeRoom() {
	if len(s.rows) < reportsKept {
		return
	}
	var oldest *BouncerRow
	for r, has := range s.rows {
		if oldest == nil || has.At < s.rows[oldest].At || r.Gone() {
			oldest = r
			if r.Gone() {
				break
			}
		}
	}
	s.other = AddFigures(s.other, s.rows[oldest].Figures)
	s.forget(oldest)
}

func (s *reports) forget(r *BouncerRow) {
	delete(s.rows, r)
	delete(s.since, r)
}

// AddFigures adds figures up, those of one name, origin and unit each. What is more than a
// row has at most is left out.
func AddFigures(to, what []Figure) []Figure {
	for _, f := range what {
		i := slices.IndexFunc(to, func(o Figure) bool { return o.Name == f.Name && o.Origin == f.Origin && o.Unit == f.Unit })
		switch {
		case i >= 0:
			to[i].Value += f.Value
		case len(to) < figuresKept:
			to = append(to, f)
		}
	}
	return to
}

func (s *reports) active(r *BouncerRow) (n, at int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	has := s.rows[r]
	if has == nil || !has.HasActive {
		return 0, 0, false
	}
	return has.Active, has.At, true
}

// Reported is what a row has told since a moment, Unix nanoseconds: Figures added up from then on, Holds as it told last.
// False: nothing since the start, or it is not among those that reported last. The caller owns it. Any goroutine.
func (e *Engine) Reported(r *BouncerRow) (told Report, since int64, ok bool) {
	s := &e.reports
	s.mu.Lock()
	defer s.mu.Unlock()
	has := s.rows[r]
	if has == nil {
		return Report{}, 0, false
	}
	told = *has
	told.Figures, told.Holds = slices.Clone(has.Figures), slices.Clone(has.Holds)
	return told, s.since[r], true
}

// EachReport yields what the rows that reported last have told, Figures added up since the
// start, in no order; at last, with a nil row, the figures of all others. It holds a lock:
// yield must be quick.
func (e *Engine) EachReport(yield func(*BouncerRow, *Report)) {
	s := &e.reports
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, has := range s.rows {
		if r.Gone() {
			s.other = AddFigures(s.other, has.Figures)
			s.forget(r)
			continue
		}
		yield(r, has)
	}
	yield(nil, &Report{Figures: s.other})
}
