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
	feed   *Feed
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

// begin makes a body of the feed's.
func (f *Feed) begin(b *StreamedBody, a Asker) *StreamedBody {
	b.feed, b.began, b.payer = f, time.Now(), a.Payer()
	return b
}

// take is begin for a body that takes over what was reserved.
func (f *Feed) take(b *StreamedBody, h *budget.Hold, a Asker) *StreamedBody {
	b.held, *h = *h, budget.Hold{}
	return f.begin(b, a)
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
		if time.Since(b.began) > b.feed.options.StreamLimit {
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
		err = b.feed.follow(b.shared, b.payer, send)
	case b.whole != nil:
		err = send(b.whole, true)
	default:
		err = writeSolo(send, b.run)
	}
	if err != nil {
		b.feed.options.Log.Debug("an answer was not sent whole", "error", err)
	}
	return n, err
}

// Close gives back what the answer held. It may be called more than once.
func (b *StreamedBody) Close() error {
	if b.shared != nil {
		b.feed.answers.leave(b.shared)
		b.shared = nil
	}
	b.run, b.whole = nil, nil
	b.held.Release()
	return nil
}
