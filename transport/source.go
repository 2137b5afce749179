package transport

import (
	"lapid/engine"
	"lapid/transport/wire"
)

// question is what makes two streams the same bytes: the filters as they were
// sent, what is known already, the state, and the second in which durations are
// reckoned.
type question struct {
	raw    string
	after  engine.Revision // 0: a full state
	to     engine.Revision
	second int64
}

// source can write one answer of the stream, from any place on.
type source struct {
	view  *engine.View
	raw   []byte // the query string, a copy
	now   int64
	delta *engine.Delta // nil: a full state
}

// position is a place in an answer: behind a decision of one of the lists.
type position struct {
	list uint8 // 0: nothing was written; else one of the places below
	id   engine.DecisionID
}

const (
	inNew = 1 + iota
	inDeleted
	atEnd
)

// write writes the answer from a place on.
func (src *source) write(w *pieceWriter, from position) error {
	if from.list == atEnd {
		return nil
	}
	q := &engine.Query{Now: src.now}
	if err := wire.ParseStreamQuery(q, src.raw); err != nil {
		return err
	}
	if from.list == 0 {
		w.buf = append(w.buf, wire.StreamOpen...)
	}
	l := &listing{source: src, w: w, encoder: wire.NewStreamEncoder(src.now, w.own)}
	if src.delta == nil {
		l.scan = src.view.Scan(q)
	}
	if from.list < inDeleted {
		if err := l.write(inNew, from); err != nil {
			return err
		}
		w.buf = append(w.buf, wire.StreamBetween...)
	}
	if err := l.write(inDeleted, from); err != nil {
		return err
	}
	w.buf = append(w.buf, wire.StreamClose...)
	return nil
}

// size is how long a delta is that is encoded for one reader, in bytes: it is encoded
// to nowhere for that, half a millisecond at most. -1: it is longer than that, or a
// full state.
func (src *source) size() (n int) {
	if src.delta == nil || len(src.delta.New)+len(src.delta.Deleted) > 5000 {
		return -1
	}
	w := &pieceWriter{size: ownPieceSize, own: true, send: func(piece []byte) error {
		n += len(piece)
		return nil
	}}
	if src.write(w, position{}) != nil {
		return -1
	}
	return n + len(w.buf)
}

// listing writes the two lists of an answer.
type listing struct {
	*source
	w       *pieceWriter
	encoder *wire.StreamEncoder
	scan    engine.Scan
	batch   [128]engine.Decision // whose records are looked at twice within the nearest cache
}

// write writes one list, without the decisions up to from.
func (l *listing) write(list uint8, from position) error {
	at := position{list: list}
	if from.list == list {
		at.id = from.id
	}
	switch {
	case l.delta == nil:
		return l.writeBatches(at)
	case list == inNew:
		return l.writeBatch(at, l.delta.New)
	}
	return l.writeBatch(at, l.delta.Deleted)
}

// writeBatches writes a list of a full state.
func (l *listing) writeBatches(at position) error {
	for {
		var batch []engine.Decision
		if at.list == inNew {
			batch = l.scan.Running(l.batch[:])
		} else {
			batch = l.scan.Over(l.batch[:])
		}
		if len(batch) == 0 {
			return nil
		}
		if err := l.writeBatch(at, batch); err != nil {
			return err
		}
		at.id = max(at.id, batch[len(batch)-1].ID())
	}
}

// writeBatch writes those of some decisions that are behind a place.
func (l *listing) writeBatch(at position, batch []engine.Decision) error {
	w := l.w
	for _, d := range batch {
		id := d.ID()
		if id <= at.id {
			continue
		}
		if at.id != 0 {
			w.buf = append(w.buf, ',')
		}
		at.id = id
		w.buf = l.encoder.Append(w.buf, d)
		if len(w.buf) >= w.size {
			w.at = at
			if err := w.maybeSend(); err != nil {
				return err
			}
		}
	}
	return nil
}
