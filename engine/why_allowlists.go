package engine

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// WhyEntries are the first of so many allowlist entries.
type WhyEntries struct {
	Count int        `json:"count"`
	First []WhyEntry `json:"first"`
}

// WhyEntry is an allowlist entry that covers the target, or lies inside it.
type WhyEntry struct {
	List    string     `json:"list"`
	Entry   string     `json:"entry"` // as it was written
	Comment string     `json:"comment,omitempty"`
	Since   *time.Time `json:"since"`
	Until   *time.Time `json:"until"`             // null: for ever
	Removed *time.Time `json:"removed,omitempty"` // it was there at the moment that was asked about, and was taken out then
	Covers  bool       `json:"covers"`            // the whole target; otherwise it lies inside

	EndedCount int          `json:"ended_count"` // decisions that it ended, of those still stored on the target and around it
	Ended      []DecisionID `json:"ended"`       // the first ten of them

	Dropped     uint64     `json:"alerts_dropped"` // alerts about what it covers that were not stored, since the server started
	LastDropped *time.Time `json:"last_dropped"`
}

// whyMatch is an entry with what it ended.
type whyMatch struct {
	pastMatch
	covers bool
	ended  []DecisionID
	count  int
}

// mostEnded is how many decisions are named that an entry ended.
const mostEnded = 10

// entries finds the allowlist entries that hold for the target at the moment, those that cover all of it
// first.
func (w *inquiry) entries() {
	w.answer.Allowlists.First = []WhyEntry{}
	if !w.prefix.IsValid() {
		return
	}
	for _, m := range w.listedThen() {
		w.matches = append(w.matches, whyMatch{pastMatch: m, covers: reaches(m.Item.Prefix, w.prefix)})
	}
	slices.SortStableFunc(w.matches, func(a, b whyMatch) int {
		if a.covers == b.covers {
			return 0
		}
		if a.covers {
			return -1
		}
		return 1
	})
	w.answer.Allowlists.Count = len(w.matches)
	w.matches = w.matches[:min(len(w.matches), w.most)]
	for _, e := range w.ending {
		if m := w.causeOf(e); m != nil {
			m.count++
			if len(m.ended) < mostEnded {
				m.ended = append(m.ended, DecisionID(e.rec.id))
			}
		}
	}
	for i := range w.matches {
		w.answer.Allowlists.First = append(w.answer.Allowlists.First, w.entry(&w.matches[i]))
	}
}

// listedThen finds them by list and age.
func (w *inquiry) listedThen() (list []pastMatch) {
	if w.at < w.now {
		return w.view.allowlistedAt(w.prefix, w.at)
	}
	for _, m := range w.view.Allowlisted(nil, w.prefix, w.at) {
		list = append(list, pastMatch{AllowlistMatch: m, since: m.Item.CreatedAt})
	}
	return list
}

// causeOf is the entry that ended a decision: the newest of the list that was there by then and has
// to do with it.
func (w *inquiry) causeOf(e allowlisting) (cause *whyMatch) {
	for i := range w.matches {
		m := &w.matches[i]
		if m.List == e.list && m.since <= e.rec.endedAt && m.Item.Prefix.Overlaps(w.view.state.targetOf(e.rec)) &&
			(cause == nil || cause.since < m.since) {
			cause = m
		}
	}
	return cause
}

func (w *inquiry) entry(m *whyMatch) WhyEntry {
	out := WhyEntry{
		List: m.List, Entry: m.Item.Value, Comment: m.Item.Comment, Since: knownTime(m.since), Covers: m.covers,
		EndedCount: m.count, Ended: m.ended,
	}
	if out.Ended == nil {
		out.Ended = []DecisionID{}
	}
	if m.Item.ExpiresAt != 0 {
		out.Until = knownTime(m.Item.ExpiresAt)
	}
	if m.until != 0 {
		out.Removed = knownTime(m.until)
	}
	if n, last := w.engine.spared.of(m.AllowlistMatch); n > 0 {
		out.Dropped, out.LastDropped = n, knownTime(last)
	}
	return out
}

// reaches reports whether a range holds all of another.
func reaches(all, p netip.Prefix) bool {
	return all.Addr().Is4() == p.Addr().Is4() && all.Bits() <= p.Bits() && all.Contains(p.Addr())
}

// spared counts, since the start, the alerts that were dropped because of an allowlist entry: they
// are in no store. Any goroutine. Of at most mostSpared entries; those of more are not counted.
type spared struct {
	mu      sync.Mutex
	entries map[sparedEntry]sparedAlerts
}

type sparedEntry struct {
	list   string
	prefix netip.Prefix
}

type sparedAlerts struct {
	count uint64
	last  int64
}

const mostSpared = 10_000

func (s *spared) note(m AllowlistMatch, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sparedEntry{m.List, m.Item.Prefix}
	a, known := s.entries[key]
	if !known && len(s.entries) >= mostSpared {
		return
	}
	if s.entries == nil {
		s.entries = map[sparedEntry]sparedAlerts{}
	}
	s.entries[key] = sparedAlerts{a.count + 1, max(a.last, now)}
}

func (s *spared) of(m AllowlistMatch) (count uint64, last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.entries[sparedEntry{m.List, m.Item.Prefix}]
	return a.count, a.last
}
