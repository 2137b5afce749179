package feed

import (
	"lapid/engine"
	"lapid/transport/wire"
)

// edition is what makes two streams the same bytes: the filters as they were
// sent, what is known already, the state, and the second in which durations are
// reckoned.
type edition struct {
	raw    string
	sight  uint64          // the fingerprint of what may be seen
	before uint64          // … of what could be seen at after
	after  engine.Revision // 0: a full state
	onTop  bool            // … that is put on top of what its reader holds
	to     engine.Revision
	second int64
}

// answerSource can write one answer of the stream, from any place on.
type answerSource struct {
	view  *engine.View
	raw   []byte // the query string, a copy
	now   int64
	delta *engine.Delta   // nil: a full state
	sight *engine.Sight   // whose it is; nil: everything
	onTop bool            // of a full state: its readers hold something and do not let go of it,
	was   []*engine.Sight // … also from when they could see these
}

// write writes the answer from a place on.
func (src *answerSource) write(w *Writer, from place) error {
	if from.list == atEnd {
		return nil
	}
	q := &engine.Query{Now: src.now}
	if err := wire.ParseStreamQuery(q, src.raw); err != nil {
		return err
	}
	q.Sight = src.sight
	if from.list == 0 {
		w.Buf = append(w.Buf, wire.StreamOpen...)
	}
	l := &listing{answerSource: src, w: w, encoder: wire.NewStreamEncoder(src.now, w.solo, src.sight)}
	if src.delta == nil {
		if l.scan = src.view.Scan(q); src.onTop {
			l.scan.Supersede(src.was)
		}
	}
	if from.list < inDeleted {
		if err := l.write(inNew, from); err != nil {
			return err
		}
		w.Buf = append(w.Buf, wire.StreamBetween...)
	}
	if err := l.write(inDeleted, from); err != nil {
		return err
	}
	w.Buf = append(w.Buf, wire.StreamClose...)
	return nil
}

// size is how long a delta is that is encoded for one reader, in bytes: it is encoded
// to nowhere for that, half a millisecond at most. -1: it is longer than that, or a
// full state.
func (src *answerSource) size() int {
	if src.delta == nil || len(src.delta.New)+len(src.delta.Deleted) > 5000 {
		return -1
	}
	n, err := lengthOf(func(w *Writer) error { return src.write(w, place{}) })
	if err != nil {
		return -1
	}
	return n
}

// listing writes the two lists of an answer.
type listing struct {
	*answerSource
	w       *Writer
	encoder *wire.StreamEncoder
	scan    engine.Scan
	at      place                // what was written last
	met     int                  // how many parts of it were met
	batch   [128]engine.Decision // whose records are looked at twice within the nearest cache
}

// write writes one list, without the decisions up to from.
func (l *listing) write(list uint8, from place) error {
	l.at, l.met = place{list: list}, 0
	if from.list == list {
		l.at = from
	}
	switch {
	case l.delta == nil:
		return l.writeBatches()
	case list == inNew:
		return l.writeBatch(l.delta.New)
	}
	return l.writeBatch(l.delta.Deleted)
}

// writeBatches writes a list of a full state.
func (l *listing) writeBatches() error {
	for {
		var batch []engine.Decision
		if l.at.list == inNew {
			batch = l.scan.Running(l.batch[:])
		} else {
			batch = l.scan.Over(l.batch[:])
		}
		if len(batch) == 0 {
			return nil
		}
		if err := l.writeBatch(batch); err != nil {
			return err
		}
	}
}

// writeBatch writes those of some decisions that are behind the place. They are by
// ascending id; the parts of one follow each other.
func (l *listing) writeBatch(batch []engine.Decision) error {
	w := l.w
	for _, d := range batch {
		id := d.ID()
		if id < l.at.id {
			continue
		}
		first := l.at.id == 0
		if id > l.at.id {
			l.at.id, l.at.part, l.met = id, 0, 0
		}
		if l.met++; l.met <= l.at.part {
			continue
		}
		l.at.part++
		if !first {
			w.Buf = append(w.Buf, ',')
		}
		w.Buf = l.encoder.Append(w.Buf, d)
		if len(w.Buf) >= w.size {
			w.at = l.at
			if err := w.MaybeSend(); err != nil {
				return err
			}
		}
	}
	return nil
}
