package engine

import (
	"context"
	"encoding/binary"
	"math"
)

// Readings are what somebody counts over time, to be told to people after a restart too: rows of the
// store beside the history, which no commit is made for. Each server keeps its own. They are not synced: they reach the
// disk with the next commit at the latest, and survive a kill; what is lost with the power is
// a gap in a chart.

// Reading is one of them.
type Reading struct {
	Series byte   // whose; nothing here knows what it means
	At     int64  // from when on, Unix seconds, not below 0
	Value  []byte // at most LongestReading bytes
}

// LongestReading bounds a reading's value, in bytes.
const LongestReading = 16 << 10

// readingKey is where a reading stands.
func readingKey(series byte, at int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{series}, uint64(max(at, 0)))
}

// KeepReadings stores readings in place of those of the same series and time, and forgets those of each series
// in before that are older than it says, Unix seconds. It waits for the committer, which does it between two
// commits. Errors: ErrInvalid for one that is too long, ErrDisk, ErrClosed, ErrBusy, that of ctx; then nothing has changed.
func (e *Engine) KeepReadings(ctx context.Context, list []Reading, before map[byte]int64) error {
	rows := e.store.NewRows()
	for i := range list {
		f := &list[i]
		if len(f.Value) > LongestReading {
			return invalid("a reading has at most %d bytes, not %d", LongestReading, len(f.Value))
		}
		rows.Set(rowReading, readingKey(f.Series, f.At), f.Value)
	}
	for series, at := range before {
		rows.DeleteRange(rowReading, readingKey(series, 0), readingKey(series, at))
	}
	return e.perform(ctx, func(*View) error {
		if err := e.store.WriteRows(rows); err != nil {
			rows.Reset()
			return &Error{Kind: ErrDisk, Text: "readings could not be stored", Cause: err}
		}
		return nil
	})
}

// Readings yields the readings of a series, the oldest first, until yield returns false. Their values are the
// caller's. Any goroutine; errors are those of reading.
func (e *Engine) Readings(series byte, yield func(Reading) bool) error {
	return e.store.ScanRows(rowReading, readingKey(series, 0), readingKey(series, math.MaxInt64), false, func(key, value []byte) (bool, error) {
		if len(key) != 9 {
			return true, nil // nobody's
		}
		return yield(Reading{series, int64(idOf(key[1:])), append([]byte(nil), value...)}), nil
	})
}
