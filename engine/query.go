package engine

import (
	"net/netip"
	"strings"
)

// Word is a filter on one exact text. An empty text that was given is a value
// like any other.
type Word struct {
	Given bool
	Text  string
}

// Words is a filter on a list of texts, one of which must match.
type Words struct {
	Given bool
	List  []string
}

// Reset empties the filter and keeps the list's memory.
func (w *Words) Reset() { w.Given = false; clear(w.List); w.List = w.List[:0] }

func (w *Words) has(s string) bool {
	for _, x := range w.List {
		if x == s {
			return true
		}
	}
	return false
}

// Query asks for decisions. The zero Query asks for every decision that is
// running at Now, simulated ones left out. Strings may be borrowed from a
// request: a view does not keep them. A Query may be reused after Reset; it
// must not be used by two goroutines at once.
type Query struct {
	Now int64 // Unix nanoseconds, the moment of asking

	// Address restricts to decisions that contain the whole of it, or, with
	// Inside, to decisions that lie inside it. Invalid: no restriction.
	Address netip.Prefix
	Inside  bool

	Scopes        Words // canonical spellings; "scopes"
	Scope         Words // a second list that must match too; "scope"
	Value         Word
	Type          Word
	Origins       Words
	Origin        Word  // exact, for deletions
	Scenario      Word  // exact, for deletions
	Containing    Words // substrings of the scenario, ASCII case ignored; one must occur
	NotContaining Words // none may occur
	UUIDs         Words // for deletions
	Batch         Batch // for deletions; no name: no restriction
	NotOwn        bool  // for deletions: what the lists of operators hold (List.Own) is left alone

	Simulated bool // simulated decisions too

	Limit      int // -1: none
	Offset     int
	AfterID    DecisionID // only larger ids; 0: no restriction
	HasAfterID bool

	// Sight is what the caller may see at all; nil: everything. Of it the filters count
	// here: what the query asks for narrows them.
	Sight *Sight

	// For the stream.
	Startup bool
	Dedup   bool
	// Quick: where Sight has MaxEntries, Changes reports false when the answer would take a look at
	// all decisions or at a long stretch of history, or waiting for who takes one.
	Quick bool

	// Entries: what bouncers are told is asked for, which may be other than what is
	// stored where allowlists win (entry.go).
	Entries bool

	match matcher // the words resolved to numbers of one view; scratch
}

// Reset makes the query the zero one with no limit, and keeps its memory.
func (q *Query) Reset() {
	q.Now, q.Address, q.Inside, q.Batch, q.NotOwn = 0, netip.Prefix{}, false, Batch{}, false
	for _, w := range []*Words{&q.Scopes, &q.Scope, &q.Origins, &q.Containing, &q.NotContaining, &q.UUIDs} {
		w.Reset()
	}
	q.Value, q.Type, q.Origin, q.Scenario = Word{}, Word{}, Word{}, Word{}
	q.Simulated, q.Startup, q.Dedup, q.Quick, q.Entries = false, false, false, false, false
	q.Limit, q.Offset, q.AfterID, q.HasAfterID = -1, 0, 0, false
	q.Sight = nil
	q.match.reset()
}

// Activity is a tri-state filter of alerts.
type Activity uint8

// Which alerts an AlertQuery wants.
const (
	AnyActivity Activity = iota
	HasRunning           // some decision is running
	HasNone              // no decision at all
)

// AlertQuery asks for alerts. The zero AlertQuery asks for all of them, newest
// first. Strings may be borrowed: nothing is kept.
type AlertQuery struct {
	Now int64 // Unix nanoseconds, the moment of asking

	Scope, Value, Scenario Word
	DecisionType, Origin   Word
	Kind                   Word
	Batch                  Batch        // no name: no restriction
	Address                netip.Prefix // some decision relates to it; invalid: no restriction
	Inside                 bool         // … lies inside it, instead of containing it
	StartFrom, StartUpTo   int64        // on start_at, inclusive, Unix nanoseconds; 0: no restriction
	CreatedUpTo            int64        // on reception, inclusive; 0: no restriction
	HideSimulated          bool
	HideCommunity          bool // leave out community and third-party lists
	Activity               Activity
	Limit                  int     // 0: all
	Before                 AlertID // those with smaller ids; 0: all
	Ascending              bool
	WithoutDecisions       bool // the caller does not want them listed

	// Room is called before an alert that takes more than smallAlert is read, with its
	// size in bytes, which are free again at the next turn. It may wait. When it reports
	// false, Alerts ends with ErrBusy. nil: there is room for every alert.
	Room func(bytes int64) bool
}

// containsFold reports whether word occurs in s, ASCII case ignored. It does
// not allocate.
func containsFold(s, word string) bool {
	if word == "" {
		return true
	}
	for i := 0; i+len(word) <= len(s); i++ {
		if equalFoldASCII(s[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

func equalFoldASCII(a, b string) bool {
	for i := range len(a) {
		x, y := a[i], b[i]
		if x != y && (lowerASCII(x) != lowerASCII(y)) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// communityScope reports whether an alert without decisions but with this
// source scope stands for a pulled list.
func communityScope(scope string) bool {
	const list = "lists:"
	return scope == "crowdsecurity/community-blocklist" || (len(scope) >= len(list) && strings.EqualFold(scope[:len(list)], list))
}
