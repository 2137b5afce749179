package feed

import (
	"errors"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/budget"
)

const (
	// aheadAtMost is how many pieces the encoder may be ahead of the fastest
	// reader: 4 MiB at most.
	aheadAtMost = 8
	// soloAfter is how many pieces the first reader of an answer takes until the
	// answer is its own, if no other has joined: some 6 MiB.
	soloAfter = 16
	// deltaPieces and statePieces are up to how many pieces a delta and a full state
	// are encoded whole before they leave, so that the answer begins with its length:
	// some 15 000 decisions or 1.5 ms, and 1 500 or 0.2 ms. No more of it is kept than
	// of every shared answer.
	deltaPieces = aheadAtMost
	statePieces = 3
	// patienceWithReaders is after how long an answer may be withdrawn from its
	// readers.
	patienceWithReaders = 30 * time.Second
)

// sharedAnswer is one answer in pieces and its readers.
//
// One goroutine encodes (encoder), each reader's own sends (follower). On two processors the two take
// about as long as each other (BenchmarkStartup, bench full -only startup), and
// together all of both, so a second encoder was not built: it could only take time
// from the sender. What counted, in this order: the encoder (wire.StreamEncoder),
// scanning in batches (engine.Scan), memory that is used again while it is still
// in the caches, and pieces four times as large, which encoder and sender wake
// each other for a quarter as often.
type sharedAnswer struct {
	edition edition
	source  *answerSource
	born    int64
	also    engine.Revision // another revision it is known to be good for; on the lock of answers

	mu        sync.Mutex
	changed   sync.Cond // on mu: a piece came, a reader took one, or it is over
	pieces    []piece
	far       int         // how many pieces the fastest reader has taken
	readers   int         // that will still leave
	dropped   int         // how many pieces at the front no reader needs any more
	maySolo   bool        // its only reader may have it for itself
	closed    bool        // its second is over, or it is its only reader's: no other can join
	done      bool        // all pieces are there
	err       error       // why there will be no more
	withdrawn bool        // its pieces are gone: readers go on alone
	lentWhole bool        // the only piece is in answers that did not follow it
	atPiece   int         // how many readers are at a piece, which they hold
	kept      int64       // what the pieces take, in bytes
	room      budget.Hold // what they have taken, and what the one that is made will take
	listed    budget.Hold // what the source's delta has taken
}

// piece is a part of an answer and the place it ends at.
type piece struct {
	data []byte
	end  place
	read int // how many of the readers have it behind them
}

// newSharedAnswer makes an answer for one reader at first, with memory from where room
// has it; encode is to fill it. With maySolo it becomes its reader's alone when no
// other joins soon.
func newSharedAnswer(e edition, src *answerSource, maySolo bool, room budget.Hold) *sharedAnswer {
	b := &sharedAnswer{edition: e, source: src, born: src.now, readers: 1, maySolo: maySolo, room: room}
	b.changed.L = &b.mu
	return b
}

// blank are pieces that have been read. A new one would have to be cleared and
// collected, which takes as long as filling it.
var blank = sync.Pool{New: func() any { return new([pieceSize + pieceSlack]byte) }}

// recycle gives a piece back that no reader is at any more.
func (p piece) recycle() {
	if cap(p.data) == pieceSize+pieceSlack {
		blank.Put((*[pieceSize + pieceSlack]byte)(p.data[:cap(p.data)]))
	}
}

// newPiece gives the memory for a piece.
func newPiece(size int) []byte {
	if size < pieceSize {
		return make([]byte, 0, size+pieceSlack)
	}
	return blank.Get().(*[pieceSize + pieceSlack]byte)[:0]
}

var errWithdrawn = errors.New("the answer was withdrawn from its readers")

// whole waits for the first piece and gives it if it is the whole answer.
func (b *sharedAnswer) whole() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wait(1); len(b.pieces) == 1 && b.done && b.err == nil && !b.withdrawn {
		b.lentWhole = true
		return b.pieces[0].data, true
	}
	return nil, false
}

// size is how long the answer is, in bytes, if it is of no more than so many pieces,
// for which it waits; else -1. Called before the first piece is taken.
func (b *sharedAnswer) size(most int) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wait(most + 1); b.withdrawn || b.err != nil || !b.done || len(b.pieces) > most {
		return -1
	}
	for _, p := range b.pieces {
		n += len(p.data)
	}
	return n
}

// wait waits for so many pieces, or for the end. Called with the lock.
func (b *sharedAnswer) wait(pieces int) {
	for len(b.pieces) < pieces && !b.done && !b.withdrawn {
		b.changed.Wait()
	}
}

// drop forgets the pieces at the front that all readers have behind them, once
// no other can join. Called with the lock.
func (b *sharedAnswer) drop() {
	for b.closed && !b.lentWhole && b.dropped < len(b.pieces) && b.pieces[b.dropped].read == b.readers {
		b.kept -= int64(cap(b.pieces[b.dropped].data))
		b.pieces[b.dropped].recycle()
		b.pieces[b.dropped] = piece{}
		b.dropped++
	}
	b.settle()
}

// settle gives back what is not kept any more. Called with the lock.
func (b *sharedAnswer) settle() {
	switch {
	case b.withdrawn:
		b.room.Shrink(int64(b.atPiece) * (pieceSize + pieceSlack))
	case b.done:
		b.room.Shrink(b.kept)
	default:
		b.room.Shrink(b.kept + pieceSize + pieceSlack)
	}
	if b.withdrawn && b.readers == 0 {
		b.listed.Release()
	}
}

// letGo takes all pieces away. Called with the lock.
func (b *sharedAnswer) letGo() {
	if b.readers == 0 && !b.lentWhole {
		for _, p := range b.pieces {
			p.recycle()
		}
	}
	b.withdrawn, b.pieces, b.kept = true, nil, 0
	b.settle()
	b.changed.Broadcast()
}

// leave is the end of one reader, after it has stopped.
func (b *sharedAnswer) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readers--; b.readers > 0 {
		b.drop()
	}
	b.settle()
}

// enter counts one more reader, unless the answer is over.
func (b *sharedAnswer) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.withdrawn || b.err != nil || b.closed {
		return false
	}
	b.readers++
	return true
}

// solo reports whether the answer holds only what its last reader has not read.
func (b *sharedAnswer) solo() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed && b.readers <= 1
}

// crowded reports whether several read the answer.
func (b *sharedAnswer) crowded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.readers > 1
}

// close lets no other reader join. It reports whether there is none at all; the
// answer is gone then.
func (b *sharedAnswer) close() bool {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.withdraw(b.born)
}

// withdraw ends an answer that has no reader or has been there for long, and reports
// whether it did.
func (b *sharedAnswer) withdraw(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readers > 0 && now-b.born < int64(patienceWithReaders) {
		return false
	}
	b.letGo()
	return true
}
