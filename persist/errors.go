package persist

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Kinds of failure. Every error of this package wraps one of them, or is the
// caller's own error coming back from a callback.
var (
	// ErrLocked: another process, or another Store of this one, holds the folder.
	ErrLocked = errors.New("folder is in use")
	// ErrFormat: the folder or file was written by another version of the format, or
	// is none of this program. Nothing in it was touched.
	ErrFormat = errors.New("unknown format")
	// ErrCorrupt: stored bytes are not those that were written, or some are missing.
	ErrCorrupt = errors.New("stored data is damaged")
	// ErrDisk: the disk refused an operation. What was to be written counts as
	// not written; Reopen makes the Store usable again once the disk is.
	ErrDisk = errors.New("disk failure")
	// ErrGone: the folder, or a file that is written to, was removed or exchanged while
	// the Store had it open. It is an ErrDisk too: nothing is written any more.
	ErrGone = errors.New("put the store back where it was")
	// ErrBehind: with Options.NoSync, the journal on disk ends before the last
	// record that Append accepted. See Reopen.
	ErrBehind = errors.New("journal lost accepted records")
	// ErrForgotten: the journal begins behind the record that was asked for. For a start
	// it is an ErrCorrupt too.
	ErrForgotten = errors.New("no longer in the journal")
	// ErrTooLarge: a record, row batch or snapshot section exceeds its limit.
	// Nothing was written.
	ErrTooLarge = errors.New("too large")
	// ErrReadOnly: the Store was opened with Options.ReadOnly.
	ErrReadOnly = errors.New("store is read-only")
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("store is closed")
)

// kindOf names the kind of an error that came out of Pebble or the file system.
func kindOf(err error) error {
	var errno syscall.Errno
	var path *fs.PathError
	switch {
	case pebble.IsCorruptionError(err):
		return ErrCorrupt
	case errors.Is(err, fs.ErrNotExist):
		return ErrCorrupt // a file that the others speak of is gone
	case errors.As(err, &errno), errors.As(err, &path):
		return ErrDisk
	default:
		return ErrCorrupt
	}
}
