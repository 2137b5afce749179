package feed

import (
	"sync"

	"lapid/engine"
)

const (
	// pieceSize is how much of a shared answer is encoded, kept and written at
	// once: large enough that neither the system calls count nor that encoder and
	// sender wake each other. The first pieces are smaller, so that a short answer
	// takes little and the first byte of a long one leaves soon: the first is of
	// firstPieceSize, each of the next twice the one before.
	pieceSize      = 512 << 10
	firstPieceSize = 32 << 10
	// soloPieceSize is the same for an answer that only one reader gets; it is
	// what a slow reader costs.
	soloPieceSize = 32 << 10
	// pieceSlack is room for the decision that fills a piece.
	pieceSlack = 4 << 10
	// soloPiece is what an answer takes that is written while it is made.
	soloPiece = soloPieceSize + pieceSlack
)

// Writer collects an answer and sends it whenever a piece is full. The zero Writer
// collects all of it. It is for one goroutine.
type Writer struct {
	Buf []byte // what was collected; appended to by those who write

	size int
	solo bool  // only one reader gets it: encode with as little memory as will do
	at   place // after what was appended last; only streams keep it
	send func(piece []byte) error
}

// MaybeSend sends what was collected if it is enough. It is called between two
// elements of a list. After an error nothing more is to be written.
func (w *Writer) MaybeSend() error {
	if w.send == nil || len(w.Buf) < w.size {
		return nil
	}
	return w.flush()
}

// Flushed is MaybeSend for those who append to what they are given.
func (w *Writer) Flushed(buf []byte) ([]byte, error) {
	w.Buf = buf
	err := w.MaybeSend()
	return w.Buf, err
}

func (w *Writer) flush() error {
	if len(w.Buf) == 0 || w.send == nil {
		return nil
	}
	err := w.send(w.Buf)
	w.Buf = w.Buf[:0]
	return err
}

// place is a position in an answer: behind a decision of one of the lists.
type place struct {
	list uint8 // 0: nothing was written; else one of the places below
	id   engine.DecisionID
	part int // how many parts of it are written; a range may be told in several
}

const (
	inNew = 1 + iota
	inDeleted
	atEnd
)

var soloPieces = sync.Pool{New: func() any { return &Writer{Buf: make([]byte, 0, soloPiece)} }}

// writeSolo has an answer written for one reader, for which soloPiece was reserved.
func writeSolo(send func(piece []byte, last bool) error, run func(*Writer) error) error {
	w := soloPieces.Get().(*Writer)
	last := false
	w.Buf, w.size, w.solo = w.Buf[:0], soloPieceSize, true
	w.send = func(piece []byte) error { return send(piece, last) }
	defer func() {
		if w.send = nil; cap(w.Buf) <= 2*soloPieceSize {
			soloPieces.Put(w)
		}
	}()
	if err := run(w); err != nil {
		return err
	}
	last = true
	return w.flush()
}

// lengthOf is how long an answer is that run writes, in bytes: it is written to
// nowhere for that.
func lengthOf(run func(*Writer) error) (n int, err error) {
	w := &Writer{size: soloPieceSize, solo: true, send: func(piece []byte) error {
		n += len(piece)
		return nil
	}}
	err = run(w)
	return n + len(w.Buf), err
}
