package engine

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"lapid/persist"
)

// A Journal is the history written down: commits, each behind the one before, numbered
// without a gap from revision 1. The engine that may append to it is the writer, and there is
// one at a time; all others follow. On one machine it is the store's (storeJournal);
// several machines share one that they agree on. What every Journal must hold is written
// as tests, enginetest.Journals.
//
// Append is for one goroutine at a time; everything else may be called from any.
type Journal interface {
	// Append makes one commit durable behind revision after, as revision after+1. commit
	// is borrowed until it returns.
	//
	//	nil           it is there, once, for ever, at that place
	//	ErrNotWriter  it is not there, nor will it ever be: another writes, or the
	//	              history does not end with after
	//	ErrUnsure     it is not known. Nothing may be appended before Follow, from after on,
	//	              has told what became of it
	//	else          it is not there; the same writer may try again
	Append(ctx context.Context, after Revision, commit []byte) error

	// Follow hands over every commit behind a revision, in order and each once, those
	// there are and those that come, until ctx ends or deliver returns an error, which
	// it returns then. commit is borrowed until deliver returns. ErrForgotten: the journal
	// no longer reaches back that far.
	Follow(ctx context.Context, after Revision, deliver func(rev Revision, commit []byte) error) error

	// Newest returns a revision that is not smaller than any whose Append had returned
	// nil, to any engine, before the call.
	Newest(ctx context.Context) (Revision, error)

	// Trim forgets commits up to and including a revision, or fewer. A revision beyond
	// the newest forgets nothing more than all. Followers that need what is forgotten get
	// ErrForgotten.
	Trim(to Revision) error
}

// Failures of a Journal, and of the writes that it takes.
var (
	// ErrNotWriter: this engine follows, another writes. Nothing was stored.
	ErrNotWriter = errors.New("another one writes")
	// ErrUnsure: the write may be stored or not; what the history says later is right.
	ErrUnsure = errors.New("it is not known whether it was stored")
	// ErrForgotten: the history no longer reaches back to the revision. The reader starts
	// over by its own rule.
	ErrForgotten = errors.New("the history does not reach back so far")
)

// NewStoreJournal is the journal of a store on this machine's disk. Its process is the
// only writer, and nothing else may append to the store or trim it.
func NewStoreJournal(store *persist.Store) Journal { return &storeJournal{store: store} }

type storeJournal struct {
	store *persist.Store
	grown signal // when it is appended to
}

// Append fails as persist.Store.Append does, for the disk's reasons.
func (j *storeJournal) Append(_ context.Context, after Revision, commit []byte) error {
	if err := j.begin(after, commit); err != nil {
		return err
	}
	return j.end()
}

// begin is the first half of Append: the commit is on its way to the disk, and no other may
// be begun until end has said what became of it. An error is Append's, and there is nothing
// to end then.
func (j *storeJournal) begin(after Revision, commit []byte) error {
	if j.store.Last() != uint64(after) {
		return ErrNotWriter
	}
	return j.store.BeginAppend(uint64(after)+1, commit)
}

// end is the second half: it waits for the disk.
func (j *storeJournal) end() error {
	if err := j.store.EndAppend(); err != nil {
		return err
	}
	j.grown.give()
	return nil
}

func (j *storeJournal) Follow(ctx context.Context, after Revision, deliver func(Revision, []byte) error) error {
	for {
		grown := j.grown.next()
		err := j.store.Replay(uint64(after), func(rev uint64, record []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := deliver(Revision(rev), record); err != nil {
				return err
			}
			after = Revision(rev)
			return nil
		})
		if errors.Is(err, persist.ErrForgotten) {
			return errors.Join(ErrForgotten, err)
		}
		if err != nil {
			return err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (j *storeJournal) Newest(context.Context) (Revision, error) {
	return Revision(j.store.Last()), nil
}

// Trim keeps what a start needs: all behind the older of the two snapshots.
func (j *storeJournal) Trim(to Revision) error {
	return j.store.Trim(min(uint64(to), j.store.SafeTrim()))
}

// signal tells any number of goroutines that something has happened. The zero signal is
// ready; while no goroutine waits, giving it costs one atomic exchange.
type signal struct{ at atomic.Pointer[chan struct{}] }

// next returns a channel that the next give closes.
func (s *signal) next() <-chan struct{} {
	fresh := make(chan struct{})
	for {
		if c := s.at.Load(); c != nil {
			return *c
		}
		if s.at.CompareAndSwap(nil, &fresh) {
			return fresh
		}
	}
}

func (s *signal) give() {
	if s.at.Load() == nil {
		return
	}
	if c := s.at.Swap(nil); c != nil {
		close(*c)
	}
}

// HoldsSecrets reports whether a commit may bring hashes of passwords or keys, or secrets of the server, so that whoever
// stores it elsewhere does not pack it: the size of what is packed says how its parts are alike. What holds none is
// listed (bareOps); a commit, or an operation, that this version does not know holds some.
func HoldsSecrets(commit []byte) bool {
	d := decoder{rest: commit}
	if version := d.byte(); version < firstVersion || version > recordVersion {
		return true
	}
	d.varint() // its time
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		if !slices.Contains(bareOps, d.byte()) {
			return true
		}
		d.bytes()
	}
	return d.err != nil
}

// bareOps are operations without secrets: those that come often, and those that are large.
var bareOps = []byte{
	numberAddAlerts, numberEndDecisions, numberExpire, numberDropAlerts, numberVisits, numberVisitsOf, numberAddUsage, numberDropUsage,
	numberPutAllowlist, numberDropAllowlist, numberExtendAllowlist, numberReduceAllowlist, numberReviseAllowlist, numberAllowlistsWin,
	numberMoveBookmark, numberDropBookmark, numberBringAlerts, numberReplaceList, numberExtendDecisions, numberCompare,
}
