package persist

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// instance is one opened Pebble behind its fence. A Store has one at a time;
// Reopen replaces it.
type instance struct {
	db       *pebble.DB
	fence    *fence
	identity identity       // of the folder; set before the instance is shared
	unsigned atomic.Bool    // the log that is written to does not hold the store's id yet
	users    sync.WaitGroup // calls that are using db right now
}

// openInstance opens Pebble in the folder. On error nothing is left open.
func (s *Store) openInstance() (*instance, error) {
	in := &instance{fence: newFence(s.options.FS, s.log, &s.latest), identity: s.identity}
	return in.openIn(s, false)
}

// openToRead opens Pebble in the folder without changing anything in it. When refused is
// not nil, the instance is one whose disk has failed for that reason.
func (s *Store) openToRead(refused error) (*instance, error) {
	in := &instance{fence: newFence(s.options.FS, s.log, nil), identity: s.identity}
	if refused != nil {
		in.fence.lower("", s.folder.path, refused)
	}
	return in.openIn(s, true)
}

func (in *instance) openIn(s *Store, readOnly bool) (*instance, error) {
	options := s.options.pebbleOptions(in, s.cache)
	options.ReadOnly = readOnly
	failed := in.fence.err() != nil
	err := in.open(s.folder.join(storeDir), options)
	if refused := in.fence.err(); refused != nil && !failed {
		// Pebble may not have noticed.
		return nil, errors.Join(refused, in.close())
	}
	if err != nil {
		if kind := kindOf(err); kind != ErrCorrupt {
			return nil, fmt.Errorf("%w: %w", kind, err)
		}
		return nil, s.blame(err)
	}
	if !readOnly {
		in.hold()
	}
	return in, nil
}

// hold opens all tables, up to Options.MaxOpenFiles of Pebble's: when somebody removes the
// folder, what they have can be read still, and be backed up. Pebble opens those that come
// later by itself, for their statistics. One that cannot be opened is told by who needs it.
func (in *instance) hold() { _, _ = in.db.SSTables(pebble.WithProperties()) }

// open turns Pebble's panics into errors: some damage ends in one.
func (in *instance) open(path string, options *pebble.Options) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	in.db, err = pebble.Open(path, options)
	return err
}

// close waits for the users and closes Pebble. After a failure of the disk the
// result tells nothing new and is dropped.
func (in *instance) close() error {
	in.users.Wait()
	if in.db == nil {
		return nil
	}
	err := in.db.Close()
	if refused := in.fence.err(); refused != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", kindOf(err), err)
	}
	return nil
}

// lastRecord returns the highest revision in the journal, 0 when it is empty.
func (in *instance) lastRecord() (uint64, error) {
	return in.endRecord((*pebble.Iterator).Last)
}

// firstRecord is where the journal begins, 0 when it is empty.
func (in *instance) firstRecord() (uint64, error) {
	return in.endRecord((*pebble.Iterator).First)
}

func (in *instance) endRecord(seek func(*pebble.Iterator) bool) (uint64, error) {
	it, err := in.journal(0)
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if !seek(it) {
		return 0, iterError(it, "read an end of the journal")
	}
	rev, ok := parseJournalKey(it.Key())
	if !ok {
		return 0, fmt.Errorf("journal key %x: %w", it.Key(), ErrCorrupt)
	}
	return rev, nil
}

// journal iterates over the records from revision from on.
func (in *instance) journal(from uint64) (*pebble.Iterator, error) {
	return in.iterate(appendJournalKey(nil, from), journalEnd())
}

func (in *instance) iterate(lower, upper []byte) (*pebble.Iterator, error) {
	it, err := in.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", kindOf(err), err)
	}
	return it, nil
}

// iterError returns why an iterator stopped, nil when it was at the end.
func iterError(it *pebble.Iterator, doing string) error {
	if err := it.Error(); err != nil {
		return fmt.Errorf("%s: %w: %w", doing, kindOf(err), err)
	}
	return nil
}
