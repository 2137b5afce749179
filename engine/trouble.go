package engine

import (
	"maps"
	"slices"
	"sync"
)

// A Trouble is one reason why the server should not be called ready, though it
// may go on serving: the disk refuses writes, a snapshot cannot be written, the
// clock is not believed. /ready and the operator's socket name each.
type Trouble struct {
	Kind  TroubleKind
	Text  string // one sentence for a person: what is wrong, and what to do
	Since int64  // Unix nanoseconds, when it began
}

// TroubleKind tells troubles apart; a word in snake case, also a label of the
// metrics. There is at most one trouble of a kind.
type TroubleKind string

// The kinds of trouble.
const (
	TroubleDisk     TroubleKind = "disk"     // the disk refused the last write
	TroubleSnapshot TroubleKind = "snapshot" // the last snapshot could not be written: the journal grows
	TroubleClock    TroubleKind = "clock"    // the wall clock is not believed: nothing irreversible is done
	TroubleReadOnly TroubleKind = "readonly" // started on a disk that takes no writes: reads alone are served
)

// troubles holds what is wrong at the moment. Its methods may be called from any
// goroutine.
type troubles struct {
	mu  sync.Mutex
	now map[TroubleKind]Trouble
}

// set notes a trouble. One of its kind that is there already keeps its beginning
// and gets the new text. It reports whether the kind is new, so that a caller can
// say it loudly once.
func (t *troubles) set(kind TroubleKind, text string, at int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, there := t.now[kind]
	if there {
		at = old.Since
	}
	if t.now == nil {
		t.now = map[TroubleKind]Trouble{}
	}
	t.now[kind] = Trouble{Kind: kind, Text: text, Since: at}
	return !there
}

// clear takes a trouble back, and reports whether it was there.
func (t *troubles) clear(kind TroubleKind) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, there := t.now[kind]
	delete(t.now, kind)
	return there
}

// Troubles returns what is wrong at the moment, by kind; empty when all is well.
// The slice is the caller's. Any goroutine may call it.
func (e *Engine) Troubles() []Trouble {
	e.troubles.mu.Lock()
	defer e.troubles.mu.Unlock()
	list := make([]Trouble, 0, len(e.troubles.now))
	for _, kind := range slices.Sorted(maps.Keys(e.troubles.now)) {
		list = append(list, e.troubles.now[kind])
	}
	return list
}
