package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Trouble is one reason why the server should not be called ready, though it
// may go on serving: the disk refuses writes, a snapshot cannot be written, the
// clock is not believed. /ready and the operator's socket name each. Some are only
// to be looked at, and leave the server ready (Aside).
type Trouble struct {
	Kind  TroubleKind
	Text  string // one sentence for the operator: what is wrong, and what to do
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

	// TroubleFollowing: the history that several servers share cannot be followed, so what
	// is answered here grows old.
	TroubleFollowing TroubleKind = "following"

	// TroubleCluster: a node does not reach what the nodes share, or none of them writes. The program's.
	TroubleCluster TroubleKind = "cluster"

	// TroubleNodes: in a cluster something beside this node wants to be looked at: other nodes, a member of etcd. The
	// program's.
	TroubleNodes TroubleKind = "nodes"

	// TroubleCommitter: the committer has not gone round for CommitterPatience.
	// Nothing is committed, and no write is answered.
	TroubleCommitter TroubleKind = "committer"

	// TroubleCentral: the Central API fails for long, or lists of it are held back. The
	// program's.
	TroubleCentral TroubleKind = "central"

	// TroubleNotification: the receiver of a notification takes nothing. The program's too.
	TroubleNotification TroubleKind = "notification"

	// TroubleBackup: the last backup that is made by itself has failed. The program's.
	TroubleBackup TroubleKind = "backup"

	// TroubleMoveIn: a database has arrived and could not be taken over. The program's.
	TroubleMoveIn TroubleKind = "movein"

	// These two are the program's, not an engine's.
	TroubleStarting TroubleKind = "starting"
	TroubleStopping TroubleKind = "stopping"
)

// TroubleKinds are all kinds, in order of their words.
var TroubleKinds = []TroubleKind{TroubleBackup, TroubleCentral, TroubleClock, TroubleCluster, TroubleCommitter, TroubleDisk, TroubleFollowing, TroubleMoveIn, TroubleNodes, TroubleNotification, TroubleReadOnly, TroubleSnapshot, TroubleStarting, TroubleStopping}

// Aside reports whether a server with this trouble is ready all the same: it serves as it
// should, and something beside that wants to be looked at.
func (k TroubleKind) Aside() bool {
	return k == TroubleNotification || k == TroubleCentral || k == TroubleMoveIn || k == TroubleBackup || k == TroubleNodes
}

// CommitterPatience is how long the committer may be at one commit before it
// counts as stuck. At rest it goes round once a second; a disk that refuses does
// not hold it up, one that does not answer does.
const CommitterPatience = 30 * time.Second

// troubles holds what is wrong at the moment. Its methods may be called from any
// goroutine.
type troubles struct {
	mu  sync.Mutex
	now map[TroubleKind]Trouble
}

// set notes a trouble. One of its kind that is there already keeps its beginning
// and gets the new text.
func (t *troubles) set(kind TroubleKind, text string, at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, there := t.now[kind]; there {
		at = old.Since
	}
	if t.now == nil {
		t.now = map[TroubleKind]Trouble{}
	}
	t.now[kind] = Trouble{Kind: kind, Text: text, Since: at}
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
// The slice is the caller's. Any goroutine may call it; it never waits.
func (e *Engine) Troubles() []Trouble {
	stuck := e.stuck()
	e.troubles.mu.Lock()
	defer e.troubles.mu.Unlock()
	list := make([]Trouble, 0, len(e.troubles.now)+1)
	for _, kind := range slices.Sorted(maps.Keys(e.troubles.now)) {
		list = append(list, e.troubles.now[kind])
	}
	if stuck != nil {
		at, _ := slices.BinarySearchFunc(list, stuck.Kind, func(t Trouble, k TroubleKind) int { return strings.Compare(string(t.Kind), string(k)) })
		list = slices.Insert(list, at, *stuck)
	}
	return list
}

// rounds counts how often the committer has gone round. Between two of them it
// takes what waits, commits it and does what is due, so a count that moves means
// that writes are answered.
type rounds struct {
	n  atomic.Uint64
	at atomic.Int64 // when the last one ended, on the steady clock
	on atomic.Bool  // the committer runs
}

func (r *rounds) begin(steady int64) { r.at.Store(steady); r.on.Store(true) }
func (r *rounds) end()               { r.on.Store(false) }
func (r *rounds) turn(steady int64)  { r.at.Store(steady); r.n.Add(1) }

// Rounds is how often the committer has gone round since the start: at least once
// a second unless a commit takes longer, also on a disk that refuses writes. When
// the number stands still the committer is stuck. Any goroutine may call it.
func (e *Engine) Rounds() uint64 { return e.rounds.n.Load() }

// stuck is the trouble of a committer that does not come round; nil when it does.
func (e *Engine) stuck() *Trouble {
	if !e.rounds.on.Load() {
		return nil
	}
	now, steady := e.clock()
	silent := time.Duration(steady - e.rounds.at.Load())
	if silent <= CommitterPatience {
		return nil
	}
	return &Trouble{Kind: TroubleCommitter, Since: now - int64(silent), Text: fmt.Sprintf("no write has been answered for %v: "+
		"the disk below %s does not answer, or the machine is overloaded; restart the server if it stays so", silent.Round(time.Second), e.options.Dir)}
}
