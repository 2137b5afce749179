package wire

import (
	"strconv"
	"strings"

	"lapid/engine"
)

// Kind is the family of answers a failure belongs to; the server maps it to a
// status, endpoint by endpoint.
type Kind uint8

const (
	// KindSyntax is a body that is not JSON, holds a value of the wrong type or
	// null as an element of a list, or a number out of its range: 400.
	KindSyntax Kind = iota + 1
	// KindTooLarge is a body beyond its limit, as its reader finds: 400.
	KindTooLarge
	// KindMissing is a readable body that lacks required fields, or has fields
	// that are too long or too short. Text is the contract's list: 500 for
	// alerts, 422 for registration and usage metrics, 401 for login.
	KindMissing
	// KindFilter is an unusable or unknown filter of a query string: 500, and
	// two empty lists for the stream.
	KindFilter
	// KindEmptyTargets is a bulk check of nothing: 400.
	KindEmptyTargets
	// KindWrongUsage is a report of usage metrics without exactly one entry of
	// the sender's kind: 400.
	KindWrongUsage
)

// Error is one failure to read what a client sent. Text is what the client is
// shown; it never holds more than a short piece of the input's own text, except
// for filters, which the contract repeats.
type Error struct {
	Kind Kind
	Text string
}

// Error is what the client is shown.
func (e *Error) Error() string { return e.Text }

// ErrTooLarge is for the reader of a body that is beyond its limit.
var ErrTooLarge = &Error{Kind: KindTooLarge, Text: "http: request body too large"}

// UsageProblem words what is too long in what a report says of its sender,
// of the kind given, as a list of failures. It is for what the engine finds
// too long, where this package does not.
func UsageProblem(kind engine.UsageKind, problem string) string {
	if kind == engine.UsageMachine {
		return failureHeader + "\nlog_processors.0." + problem
	}
	return failureHeader + "\nremediation_components.0." + problem
}

// failures collects what is missing in one object of a body, in the order of
// the contract. The text of an object inside another contributes its own
// header, so the nesting of the text is the nesting of the body.
type failures struct {
	text strings.Builder
}

// failureHeader begins each list of what is missing.
const failureHeader = "validation failure list:"

// add appends one line, below a header if it is the first.
func (f *failures) add(line string) {
	if f.text.Len() == 0 {
		f.text.WriteString(failureHeader)
	}
	f.text.WriteByte('\n')
	f.text.WriteString(line)
}

// required notes that a field is missing.
func (f *failures) required(path, name string) { f.add(path + name + " in body is required") }

// atMost notes that a field has more than n characters.
func (f *failures) atMost(path, name string, n int) {
	f.add(path + name + " in body should be at most " + strconv.Itoa(n) + " chars long")
}

// atLeast notes that a field has fewer than n characters.
func (f *failures) atLeast(path, name string, n int) {
	f.add(path + name + " in body should be at least " + strconv.Itoa(n) + " chars long")
}

// inner takes in what an object inside this one lacks, if anything.
func (f *failures) inner(text string) {
	if text != "" {
		f.add(text)
	}
}

// String is the list, or "" when nothing is missing.
func (f *failures) String() string { return f.text.String() }
