package movein

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Unfit is the error about rows that are not what they should be, or not accounted for;
// nil: all may be taken over. Rows of the first kind are left out with keepGoing.
func (t *Tally) Unfit(keepGoing bool) error {
	if wrong := t.Balance(); wrong != nil {
		return fmt.Errorf("the rows that were read from %s are not those that the database counts: it is damaged", strings.Join(wrong, ", "))
	}
	if n := t.Damaged(); n > 0 && !keepGoing {
		return fmt.Errorf("%d rows are not what they should be, as the table says; with --keep-going they are left out, and all else is taken over", n)
	}
	return nil
}

// Send reads the source and writes it as frames. They have an end only if all of it may be
// taken over (Tally.Unfit). The tally is there as far as the reading came.
func (s *Source) Send(ctx context.Context, o Options, keepGoing bool, to io.Writer) (*Tally, error) {
	out := bufio.NewWriterSize(to, 1<<18)
	sender := NewSender(out, s, unix(o.Now))
	tally, err := s.Read(ctx, o, sender)
	if err == nil {
		err = tally.Unfit(keepGoing)
	}
	if err == nil {
		s.ending.Store(true)
		err = sender.End(tally)
	}
	if err == nil {
		err = out.Flush()
	}
	return tally, err
}

// Ending reports whether Send has come to the end of its frames: before, nobody who receives
// them takes anything over; from then on only who received them knows.
func (s *Source) Ending() bool { return s.ending.Load() }

// Exchange has a source sent to who receives it, and gives what both say of it. What the
// sender says counts first, but for what the receiver told it.
func (s *Source) Exchange(ctx context.Context, o Options, keepGoing bool, receive func(io.Reader) error) (tally *Tally, err error) {
	from, to := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		var err error
		tally, err = s.Send(ctx, o, keepGoing, to)
		_ = to.CloseWithError(err)
		sent <- err
	}()
	received := receive(from)
	if received != nil {
		_ = from.CloseWithError(received)
	} else {
		_ = from.CloseWithError(io.ErrClosedPipe)
	}
	err = <-sent
	switch {
	case received == nil: // it has seen the end
		return tally, nil
	case err == nil || errors.Is(err, received) || errors.Is(err, io.ErrClosedPipe): // an HTTP client closes what it no longer sends
		return tally, received
	}
	return tally, err
}

// TakeOver takes a source over, in this process.
func (a *Arrival) TakeOver(ctx context.Context, s *Source, o Options, keepGoing bool) (account *Account, tally *Tally, err error) {
	tally, err = s.Exchange(ctx, o, keepGoing, func(from io.Reader) (err error) {
		account, err = a.Receive(ctx, from, nil)
		return err
	})
	return account, tally, err
}

// People counts the bouncers and machines in a source.
func (s *Source) People(ctx context.Context) (bouncers, machines int64, err error) {
	if bouncers, err = s.count(ctx, bouncersTable); err == nil {
		machines, err = s.count(ctx, machinesTable)
	}
	return bouncers, machines, explain(s.Place, err)
}
