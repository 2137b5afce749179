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
	e := wire.NewStreamEncoder(src.now, w.size < pieceSize)
	if from.list < inDeleted {
		if err := src.list(w, e, inNew, from, q); err != nil {
			return err
		}
		w.buf = append(w.buf, wire.StreamBetween...)
	}
	if err := src.list(w, e, inDeleted, from, q); err != nil {
		return err
	}
	w.buf = append(w.buf, wire.StreamClose...)
	return nil
}

// list writes one of the two lists, without the decisions up to from.
func (src *source) list(w *pieceWriter, e *wire.StreamEncoder, list uint8, from position, q *engine.Query) (err error) {
	done := engine.DecisionID(0)
	if from.list == list {
		done = from.id
	}
	first := done == 0
	src.each(list, q, func(d engine.Decision) bool {
		id := d.ID()
		if id <= done {
			return true
		}
		if !first {
			w.buf = append(w.buf, ',')
		}
		first = false
		w.buf = e.Append(w.buf, d)
		w.at = position{list, id}
		err = w.maybeSend()
		return err == nil
	})
	return err
}

// each yields the decisions of a list by ascending id.
func (src *source) each(list uint8, q *engine.Query, yield func(engine.Decision) bool) {
	if src.delta == nil {
		if list == inNew {
			src.view.EachRunning(q, yield)
		} else {
			src.view.EachEnded(q, yield)
		}
		return
	}
	ds := src.delta.New
	if list == inDeleted {
		ds = src.delta.Deleted
	}
	for _, d := range ds {
		if !yield(d) {
			return
		}
	}
}
