package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"lapid/persist"
)

// HistoryName names one history in eight letters, so that a place in it can be told to a
// client and recognised later: a revision alone means something else after a restore.
// It is made with the store and is in its backups, but a store that was restored, or
// that another format has just been made of, has a name of its own: revisions are given
// out again there.
type HistoryName [8]byte

func (n HistoryName) String() string { return string(n[:]) }

// historySecret is where the name is kept, with what it was made for.
const historySecret = "history"

// NewHistoryName makes a name by chance.
func NewHistoryName() (n HistoryName) {
	copy(n[:], strings.ToLower(rand.Text()))
	return n
}

// NameHistory returns the name of the history, which is made and stored durably at the
// first call on a store. On a disk that takes no writes, and where writes are not synced
// (Options.NoSync: a power failure takes back what was told), the name is for this run
// alone. Errors are those of other writes.
func (e *Engine) NameHistory(ctx context.Context) (HistoryName, error) {
	fresh := NewHistoryName()
	if e.options.NoSync {
		return fresh, nil
	}
	if kept, good := e.historyName(e.View()); good {
		return kept, nil
	}
	err := e.propose(ctx, &proposal{key: "secret:" + historySecret, resolve: func(v *View) (op, error) {
		if _, good := e.historyName(v); good {
			return nil, nil
		}
		return newSecret(historySecret, []byte(fresh.String()+e.namedFor()))
	}})
	switch {
	case errors.Is(err, ErrDisk):
		return fresh, nil
	case err != nil:
		return fresh, fmt.Errorf("naming the history: %w", err)
	}
	kept, _ := e.historyName(e.View())
	return kept, nil
}

// historyName is the name that is kept, and whether it is this store's.
func (e *Engine) historyName(v *View) (n HistoryName, good bool) {
	kept := string(v.secrets[historySecret])
	if copy(n[:], kept) != len(n) {
		return n, false
	}
	if e.options.Relay { // it has whatever history it was sent
		return n, strings.HasPrefix(kept[len(n):], namedForShared)
	}
	// A node of before histories could begin anew wrote no more than that it is shared: its followers must not wait for another.
	return n, kept[len(n):] == e.namedFor() || e.options.Journal != nil && kept[len(n):] == namedForShared
}

// namedForShared begins what the name of a history is good for that several engines share.
const namedForShared = " shared"

// namedFor is what a name is good for: one store, in one format. Engines that share a journal
// share the name, whatever stores they have beside it, until another history begins there.
func (e *Engine) namedFor() string {
	if e.options.Journal != nil {
		if e.options.Shared != nil {
			return namedForShared + " " + e.options.Shared()
		}
		return namedForShared
	}
	return fmt.Sprintf(" %x %d", e.store.ID(), persist.FormatVersion)
}
