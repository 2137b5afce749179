package engine

import (
	"cmp"
	"slices"
	"time"
)

// BouncerStanding is what a bouncer knows of a target.
type BouncerStanding string

// Standings, the worst first.
const (
	StandingWaiting BouncerStanding = "waiting" // it runs, and the bouncer's stream is not there yet
	StandingHolding BouncerStanding = "holding" // it was ended, or the bouncer may not see it any more, and it was told of it and not yet of that
	StandingSent    BouncerStanding = "sent"    // the answer that tells it, or its end, is under way or not known to be heard
	StandingHidden  BouncerStanding = "hidden"  // it runs, and the bouncer may not see it
	StandingNever   BouncerStanding = "never"   // the bouncer never asked for anything
	StandingLive    BouncerStanding = "live"    // it asks live, and is answered what is so; or its stream begins anew at its next poll
	StandingTold    BouncerStanding = "told"    // it runs, and the bouncer's stream has told it
	StandingFree    BouncerStanding = "free"    // nothing runs, and the bouncer holds nothing that was ended
)

var bouncerStandings = [...]BouncerStanding{StandingWaiting, StandingHolding, StandingSent, StandingHidden, StandingNever, StandingLive, StandingTold, StandingFree}

// WhyBouncers says what bouncers know. Every row counts once; a key that is used from several
// addresses has several. What a bouncer leaves out by its own parameters is not known here, and
// decisions on other things than addresses are told to those alone that ask for the scope.
type WhyBouncers struct {
	Rows  int                     `json:"rows"`
	Count map[BouncerStanding]int `json:"count"`        // of rows; those that are none are left out
	Acked int                     `json:"acknowledged"` // of those told: how many have shown that they have it
	More  int                     `json:"more"`         // items left out below
	First []WhyBouncer            `json:"first"`        // worst standing first, of each the one farthest behind
}

// WhyBouncer is a bouncer's row, or several rows of one key that stand alike: then all but Name,
// Rows, Standing and By are of the one farthest behind.
type WhyBouncer struct {
	Name     string          `json:"name"`
	Of       string          `json:"of,omitempty"` // of a row made from a key: the bouncer whose key it is
	Rows     int             `json:"rows"`
	Standing BouncerStanding `json:"standing"`
	By       string          `json:"by,omitempty"` // what hides it, as the flags of the verbs have it
	Decision DecisionID      `json:"decision,omitempty"`
	Began    Revision        `json:"began,omitempty"`        // the revision with which the decision began; of a holding one, ended
	Acked    bool            `json:"acknowledged,omitempty"` // told: it has shown that it has it
	Cursor   *Revision       `json:"cursor"`                 // where its stream is; null: nowhere
	Behind   uint64          `json:"behind"`                 // the newest revision
	LastPull *time.Time      `json:"last_pull"`
}

// mostConcerned is how many decisions on a target are compared with what a bouncer was told.
const mostConcerned = 64

// rowStanding is one row while they are sorted.
type rowStanding struct {
	row   *BouncerRow
	rank  int
	place uint64 // as BouncerRow.cursor
	about *record
	by    string
	acked bool // told, and acknowledged
	rows  int
}

// bouncers finds how each row stands, now; of another moment nothing is known.
func (w *inquiry) bouncers() error {
	if w.at != w.now {
		return nil
	}
	concern := w.concern()
	for _, r := range concern {
		if scope := w.view.state.strings.At(w.view.state.wordsOf(r).Scope); !HoldsAddress(scope) {
			w.note("decisions of scope %s are told to those bouncers alone that ask for that scope", cutText(scope))
			break
		}
	}
	out := &WhyBouncers{Count: map[BouncerStanding]int{}, First: []WhyBouncer{}}
	looked := 0
	w.view.EachBouncer(func(r *BouncerRow) bool {
		if looked++; looked&4095 == 0 && w.ctx.Err() != nil {
			return false
		}
		if b := r.Load(); w.asked.Bouncer != "" && b.Name != w.asked.Bouncer && (!b.AutoCreated || BaseName(b.Name) != w.asked.Bouncer) {
			return true
		}
		s := w.standing(r, concern)
		out.Count[bouncerStandings[s.rank]]++
		if s.acked {
			out.Acked++
		}
		w.rows = append(w.rows, s)
		return true
	})
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if out.Rows = len(w.rows); out.Rows == 0 && w.asked.Bouncer != "" {
		return notFound(NounBouncer, w.asked.Bouncer)
	}
	if w.unranked > 0 {
		w.note("of some bouncers with max-entries that are far behind it is not known whether they were told: they count as not")
	}
	slices.SortStableFunc(w.rows, func(a, b rowStanding) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.place, b.place), cmp.Compare(a.row.LastPull(), b.row.LastPull()))
	})
	most := MostRows
	if !w.asked.EveryRow {
		w.rows, most = grouped(w.rows), w.most
	}
	told := map[int]int{}
	for i := range w.rows {
		if told[w.rows[i].rank]++; told[w.rows[i].rank] > most || len(out.First) >= MostRows {
			out.More++
			continue
		}
		out.First = append(out.First, w.bouncer(&w.rows[i]))
	}
	w.answer.Bouncers = out
	return nil
}

// concern are the decisions that bouncers should know: those that run, simulated ones left out.
func (w *inquiry) concern() (list []*record) {
	if w.one != nil {
		if w.runs(w.one) && w.one.flags()&flagSimulated == 0 {
			list = append(list, w.one)
		}
		return list
	}
	for _, r := range w.running.sorted() {
		if r.flags()&flagSimulated == 0 && len(list) < mostConcerned {
			list = append(list, r)
		}
	}
	return list
}

// standing is how one row stands.
func (w *inquiry) standing(row *BouncerRow, concern []*record) rowStanding {
	s := rowStanding{row: row, place: row.cursor.Load(), rows: 1}
	heard, stands := row.kept(), StandingFree
	switch {
	case len(concern) > 0:
		stands = s.runs(w, concern, heard)
	case s.place > 0:
		if s.about = w.unended(row, heard, s.place); s.about != nil {
			if stands = StandingHolding; s.place > s.about.endedRev.Load() {
				stands = StandingSent
			}
		}
	}
	if stands != StandingHidden && s.place == 0 {
		if stands = StandingLive; row.LastPull() == 0 {
			stands = StandingNever
		}
		s.about = nil
	}
	if stands == StandingTold {
		at, known := row.Acknowledged()
		s.acked = known && uint64(at) >= s.about.begun
	}
	s.rank = slices.Index(bouncerStandings[:], stands)
	return s
}

// runs is the standing towards decisions that run: the best of those that the bouncer may see. What
// it was told is by the sight that it had then.
func (s *rowStanding) runs(w *inquiry, concern []*record, heard uint64) BouncerStanding {
	row, now := s.row, s.row.Load().Sight
	stands := StandingHidden
	for _, r := range concern {
		by := w.hides(now, r)
		told, sent := w.toldAt(row, r, heard), w.toldAt(row, r, s.place)
		switch {
		case by == "" && told:
			s.about, s.by = r, ""
			return StandingTold
		case by == "" && sent:
			stands, s.about, s.by = StandingSent, r, ""
		case by == "" && stands != StandingSent && stands != StandingWaiting:
			stands, s.about, s.by = StandingWaiting, r, ""
		case by != "" && sent && stands == StandingHidden:
			stands, s.about, s.by = StandingHolding, r, by
		case by != "" && stands == StandingHidden && s.by == "":
			s.about, s.by = r, by
		}
	}
	return stands
}

// toldAt reports whether a bouncer whose place this is, as BouncerRow.cursor has it, has been told of a
// decision that runs.
func (w *inquiry) toldAt(row *BouncerRow, r *record, place uint64) bool {
	if place <= r.begun {
		return false
	}
	sight, known := w.view.SightAt(row, Revision(place-1))
	if !known {
		return false
	}
	rev := min(place-1, uint64(w.view.revision))
	if w.view.Distance(Revision(rev)) == 0 && sight != nil && sight.MaxEntries > 0 {
		rev = uint64(w.view.revision) // the same comes first, and that is known
	}
	return w.seen(sight, r, rev)
}

// unended is a decision whose beginning a bouncer was told, and not that it was ended before its
// time; one that ran out is forgotten by the bouncer itself.
func (w *inquiry) unended(row *BouncerRow, heard, place uint64) *record {
	over := w.over.sorted()
	if w.one != nil {
		over = []*record{w.one}
	}
	for _, r := range over {
		if r.flags()&flagSimulated == 0 && w.view.ended(r) && !bornOver(r) && r.until > w.now &&
			heard <= r.endedRev.Load() && w.toldAt(row, r, place) {
			return r
		}
	}
	return nil
}

// grouped makes one of the rows of a key that stand alike; the first of them stands for all.
func grouped(rows []rowStanding) []rowStanding {
	type alike struct {
		key   KeyHash
		name  string
		rank  int
		by    string
		acked bool
	}
	first := map[alike]int{}
	out := rows[:0]
	for _, s := range rows {
		b := s.row.Load()
		k := alike{b.owner(), BaseName(b.Name), s.rank, s.by, s.acked}
		if i, known := first[k]; known {
			out[i].rows++
			continue
		}
		first[k] = len(out)
		out = append(out, s)
	}
	return out
}

func (w *inquiry) bouncer(s *rowStanding) WhyBouncer {
	b := s.row.Load()
	out := WhyBouncer{Name: b.Name, Rows: s.rows, Standing: bouncerStandings[s.rank], By: s.by, Acked: s.acked}
	if b.AutoCreated {
		out.Of = BaseName(b.Name)
	}
	if s.about != nil {
		out.Decision, out.Began = DecisionID(s.about.id), Revision(s.about.begun)
		if out.Standing == StandingHolding {
			out.Began = Revision(s.about.endedRev.Load())
		}
	}
	if s.place > 0 {
		at := Revision(s.place - 1)
		if out.Cursor = &at; at < w.view.revision {
			out.Behind = uint64(w.view.revision - at)
		}
	}
	if last := s.row.LastPull(); last != 0 {
		out.LastPull = knownTime(last)
	}
	return out
}
