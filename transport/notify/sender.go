package notify

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Sender hands one text to a receiver. An error means that it did not arrive, as far as
// can be known; one that wraps ErrRefused that this may be the text's fault. Errors hold no secrets. Send
// ends with ctx. One goroutine at a time.
type Sender interface {
	Send(ctx context.Context, text string) error
}

// ErrRefused is wrapped by the error about a message that its receiver refuses for what the
// message is, as it says. What takes other messages means it; what takes none is mistaken,
// or stands in the receiver's place.
var ErrRefused = errors.New("refused")

// refused is an error that wraps it.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// laterError is of a receiver that says when it wants to be asked again.
type laterError struct {
	error
	after time.Duration
}

func (e *laterError) Unwrap() error { return e.error }

// partlyError: some of those whom a message is for have it, and the others never will.
type partlyError struct{ error }

func (e *partlyError) Unwrap() error { return e.error }
