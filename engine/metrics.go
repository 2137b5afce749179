package engine

import (
	"sync/atomic"

	"lapid/persist"
)

// Metrics is one reading of the engine's counters, taken without stopping
// anything; figures taken at slightly different moments may disagree by a
// commit.
type Metrics struct {
	Revision         Revision
	Running          []DecisionCount // by scenario, origin and type; simulated ones left out, in no order
	Held             []HeldCount     // running decisions by scope and origin, simulated ones too
	Alerts           []AlertCount    // stored alerts by scenario, pulled lists left out
	AlertsAdded      []NameCount     // by scenario, since the start, pulled lists left out; the first 100 scenarios, then "other"
	DecisionsAdded   []NameCount     // by origin, since the start; likewise
	DecisionsEnded   []EndCount      // since the start, every reason
	Stored           int64           // decisions in memory, running or not
	Proposals        uint64          // writes asked for since the start
	Commits          uint64          // commits made since the start
	Refused          uint64          // writes refused because the queue was full
	Queued           int             // proposals waiting now
	Bouncers         int             // rows
	BouncersEvicted  uint64          // rows that made room for others of their key, since the start
	Machines         int
	MachinesWaiting  int            // of them not validated
	Bookmarks        []BookmarkLag  // the slowest first
	BookmarksLost    uint64         // that fell behind what is kept for them, since the start
	History          int            // events kept for readers that lag behind
	Graves           int            // tombstones and buried records not yet given back
	Snapshots        uint64         // written since the start
	SnapshotSeconds  float64        // the last one took
	SnapshotRevision Revision       // of the last one
	SnapshotAt       int64          // when the last one was written, Unix nanoseconds; 0: none since the start
	SnapshotFailures uint64         // snapshots that could not be written, since the start
	SnapshotBehind   int64          // bytes of journal since the last one, which a start would replay
	Bounded          []BoundedCount // what was cut or left out on the way in, since the start
	Shelves          ShelfMetrics
	Store            persist.Metrics
	Audit            AuditMetrics
}

// BookmarkLag is how far a reader of the history is behind.
type BookmarkLag struct {
	Name   string
	At     Revision
	Behind uint64 // revisions
	Lost   bool   // the history does not reach back to it any more
}

// DecisionCount is how many decisions run for one scenario, origin and type.
type DecisionCount struct {
	Scenario, Origin, Type string
	N                      int64
}

// HeldCount is how many decisions run for one scope and origin.
type HeldCount struct {
	Scope, Origin string
	N             int64
}

// AlertCount is how many alerts are stored for one scenario.
type AlertCount struct {
	Scenario string
	N        int64
}

// counters is what the engine counts for Metrics. The committer and the snapshotter
// write it; any goroutine may read it.
type counters struct {
	proposals atomic.Uint64 // as in Metrics, here and below
	commits   atomic.Uint64
	refused   atomic.Uint64
	evicted   atomic.Uint64

	bookmarksLost atomic.Uint64

	stored  atomic.Int64
	history atomic.Int64
	graves  atomic.Int64

	journalBytes     atomic.Int64 // since the last snapshot
	snapshots        atomic.Uint64
	snapshotNanos    atomic.Int64 // the last one took
	snapshotRevision atomic.Uint64
	snapshotAt       atomic.Int64
	snapshotFailures atomic.Uint64
}

// Metrics reads the counters. Any goroutine; it allocates.
func (e *Engine) Metrics() Metrics {
	s, v := e.state, e.View()
	m := Metrics{
		Revision:         v.revision,
		Bouncers:         v.BouncerCount(),
		BouncersEvicted:  e.counters.evicted.Load(),
		AlertsAdded:      e.flow.alerts.counts(),
		DecisionsAdded:   e.flow.added.counts(),
		DecisionsEnded:   e.flow.ends(),
		Stored:           e.counters.stored.Load(),
		Proposals:        e.counters.proposals.Load(),
		Commits:          e.counters.commits.Load(),
		Refused:          e.counters.refused.Load(),
		Queued:           e.queue.length(),
		History:          int(e.counters.history.Load()),
		Graves:           int(e.counters.graves.Load()),
		Snapshots:        e.counters.snapshots.Load(),
		SnapshotSeconds:  float64(e.counters.snapshotNanos.Load()) / 1e9,
		SnapshotRevision: Revision(e.counters.snapshotRevision.Load()),
		SnapshotAt:       e.counters.snapshotAt.Load(),
		SnapshotFailures: e.counters.snapshotFailures.Load(),
		SnapshotBehind:   e.counters.journalBytes.Load(),
		BookmarksLost:    e.counters.bookmarksLost.Load(),
		Bounded:          e.bounded.counts(),
		Shelves:          s.shelves.metrics(),
		Store:            e.store.Metrics(),
		Audit:            e.trail.Metrics(),
	}
	floor := e.historyFloor()
	for name, at := range v.EachBookmark() {
		m.Bookmarks = append(m.Bookmarks, BookmarkLag{name, at, uint64(v.revision - at), at < floor})
	}
	m.Machines, m.MachinesWaiting = v.MachineCount()
	s.tally.running.Range(func(_, v any) bool {
		c := v.(*decisionCount)
		m.Running = append(m.Running, DecisionCount{c.Scenario, c.Origin, c.Type, c.n.Load()})
		return true
	})
	s.tally.scopes.Range(func(_, v any) bool {
		c := v.(*scopeCount)
		m.Held = append(m.Held, HeldCount{c.Scope, c.Origin, c.n.Load()})
		return true
	})
	s.tally.alerts.Range(func(_, v any) bool {
		c := v.(*alertCount)
		m.Alerts = append(m.Alerts, AlertCount{c.Scenario, c.n.Load()})
		return true
	})
	return m
}
