package engine

import (
	"lapid/persist"
)

// rows gathers what applied commits change in the cold rows on disk: alert
// bodies and usage metrics. It is the committer's alone. What it holds stays
// until the store has taken it, so a disk that refuses costs no body; and as
// the journal refuses then too, no more than a commit's worth ever waits.
type rows struct {
	changes []rowChange
	bytes   int // of keys and values
}

// rowChange sets key to value, deletes key, or deletes from key up to end.
type rowChange struct {
	kind       byte
	how        byte
	key, value []byte // shared with the operation: never changed
}

const (
	rowSet = iota
	rowDelete
	rowDeleteRange // value is the end
)

func (r *rows) set(kind byte, key, value []byte) { r.add(rowChange{kind, rowSet, key, value}) }
func (r *rows) delete(kind byte, key []byte)     { r.add(rowChange{kind, rowDelete, key, nil}) }
func (r *rows) deleteRange(kind byte, from, to []byte) {
	r.add(rowChange{kind, rowDeleteRange, from, to})
}

func (r *rows) add(c rowChange) {
	r.changes = append(r.changes, c)
	r.bytes += len(c.key) + len(c.value)
}

// rowsAtOnce is how many bytes go to the store in one batch, and how many a
// replay gathers before it writes them. The store takes 256 MiB at most.
const rowsAtOnce = 8 << 20

// write hands everything to the store, in order, and forgets what it took.
func (r *rows) write(store *persist.Store, batch *persist.Rows) error {
	done, held := 0, 0
	for i := range r.changes {
		c := &r.changes[i]
		switch c.how {
		case rowSet:
			batch.Set(c.kind, c.key, c.value)
		case rowDelete:
			batch.Delete(c.kind, c.key)
		case rowDeleteRange:
			batch.DeleteRange(c.kind, c.key, c.value)
		}
		held += len(c.key) + len(c.value)
		if held < rowsAtOnce && i+1 < len(r.changes) {
			continue
		}
		if err := store.WriteRows(batch); err != nil {
			r.drop(done)
			return err
		}
		done, held = i+1, 0
	}
	r.drop(done)
	return nil
}

// drop forgets the first n changes.
func (r *rows) drop(n int) {
	if n < len(r.changes) {
		for _, c := range r.changes[:n] {
			r.bytes -= len(c.key) + len(c.value)
		}
		r.changes = append([]rowChange(nil), r.changes[n:]...)
		return
	}
	clear(r.changes)
	r.changes, r.bytes = r.changes[:0], 0
	if cap(r.changes) > maxBatch {
		r.changes = nil // one giant must not hold its memory for ever
	}
}
