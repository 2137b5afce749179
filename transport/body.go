package transport

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/wire"
)

// A full state of a million decisions is a hundred megabytes. When a fleet
// starts it is asked for by all at once, so it is encoded once, by a goroutine
// of its own, into a list of pieces that every reader walks at its own speed,
// also while it is growing. At most bodiesAtMost such lists exist. Who comes
// with yet another question gets an answer of its own, encoded piece by piece
// between two writes: more work, but hardly any memory.
//
// A list may be taken away from slow readers to make room; they know how far
// they got and go on alone.

const (
	bodiesAtMost = 2
	// aheadAtMost is how many pieces the encoder may be ahead of the fastest
	// reader.
	aheadAtMost = 32
	// patienceWithReaders is after how long a list may be taken away from those
	// who still read it.
	patienceWithReaders = 30 * time.Second
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
	if from.list < inDeleted {
		if err := src.list(w, inNew, from, q); err != nil {
			return err
		}
		w.buf = append(w.buf, wire.StreamBetween...)
	}
	if err := src.list(w, inDeleted, from, q); err != nil {
		return err
	}
	w.buf = append(w.buf, wire.StreamClose...)
	return nil
}

// list writes one of the two lists, without the decisions up to from.
func (src *source) list(w *pieceWriter, list uint8, from position, q *engine.Query) (err error) {
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
		w.buf = wire.AppendDecision(w.buf, d, src.now, true)
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

// body is one answer in pieces and those who read it.
type body struct {
	question question
	source   *source
	born     int64

	mu      sync.Mutex
	changed sync.Cond // on mu: a piece came, a reader took one, or it is over
	pieces  []piece
	far     int   // how many pieces the fastest reader has taken
	readers int   // those who will still leave
	dropped int   // how many pieces at the front nobody needs any more
	closed  bool  // its second is over: nobody else will join
	done    bool  // all pieces are there
	err     error // why there will be no more
	taken   bool  // taken away: go on alone
	lent    bool  // the only piece is in answers that did not follow it
}

// piece is a part of an answer and the place it ends at.
type piece struct {
	data []byte
	end  position
}

// newBody starts the encoding of an answer, for one reader at first.
func newBody(q question, src *source) *body {
	b := &body{question: q, source: src, born: src.now, readers: 1}
	b.changed.L = &b.mu
	go b.produce()
	return b
}

var errTaken = errors.New("nobody reads the answer any more")

// blank are pieces that nobody reads any more. A new one would have to be
// cleared and collected, which takes as long as filling it.
var blank = sync.Pool{New: func() any { return new([pieceSize + pieceSlack]byte) }}

// recycle gives a piece back that nobody reads any more.
func (p piece) recycle() {
	if cap(p.data) == pieceSize+pieceSlack {
		blank.Put((*[pieceSize + pieceSlack]byte)(p.data[:cap(p.data)]))
	}
}

// produce encodes the answer.
func (b *body) produce() {
	w := &pieceWriter{size: pieceSize, buf: blank.Get().(*[pieceSize + pieceSlack]byte)[:0]}
	w.send = func([]byte) error {
		data := w.buf
		w.buf = blank.Get().(*[pieceSize + pieceSlack]byte)[:0]
		return b.publish(piece{data, w.at})
	}
	err := errors.New("BUG: encoding a stream failed")
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("BUG: encoding a stream failed: %v", r)
		}
		b.finish(piece{w.buf, position{list: atEnd}}, err)
	}()
	err = b.source.write(w, position{})
}

// finish adds the last piece.
func (b *body) finish(last piece, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err = err; err == nil && !b.taken {
		b.pieces = append(b.pieces, last)
	}
	b.done = true
	b.changed.Broadcast()
}

// publish adds a piece and waits until a reader comes near.
func (b *body) publish(p piece) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pieces = append(b.pieces, p)
	b.changed.Broadcast()
	for len(b.pieces)-b.far > aheadAtMost && !b.taken {
		b.changed.Wait()
	}
	if b.taken {
		return errTaken
	}
	return nil
}

// whole waits for the first piece and gives it if it is the whole answer.
func (b *body) whole() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pieces) == 0 && !b.done && !b.taken {
		b.changed.Wait()
	}
	if len(b.pieces) == 1 && b.done && b.err == nil && !b.taken {
		b.lent = true
		return b.pieces[0].data, true
	}
	return nil, false
}

// next waits for the piece with a number. It has no data at the end.
func (b *body) next(i int) (piece, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i > b.far {
		b.far = i
		b.changed.Broadcast()
	}
	if b.readers == 1 && b.closed && !b.taken && i > b.dropped {
		for n := b.dropped; n < min(i, len(b.pieces)); n++ { // the only reader has them
			b.pieces[n].recycle()
			b.pieces[n] = piece{}
		}
		b.dropped = i
	}
	for len(b.pieces) <= i && !b.done && !b.taken {
		b.changed.Wait()
	}
	switch {
	case b.taken:
		return piece{}, errTaken
	case i < len(b.pieces):
		return b.pieces[i], nil
	}
	return piece{}, b.err
}

// follow writes a body to one reader. When it is taken away the reader goes on
// alone from where it was.
func (s *Server) follow(b *body, send func([]byte) error) error {
	var at position
	for i := 0; ; i++ {
		p, err := b.next(i)
		if errors.Is(err, errTaken) {
			return s.alone(send, func(w *pieceWriter) error { return b.source.write(w, at) })
		}
		if err != nil || p.data == nil {
			return err
		}
		if err := send(p.data); err != nil {
			return err
		}
		at = p.end
	}
}

// bodies are the answers in pieces that are being sent. Joining and leaving
// take a lock, once per answer.
type bodies struct {
	mu   sync.Mutex
	live []*body
}

// join finds the body for a question, or starts one. A body of an earlier
// revision will do if same says that nothing was changed since. nil: there are
// too many, answer alone. Who joined must leave.
func (all *bodies) join(q question, src *source, same func(engine.Revision) bool) *body {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, b := range all.live {
		was := b.question
		was.to = q.to
		if was == q && (b.question.to == q.to || same(b.question.to)) && b.enter() {
			return b
		}
	}
	if len(all.live) >= bodiesAtMost && !all.makeRoom(src.now) {
		return nil
	}
	b := newBody(q, src)
	all.live = append(all.live, b)
	return b
}

// enter counts one more reader, unless the body is over.
func (b *body) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken || b.err != nil || b.closed {
		return false
	}
	b.readers++
	return true
}

// leave is the end of one reader.
func (all *bodies) leave(b *body) {
	b.mu.Lock()
	b.readers--
	b.mu.Unlock()
}

// makeRoom takes a body away from nobody, or else from readers who have had
// their time. Called with the lock.
func (all *bodies) makeRoom(now int64) bool {
	for i, b := range all.live {
		if b.takeAway(now) {
			all.live = slices.Delete(all.live, i, i+1)
			return true
		}
	}
	return false
}

// takeAway ends a body that nobody reads or that has been there for long.
func (b *body) takeAway(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readers > 0 && now-b.born < int64(patienceWithReaders) {
		return false
	}
	if b.readers == 0 && !b.lent {
		for _, p := range b.pieces {
			p.recycle()
		}
	}
	b.taken, b.pieces = true, nil
	b.changed.Broadcast()
	return true
}

// sweep closes what belongs to a second that is over, and drops what nobody
// reads of it. It is called every second.
func (all *bodies) sweep(now int64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.live = slices.DeleteFunc(all.live, func(b *body) bool {
		return b.question.second < now/int64(time.Second) && b.close()
	})
}

// close lets nobody else join. It reports whether nobody reads the body either;
// it is gone then.
func (b *body) close() bool {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.takeAway(b.born)
}

// close takes everything away.
func (all *bodies) close() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, b := range all.live {
		b.takeAway(b.born + int64(patienceWithReaders))
	}
	all.live = nil
}
