package engine

import (
	"maps"
	"strings"
	"sync/atomic"
)

// flow counts what came and went since the start: what a rate is made of, as tally counts
// what is there. Commits that a start replays do not count, those that an engine follows do.
// The committer counts, any goroutine reads.
type flow struct {
	alerts byName // stored, by scenario; pulled lists left out
	added  byName // decisions that ran when they were stored, by origin, simulated ones too
	ended  [endReasons]atomic.Uint64
}

// EndReason is why a decision ended, as metrics tell it. It is not stored.
type EndReason uint8

// Reasons for ends. Each actor has one (endReasonOf).
const (
	EndOther     EndReason = iota // another node, or a cause that is not known
	EndExpiry                     // its time was over
	EndOperator                   // an operator took it back
	EndConsole                    // an order of the console
	EndMachine                    // a machine asked for it over HTTP, as cscli does
	EndAllowlist                  // what it is on was allowlisted
	EndRetention                  // its alert was too old, or one too many
	EndReplaced                   // a list that was pulled or imported anew lacks it
	endReasons   = iota
)

var endReasonWords = [endReasons]string{"other", "expiry", "operator", "console", "machine", "allowlist", "retention", "replaced"}

// String is the word that metrics have for it.
func (r EndReason) String() string { return endReasonWords[r] }

// endReasonOf is why what an actor ended is over.
func endReasonOf(kind ActorKind) EndReason {
	switch kind {
	case ActorExpiry:
		return EndExpiry
	case ActorOperator, ActorNamedOperator:
		return EndOperator
	case ActorConsole:
		return EndConsole
	case ActorMachine:
		return EndMachine
	case ActorAllowlist:
		return EndAllowlist
	case ActorRetention:
		return EndRetention
	case ActorCentralAPI, ActorImport:
		return EndReplaced
	}
	return EndOther
}

// NameCount is how often something was since the start, of one name.
type NameCount struct {
	Name string
	N    uint64
}

// EndCount is how many decisions ended for one reason since the start.
type EndCount struct {
	Reason EndReason
	N      uint64
}

const (
	// mostNames is how many names byName tells apart: the first that come. All later ones
	// are one, otherName, for a counter must never become another's.
	mostNames = 100
	otherName = "other"
)

// byName counts by names that strangers choose. The committer counts, and allocates when a
// name is new, mostNames times at most.
type byName struct {
	known  atomic.Pointer[map[string]*nameCount] // replaced whole
	others nameCount                             // has no name
	last   *nameCount                            // decisions of one import share their origin. The committer's
}

type nameCount struct {
	name string
	n    atomic.Uint64
}

func (b *byName) add(name string) {
	if b.last == nil || name != b.last.name {
		b.last = b.of(name)
	}
	b.last.n.Add(1)
}

func (b *byName) of(name string) *nameCount {
	var known map[string]*nameCount
	if now := b.known.Load(); now != nil {
		known = *now
	}
	if c := known[name]; c != nil {
		return c
	}
	if len(known) >= mostNames || name == otherName {
		return &b.others
	}
	c := &nameCount{name: strings.Clone(name)}
	next := map[string]*nameCount{c.name: c}
	maps.Copy(next, known)
	b.known.Store(&next)
	return c
}

// counts lists them in no order, the others at the end if there are any.
func (b *byName) counts() (list []NameCount) {
	if now := b.known.Load(); now != nil {
		for name, c := range *now {
			list = append(list, NameCount{name, c.n.Load()})
		}
	}
	if n := b.others.n.Load(); n > 0 {
		list = append(list, NameCount{otherName, n})
	}
	return list
}

// began counts a decision that runs from now on.
func (s *state) began(r *record) {
	if s.flow != nil {
		s.flow.added.add(s.strings.At(s.wordsOf(r).Origin))
	}
}

// over counts a decision that ended, by the actor of what is applied.
func (s *state) over() {
	if s.flow != nil {
		s.flow.ended[endReasonOf(s.actor.Kind)].Add(1)
	}
}

// alerted counts an alert that was stored.
func (s *state) alerted(h *heldAlert) {
	if s.flow != nil && !h.community {
		s.flow.alerts.add(s.strings.At(h.scenario))
	}
}

// ends lists every reason, so that a rule can compare.
func (f *flow) ends() (list []EndCount) {
	for reason := range f.ended {
		list = append(list, EndCount{EndReason(reason), f.ended[reason].Load()})
	}
	return list
}
