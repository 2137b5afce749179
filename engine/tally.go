package engine

import (
	"sync"
	"sync/atomic"
)

// tally counts what is running and stored while it comes and goes, so that a
// scrape of the metrics never looks at the decisions themselves. The committer
// writes, any goroutine reads; the counters keep their own copies of the words.
type tally struct {
	running sync.Map // [3]uint32{scenario, origin, type} → *decisionCount
	scopes  sync.Map // [2]uint32{scope, origin} → *scopeCount
	alerts  sync.Map // scenario number → *alertCount

	// The last counter used: decisions of one import share their words.
	lastKey   [3]uint32
	last      *decisionCount
	lastScope [2]uint32
	lastHeld  *scopeCount
}

type decisionCount struct {
	DecisionCount
	n atomic.Int64
}

type scopeCount struct {
	HeldCount
	n atomic.Int64
}

type alertCount struct {
	AlertCount
	n atomic.Int64
}

// add counts a record in or out of what runs.
func (t *tally) add(s *state, r *record, by int64) {
	t.addWords(s, s.wordsOf(r), r.flags()&flagSimulated != 0, by)
}

// addWords counts so many records that have the words.
func (t *tally) addWords(s *state, w Wording, simulated bool, by int64) {
	t.addHeld(s, w, by)
	if simulated {
		return // the contract counts what is enforced
	}
	key := [3]uint32{w.Scenario, w.Origin, w.Type}
	c := t.last
	if c == nil || key != t.lastKey {
		found, ok := t.running.Load(key)
		if !ok {
			found = &decisionCount{DecisionCount: DecisionCount{
				Scenario: s.strings.At(w.Scenario), Origin: s.strings.At(w.Origin), Type: s.strings.At(w.Type)}}
			t.running.Store(key, found)
		}
		c = found.(*decisionCount)
		t.lastKey, t.last = key, c
	}
	if c.n.Add(by) == 0 {
		t.running.Delete(key)
		t.last = nil
	}
}

func (t *tally) addHeld(s *state, w Wording, by int64) {
	key := [2]uint32{w.Scope, w.Origin}
	c := t.lastHeld
	if c == nil || key != t.lastScope {
		found, ok := t.scopes.Load(key)
		if !ok {
			found = &scopeCount{HeldCount: HeldCount{Scope: s.strings.At(w.Scope), Origin: s.strings.At(w.Origin)}}
			t.scopes.Store(key, found)
		}
		c = found.(*scopeCount)
		t.lastScope, t.lastHeld = key, c
	}
	if c.n.Add(by) == 0 {
		t.scopes.Delete(key)
		t.lastHeld = nil
	}
}

func (t *tally) addAlert(s *state, scenario uint32, by int64) {
	found, ok := t.alerts.Load(scenario)
	if !ok {
		found = &alertCount{AlertCount: AlertCount{Scenario: s.strings.At(scenario)}}
		t.alerts.Store(scenario, found)
	}
	if found.(*alertCount).n.Add(by) == 0 {
		t.alerts.Delete(scenario)
	}
}
