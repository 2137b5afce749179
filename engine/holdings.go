package engine

import (
	"sort"
	"sync"
	"time"
)

// Holding is what one bouncer has, as far as is known, beside what there is for it.
type Holding struct {
	Streams bool // it has polled; all else says nothing of one that has not

	// Acknowledged counts only with HasAcknowledged.
	Acknowledged    Revision
	HasAcknowledged bool

	// Behind is how many revisions came since, and Lag how old the oldest change among them
	// is that concerns the bouncer: by its filters, and by what it asked last, as far as that
	// is remembered. Both are 0 when none does. Of one that has acknowledged nothing since
	// it began anew, Lag is the time since it pulled last.
	Behind uint64
	Lag    time.Duration

	Expected int // decisions that it should hold

	// Reported is how many it says that it holds; it counts only with HasReported, and was
	// said at ReportedAt (Unix nanoseconds).
	Reported    int64
	HasReported bool
	ReportedAt  int64
}

// Holdings answers for many bouncers out of one view, and looks at nothing twice: rows that
// ask the same from the same place cost one look. For one goroutine.
type Holdings struct {
	engine   *Engine
	view     *View
	now      int64
	firsts   map[standpoint]firstChange
	expected map[counted]int
	events   int // that may still be looked at
}

type standpoint struct {
	counted
	after Revision
}

type counted struct {
	text  string
	sight *Sight
}

type firstChange struct {
	rev Revision // 0: none
	at  int64
}

// Bounds of what one Holdings looks at.
const (
	// holdingEvents is how many events it looks at. Beyond, what a bouncer has not
	// acknowledged is taken for something that concerns it.
	holdingEvents = 8 << 20
	// holdingFirsts is how many places it remembers.
	holdingFirsts = 1 << 16
)

// Holdings takes the newest view. now is the time of asking.
func (e *Engine) Holdings(now int64) *Holdings {
	return &Holdings{engine: e, view: e.View(), now: now, firsts: map[standpoint]firstChange{}, expected: map[counted]int{}, events: holdingEvents}
}

// Of says what one bouncer holds.
func (h *Holdings) Of(r *BouncerRow) (o Holding) {
	asked, polled := h.engine.polls.asks(r)
	_, pulled := r.Cursor()
	o.Acknowledged, o.HasAcknowledged = r.Acknowledged()
	o.Reported, o.ReportedAt, o.HasReported = h.engine.reports.active(r)
	if o.Streams = polled || pulled || o.HasAcknowledged; !o.Streams {
		return o
	}
	c := counted{asked.text, r.Load().Sight}
	o.Expected = h.expect(asked, c)
	h.lag(r, asked, c, &o)
	return o
}

// lag fills in how far a row is behind.
func (h *Holdings) lag(r *BouncerRow, asked *Asked, c counted, o *Holding) {
	newest := h.view.revision
	if !o.HasAcknowledged {
		o.Behind = uint64(newest)
		o.Lag = time.Duration(max(h.now-r.LastPull(), 0))
		return
	}
	if o.Acknowledged >= newest {
		return
	}
	if f := h.first(asked, standpoint{c, o.Acknowledged}); f.rev != 0 {
		o.Behind = uint64(newest - o.Acknowledged)
		o.Lag = time.Duration(max(h.now-f.at, 0))
	}
}

// BouncerState is how a bouncer stands; each is in one state. It is not stored.
type BouncerState uint8

// States of bouncers.
const (
	BouncerNever   BouncerState = iota // it has never come
	BouncerSilent                      // it has not come for SilentAfter
	BouncerBehind                      // a change that concerns it, older than BehindAfter, is not acknowledged
	BouncerCurrent                     // it comes, and has what there is for it, as far as that is known
	bouncerStates  = iota
)

// Bounds of the states: what the rules for alerts go by, too.
const (
	SilentAfter = 5 * time.Minute
	BehindAfter = time.Minute
)

// BouncerStates are all of them.
var BouncerStates = [bouncerStates]BouncerState{BouncerNever, BouncerSilent, BouncerBehind, BouncerCurrent}

// String is the word that metrics have for it.
func (s BouncerState) String() string {
	return [bouncerStates]string{"never", "silent", "behind", "current"}[s]
}

// State says how a bouncer stands. Of one that does not come, or has everything, it looks at
// the row alone.
func (h *Holdings) State(r *BouncerRow) BouncerState {
	at := r.LastPull()
	switch {
	case at == 0:
		return BouncerNever
	case h.now-at > int64(SilentAfter):
		return BouncerSilent
	}
	var o Holding
	if o.Acknowledged, o.HasAcknowledged = r.Acknowledged(); !o.HasAcknowledged || o.Acknowledged >= h.view.revision {
		return BouncerCurrent // who has acknowledged nothing yet has come a moment ago
	}
	asked, _ := h.engine.polls.asks(r)
	if h.lag(r, asked, counted{asked.text, r.Load().Sight}, &o); o.Lag > BehindAfter {
		return BouncerBehind
	}
	return BouncerCurrent
}

// Worst is the worst of all rows that are not skipped: the longest lags, the most that should
// be held. any: there is one that has polled. It looks at each row only as long as it takes
// to see what it has acknowledged.
func (h *Holdings) Worst(skip func(*BouncerRow) bool) (worst Holding, any bool) {
	furthest := map[*Sight]*BouncerRow{}
	h.view.EachBouncer(func(r *BouncerRow) bool {
		at, acked := r.Acknowledged()
		_, pulled := r.Cursor()
		if !acked && !pulled || skip(r) {
			return true
		}
		sight := r.Load().Sight
		if !acked {
			worst.Behind = uint64(h.view.revision)
			worst.Lag = max(worst.Lag, time.Duration(max(h.now-r.LastPull(), 0)))
			any = true
			return true
		}
		if best := furthest[sight]; best != nil {
			if has, ok := best.Acknowledged(); ok && has <= at {
				return true
			}
		}
		furthest[sight] = r
		return true
	})
	for _, r := range furthest {
		o := h.Of(r)
		worst.Lag, worst.Behind, worst.Expected = max(worst.Lag, o.Lag), max(worst.Behind, o.Behind), max(worst.Expected, o.Expected)
		any = true
	}
	return worst, any
}

// asking is a question of a row, to be used by one goroutine.
func (a *Asked) asking(sight *Sight) *Query {
	q := a.query
	q.Sight = sight
	return &q
}

func (h *Holdings) expect(a *Asked, c counted) int {
	n, known := h.expected[c]
	if !known {
		n = h.view.CountEntries(a.asking(c.sight)).Told
		h.expected[c] = n
	}
	return n
}

// first is the first change behind a place that concerns who asks; 0: none. Where history
// does not reach back, it is what came next.
func (h *Holdings) first(a *Asked, s standpoint) firstChange {
	f, known := h.firsts[s]
	if known {
		return f
	}
	rev, at, looked := h.view.firstConcern(s.after, a.asking(s.sight), h.events)
	h.events -= looked
	if rev != 0 {
		f = firstChange{rev, max(at, h.engine.times.before(rev))}
	}
	if len(h.firsts) < holdingFirsts {
		h.firsts[s] = f
	}
	return f
}

// firstConcern finds the first change behind a revision that q admits, and about when it
// was; 0: there is none. It looks at so many events at most, and then, or where history
// does not reach back, takes the next revision for one.
func (v *View) firstConcern(after Revision, q *Query, most int) (rev Revision, at int64, looked int) {
	window, ok := v.state.history.Window(uint64(after), uint64(v.revision))
	if !ok || after > v.revision {
		return after + 1, 0, 0
	}
	if q.resolve(v.state).never {
		return 0, 0, 0
	}
	for i := range window.Len() {
		event := window.At(i)
		r := v.state.records.At(event.Slot())
		if i >= most {
			return after + 1, 0, i
		}
		if !q.admits(v.state, r) || !q.relatesStream(v, r) {
			continue
		}
		if event.Ended() {
			return Revision(r.endedRev.Load()), r.endedAt, i
		}
		return Revision(r.begun), Decision{v, r}.CreatedAt(), i
	}
	if q.shaped(v, uint64(after)) && !v.sameAllowances(after, q) {
		return after + 1, 0, window.Len() // an allowlist changes what it is told
	}
	return 0, 0, window.Len()
}

// times remember when revisions were committed, to the second, as far back as they reach:
// since the start, at ever larger steps. The committer adds, any goroutine asks.
type times struct {
	mu   sync.Mutex
	list []commitTime // ascending
	last int64        // the committer's
}

type commitTime struct {
	rev Revision
	at  int64
}

// timesKept is how many moments are kept. When there are more, every second one goes.
const timesKept = 1 << 13

func (t *times) note(rev Revision, at int64) {
	if at-t.last < int64(time.Second) && at >= t.last {
		return
	}
	t.last = at
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == timesKept {
		for i := range timesKept / 2 {
			t.list[i] = t.list[2*i]
		}
		t.list = t.list[:timesKept/2]
	}
	if n := len(t.list); n == 0 || t.list[n-1].rev < rev {
		t.list = append(t.list, commitTime{rev, at})
	}
}

// after is a moment at which the revision was there, the first that is known; 0: none is.
func (t *times) after(rev Revision) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := sort.Search(len(t.list), func(i int) bool { return t.list[i].rev >= rev })
	if i == len(t.list) {
		return 0
	}
	return t.list[i].at
}

// before is a moment at which the revision was not there yet, the latest that is known; 0:
// none is.
func (t *times) before(rev Revision) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := sort.Search(len(t.list), func(i int) bool { return t.list[i].rev > rev })
	if i == 0 {
		return 0
	}
	return t.list[i-1].at
}
