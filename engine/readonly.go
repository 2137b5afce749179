package engine

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"lapid/persist"
)

// A start on a disk that takes no writes, because it is full or was made
// read-only, serves what is there: bouncers ask and are answered, writes are
// refused as they are when the disk fills up under a running server. The
// committer looks once a second whether the disk is willing again.

// startReadOnly notes what is wrong, before memory is brought up.
func (e *Engine) startReadOnly(refused error) {
	e.readOnly, e.lacking = true, lacking{}
	e.sick.Store(true)
	e.troubles.set(TroubleReadOnly, fmt.Sprintf("started on a disk that takes no writes (%s): reads are served, writes are refused; "+
		"make room in %s, or make it writable, and writes are taken again without a restart", oneLine(refused.Error()), e.options.Dir), e.Now())
	e.log.Error("started on a disk that takes no writes: reads are served, writes are refused; make room, or make it writable, and "+
		"writes are taken again without a restart", "store", e.options.Dir, "error", refused)
}

// endReadOnly is for the moment when the store can be written again. Bodies that
// could not be written yet go with the commit that is about to be tried.
func (e *Engine) endReadOnly() {
	e.readOnly = false
	e.troubles.clear(TroubleReadOnly)
}

// lacking is the difference between the rows on a disk that takes no writes and those
// that a replay makes, by kind and key: seldom more than those of the last commits before
// a crash.
type lacking map[string]rowChange

func (l lacking) key(kind byte, key []byte) string { return string(append([]byte{kind}, key...)) }

// compare takes the place of write while nothing can be written: it notes what the
// store does not have yet, and forgets all else.
func (r *rows) compare(store *persist.Store, l lacking) error {
	for i := range r.changes {
		if err := l.compare(store, &r.changes[i]); err != nil {
			return err
		}
	}
	r.drop(len(r.changes))
	return nil
}

func (l lacking) compare(store *persist.Store, c *rowChange) error {
	if c.how == rowDeleteRange {
		return l.compareRange(store, c)
	}
	value, there, err := store.Row(nil, c.kind, c.key)
	if err != nil {
		return fmt.Errorf("comparing bodies: %w", err)
	}
	if there == (c.how == rowSet) && bytes.Equal(value, c.value) {
		delete(l, l.key(c.kind, c.key))
	} else {
		l[l.key(c.kind, c.key)] = *c
	}
	return nil
}

func (l lacking) compareRange(store *persist.Store, c *rowChange) error {
	maps.DeleteFunc(l, func(_ string, other rowChange) bool {
		return other.kind == c.kind && bytes.Compare(other.key, c.key) >= 0 && (c.value == nil || bytes.Compare(other.key, c.value) < 0)
	})
	err := store.ScanRows(c.kind, c.key, c.value, false, func(key, _ []byte) (bool, error) {
		l[l.key(c.kind, key)] = rowChange{kind: c.kind, how: rowDelete, key: bytes.Clone(key)}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("comparing bodies: %w", err)
	}
	return nil
}

// keepLacking leaves what the store lacks to be written as soon as it can be.
func (e *Engine) keepLacking() {
	for _, key := range slices.Sorted(maps.Keys(e.lacking)) {
		e.state.rows.add(e.lacking[key])
	}
	if len(e.lacking) > 0 {
		e.bodiless.Store(uint64(e.state.next.revision))
	}
	e.lacking = nil
}
