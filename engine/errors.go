package engine

import (
	"errors"
	"fmt"
)

// Kinds of failure. Test with errors.Is.
var (
	ErrInvalid  = errors.New("invalid")            // the request makes no sense: bad address, bad duration
	ErrNotFound = errors.New("not found")          // no such decision, alert, machine, bouncer, allowlist
	ErrExists   = errors.New("already exists")     // the name is taken
	ErrRefused  = errors.New("refused")            // the caller may not do that to this thing
	ErrChanged  = errors.New("changed meanwhile")  // what the caller went by is not so any more: look again
	ErrBusy     = errors.New("too many writers")   // the queue of proposals is full: come back later
	ErrDisk     = errors.New("cannot store")       // the journal cannot be written; reads go on
	ErrClosed   = errors.New("engine is closed")   // shutting down
	ErrProfile  = errors.New("profile has failed") // a rule could not be evaluated
)

// Noun is the kind of thing that an Error is about.
type Noun string

// What may be missing, or there already.
const (
	NounMachine   Noun = "machine"
	NounBouncer   Noun = "bouncer"
	NounAllowlist Noun = "allowlist"
	NounAlert     Noun = "alert"
	NounDecision  Noun = "decision"
	NounOperator  Noun = "operator"
	NounToken     Noun = "token" // of an operator; the name is operator/number
)

// Error is one failure. One that is about a thing that is missing (ErrNotFound) or
// there already (ErrExists) has the noun and the name of it and no text: its sentence
// depends on the reader, and is made by the Local API's replies and by the commands.
// Any other has a text, which may be shown to the caller.
type Error struct {
	Kind  error
	Noun  Noun   // "": about no such thing
	Name  string // of the thing: a number in decimal for alerts and decisions
	Text  string // one sentence; "": kind, noun and name say all
	Cause error  // may be nil; for the log, not for the caller
}

// Error is the text, or plain words for a log.
func (e *Error) Error() string {
	if e.Text != "" {
		return e.Text
	}
	return fmt.Sprintf("%s %s: %v", e.Noun, e.Name, e.Kind)
}

// Is reports whether target is this error's kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// invalid is the error about what makes no sense.
func invalid(format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Text: fmt.Sprintf(format, args...)}
}

// notFound is the error about a thing that is not there.
func notFound(noun Noun, name string) error {
	return &Error{Kind: ErrNotFound, Noun: noun, Name: name}
}

// exists is the error about a name that is taken.
func exists(noun Noun, name string) error {
	return &Error{Kind: ErrExists, Noun: noun, Name: name}
}
