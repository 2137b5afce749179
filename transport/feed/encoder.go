package feed

import (
	"errors"
	"fmt"
)

// encoder makes the pieces of a shared answer, on a goroutine of its own.
type encoder struct {
	to *sharedAnswer
	w  Writer
}

// encode makes all of an answer, however that ends.
func encode(b *sharedAnswer) {
	e := &encoder{to: b, w: Writer{size: firstPieceSize, Buf: newPiece(firstPieceSize)}}
	e.w.send = e.next
	err := errors.New("BUG: encoding a stream failed")
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("BUG: encoding a stream failed: %v", r)
		}
		e.finish(err)
	}()
	err = b.source.write(&e.w, place{})
}

// next adds the piece that is full, begins another, and waits until a reader comes
// near.
func (e *encoder) next(data []byte) error {
	full := piece{data: data, end: e.w.at}
	e.w.size = min(2*e.w.size, pieceSize)
	e.w.Buf = newPiece(e.w.size)
	b := e.to
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pieces = append(b.pieces, full)
	b.kept += int64(cap(data))
	if need := b.kept + pieceSize + pieceSlack; !b.withdrawn && need > b.room.Taken() && !b.room.Take(need-b.room.Taken()) {
		b.letGo()
	}
	b.changed.Broadcast()
	for len(b.pieces)-b.far > aheadAtMost && !b.withdrawn {
		b.changed.Wait()
	}
	if b.withdrawn {
		return errWithdrawn
	}
	return nil
}

// finish adds the last piece.
func (e *encoder) finish(err error) {
	last, b := piece{data: e.w.Buf, end: place{list: atEnd}}, e.to
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err = err; err == nil && !b.withdrawn {
		b.pieces = append(b.pieces, last)
	}
	b.kept += int64(cap(last.data))
	if b.done = true; b.withdrawn || err != nil {
		b.kept = 0
	}
	b.settle()
	b.changed.Broadcast()
}
