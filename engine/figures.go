package engine

import (
	"context"
	"encoding/binary"
	"math"
)

// Figures are what somebody counts over time, to be told to people after a restart too: rows of the
// store beside the history, which no commit is made for. Each server keeps its own. They are not synced: they reach the
// disk with the next commit at the latest, and survive a kill; what is lost with the power is
// a gap in a chart.

// Figure is one of them.
type Figure struct {
	Series byte   // whose; nothing here knows what it means
	At     int64  // from when on, Unix seconds, not below 0
	Value  []byte // at most LongestFigure bytes
}

// LongestFigure bounds a figure's value, in bytes.
const LongestFigure = 16 << 10

// figureKey is where a figure stands.
func figureKey(series byte, at int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{series}, uint64(max(at, 0)))
}

// KeepFigures stores figures in place of those of the same series and time, and forgets those of each series
// in before that are older than it says, Unix seconds. It waits for the committer, which does it between two
// commits. Errors: ErrInvalid for one that is too long, ErrDisk, ErrClosed, ErrBusy, that of ctx; then nothing has changed.
func (e *Engine) KeepFigures(ctx context.Context, list []Figure, before map[byte]int64) error {
	rows := e.store.NewRows()
	for i := range list {
		f := &list[i]
		if len(f.Value) > LongestFigure {
			return invalid("a figure has at most %d bytes, not %d", LongestFigure, len(f.Value))
		}
		rows.Set(rowFigure, figureKey(f.Series, f.At), f.Value)
	}
	for series, at := range before {
		rows.DeleteRange(rowFigure, figureKey(series, 0), figureKey(series, at))
	}
	return e.perform(ctx, func(*View) error {
		if err := e.store.WriteRows(rows); err != nil {
			rows.Reset()
			return &Error{Kind: ErrDisk, Text: "figures could not be stored", Cause: err}
		}
		return nil
	})
}

// Figures yields the figures of a series, the oldest first, until yield returns false. Their values are the
// caller's. Any goroutine; errors are those of reading.
func (e *Engine) Figures(series byte, yield func(Figure) bool) error {
	return e.store.ScanRows(rowFigure, figureKey(series, 0), figureKey(series, math.MaxInt64), false, func(key, value []byte) (bool, error) {
		if len(key) != 9 {
			return true, nil // nobody's
		}
		return yield(Figure{series, int64(idOf(key[1:])), append([]byte(nil), value...)}), nil
	})
}
