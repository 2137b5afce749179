package engine

import "errors"

// Kinds of failure. Test with errors.Is; the text of an *Error is what a
// client may be shown.
var (
	ErrInvalid  = errors.New("invalid")            // the request makes no sense: bad address, bad duration
	ErrNotFound = errors.New("not found")          // no such decision, alert, machine, bouncer, allowlist
	ErrExists   = errors.New("already exists")     // the name is taken
	ErrRefused  = errors.New("refused")            // the caller may not do that to this thing
	ErrBusy     = errors.New("too many writers")   // the queue of proposals is full: come back later
	ErrDisk     = errors.New("cannot store")       // the journal cannot be written; reads go on
	ErrClosed   = errors.New("engine is closed")   // shutting down
	ErrProfile  = errors.New("profile has failed") // a rule could not be evaluated
)

// Error is one failure: its kind and the sentence for whoever asked.
type Error struct {
	Kind  error
	Text  string
	Cause error // may be nil; logged, not shown
}

func (e *Error) Error() string { return e.Text }

// Is reports whether target is this error's kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }
