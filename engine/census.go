package engine

import "sync"

// census counts the entries of a question: what its sight lets through, without the bound.
// It is kept up from call to call by the events between, each of which costs a look at its
// target; the first call, and one after more events than are worth it, costs a look at all
// decisions. It remembers no entry.
type census struct {
	mu sync.Mutex
	standings
	made bool
	rev  Revision
	n    int
}

const (
	// censusesAtMost is how many are kept; with one more all are begun anew.
	censusesAtMost = 256
	// censusEvents is after how many events all decisions are looked at instead.
	censusEvents = 1 << 17
)

// EntryCount is how many entries there are for a question and its sight, each target of a
// type once.
type EntryCount struct {
	Admitted int // that the question and the filters of the sight let through
	Told     int // of them with the sight's bound: what a bouncer holds
}

// Over is how many find no room.
func (c EntryCount) Over() int { return c.Admitted - c.Told }

// CountEntries counts what a bouncer holds at this view's revision that asks what q asks
// and has its sight; the moment and the place in q do not matter. The count is kept up from
// call to call, and shared by all who ask the same. Any goroutine; it may wait for another
// that counts.
func (v *View) CountEntries(q *Query) EntryCount {
	c := v.state.shelves.census(q)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(v)
	defer c.rest()
	n := EntryCount{Admitted: c.count(v)}
	if n.Told = n.Admitted; q.bounded() {
		n.Told = min(n.Told, q.Sight.MaxEntries)
	}
	return n
}

// count brings the census to a view's revision.
func (c *census) count(v *View) int {
	switch {
	case c.made && c.rev > v.revision:
		return c.all(v) // one that was kept
	case c.made && c.rev < v.revision && c.advance(v):
	case !c.made || c.rev < v.revision:
		c.n, c.made = c.all(v), true
	}
	c.rev = v.revision
	return c.n
}

func (c *census) all(v *View) (n int) {
	c.each(v, v.revision, func(*standing) { n++ })
	return n
}

// advance regards what began and ended since. False: that is not known, or too much.
func (c *census) advance(v *View) bool {
	window, reaches := v.state.history.Window(uint64(c.rev), uint64(v.revision))
	if !reaches || window.Len() > censusEvents {
		return false
	}
	if c.query.shaped(v, uint64(c.rev)) {
		return c.advanceShaped(v)
	}
	met, n := map[shelfKey]struct{}{}, c.n
	for i := range window.Len() {
		event := window.At(i)
		r := v.state.records.At(event.Slot())
		if !c.admits(v, r) {
			continue
		}
		if !r.marked(markCrowded) {
			if !event.Ended() && r.runsAt(v.revision) {
				n++
			} else if event.Ended() && r.runsAt(c.rev) {
				n--
			}
			continue
		}
		key := v.state.keyOf(r)
		if _, known := met[key]; known {
			continue
		}
		met[key] = struct{}{}
		if c.walk(v, r, c.rev).rec != 0 {
			n--
		}
		if c.walk(v, r, v.revision).rec != 0 {
			n++
		}
	}
	if Revision(v.state.history.Floor()) > c.rev {
		return false // some may have been forgotten meanwhile
	}
	c.n = n
	return true
}

// advanceShaped does so where an entry may be a part of a decision, or spelled otherwise.
func (c *census) advanceShaped(v *View) bool {
	n := c.n
	known := c.moved(v, c.rev, v.revision, func(k *entryKey) {
		if c.was.holder(k) != nil {
			n--
		}
		if c.now.holder(k) != nil {
			n++
		}
	})
	if known {
		c.n = n
	}
	return known
}

// census finds that of a question.
func (t *shelves) census(q *Query) *census {
	q.match.key = q.appendKey(q.match.key[:0])
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counted[string(q.match.key)]
	if c == nil {
		if t.counted == nil || len(t.counted) >= censusesAtMost {
			t.counted = map[string]*census{}
		}
		c = &census{standings: standings{query: q.kept(), priority: Longest}}
		t.counted[string(q.match.key)] = c
	}
	return c
}
