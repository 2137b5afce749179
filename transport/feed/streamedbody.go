package feed

import (
	"errors"
	"io"
	"time"

	"lapid/transport/budget"
)

// StreamedBody is a long answer that is written while it is made. It belongs to its
// caller, who calls Send once at most, and Close in any case; one goroutine at a time.
// It needs nothing of the request that it answers.
type StreamedBody struct {
	memory *Memory
	began  time.Time
	run    func(*Writer) error // writes all of it into one reader's own pieces, or:
	shared *sharedAnswer       // is followed, or:
	whole  []byte              // is all of it
	payer  Payer
	held   budget.Hold // what it takes
	size   int
}

// EndingSize is how much of an answer leaves as its end, in one write, when it is
// sent in parts whose number is not known before (Send).
const EndingSize = 1 << 10

var errTooSlow = errors.New("the reader is too slow")

// body makes one that takes over what was reserved for it.
func (m *Memory) body(h *budget.Hold, a Asker, b StreamedBody) *StreamedBody {
	b.memory, b.began, b.payer = m, time.Now(), a.Payer()
	b.held, *h = *h, budget.Hold{}
	return &b
}

// Size is how long the answer is, in bytes; -1: that is not known before it is made.
func (b *StreamedBody) Size() int { return b.size }

// Send writes the answer, waiting for w as long as that takes and Options.StreamLimit
// lets it. ending, which may be nil, is called just before the last bytes are
// written: before the last piece, or with split before no more than EndingSize bytes
// of it. After an error what was written is not an answer: whatever carries it has to
// be cut.
func (b *StreamedBody) Send(w io.Writer, split bool, ending func()) (n int64, err error) {
	write := func(part []byte) error {
		m, err := w.Write(part)
		n += int64(m)
		return err
	}
	send := func(piece []byte, last bool) error {
		if time.Since(b.began) > b.memory.options.StreamLimit {
			return errTooSlow
		}
		if last && ending != nil {
			if most := len(piece) - EndingSize; split && most > 0 {
				if err := write(piece[:most]); err != nil {
					return err
				}
				piece = piece[most:]
			}
			ending()
		}
		return write(piece)
	}
	switch {
	case b.shared != nil:
		err = b.follow(send)
	case b.whole != nil:
		err = send(b.whole, true)
	default:
		err = writeSolo(send, b.run)
	}
	if err != nil {
		b.memory.options.Log.Debug("an answer was not sent whole", "error", err)
	}
	return n, err
}

// follow sends a shared answer. When that is withdrawn it goes on alone from where
// it was.
func (b *StreamedBody) follow(send func(piece []byte, last bool) error) error {
	r := b.shared.follow()
	defer r.stop()
	for {
		p, err := r.next()
		if errors.Is(err, errWithdrawn) {
			r.stop()
			held, err := b.memory.aside(b.payer, soloPiece)
			if err != nil {
				return err
			}
			defer held.Release()
			return writeSolo(send, func(w *Writer) error { return b.shared.source.write(w, r.at) })
		}
		if err != nil || p.data == nil {
			return err
		}
		if err := send(p.data, p.end.list == atEnd); err != nil {
			return err
		}
		r.has(p)
	}
}

// Close gives back what the answer held. It may be called more than once.
func (b *StreamedBody) Close() error {
	if b.shared != nil {
		b.shared.leave()
		b.shared = nil
	}
	b.run, b.whole = nil, nil
	b.held.Release()
	return nil
}
