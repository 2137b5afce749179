package feed

import (
	"errors"

	"lapid/transport/budget"
)

// ErrLong is for an answer that is too long to be given at once.
var ErrLong = errors.New("a long answer")

// WriteBrief has run write an answer behind out if it is no longer than Brief, and
// gives what out has become; else it gives ErrLong, and List is for it.
func WriteBrief(out []byte, run func(*Writer) error) ([]byte, error) {
	w := Writer{Buf: out[:0], size: Brief, send: func([]byte) error { return ErrLong }}
	err := run(&w)
	if err == nil && len(w.Buf) > Brief {
		err = ErrLong
	}
	return w.Buf, err
}

// List is a long answer to one reader that run writes while it is sent; counted: run
// is called once before, so that the answer begins with its length. run is called
// on the goroutine that sends, after the request's own memory is gone. What was
// reserved in h is the answer's from then on; if that is nothing, a piece is.
// Errors are those of run and of Reserve.
func (m *Memory) List(h *budget.Hold, a Asker, counted bool, run func(*Writer) error) (*StreamedBody, error) {
	size, err := -1, error(nil)
	if counted {
		if size, err = lengthOf(run); err != nil {
			return nil, err
		}
	}
	if h.Taken() == 0 {
		if err = m.Reserve(h, a, soloPiece+Brief); err != nil {
			return nil, err
		}
	}
	return m.body(h, a, StreamedBody{run: run, size: size}), nil
}

// RoomFor is Reserve for those who select first what they answer with, and a piece;
// the error is left in err.
func (m *Memory) RoomFor(h *budget.Hold, a Asker, err *error) func(int64) bool {
	return func(n int64) bool {
		*err = m.Reserve(h, a, n+soloPiece)
		return *err == nil
	}
}
